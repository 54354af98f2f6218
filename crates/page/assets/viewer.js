// An image at its full size over the page: alone, or base and tuned side by side, under a swipe, or blinking.
import { Choices, html, reducedMotion, useEffect, useRef, useState } from "./ui.js";
import { number } from "./format.js";
import { setQuery, useLocation } from "./location.js";
import { PlayButton, Verdict, play } from "./picture.js";
import { imageUrl } from "./source.js";

const BLINK_MILLISECONDS = 600;
const MODES = [["side", "Side by side"], ["swipe", "Swipe"], ["blink", "Blink"]];

/** Opens the viewer on an item by its id; the address says so too. */
export const openViewer = (id) => setQuery({ view: id }, { push: true });

/** The image; of a clip its strip of frames, so that all clips of the viewer play in step. */
function Full({ run, image, alt, clip }) {
  const style = clip ? { clipPath: clip } : undefined;
  if (!image.clip) return html`<img class="full" src=${imageUrl(run, image.key)} alt=${alt} style=${style} draggable="false" />`;
  return html`<span class="full moving" style=${style}><img src=${imageUrl(run, image.key, "thumbnail")} alt=${alt} draggable="false" />
    <span class="strip" data-strip=${imageUrl(run, image.key, "strip")} aria-hidden="true"></span></span>`;
}

const Label = ({ arm, image }) => html`
  <figcaption><span class=${`arm ${arm}`}>${arm}</span> reward ${number(image?.reward)} <${Verdict} success=${image?.success} /></figcaption>`;

function Side({ run, pair, alt }) {
  return html`<div class="side">
    ${["base", "tuned"].map((arm) => pair[arm] && html`
      <figure key=${arm}><${Full} run=${run} image=${pair[arm]} alt=${`${arm}, ${alt}`} /><${Label} arm=${arm} image=${pair[arm]} /></figure>`)}
  </div>`;
}

function Swipe({ run, pair, alt }) {
  const [at, setAt] = useState(50);
  const move = (event) => {
    if (event.buttons === 0 && event.type === "pointermove") return;
    const box = event.currentTarget.getBoundingClientRect();
    setAt(Math.max(0, Math.min(100, (100 * (event.clientX - box.left)) / box.width)));
  };
  return html`<figure class="over">
    <div class="stack" onPointerDown=${move} onPointerMove=${move}>
      <${Full} run=${run} image=${pair.tuned} alt=${`tuned, ${alt}`} />
      <${Full} run=${run} image=${pair.base} alt=${`base, ${alt}`} clip=${`inset(0 ${100 - at}% 0 0)`} />
      <span class="swipe-line" style=${{ left: `${at}%` }} aria-hidden="true"></span>
    </div>
    <input type="range" min="0" max="100" value=${at} onInput=${(event) => setAt(Number(event.target.value))} aria-label="How much of base is shown over tuned" />
    <div class="two-labels"><${Label} arm="base" image=${pair.base} /><${Label} arm="tuned" image=${pair.tuned} /></div>
  </figure>`;
}

function Blink({ run, pair, alt }) {
  const [arm, setArm] = useState("base");
  const [moving, setMoving] = useState(!reducedMotion());
  const other = () => setArm((now) => (now === "base" ? "tuned" : "base"));
  useEffect(() => {
    if (!moving) return undefined;
    const timer = setInterval(other, BLINK_MILLISECONDS);
    return () => clearInterval(timer);
  }, [moving]);
  return html`<figure class="over">
    <div class="stack">
      <${Full} run=${run} image=${pair.tuned} alt=${`tuned, ${alt}`} />
      <${Full} run=${run} image=${pair.base} alt=${`base, ${alt}`} clip=${arm === "base" ? undefined : "inset(0 100% 0 0)"} />
    </div>
    <${Label} arm=${arm} image=${pair[arm]} />
    <div class="row-of-buttons">
      <button type="button" class="quiet" onClick=${() => setMoving(!moving)}>${moving ? "Pause" : "Blink"}</button>
      <button type="button" class="quiet" onClick=${() => { setMoving(false); other(); }}>Show the other</button>
    </div>
  </figure>`;
}

/** `items` are `{ id, title, image }` or `{ id, title, pair }`; the arrow keys go through them. */
export function Viewer({ run, items }) {
  const { query } = useLocation();
  const dialog = useRef(null);
  const at = items.findIndex((item) => item.id === query.view);
  const item = items[at];
  const isOpen = item !== undefined;
  const close = () => setQuery({ view: null });
  useEffect(() => {
    const shown = dialog.current;
    if (isOpen && shown && !shown.open) shown.showModal();
    if (!isOpen && shown?.open) shown.close();
  }, [isOpen]);
  useEffect(() => {
    const shown = dialog.current;
    if (!isOpen || !shown) return undefined;
    play(shown, "hover");
    return () => play(shown, false);
  }, [isOpen, item?.id, query.mode]);
  if (!isOpen) return html`<dialog class="viewer" ref=${dialog}></dialog>`;
  const step = (by) => setQuery({ view: items[(at + by + items.length) % items.length].id });
  const isPair = item.pair?.base && item.pair?.tuned;
  const mode = MODES.some(([key]) => key === query.mode) ? query.mode : "side";
  const onKey = (event) => {
    if (event.target.matches("input")) return;
    const key = event.key.toLowerCase();
    const modes = { s: "swipe", b: "blink", d: "side" };
    if (key === "arrowleft") step(-1);
    else if (key === "arrowright") step(1);
    else if (isPair && modes[key]) setQuery({ mode: modes[key] });
    else return;
    event.preventDefault();
  };
  const Mode = { side: Side, swipe: Swipe, blink: Blink }[mode];
  const alone = item.image ?? item.pair?.tuned ?? item.pair?.base;
  return html`
    <dialog class="viewer" ref=${dialog} onClose=${close} onKeyDown=${onKey} aria-label=${item.title}
      onClick=${(event) => event.target === dialog.current && close()}>
      <div class="viewer-body">
        <header>
          <h2>${item.title}</h2>
          ${isPair ? html`<${Choices} label="How to compare" options=${MODES} value=${mode} onChange=${(next) => setQuery({ mode: next })} />` : null}
          <button type="button" class="quiet" onClick=${close} aria-label="Close">✕</button>
        </header>
        ${isPair
          ? html`<${Mode} key=${item.id} run=${run} pair=${item.pair} alt=${item.title} />`
          : html`<figure class="over"><${Full} run=${run} image=${alone} alt=${item.title} /><figcaption>reward ${number(alone.reward)} <${Verdict} success=${alone.success} /></figcaption></figure>`}
        <footer>
          <button type="button" class="quiet" onClick=${() => step(-1)} aria-label="Previous">← Previous</button>
          <span class="faint">${at + 1} of ${items.length}</span>
          ${reducedMotion() && alone.clip ? html`<${PlayButton} group=${dialog} />` : null}
          <button type="button" class="quiet" onClick=${() => step(1)} aria-label="Next">Next →</button>
        </footer>
      </div>
    </dialog>`;
}
