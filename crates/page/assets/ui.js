// The few names that every view uses.
import { Fragment, h, render } from "./preact.js";
import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "./preact-hooks.js";
import htm from "./htm.js";

export const html = htm.bind(h);
export { Fragment, render, useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState };

/** Whether the user asked for less motion. */
export const reducedMotion = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

const FAST_PIXELS_A_MILLISECOND = 4;
const SETTLING_MILLISECONDS = 120;
let scrolled = { y: 0, at: 0, fastUntil: 0 };
addEventListener("scroll", () => {
  const at = performance.now();
  const isFast = Math.abs(scrollY - scrolled.y) > FAST_PIXELS_A_MILLISECOND * Math.max(1, at - scrolled.at);
  scrolled = { y: scrollY, at, fastUntil: isFast ? at + SETTLING_MILLISECONDS : scrolled.fastUntil };
}, { passive: true });

/** Whether what comes into view is to be loaded: at once, or where the page flies past, when it comes to rest. */
export function useSettled() {
  const [settled, setSettled] = useState(() => performance.now() > scrolled.fastUntil);
  useEffect(() => {
    if (settled) return undefined;
    const look = () => {
      if (performance.now() > scrolled.fastUntil) setSettled(true);
      else timer = setTimeout(look, SETTLING_MILLISECONDS);
    };
    let timer = setTimeout(look, SETTLING_MILLISECONDS);
    return () => clearTimeout(timer);
  }, [settled]);
  return settled;
}

/** Width of an element in pixels, kept up to date. */
export function useWidth(ref, initial = 0) {
  const [width, setWidth] = useState(initial);
  useLayoutEffect(() => {
    if (!ref.current) return undefined;
    const measure = () => ref.current && setWidth(ref.current.clientWidth);
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(ref.current);
    return () => observer.disconnect();
  }, []);
  return width;
}

/** The rows of a long list that are near the window: `{ first, last }`, for rows of one height. */
export function useWindowed(ref, rows, rowHeight) {
  const [range, setRange] = useState({ first: 0, last: Math.min(rows, 24) });
  useLayoutEffect(() => {
    let scheduled = 0;
    const measure = () => {
      scheduled = 0;
      if (!ref.current) return;
      const top = -ref.current.getBoundingClientRect().top;
      const spare = innerHeight;
      const first = Math.max(0, Math.min(rows, Math.floor((top - spare) / rowHeight)));
      const last = Math.max(first, Math.min(rows, Math.ceil((top + innerHeight + spare) / rowHeight)));
      setRange((before) => (before.first === first && before.last === last ? before : { first, last }));
    };
    const schedule = () => { scheduled ||= requestAnimationFrame(measure); };
    measure();
    addEventListener("scroll", schedule, { passive: true });
    addEventListener("resize", schedule);
    return () => {
      cancelAnimationFrame(scheduled);
      removeEventListener("scroll", schedule);
      removeEventListener("resize", schedule);
    };
  }, [rows, rowHeight]);
  return range;
}

/** A button that copies `text` and says so. */
export function Copy({ text, label = "Copy" }) {
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Pages from disk and plain HTTP have no clipboard of that kind.
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    setCopied(true);
    setTimeout(() => setCopied(false), 1600);
  };
  return html`<button type="button" class="quiet" onClick=${copy}><span aria-live="polite">${copied ? "Copied" : label}</span></button>`;
}

/** A command with its button. */
export const CommandLine = ({ text, name }) => html`
  <div class="command"><code tabindex="0" aria-label=${name}>${text}</code><${Copy} text=${text} label="Copy" /></div>`;

/** A few choices of which one is taken. */
export const Choices = ({ label, options, value, onChange }) => html`
  <div class="choices" role="group" aria-label=${label}>
    ${options.map(([key, text, count]) => html`
      <button type="button" key=${key} aria-pressed=${String(key === value)} onClick=${() => onChange(key)}>
        ${text}${count === undefined ? null : html`<span class="count">${count}</span>`}
      </button>`)}
  </div>`;

/** What stands where there is nothing yet. */
export const Empty = ({ title, children }) => html`
  <div class="empty"><div class="empty-mark" aria-hidden="true"></div><h2>${title}</h2>${children}</div>`;

/** A bar that fills. */
export const Progress = ({ done, total, label }) => html`
  <progress aria-label=${label} max=${total || 1} value=${total ? Math.min(done, total) : undefined}></progress>`;
