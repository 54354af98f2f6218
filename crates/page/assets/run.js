// One run: what came out, every sample, the components, and how it was made.
import { CommandLine, Empty, Progress, html, useMemo, useRef } from "./ui.js";
import { ago, count, day, number, plural } from "./format.js";
import { setQuery, useLocation } from "./location.js";
import { Curves, KeyFigures, Result } from "./figures.js";
import { Picture, PlayButton, Tile, Verdict, clipGroup } from "./picture.js";
import { Samples, evaluatedItems, order } from "./samples.js";
import { Viewer, openViewer } from "./viewer.js";

const TABS = [["", "Overview"], ["samples", "Samples"], ["components", "Components"], ["details", "Details"]];

function PairColumn({ run, pair, at }) {
  const seed = `seed ${pair.seed}`;
  return html`
    <button type="button" class="pair" onClick=${() => openViewer(`pair-${pair.seed}`)}>
      ${["base", "tuned"].map((arm) => html`
        <span key=${arm} class=${`pair-half ${arm}`}>
          ${pair[arm] ? html`<${Picture} run=${run} image=${pair[arm]} alt=${`${arm}, ${seed}`} />` : html`<span class="missing">–</span>`}
          <span class="caption"><${Verdict} success=${pair[arm]?.success} /><span>${number(pair[arm]?.reward)}</span></span>
        </span>`)}
    </button>`;
}

function Pairs({ run }) {
  const group = useRef(null);
  if (run.pairs.length === 0) return null;
  const hasClips = run.pairs.some((pair) => pair.base?.clip || pair.tuned?.clip);
  return html`
    <section>
      <div class="section-head"><h2><span class="arm base">Base</span> above <span class="arm tuned">tuned</span></h2>
        <span class="faint">each column is one seed; open one to swipe or blink</span>
        ${hasClips ? html`<${PlayButton} group=${group} />` : null}</div>
      <div class="pairs" ref=${group} ...${clipGroup}>${run.pairs.map((pair, at) => html`<${PairColumn} key=${pair.seed} run=${run.summary.id} pair=${pair} at=${at} />`)}</div>
    </section>`;
}

/** While there is no comparison: the best so far and the newest step. */
function SoFar({ run, items }) {
  if (run.pairs.length > 0) return null;
  const newest = run.pending.at(-1)?.step ?? run.steps.at(-1)?.step;
  const latest = items.filter((item) => item.hasImage && item.id.startsWith(`step-${newest}-`));
  const best = run.best.map((image, at) => ({ id: image.key, image, title: `Best sample ${at + 1}` }));
  if (best.length + latest.length === 0) {
    return html`<${Empty} title=${run.summary.state === "running" ? "The first step is on its way" : "No samples yet"}>
      <p>Images and curves appear here as soon as a step is done.</p></${Empty}>`;
  }
  const group = (title, list) => list.length === 0 ? null : html`
    <section><div class="section-head"><h2>${title}</h2></div>
      <div class="sample-grid auto" ...${clipGroup}>${list.map((item) => html`
        <${Tile} key=${item.id} run=${run.summary.id} image=${item.image} alt=${item.title} onOpen=${() => openViewer(item.id)} />`)}</div>
    </section>`;
  return html`${group("Best so far", best)}${group(`Step ${newest}`, latest)}`;
}

function Sampled({ run }) {
  if (run.sampled.length === 0) return null;
  return html`
    <section><div class="section-head"><h2>More from this policy</h2><span class="faint">${plural(run.sampled.length, "sample")}</span></div>
      <div class="sample-grid auto" ...${clipGroup}>${[...run.sampled].reverse().map((one) => html`
        <${Tile} key=${one.key} run=${run.summary.id} image=${one} alt=${`sampled with seed ${one.seed}`} caption=${`seed ${one.seed}`} onOpen=${() => openViewer(one.key)} />`)}</div>
    </section>`;
}

function Components({ run }) {
  const rows = useMemo(() => Array.from({ length: run.components ?? 0 }, (_, component) => {
    const tuned = run.pairs.filter((pair) => pair.tuned && pair.component === component);
    const more = run.sampled.filter((one) => one.component === component);
    const rewards = tuned.map((pair) => pair.tuned.reward).filter((reward) => reward != null);
    return { component, tuned, more, mean: rewards.length ? rewards.reduce((sum, one) => sum + one, 0) / rewards.length : null };
  }), [run]);
  if (!run.components) {
    return html`<${Empty} title="There is no policy yet"><p>The components of the mixture appear here when the run is finished.</p></${Empty}>`;
  }
  return html`
    <section><div class="section-head"><h2>${plural(run.components, "component")} of the policy</h2><span class="faint">they take turns by seed; each row is what one of them generates</span></div>
      ${rows.map(({ component, tuned, more, mean }) => html`
        <div class="component" key=${component} ...${clipGroup}>
          <div class="component-name"><strong>${component + 1}</strong><span class="faint">${plural(tuned.length + more.length, "sample")}</span><span class="faint">mean reward ${number(mean)}</span></div>
          <div class="component-row" tabindex="0" role="region" aria-label=${`Samples of component ${component + 1}`}>
            ${tuned.map((pair) => html`<${Tile} key=${pair.seed} run=${run.summary.id} image=${pair.tuned} alt=${`tuned, seed ${pair.seed}`} onOpen=${() => openViewer(`pair-${pair.seed}`)} />`)}
            ${more.map((one) => html`<${Tile} key=${one.key} run=${run.summary.id} image=${one} alt=${`sampled with seed ${one.seed}`} caption=${`seed ${one.seed}`} onOpen=${() => openViewer(one.key)} />`)}
          </div>
        </div>`)}
    </section>`;
}

function Details({ run }) {
  return html`
    <section><h2>Commands</h2>
      <h3>Repeat this run</h3><${CommandLine} name="Repeat this run" text=${run.commands.repeat} />
      ${run.summary.state === "stopped" ? html`<h3>Go on with it</h3><${CommandLine} name="Go on with it" text=${run.commands.resume} />` : null}
      ${run.components ? html`<h3>Sample from its policy</h3><${CommandLine} name="Sample from its policy" text=${run.commands.sample} />` : null}
    </section>
    <section><h2>Configuration</h2><pre tabindex="0" aria-label="Configuration">${run.config}</pre></section>
    <section><h2>Environment</h2>
      <div class="scroll" tabindex="0" role="region" aria-label="Environment"><table class="figures plain"><tbody>${run.environment.map(([name, value]) => html`<tr key=${name}><th scope="row">${name}</th><td>${value}</td></tr>`)}</tbody></table></div>
    </section>`;
}

const Warnings = ({ warnings }) => warnings.length === 0 ? null : html`
  <aside class="warnings" aria-label="Warnings"><h2>${warnings.length === 1 ? "Worth knowing" : `${warnings.length} things worth knowing`}</h2>
    <ul>${warnings.map((warning) => html`<li key=${warning}>${warning}</li>`)}</ul></aside>`;

function Head({ run, actions, isReport }) {
  const { summary } = run;
  const isRunning = summary.state === "running";
  const when = isReport ? day(summary.changed) : ago(summary.changed);
  const isComparing = isRunning && summary.evaluations >= summary.budget;
  return html`
    <header class="run-head">
      <h1>${summary.prompt || summary.name}</h1>
      <p class="meta">${summary.state === "finished" ? null : html`<span class=${`state ${summary.state}`}>${isRunning ? "Running" : "Stopped"}</span>`}
        <span>${summary.model}</span><span>${summary.method}</span><span>${summary.reward}</span>${summary.seed == null ? null : html`<span>seed ${summary.seed}</span>`}<span>${when}</span></p>
      ${run.stop_reason && !isRunning ? html`<p class="faint stop-reason">Stopped because ${run.stop_reason}.</p>` : null}
      ${isRunning ? html`<div class="run-progress"><${Progress} done=${summary.evaluations} total=${summary.budget} label="Evaluations" />
        <span>${isComparing ? "Tuned; base and tuned are being compared" : `${count(summary.evaluations)} of ${count(summary.budget)} evaluations`}</span></div>` : null}
      ${actions ?? null}
    </header>`;
}

/** The whole page of a run; `actions` stands below its title. */
export function Run({ run, actions, isReport = false }) {
  const { query } = useLocation();
  const tab = TABS.some(([key]) => key === query.tab) ? query.tab : "";
  const evaluated = useMemo(() => evaluatedItems(run), [run]);
  const items = useMemo(() => {
    const shown = order(evaluated.filter((item) => item.hasImage), query.order);
    const pairs = run.pairs.map((pair) => ({ id: `pair-${pair.seed}`, title: `Seed ${pair.seed}`, pair }));
    const best = run.best.map((image, at) => ({ id: image.key, title: `Best sample ${at + 1}`, image }));
    const sampled = run.sampled.map((one) => ({ id: one.key, title: `Sampled with seed ${one.seed}`, image: one }));
    const lists = [pairs, shown, best, sampled];
    return lists.find((list) => list.some((item) => item.id === query.view)) ?? [];
  }, [run, evaluated, query.order, query.view]);
  return html`
    <main id="main" class="page">
      <${Head} run=${run} actions=${actions} isReport=${isReport} />
      <${KeyFigures} run=${run} />
      <${Warnings} warnings=${run.warnings} />
      <nav class="tabs" aria-label="Parts of the run">${TABS.map(([key, text]) => html`
        <button type="button" key=${key} aria-current=${key === tab ? "page" : undefined} onClick=${() => setQuery({ tab: key, view: null })}>${text}</button>`)}</nav>
      ${tab === "" ? html`<${SoFar} run=${run} items=${evaluated} /><${Pairs} run=${run} /><${Sampled} run=${run} /><${Curves} run=${run} /><${Result} comparison=${run.comparison} />` : null}
      ${tab === "samples" ? html`<${Samples} run=${run} items=${evaluated} />` : null}
      ${tab === "components" ? html`<${Components} run=${run} />` : null}
      ${tab === "details" ? html`<${Details} run=${run} />` : null}
      <${Viewer} run=${run.summary.id} items=${items} />
    </main>`;
}
