// State in the address, so that every view can be linked, reloaded and gone back from. A report keeps it behind the number
// sign, because a page from disk has no other part of its address.
import { useEffect, useState } from "./ui.js";

const isReport = () => location.protocol === "file:" || document.getElementById("data") !== null;
const listeners = new Set();

function read() {
  const text = isReport() ? location.hash.replace(/^#/, "") : location.search;
  return { path: isReport() ? "/" : location.pathname, query: Object.fromEntries(new URLSearchParams(text)) };
}

function tell() {
  for (const listener of listeners) listener(read());
}

addEventListener("popstate", tell);
addEventListener("hashchange", tell);

function address(path, query) {
  const kept = Object.entries(query).filter(([, value]) => value != null && value !== "");
  const text = new URLSearchParams(kept).toString();
  if (isReport()) return `#${text}`;
  return text ? `${path}?${text}` : path;
}

/** Goes to another view. */
export function go(path, query = {}) {
  history.pushState(null, "", address(path, query));
  tell();
  scrollTo(0, 0);
}

/** Changes parts of the view's state; `null` removes one. Small changes replace the entry in the history. */
export function setQuery(changes, { push = false } = {}) {
  const { path, query } = read();
  const to = address(path, { ...query, ...changes });
  if (push) history.pushState(null, "", to);
  else history.replaceState(null, "", to);
  tell();
}

/** `{ path, query }`, kept up to date. */
export function useLocation() {
  const [at, setAt] = useState(read);
  useEffect(() => {
    listeners.add(setAt);
    setAt(read());
    return () => listeners.delete(setAt);
  }, []);
  return at;
}

/** Properties of a link that stays in the page unless it is opened elsewhere. */
export const link = (path, query = {}) => ({
  href: address(path, query),
  onClick: (event) => {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    go(path, query);
  },
});
