// The curves and figures of one run.
import { html } from "./ui.js";
import { count, estimate, percent, seconds, signed, times } from "./format.js";
import { Chart } from "./chart.js";

/** A constant over all steps. */
const level = (steps, value) => steps.map(() => value);

export function Curves({ run }) {
  const { steps, comparison } = run;
  if (steps.length === 0) return null;
  const x = steps.map((step) => step.evaluations);
  const mean = comparison?.rows.find((row) => row.name === "Mean reward");
  const levels = mean ? [
    { name: "base, fresh seeds", values: level(steps, mean.base.value), colour: "base", dash: [6, 5], isLevel: true },
    { name: "tuned, fresh seeds", values: level(steps, mean.tuned.value), colour: "tuned", dash: [6, 5], isLevel: true },
  ] : [];
  const reward = [
    { name: "mean of a step", values: steps.map((step) => step.reward.value), colour: "accent" },
    { name: "95 % upper", values: steps.map((step) => step.reward.interval?.[1]), colour: "accent", isEdge: true, bandTo: 2 },
    { name: "95 % lower", values: steps.map((step) => step.reward.interval?.[0]), colour: "accent", isEdge: true },
    { name: "best so far", values: steps.map((step) => step.best_reward), colour: "good" },
    ...levels,
  ];
  const one = (name, key, colour) => [{ name, values: steps.map((step) => step[key]), colour }];
  const heldOut = steps[0].held_out.map(({ scorer }, at) => ({
    name: scorer,
    values: steps.map((step) => step.held_out[at]?.standardised_gain),
    colour: `series-${at % 4}`,
  }));
  const hasDiversity = steps.some((step) => step.diversity != null);
  return html`
    <div class="charts">
      <div class="wide-chart"><${Chart} name="Reward" note="band: 95 % interval of the mean" x=${x} series=${reward} cursorKey="run" height=${280} /></div>
      <${Chart} name="KL divergence" note="nats from the standard normal" x=${x} series=${one("KL", "kl_nats", "accent")} digits=${1} cursorKey="run" />
      ${hasDiversity ? html`<${Chart} name="Diversity" note="mean pairwise distance in a step" x=${x} series=${one("diversity", "diversity", "accent")} cursorKey="run" />` : null}
      <${Chart} name="Speed" note="evaluations a second" x=${x} series=${one("evaluations a second", "evaluations_per_second", "accent")} digits=${2} cursorKey="run" />
      ${heldOut.length ? html`<${Chart} name="Held-out scorers" note="baseline standard deviations" x=${x} series=${heldOut} digits=${2} cursorKey="run" />` : null}
    </div>`;
}

const Key = ({ name, value, note, strong }) => html`
  <div class=${strong ? "key strong" : "key"}><dt>${name}</dt><dd>${value}${note ? html`<small>${note}</small>` : null}</dd></div>`;

/** The few numbers that say how it went. */
export function KeyFigures({ run }) {
  const { summary, comparison } = run;
  const interval = comparison?.gain.interval;
  return html`
    <dl class="keys">
      <${Key} strong name="Success" value=${summary.success_tuned == null ? "–" : html`<span class="before">${percent(summary.success_base)}</span> ${percent(summary.success_tuned)}`}
        note=${summary.success_tuned == null ? null : "base, then tuned"} />
      <${Key} strong name="Gain" value=${signed(summary.gain)} note=${interval ? `${signed(interval[0])} to ${signed(interval[1])}` : "baseline deviations"} />
      <${Key} strong name="Diversity" value=${times(summary.diversity_ratio)} note="of the base" />
      <${Key} name="Evaluations" value=${count(summary.evaluations)} note=${summary.budget === summary.evaluations ? null : `of ${count(summary.budget)}`} />
      <${Key} name="Tuning" value=${seconds(summary.elapsed_seconds)} />
      <${Key} name="KL" value=${summary.kl_nats == null ? "–" : Math.round(summary.kl_nats)} note="nats" />
    </dl>`;
}

export function Result({ comparison }) {
  if (!comparison) return null;
  return html`
    <section>
      <h2>Base and tuned on ${count(comparison.samples)} fresh seeds</h2>
      <div class="scroll" tabindex="0" role="region" aria-label="Result">
        <table class="figures"><thead><tr><th scope="col">Figure</th><th scope="col">Base</th><th scope="col">Tuned</th></tr></thead>
          <tbody>${comparison.rows.map((row) => html`
            <tr key=${row.name}><th scope="row">${row.name}</th><td>${estimate(row.base, row.is_fraction)}</td><td>${estimate(row.tuned, row.is_fraction)}</td></tr>`)}
          </tbody></table>
      </div>
      <p class="faint">${comparison.judge ? `Success is what the judge ${comparison.judge} says. ` : ""}Brackets are 95 % intervals. ${comparison.best_of_n ?? ""}</p>
    </section>`;
}
