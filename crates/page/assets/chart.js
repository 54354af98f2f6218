// A chart with its table twin: the same numbers for those who cannot or would not read a curve.
import { html, useEffect, useLayoutEffect, useRef, useState, useWidth } from "./ui.js";
import { number } from "./format.js";

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const HEIGHT = 220;

/** The drawing library, loaded with the first chart: the list of runs has none. */
let library = null;
function useLibrary() {
  const [loaded, setLoaded] = useState(() => library);
  useEffect(() => {
    if (!library) import("./uplot.js").then((module) => { library = module.default; setLoaded(() => library); });
  }, []);
  return loaded;
}

/** An axis that holds all values; one of values that hardly differ is not stretched into a mountain. */
function range(low, high) {
  if (low == null || high == null) return [0, 1];
  const least = Math.max(Math.abs(low), Math.abs(high)) * 0.02 || 1e-3;
  const middle = (low + high) / 2;
  const half = Math.max(high - low, least) * 0.58;
  return [middle - half, middle + half];
}

function options({ series, width, height, cursorKey, mark, digits }) {
  const font = `11px ${colour("font") || "sans-serif"}`;
  const axis = { stroke: colour("faint"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false }, font };
  const bands = series.flatMap((one, at) => (one.bandTo === undefined ? [] : [{ series: [at + 1, one.bandTo + 1], fill: `${colour(one.colour)}26` }]));
  return {
    width,
    height,
    padding: [10, 8, 0, 0],
    cursor: { sync: cursorKey ? { key: cursorKey, setSeries: false } : undefined, drag: { x: false, y: false }, points: { size: 7 } },
    legend: { show: false },
    scales: { x: { time: false }, y: { range: (_, low, high) => range(low, high) } },
    axes: [{ ...axis, size: 30, gap: 6 }, { ...axis, size: 54, gap: 6, values: (_, values) => values.map((value) => Number(value.toPrecision(4)).toString()) }],
    series: [{}, ...series.map((one) => ({
      label: one.name,
      stroke: one.isEdge ? "transparent" : colour(one.colour),
      width: one.isEdge ? 0 : 2,
      dash: one.dash,
      points: { show: !one.isEdge && !one.isLevel && one.values.filter((value) => value != null).length < 40, size: 5, fill: colour(one.colour), stroke: colour(one.colour) },
      spanGaps: true,
    }))],
    bands,
    hooks: {
      draw: [(plot) => {
        if (mark.current == null) return;
        const x = Math.round(plot.valToPos(mark.current, "x", true));
        plot.ctx.save();
        plot.ctx.strokeStyle = colour("accent");
        plot.ctx.lineWidth = 1.5 * devicePixelRatio;
        plot.ctx.beginPath();
        plot.ctx.moveTo(x, plot.bbox.top);
        plot.ctx.lineTo(x, plot.bbox.top + plot.bbox.height);
        plot.ctx.stroke();
        plot.ctx.restore();
      }],
    },
  };
}

function Table({ name, xName, x, series, digits }) {
  const shown = series.filter((one) => !one.isLevel);
  return html`
    <div class="twin" tabindex="0" role="region" aria-label=${`${name} as a table`}>
      <table class="figures"><thead><tr><th scope="col">${xName}</th>${shown.map((one) => html`<th scope="col" key=${one.name}>${one.name}</th>`)}</tr></thead>
        <tbody>${x.map((at, row) => html`<tr key=${at}><th scope="row">${at}</th>${shown.map((one) => html`<td key=${one.name}>${number(one.values[row], digits)}</td>`)}</tr>`)}</tbody>
      </table>
    </div>`;
}

/** `series` are `{ name, values, colour }`; a lower edge names its upper one by `bandTo`, a level is a constant. */
export function Chart({ name, note, x, xName = "evaluations", series, digits = 3, cursorKey, mark = null, height = HEIGHT }) {
  const place = useRef(null);
  const plot = useRef(null);
  const marked = useRef(mark);
  const [asTable, setAsTable] = useState(false);
  const [theme, setTheme] = useState(0);
  const width = useWidth(place);
  const uPlot = useLibrary();
  const shape = series.map((one) => `${one.name}${one.colour}${one.bandTo}`).join("|");
  const data = [x, ...series.map((one) => one.values)];
  useEffect(() => {
    const again = () => setTheme((now) => now + 1);
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", again);
    addEventListener("themechange", again);
    return () => { dark.removeEventListener("change", again); removeEventListener("themechange", again); };
  }, []);
  useLayoutEffect(() => {
    if (!place.current || width === 0 || asTable || !uPlot) return undefined;
    plot.current = new uPlot(options({ series, width, height, cursorKey, mark: marked, digits }), data, place.current);
    return () => { plot.current.destroy(); plot.current = null; };
  }, [shape, theme, asTable, width > 0, height, uPlot]);
  useEffect(() => { plot.current?.setSize({ width, height }); }, [width]);
  useEffect(() => { plot.current?.setData(data); }, [JSON.stringify(data)]);
  useEffect(() => { marked.current = mark; plot.current?.redraw(false); }, [mark]);
  const last = (values) => values.findLast((value) => value != null);
  const legend = series.filter((one) => !one.isEdge);
  return html`
    <section class="chart" aria-label=${name}>
      <header><h3>${name}</h3>${note ? html`<span class="faint">${note}</span>` : null}
        <button type="button" class="quiet small" aria-pressed=${String(asTable)} onClick=${() => setAsTable(!asTable)} aria-label=${`${name}: ${asTable ? "show the curve" : "show the table"}`}>${asTable ? "Curve" : "Table"}</button>
      </header>
      ${asTable ? html`<${Table} name=${name} xName=${xName} x=${x} series=${series} digits=${digits} />` : null}
      <div class="plot" ref=${place} hidden=${asTable} role="img" aria-label=${`${name} against ${xName}; the table has the numbers`}></div>
      <ul class="legend">${legend.map((one) => html`<li key=${one.name}><span class=${`swatch ${one.colour}${one.dash ? " dashed" : ""}`} aria-hidden="true"></span>${one.name}<span class="value">${number(last(one.values), digits)}</span></li>`)}</ul>
    </section>`;
}
