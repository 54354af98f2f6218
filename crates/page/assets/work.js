// Work that the page starts: sampling, a new run, a stopped run that goes on. One piece at a time, and it can be cancelled.
import { CommandLine, Progress, html, useEffect, useState } from "./ui.js";
import { count } from "./format.js";
import { go, link } from "./location.js";
import { cancelWork, knowsToken, showCommand, startWork } from "./server.js";

const NAMES = { start: "Tuning", resume: "Tuning", sample: "Sampling" };
const isOver = (job) => job.ended != null;
const DELAY_MILLISECONDS = 200;

/** Runs an action and keeps the reason for which it failed. */
function useAction() {
  const [problem, setProblem] = useState(null);
  const [busy, setBusy] = useState(false);
  const act = async (action) => {
    setBusy(true);
    setProblem(null);
    try {
      return await action();
    } catch (error) {
      setProblem(error.message);
      return undefined;
    } finally {
      setBusy(false);
    }
  };
  return { problem, busy, act };
}

const Problem = ({ text }) => (text ? html`<p class="notice bad" role="alert">${text}.</p>` : null);

const NoToken = () => html`<p class="notice">This page can look but not start work, because it was opened without its token. Open the address that <code>noisefind serve</code> printed.</p>`;

/** In the bar of every page: what is being done. */
export function WorkBadge({ jobs, runs }) {
  const job = jobs.find((one) => !isOver(one));
  if (!job) return null;
  const run = runs.find((one) => one.name === job.run);
  const text = `${NAMES[job.kind]}${job.total ? ` ${count(job.done)}/${count(job.total)}` : "…"}`;
  return html`<a class="work-badge" ...${run ? link(`/run/${run.id}`) : link("/start")}><span class="pulse" aria-hidden="true"></span>${text}</a>`;
}

/** One job with its bar. */
export function JobPanel({ job }) {
  const { problem, act } = useAction();
  const states = { running: NAMES[job.kind], stopping: "Stopping after this batch", done: "Done", cancelled: "Cancelled", failed: "Failed" };
  return html`
    <div class=${`job ${job.state}`} role="status">
      <div class="job-head"><strong>${states[job.state]}</strong>
        <span class="faint">${isOver(job) ? job.title : job.total ? `${job.phase}, ${count(job.done)} of ${count(job.total)}` : job.phase}</span>
        ${isOver(job) ? null : html`<button type="button" class="quiet" onClick=${() => act(() => cancelWork(job.id))}>${job.state === "stopping" ? "Stop at once" : "Cancel"}</button>`}
      </div>
      ${isOver(job) ? null : html`<${Progress} done=${job.done} total=${job.total} label=${states[job.state]} />`}
      ${job.state === "failed" && job.lines.length ? html`<pre class="lines">${job.lines.join("\n")}</pre>` : null}
      <${Problem} text=${problem} />
    </div>`;
}

/** Below the title of a run: sample more, go on, compare. */
export function RunActions({ run, jobs }) {
  const { summary } = run;
  const [many, setMany] = useState(8);
  const { problem, busy, act } = useAction();
  const job = jobs.find((one) => one.run === summary.name && (!isOver(one) || one.state === "failed" || one.state === "cancelled"));
  const isWorking = jobs.some((one) => !isOver(one));
  const canSample = summary.state === "finished" && run.components;
  return html`
    <div class="actions">
      ${canSample ? html`<form class="inline" onSubmit=${(event) => { event.preventDefault(); act(() => startWork({ kind: "sample", run: summary.id, count: many })); }}>
        <label>Sample <input type="number" min="1" max="256" value=${many} onInput=${(event) => setMany(Number(event.target.value))} aria-label="How many samples" /></label>
        <button type="submit" class="main-action" disabled=${busy || isWorking || !knowsToken()}>Sample more</button></form>` : null}
      ${summary.state === "stopped" ? html`<button type="button" class="main-action" disabled=${busy || isWorking || !knowsToken()} onClick=${() => act(() => startWork({ kind: "resume", run: summary.id }))}>Go on</button>` : null}
      <a class="button" ...${link("/compare", { runs: summary.id })}>Compare with…</a>
      <a class="button" ...${link("/start", { from: summary.id })}>Start another like it</a>
    </div>
    ${knowsToken() || (!canSample && summary.state !== "stopped") ? null : html`<${NoToken} />`}
    <${Problem} text=${problem} />
    ${job ? html`<${JobPanel} job=${job} />` : null}`;
}

const FIELDS = [
  ["evaluations", "Evaluations", "Samples to generate and score while tuning.", { type: "number", min: 2, placeholder: "160" }],
  ["samples", "Fresh samples", "For base and tuned each, at the end.", { type: "number", min: 2, placeholder: "32" }],
  ["seed", "Seed", "Random seed.", { type: "number", min: 0, placeholder: "0" }],
  ["num_inference_steps", "Denoising steps", "The model's own where empty.", { type: "number", min: 1, placeholder: "the model's own" }],
  ["guidance_scale", "Guidance", "Classifier-free guidance.", { type: "number", min: 0, step: "any", placeholder: "the model's own" }],
];

function work(form) {
  const fields = Object.entries(form).filter(([, value]) => value !== "" && value != null);
  const typed = fields.map(([key, value]) => [key, FIELDS.some(([name]) => name === key) ? Number(value) : value]);
  return { kind: "start", prompt: "", ...Object.fromEntries(typed) };
}

/** What a listed run was started with, as far as the form knows it. */
const formOf = (run) => (run ? { prompt: run.prompt, model: run.model, method: run.method, evaluations: run.budget ?? "", seed: (run.seed ?? 0) + 1 } : { prompt: "" });

export function Start({ server, query }) {
  const runs = server.runs ?? [];
  const [form, setForm] = useState(() => formOf(runs.find((run) => run.id === query.from)));
  const [shown, setShown] = useState({ command: "noisefind tune" });
  const [doubt, setDoubt] = useState(null);
  const { problem, busy, act } = useAction();
  const job = server.jobs.find((one) => one.kind !== "sample");
  const isWorking = server.jobs.some((one) => !isOver(one));
  const set = (name) => (event) => setForm((before) => ({ ...before, [name]: event.target.value }));
  const asked = JSON.stringify(work(form));
  useEffect(() => {
    if (!form.prompt?.trim()) {
      setShown({ command: "noisefind tune …" });
      setDoubt(null);
      return undefined;
    }
    let current = true;
    const timer = setTimeout(() => showCommand(JSON.parse(asked)).then(
      (answer) => { if (current) { setShown(answer); setDoubt(null); } },
      (error) => { if (current) setDoubt(error.message); },
    ), DELAY_MILLISECONDS);
    return () => { current = false; clearTimeout(timer); };
  }, [asked]);
  const submit = async (event) => {
    event.preventDefault();
    await act(() => startWork(JSON.parse(asked)));
  };
  const started = job && !isOver(job) ? runs.find((run) => run.name === job.run) : null;
  const models = [...new Set(["emoji-64", "emoji-64-video", ...runs.map((run) => run.model)])].filter((model) => model && model !== "emoji-64-turbo" && !model.startsWith("exec:"));
  return html`
    <main id="main" class="page narrow-page">
      <h1>Start a run</h1>
      <form class="start" onSubmit=${submit}>
        <label class="field big"><span>Prompt</span>
          <input type="text" required maxlength="2000" value=${form.prompt} onInput=${set("prompt")} placeholder="a green dog" autocomplete="off" />
          <small>What every sample should show.</small></label>
        <div class="fields">
          <label class="field"><span>Model</span><select value=${form.model ?? ""} onChange=${set("model")}><option value="">emoji-64-turbo, built in</option>${models.map((model) => html`<option key=${model} value=${model}>${model}</option>`)}</select><small>Others appear once a run has used them.</small></label>
          <label class="field"><span>Method</span><select value=${form.method ?? ""} onChange=${set("method")}><option value="">find</option><option value="paper">paper</option></select><small>The paper's method is for comparison.</small></label>
          ${FIELDS.map(([name, label, help, more]) => html`<label class="field" key=${name}><span>${label}</span><input ...${more} value=${form[name] ?? ""} onInput=${set(name)} /><small>${help}</small></label>`)}
          <label class="field"><span>Negative prompt</span><input type="text" maxlength="2000" value=${form.negative_prompt ?? ""} onInput=${set("negative_prompt")} /><small>What should not be drawn.</small></label>
        </div>
        <h2>The command</h2>
        <${CommandLine} name="The command" text=${shown.command} />
        ${doubt ? html`<p class="notice bad">${doubt}.</p>` : null}
        ${knowsToken() ? null : html`<${NoToken} />`}
        <p class="submit"><button type="submit" class="main-action" disabled=${busy || isWorking || !form.prompt?.trim() || !knowsToken()}>Start the run</button>
          ${isWorking ? html`<span class="faint">One piece of work is done at a time.</span>` : null}</p>
        <${Problem} text=${problem} />
      </form>
      ${job ? html`<${JobPanel} job=${job} />` : null}
      ${started ? html`<p><button type="button" class="quiet" onClick=${() => go(`/run/${started.id}`)}>Look at the run</button></p>` : null}
    </main>`;
}
