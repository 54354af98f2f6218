// What the server says: runs and work, read once and then told by its events. A lost connection is taken up again after the
// last event that arrived; where the server no longer knows it, everything is read anew.
import { useEffect, useState } from "./ui.js";
import { setImages } from "./source.js";

const state = { runs: null, jobs: [], live: true, problem: null };
const versions = new Map();
const listeners = new Set();
const RETRY_MILLISECONDS = 1000;

function changed() {
  for (const listener of listeners) listener({ ...state });
}

/** The whole state, kept up to date. */
export function useServer() {
  const [now, setNow] = useState({ ...state });
  useEffect(() => {
    listeners.add(setNow);
    setNow({ ...state });
    return () => listeners.delete(setNow);
  }, []);
  return now;
}

const token = {
  get: () => sessionStorage.getItem("noisefind-token"),
  set: (value) => sessionStorage.setItem("noisefind-token", value),
};
export const knowsToken = () => Boolean(token.get());

async function ask(path, { method = "GET", body, secret = false } = {}) {
  const headers = {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (secret && token.get()) headers.Authorization = `Bearer ${token.get()}`;
  const answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  if (answer.status === 204) return null;
  const value = await answer.json().catch(() => ({ error: `the server answered ${answer.status}` }));
  if (!answer.ok) throw new Error(value.error);
  return value;
}

export const readRun = (id) => ask(`/api/runs/${encodeURIComponent(id)}`);
export const showCommand = (work) => ask("/api/command", { method: "POST", body: work });
export const startWork = (work) => ask("/api/jobs", { method: "POST", body: work, secret: true });
export const cancelWork = (id) => ask(`/api/jobs/${id}`, { method: "DELETE", secret: true });

setImages((run, key, size) => {
  const query = new URLSearchParams({ ...(size ? { size } : {}), v: versions.get(run) ?? "0" });
  return `/api/runs/${run}/images/${key}?${query}`;
});

/** The newest first, as the server sorts them. */
function put(runs) {
  const all = new Map((state.runs ?? []).map((run) => [run.id, run]));
  for (const run of runs) {
    all.set(run.id, run);
    versions.set(run.id, run.started ?? "0");
  }
  state.runs = [...all.values()].sort((one, two) => two.changed - one.changed || one.name.localeCompare(two.name));
}

async function readAll() {
  try {
    const [runs, jobs] = await Promise.all([ask("/api/runs"), ask("/api/jobs")]);
    state.runs = null;
    put(runs);
    Object.assign(state, { jobs, problem: null });
  } catch (error) {
    state.problem = error.message;
    state.runs ??= [];
  }
  changed();
}

let last = null;

function listen() {
  const events = new EventSource(last ? `/api/events?last=${encodeURIComponent(last)}` : "/api/events");
  const on = (kind, take) => events.addEventListener(kind, (event) => {
    if (event.lastEventId) last = event.lastEventId;
    state.live = true;
    take(JSON.parse(event.data));
    changed();
  });
  on("begin", () => {});
  on("reset", readAll);
  on("runs", put);
  on("gone", (ids) => { state.runs = (state.runs ?? []).filter((run) => !ids.includes(run.id)); });
  on("jobs", (jobs) => { state.jobs = jobs; });
  events.onerror = () => {
    state.live = false;
    changed();
    // The browser itself tries again after a broken connection, but not after a refusal.
    if (events.readyState === EventSource.CLOSED) setTimeout(listen, RETRY_MILLISECONDS);
  };
}

/** Takes the token out of the address, then reads and listens. */
export async function begin() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    token.set(given);
    history.replaceState(null, "", location.pathname + location.search);
  }
  if (token.get()) {
    // Images and events cannot carry the token; where they need one, this cookie stands for it.
    ask("/api/session", { method: "POST", body: {}, secret: true }).catch(() => {}).then(listen);
  } else {
    listen();
  }
  await readAll();
}
