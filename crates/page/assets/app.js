// The page of the server: what the address names is shown.
import { html, render, useEffect, useState } from "./ui.js";
import { link, useLocation } from "./location.js";
import { begin, readRun, useServer } from "./server.js";
import { List } from "./list.js";
import { Run } from "./run.js";
import { Compare } from "./compare.js";
import { RunActions, Start, WorkBadge } from "./work.js";

const ICON = new URL("icon.svg", import.meta.url).href;
const THEMES = ["auto", "light", "dark"];

function useTheme() {
  const [theme, setTheme] = useState(() => localStorage.getItem("noisefind-theme") ?? "auto");
  useEffect(() => {
    document.documentElement.dataset.theme = theme;
    localStorage.setItem("noisefind-theme", theme);
    dispatchEvent(new Event("themechange"));
  }, [theme]);
  return [theme, () => setTheme(THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length])];
}

function Bar({ path, server }) {
  const [theme, nextTheme] = useTheme();
  const item = (to, text, here) => html`<a ...${link(to)} aria-current=${here ? "page" : undefined}>${text}</a>`;
  return html`
    <a class="skip" href="#main">Skip to the content</a>
    <header class="bar">
      <a class="mark" ...${link("/")} aria-label="noisefind, all runs"><img src=${ICON} alt="" width="22" height="22" />noisefind</a>
      <nav aria-label="Pages">
        ${item("/", "Runs", path === "/" || path.startsWith("/run/"))}
        ${item("/compare", "Compare", path === "/compare")}
        ${item("/start", "Start", path === "/start")}
      </nav>
      <div class="bar-end">
        <${WorkBadge} jobs=${server.jobs} runs=${server.runs ?? []} />
        ${server.live ? null : html`<span class="lost" role="status">Connection lost, trying again</span>`}
        <button type="button" class="quiet theme" onClick=${nextTheme} aria-label=${`Colours: ${theme}. Change`} title=${`Colours: ${theme}`}>
          <span class=${`theme-mark ${theme}`} aria-hidden="true"></span>
        </button>
      </div>
    </header>`;
}

function RunPage({ id, server }) {
  const [view, setView] = useState(null);
  const [problem, setProblem] = useState(null);
  const summary = server.runs?.find((run) => run.id === id);
  const jobsOver = server.jobs.filter((job) => job.ended && job.run === summary?.name).length;
  const stamp = `${summary?.changed} ${summary?.state} ${summary?.evaluations} ${jobsOver}`;
  useEffect(() => {
    let current = true;
    readRun(id).then(
      (read) => { if (current) { setView(read); setProblem(null); } },
      (error) => { if (current) setProblem(error.message); },
    );
    return () => { current = false; };
  }, [id, stamp]);
  if (problem && !view) {
    return html`<main id="main" class="page"><p class="notice" role="alert">${problem}.</p></main>`;
  }
  if (view?.summary.id !== id) return html`<main id="main" class="page" aria-busy="true"></main>`;
  const shown = summary ? { ...view, summary } : view;
  return html`<${Run} run=${shown} actions=${html`<${RunActions} run=${shown} jobs=${server.jobs} />`} />`;
}

function App() {
  const { path, query } = useLocation();
  const server = useServer();
  const run = /^\/run\/([0-9a-f]+)$/.exec(path)?.[1];
  useEffect(() => {
    const shown = server.runs?.find((one) => one.id === run);
    document.title = shown ? `${shown.prompt} · noisefind` : "noisefind";
  }, [run, server.runs]);
  let page = html`<${List} server=${server} query=${query} />`;
  if (run) page = html`<${RunPage} key=${run} id=${run} server=${server} />`;
  else if (path === "/compare") page = html`<${Compare} server=${server} query=${query} />`;
  else if (path === "/start") page = html`<${Start} server=${server} query=${query} />`;
  return html`<${Bar} path=${path} server=${server} />${page}`;
}

begin();
render(html`<${App} />`, document.getElementById("app"));
