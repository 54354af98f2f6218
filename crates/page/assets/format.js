// Numbers and times as people read them; what is unknown is a dash.
const DASH = "–";

export const number = (value, digits = 3) => (value == null ? DASH : value.toFixed(digits));
export const percent = (value) => (value == null ? DASH : `${Math.round(100 * value)} %`);
export const signed = (value, digits = 2) =>
  value == null ? DASH : `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(digits)}`;
export const times = (value) => (value == null ? DASH : `${value.toFixed(2)}×`);
export const count = (value) => (value == null ? DASH : value.toLocaleString("en"));

export function seconds(value) {
  if (value == null) return DASH;
  if (value < 100) return `${value < 10 ? value.toFixed(1) : Math.round(value)} s`;
  if (value < 6000) return `${Math.round(value / 60)} min`;
  return `${(value / 3600).toFixed(1)} h`;
}

export function ago(unixSeconds) {
  const age = Date.now() / 1000 - unixSeconds;
  if (age < 60) return "just now";
  if (age < 3600) return `${Math.round(age / 60)} min ago`;
  if (age < 86400) return `${Math.round(age / 3600)} h ago`;
  return day(unixSeconds);
}

export const day = (unixSeconds) =>
  new Date(1000 * unixSeconds).toLocaleDateString("en", { day: "numeric", month: "short", year: "numeric" });

/** A number with its interval. */
export function estimate({ value, interval }, isFraction = false) {
  const one = isFraction ? percent : number;
  if (value == null || !interval) return one(value);
  const [low, high] = isFraction ? interval.map((end) => Math.round(100 * end)) : interval.map((end) => number(end));
  return `${one(value)} [${low}, ${high}]`;
}

/** "3 runs", "1 run". */
export const plural = (many, one, more = `${one}s`) => `${count(many)} ${many === 1 ? one : more}`;
