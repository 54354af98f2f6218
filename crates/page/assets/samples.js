// Every evaluated sample with its reward, in order or sorted; only the rows near the window exist.
import { Choices, Empty, html, useMemo, useRef, useWidth, useWindowed } from "./ui.js";
import { number, plural } from "./format.js";
import { setQuery, useLocation } from "./location.js";
import { PlayButton, Tile, clipGroup } from "./picture.js";
import { openViewer } from "./viewer.js";

const TILE = 112;
const ROW = 146;
const ORDERS = [["", "In order"], ["best", "Best first"], ["worst", "Worst first"]];

/** All evaluated samples as items of the viewer, those of the step that is not done yet last. */
export function evaluatedItems(run) {
  const saved = new Map(run.evaluated.map((step) => [step.step, step]));
  const item = (step, index, reward) => {
    const images = saved.get(step);
    const key = `step-${step}-${index}`;
    return {
      id: key,
      title: `Step ${step}, sample ${index + 1}`,
      image: { key, reward, clip: images?.clip ?? false, success: null },
      hasImage: images?.indices.includes(index) ?? false,
    };
  };
  const done = run.steps.flatMap((step) => step.rewards.map((reward, index) => item(step.step, index, reward)));
  return [...done, ...run.pending.map((sample) => item(sample.step, sample.index, sample.reward))];
}

export function order(items, by) {
  if (by !== "best" && by !== "worst") return items;
  const sign = by === "best" ? -1 : 1;
  // Missing rewards come last either way.
  const key = (item) => item.image.reward ?? (sign < 0 ? -Infinity : Infinity);
  return [...items].sort((one, two) => sign * (key(one) - key(two)));
}

function Grid({ run, items, columns, width }) {
  const ref = useRef(null);
  const rows = Math.ceil(items.length / columns);
  const { first, last } = useWindowed(ref, rows, ROW);
  const height = { paddingTop: `${first * ROW}px`, paddingBottom: `${Math.max(0, rows - last) * ROW}px` };
  return html`
    <div ref=${ref} style=${height} ...${clipGroup}>
      <div class="sample-grid" style=${{ gridTemplateColumns: `repeat(${columns}, minmax(0, 1fr))` }}>
        ${items.slice(first * columns, last * columns).map((item) => item.hasImage
          ? html`<${Tile} key=${item.id} run=${run.summary.id} image=${item.image} alt=${item.title} onOpen=${() => openViewer(item.id)} />`
          : html`<div key=${item.id} class="tile bare"><span class="missing" aria-hidden="true">–</span><span class="caption">${number(item.image.reward)}</span></div>`)}
      </div>
    </div>`;
}

export function Samples({ run, items }) {
  const { query } = useLocation();
  const ref = useRef(null);
  const width = useWidth(ref, 1000);
  const columns = Math.max(3, Math.floor(width / TILE));
  const shown = useMemo(() => order(items, query.order), [items, query.order]);
  if (items.length === 0) {
    return html`<${Empty} title="Nothing is evaluated yet"><p>Samples appear here as soon as the first step is done.</p></${Empty}>`;
  }
  const withImages = items.filter((item) => item.hasImage).length;
  const missing = items.filter((item) => item.image.reward == null).length;
  const hasClips = items.some((item) => item.image.clip);
  return html`
    <section ref=${ref}>
      <div class="section-head"><h2>${plural(items.length, "evaluated sample")}</h2>
        ${hasClips ? html`<${PlayButton} group=${ref} />` : null}
        <${Choices} label="Order" options=${ORDERS} value=${query.order ?? ""} onChange=${(next) => setQuery({ order: next })} />
      </div>
      ${withImages === 0 ? html`<p class="notice">This run was made by a version that kept no image of each sample; their rewards are shown.</p>` : null}
      ${missing > 0 ? html`<p class="notice">${plural(missing, "reward")} missing.</p>` : null}
      <${Grid} run=${run} items=${shown} columns=${columns} width=${width} />
    </section>`;
}
