// All runs: search, filter, sort, and choose some to compare.
import { Choices, Empty, Progress, html, useRef, useWidth, useWindowed } from "./ui.js";
import { ago, count, percent, plural, seconds, signed, times } from "./format.js";
import { go, link, setQuery } from "./location.js";
import { imageUrl } from "./source.js";

const SORTS = {
  changed: ["Newest", (run) => -run.changed],
  success: ["Success", (run) => -(run.success_tuned ?? -1)],
  gain: ["Gain", (run) => -(run.gain ?? -1e9)],
  diversity: ["Diversity", (run) => -(run.diversity_ratio ?? -1)],
  time: ["Time", (run) => run.elapsed_seconds],
  prompt: ["Prompt", (run) => run.prompt.toLowerCase()],
};
const STATES = [["", "All"], ["running", "Running"], ["finished", "Finished"], ["stopped", "Stopped"]];
const MOST_COMPARED = 4;
const WIDE = 720;

const words = (run) => `${run.prompt} ${run.model} ${run.method} ${run.reward} ${run.name}`.toLowerCase();

function select(runs, { q = "", state = "", model = "", method = "", sort = "changed" }) {
  const wanted = q.toLowerCase().split(/\s+/).filter(Boolean);
  const key = (SORTS[sort] ?? SORTS.changed)[1];
  return runs
    .filter((run) => (!state || run.state === state) && (!model || run.model === model) && (!method || run.method === method))
    .filter((run) => wanted.every((word) => words(run).includes(word)))
    .map((run) => [key(run), run])
    .sort(([one], [two]) => (one < two ? -1 : one > two ? 1 : 0))
    .map(([, run]) => run);
}

const distinct = (runs, key) => [...new Set(runs.map((run) => run[key]).filter(Boolean))].sort();

function Filter({ label, name, values, value }) {
  if (values.length < 2) return null;
  return html`
    <label class="select"><span class="hidden">${label}</span>
      <select value=${value} onChange=${(event) => setQuery({ [name]: event.target.value })}>
        <option value="">${label}: all</option>
        ${values.map((one) => html`<option key=${one} value=${one}>${one}</option>`)}
      </select>
    </label>`;
}

const Figure = ({ name, children }) => html`<div class="figure"><dt>${name}</dt><dd>${children}</dd></div>`;

/** Success of base above that of tuned, from 0 to 100 %. */
const SuccessBar = ({ base, tuned }) => html`
  <svg class="success-bar" viewBox="0 0 100 9" preserveAspectRatio="none" aria-hidden="true">
    <rect width="100" height="4" class="track" /><rect width=${100 * (base ?? 0)} height="4" class="base" />
    <rect y="5" width="100" height="4" class="track" /><rect y="5" width=${100 * (tuned ?? 0)} height="4" class="tuned" />
  </svg>`;

function Success({ run }) {
  if (run.success_tuned == null) return html`<span class="faint">–</span>`;
  return html`<span><span class="faint">${percent(run.success_base)} → </span>${percent(run.success_tuned)}
    <${SuccessBar} base=${run.success_base} tuned=${run.success_tuned} /></span>`;
}

export const StateBadge = ({ run }) => html`
  <span class=${`state ${run.state}`}>${run.state === "running" ? "Running" : run.state === "finished" ? "Finished" : "Stopped"}</span>`;

/** The image that stands for the run; of a finished one, the same seed before it. */
function Thumbs({ run }) {
  const seed = /^tuned-(\d+)$/.exec(run.thumbnail ?? "")?.[1];
  const thumb = (key) => html`<span class="thumb" key=${key}>${key
    ? html`<img src=${imageUrl(run.id, key, "thumbnail")} alt="" loading="lazy" decoding="async" width="64" height="64" />` : null}</span>`;
  return html`<span class="thumbs">${seed ? thumb(`base-${seed}`) : null}${thumb(run.thumbnail)}</span>`;
}

function Row({ run, at, total, chosen, full }) {
  const choose = (event) => {
    const next = event.target.checked ? [...chosen, run.id] : chosen.filter((id) => id !== run.id);
    setQuery({ chosen: next.join(",") });
  };
  const isChosen = chosen.includes(run.id);
  return html`
    <li class="row" aria-posinset=${at + 1} aria-setsize=${total}>
      <input type="checkbox" checked=${isChosen} disabled=${!isChosen && full} onChange=${choose} aria-label=${`Compare ${run.prompt}`} />
      <a class="row-link" ...${link(`/run/${run.id}`)}>
        <${Thumbs} run=${run} />
        <span class="row-text">
          <span class="prompt">${run.prompt || run.name}</span>
          <span class="meta">${run.state === "finished" ? null : html`<${StateBadge} run=${run} />`}
            <span>${run.model}</span><span>${run.method}</span><span>${ago(run.changed)}</span></span>
          ${run.problem ? html`<span class="meta problem">${run.problem}</span>` : null}
        </span>
      </a>
      <dl class="row-figures">
        <${Figure} name="Success"><${Success} run=${run} /></${Figure}>
        <${Figure} name="Gain">${signed(run.gain)}</${Figure}>
        <${Figure} name="Diversity">${times(run.diversity_ratio)}</${Figure}>
        <${Figure} name="Evaluations">${run.state === "finished" ? count(run.evaluations) : html`
          ${count(run.evaluations)}<span class="faint"> / ${count(run.budget)}</span>
          <${Progress} done=${run.evaluations} total=${run.budget} label="Evaluations" />`}</${Figure}>
        <${Figure} name="Time">${seconds(run.elapsed_seconds)}</${Figure}>
      </dl>
    </li>`;
}

function Rows({ runs, chosen }) {
  const ref = useRef(null);
  const width = useWidth(ref, innerWidth);
  const height = width >= WIDE ? 92 : 168;
  const { first, last } = useWindowed(ref, runs.length, height);
  return html`
    <ul class=${`rows ${width >= WIDE ? "wide" : "narrow"}`} ref=${ref} style=${{ paddingTop: `${first * height}px`, paddingBottom: `${Math.max(0, runs.length - last) * height}px` }}>
      ${runs.slice(first, last).map((run, at) => html`
        <${Row} key=${run.id} run=${run} at=${first + at} total=${runs.length} chosen=${chosen} full=${chosen.length >= MOST_COMPARED} />`)}
    </ul>`;
}

function Chosen({ chosen, runs }) {
  if (chosen.length === 0) return null;
  const names = chosen.map((id) => runs.find((run) => run.id === id)?.prompt).filter(Boolean);
  return html`
    <div class="chosen" role="region" aria-label="Chosen runs">
      <span class="chosen-names">${names.join(" · ")}</span>
      <button type="button" class="quiet" onClick=${() => setQuery({ chosen: null })}>Clear</button>
      <button type="button" class="main-action" disabled=${chosen.length < 2} onClick=${() => go("/compare", { runs: chosen.join(",") })}>
        ${chosen.length < 2 ? "Choose one more" : `Compare ${chosen.length} runs`}</button>
    </div>`;
}

export function List({ server, query }) {
  if (!server.runs) return html`<main id="main" class="page" aria-busy="true"></main>`;
  const runs = server.runs;
  const chosen = (query.chosen ?? "").split(",").filter(Boolean).slice(0, MOST_COMPARED);
  if (server.problem && runs.length === 0) {
    return html`<main id="main" class="page"><p class="notice" role="alert">${server.problem}.</p></main>`;
  }
  if (runs.length === 0) {
    return html`
      <main id="main" class="page"><${Empty} title="No runs yet">
        <p>A run tunes the noise of one prompt. It takes about a minute with the model that is built in.</p>
        <p><a class="main-action" ...${link("/start")}>Start the first run</a></p>
      </${Empty}></main>`;
  }
  const shown = select(runs, query);
  const counted = STATES.map(([key, text]) => [key, text, key ? runs.filter((run) => run.state === key).length : runs.length]);
  return html`
    <main id="main" class="page">
      <div class="title-row"><h1>Runs</h1><a class="main-action" ...${link("/start")}>New run</a></div>
      <div class="tools" role="search">
        <input type="search" placeholder="Search prompts, models, scorers" aria-label="Search runs" value=${query.q ?? ""}
          onInput=${(event) => setQuery({ q: event.target.value })} />
        <${Choices} label="State" options=${counted} value=${query.state ?? ""} onChange=${(state) => setQuery({ state })} />
        <${Filter} label="Model" name="model" values=${distinct(runs, "model")} value=${query.model ?? ""} />
        <${Filter} label="Method" name="method" values=${distinct(runs, "method")} value=${query.method ?? ""} />
        <label class="select"><span class="hidden">Sort by</span>
          <select value=${query.sort ?? "changed"} onChange=${(event) => setQuery({ sort: event.target.value })}>
            ${Object.entries(SORTS).map(([key, [text]]) => html`<option key=${key} value=${key}>Sort: ${text}</option>`)}
          </select>
        </label>
      </div>
      <p class="hidden" role="status">${plural(shown.length, "run")}</p>
      ${shown.length === 0
        ? html`<${Empty} title="No run matches"><p><button type="button" class="quiet" onClick=${() => setQuery({ q: null, state: null, model: null, method: null })}>Clear search and filters</button></p></${Empty}>`
        : html`<${Rows} runs=${shown} chosen=${chosen} />`}
      <${Chosen} chosen=${chosen} runs=${runs} />
    </main>`;
}
