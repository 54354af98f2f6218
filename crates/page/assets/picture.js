// One image or clip in a list. Clips play while the pointer or the focus is on any clip of their group, all in step: one
// clock moves the strips, in which all frames of a clip stand side by side.
import { html, reducedMotion, useEffect, useSettled, useState } from "./ui.js";
import { number } from "./format.js";
import { imageUrl } from "./source.js";

const FRAME_MILLISECONDS = 125;
const groups = new WeakMap();

/** Plays or stops all clips inside one element: "hover" respects the wish for less motion, "button" was asked for. */
export function play(group, playing) {
  if (reducedMotion() && playing === "hover") return;
  const state = groups.get(group) ?? { timer: 0, began: 0 };
  groups.set(group, state);
  cancelAnimationFrame(state.timer);
  const strips = () => group.querySelectorAll("[data-strip]");
  if (!playing) {
    for (const strip of strips()) strip.classList.remove("playing");
    return;
  }
  for (const strip of strips()) {
    if (!strip.style.backgroundImage) load(strip);
    strip.classList.add("playing");
  }
  state.began = performance.now();
  const tick = (now) => {
    const frame = Math.floor((now - state.began) / FRAME_MILLISECONDS);
    for (const strip of strips()) {
      const frames = Number(strip.dataset.frames), wide = Number(strip.dataset.wide);
      const left = (frame % frames) * wide + (wide - 1) / 2;
      if (frames > 1) strip.style.backgroundPositionX = `${(100 * left) / (frames * wide - 1)}%`;
    }
    state.timer = requestAnimationFrame(tick);
  };
  state.timer = requestAnimationFrame(tick);
}

function load(strip) {
  const image = new Image();
  image.onload = () => {
    const poster = strip.parentElement?.querySelector("img");
    const shape = poster?.naturalWidth ? poster.naturalWidth / poster.naturalHeight : 1;
    strip.dataset.frames = Math.max(1, Math.round(image.naturalWidth / image.naturalHeight / shape));
    strip.style.backgroundImage = `url("${image.src}")`;
    // A frame covers its square, as the poster does.
    strip.dataset.wide = Math.max(1, shape);
    strip.style.backgroundSize = `${100 * strip.dataset.frames * strip.dataset.wide}% ${100 * Math.max(1, 1 / shape)}%`;
    strip.style.backgroundPositionY = "50%";
  };
  image.src = strip.dataset.strip;
}

/** Properties of an element whose clips play together. */
export const clipGroup = {
  onPointerOver: (event) => event.target.closest("[data-clip]") && play(event.currentTarget, "hover"),
  onPointerLeave: (event) => play(event.currentTarget, false),
  onFocusIn: (event) => event.target.closest("[data-clip]") && play(event.currentTarget, "hover"),
  onFocusOut: (event) => play(event.currentTarget, false),
};

/** A button that plays and stops the clips of a group, for those who asked for less motion or have no pointer. */
export function PlayButton({ group }) {
  const [playing, setPlaying] = useState(false);
  useEffect(() => {
    if (group.current) play(group.current, playing && "button");
  }, [playing]);
  return html`<button type="button" class="quiet" aria-pressed=${String(playing)} onClick=${() => setPlaying(!playing)}>${playing ? "Stop clips" : "Play clips"}</button>`;
}

/** The image itself, with the strip of its clip over it. */
export function Picture({ run, image, alt, size = "thumbnail" }) {
  const [failed, setFailed] = useState(false);
  const settled = useSettled();
  const url = imageUrl(run, image.key, size);
  if (failed || !url) return html`<span class="missing" role="img" aria-label=${`${alt}: no image`}>no image</span>`;
  return html`
    <span class="picture" data-clip=${image.clip || undefined}>
      <img src=${settled ? url : undefined} alt=${settled ? alt : ""} loading="lazy" decoding="async" draggable="false" onError=${() => setFailed(true)} />
      ${image.clip ? html`<span class="strip" data-strip=${imageUrl(run, image.key, "strip")} aria-hidden="true"></span>` : null}
    </span>`;
}

/** What the judge said, by sign and colour. */
export const Verdict = ({ success }) =>
  success == null ? null : html`<span class=${`verdict ${success ? "yes" : "no"}`} title=${success ? "The judge accepts it" : "The judge rejects it"}>
    <span aria-hidden="true">${success ? "✓" : "✕"}</span><span class="hidden">${success ? "accepted" : "rejected"}</span></span>`;

/** An image that opens, with its reward below. */
export function Tile({ run, image, alt, caption, onOpen, className = "" }) {
  return html`
    <button type="button" class=${`tile ${className}`} onClick=${onOpen}>
      <${Picture} run=${run} image=${image} alt=${alt} />
      <span class="caption"><${Verdict} success=${image.success} /><span>${caption ?? number(image.reward)}</span></span>
    </button>`;
}
