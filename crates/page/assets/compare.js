// Two to four runs side by side: figures, curves over evaluations, the same seeds, and the samples of any step.
import { Empty, html, reducedMotion, useEffect, useMemo, useState } from "./ui.js";
import { count, number, percent, seconds, signed, times } from "./format.js";
import { link, setQuery } from "./location.js";
import { Chart } from "./chart.js";
import { Picture, Verdict, clipGroup } from "./picture.js";
import { readRun } from "./server.js";

const MOST = 4;
const LETTERS = ["A", "B", "C", "D"];
const STEP_MILLISECONDS = 900;

function useRuns(ids, summaries) {
  const [views, setViews] = useState(new Map());
  const stamp = ids.map((id) => `${id} ${summaries.find((run) => run.id === id)?.changed}`).join();
  useEffect(() => {
    let current = true;
    Promise.all(ids.map((id) => readRun(id).catch(() => null))).then((read) => {
      if (current) setViews(new Map(read.filter(Boolean).map((view) => [view.summary.id, view])));
    });
    return () => { current = false; };
  }, [stamp]);
  return ids.map((id) => views.get(id)).filter(Boolean);
}

function Picker({ ids, runs }) {
  const free = runs.filter((run) => !ids.includes(run.id));
  if (ids.length >= MOST || free.length === 0) return null;
  const add = (event) => event.target.value && setQuery({ runs: [...ids, event.target.value].join(",") });
  return html`<label class="select"><span class="hidden">Add a run</span>
    <select value="" onChange=${add}><option value="">Add a run…</option>${free.map((run) => html`<option key=${run.id} value=${run.id}>${run.prompt} · ${run.method} · ${run.name}</option>`)}</select></label>`;
}

const Name = ({ at, view }) => html`<span class="run-name"><span class=${`letter series-${at}`} aria-hidden="true">${LETTERS[at]}</span><span>${view.summary.prompt}</span></span>`;

function Heads({ views, ids }) {
  return html`<ul class="compared">${views.map((view, at) => html`
    <li key=${view.summary.id}><a ...${link(`/run/${view.summary.id}`)}><${Name} at=${at} view=${view} /></a>
      <span class="meta"><span>${view.summary.model}</span><span>${view.summary.method}</span><span>${view.summary.reward}</span>${view.summary.seed == null ? null : html`<span>seed ${view.summary.seed}</span>`}</span>
      <button type="button" class="quiet small" onClick=${() => setQuery({ runs: ids.filter((id) => id !== view.summary.id).join(",") })} aria-label=${`Remove ${view.summary.prompt}`}>Remove</button></li>`)}</ul>`;
}

const ROWS = [
  ["Success, base", (run) => percent(run.success_base)],
  ["Success, tuned", (run) => percent(run.success_tuned)],
  ["Gain, baseline deviations", (run) => signed(run.gain)],
  ["Diversity of the base", (run) => times(run.diversity_ratio)],
  ["KL, nats", (run) => number(run.kl_nats, 1)],
  ["Evaluations", (run) => count(run.evaluations)],
  ["Tuning time", (run) => seconds(run.elapsed_seconds)],
];

const Figures = ({ views }) => html`
  <div class="scroll" tabindex="0" role="region" aria-label="Figures"><table class="figures"><thead><tr><th scope="col">Figure</th>${views.map((view, at) => html`<th scope="col" key=${view.summary.id}><${Name} at=${at} view=${view} /></th>`)}</tr></thead>
    <tbody>${ROWS.map(([name, of]) => html`<tr key=${name}><th scope="row">${name}</th>${views.map((view) => html`<td key=${view.summary.id}>${of(view.summary)}</td>`)}</tr>`)}</tbody></table></div>`;

function Curves({ views, mark }) {
  const x = [...new Set(views.flatMap((view) => view.steps.map((step) => step.evaluations)))].sort((one, two) => one - two);
  const series = (of) => views.map((view, at) => {
    const known = new Map(view.steps.map((step) => [step.evaluations, of(step)]));
    return { name: `${LETTERS[at]} ${view.summary.prompt}`, values: x.map((evaluations) => known.get(evaluations) ?? null), colour: `series-${at}` };
  });
  const has = (of) => views.some((view) => view.steps.some((step) => of(step) != null));
  const rewards = new Set(views.map((view) => view.summary.reward));
  const charts = [
    ["Gain", "baseline standard deviations", (step) => step.standardised_gain, 2],
    ["Reward", rewards.size > 1 ? "these runs have different scorers" : [...rewards][0], (step) => step.reward.value, 3],
    ["KL divergence", "nats", (step) => step.kl_nats, 1],
    ["Diversity", "mean pairwise distance in a step", (step) => step.diversity, 3],
  ];
  return html`<div class="charts">${charts.filter(([, , of]) => has(of)).map(([name, note, of, digits]) => html`
    <${Chart} key=${name} name=${name} note=${note} x=${x} series=${series(of)} digits=${digits} cursorKey="compare" mark=${mark} />`)}</div>`;
}

/** The last step that was done with at most so many evaluations. */
const stepAt = (view, evaluations) => view.steps.findLast((step) => step.evaluations <= evaluations);

function Steps({ views, at, setAt, stops }) {
  const [playing, setPlaying] = useState(false);
  const index = Math.max(0, stops.findLastIndex((stop) => stop <= at));
  useEffect(() => {
    if (!playing) return undefined;
    const timer = setInterval(() => {
      const now = Number(document.getElementById("step").value);
      if (now + 1 >= stops.length) setPlaying(false);
      else setAt(stops[now + 1]);
    }, STEP_MILLISECONDS);
    return () => clearInterval(timer);
  }, [playing, stops]);
  const most = Math.max(...views.map((view) => stepAt(view, at)?.rewards.length ?? 0));
  return html`
    <section><div class="section-head"><h2>Samples by step</h2><span class="faint">all runs at the same number of evaluations</span></div>
      <div class="slider">
        ${reducedMotion() ? null : html`<button type="button" class="quiet" onClick=${() => { if (!playing && index + 1 >= stops.length) setAt(stops[0]); setPlaying(!playing); }}>${playing ? "Pause" : "Play"}</button>`}
        <input id="step" type="range" min="0" max=${stops.length - 1} value=${index} onInput=${(event) => setAt(stops[Number(event.target.value)])} aria-label="Evaluations" aria-valuetext=${`${stops[index]} evaluations`} />
        <output for="step">${count(stops[index])} evaluations</output>
      </div>
      ${views.map((view, run) => {
        const step = stepAt(view, at);
        const images = view.evaluated.find((one) => one.step === step?.step);
        return html`<div class="component" key=${view.summary.id} ...${clipGroup}>
          <div class="component-name"><${Name} at=${run} view=${view} /><span class="faint">${step ? `mean reward ${number(step.reward.value)}` : "not begun"}</span></div>
          <div class="component-row" tabindex="0" role="region" aria-label=${`Samples of ${view.summary.prompt}`}>${(step?.rewards ?? []).map((reward, index) => html`
            <span class="tile still" key=${index}>${images?.indices.includes(index)
              ? html`<${Picture} run=${view.summary.id} image=${{ key: `step-${step.step}-${index}`, clip: images.clip }} alt=${`sample ${index + 1} of ${most}`} />`
              : html`<span class="missing" aria-hidden="true">–</span>`}<span class="caption">${number(reward)}</span></span>`)}</div></div>`;
      })}
    </section>`;
}

/** One run for each different prompt and model: only these have a base of their own. */
const bases = (views) => views.filter((view, at) =>
  views.findIndex((other) => other.summary.prompt === view.summary.prompt && other.summary.model === view.summary.model) === at);

function Seeds({ views }) {
  const finished = views.filter((view) => view.pairs.length > 0);
  const rows = useMemo(() => {
    const known = finished.map((view) => new Map(view.pairs.map((pair) => [pair.seed, pair])));
    const shared = finished[0]?.pairs.map((pair) => pair.seed).filter((seed) => known.every((pairs) => pairs.has(seed))) ?? [];
    const isShared = shared.length > 0;
    const length = Math.min(...finished.map((view) => view.pairs.length));
    const rows = isShared
      ? shared.map((seed) => ({ name: `seed ${seed}`, pairs: known.map((pairs) => pairs.get(seed)) }))
      : Array.from({ length }, (_, at) => ({ name: `${at + 1}`, pairs: finished.map((view) => view.pairs[at]) }));
    return { rows, isShared };
  }, [views]);
  if (finished.length < 2) return null;
  const cell = (view, image, alt) => html`<span class="tile still">${image ? html`<${Picture} run=${view.summary.id} image=${image} alt=${alt} />` : html`<span class="missing">–</span>`}
    <span class="caption"><${Verdict} success=${image?.success} /><span>${number(image?.reward)}</span></span></span>`;
  return html`
    <section><div class="section-head"><h2>${rows.isShared ? "Same seeds side by side" : "Fresh samples side by side"}</h2>
        <span class="faint">${rows.isShared ? "each column is one seed" : "these runs share no seed; samples are in order"}</span></div>
      <div class="scroll seeds" tabindex="0" role="region" aria-label="Samples by seed" ...${clipGroup}>
        ${bases(finished).map((view) => html`<div class="seed-row" key=${`base-${view.summary.id}`}><span class="seed-name"><span class="arm base">Base</span><span class="faint">${view.summary.prompt}</span></span>${rows.rows.map((row) => cell(view, row.pairs[finished.indexOf(view)].base, `base, ${row.name}`))}</div>`)}
        ${finished.map((view, at) => html`<div class="seed-row" key=${view.summary.id}><span class="seed-name"><${Name} at=${views.indexOf(view)} view=${view} /></span>${rows.rows.map((row) => cell(view, row.pairs[at].tuned, `${view.summary.prompt}, ${row.name}`))}</div>`)}
      </div>
    </section>`;
}

export function Compare({ server, query }) {
  const runs = server.runs ?? [];
  const ids = (query.runs ?? "").split(",").filter((id) => runs.some((run) => run.id === id)).slice(0, MOST);
  const views = useRuns(ids, runs);
  const stops = useMemo(() => [...new Set(views.flatMap((view) => view.steps.map((step) => step.evaluations)))].sort((one, two) => one - two), [views]);
  const at = Number(query.at ?? stops.at(-1) ?? 0);
  const setAt = (evaluations) => setQuery({ at: evaluations });
  return html`
    <main id="main" class="page">
      <div class="title-row"><h1>Compare</h1><${Picker} ids=${ids} runs=${runs} /></div>
      ${ids.length === 0
        ? html`<${Empty} title="Choose two to four runs"><p>Add them here, or tick them in the list of runs.</p></${Empty}>`
        : html`<${Heads} views=${views} ids=${ids} />`}
      ${ids.length === 1 ? html`<p class="notice">Add at least one more run.</p>` : null}
      ${views.length >= 2 ? html`
        <${Figures} views=${views} />
        <${Seeds} views=${views} />
        ${stops.length ? html`<${Steps} views=${views} at=${at} setAt=${setAt} stops=${stops} />` : null}
        <${Curves} views=${views} mark=${query.at == null ? null : at} />` : null}
    </main>`;
}
