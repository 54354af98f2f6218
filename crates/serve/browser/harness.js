// The program as a child, a browser, and folders of runs, for the tests of the page.
import { spawn, spawnSync } from "node:child_process";
import { appendFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

/** The root of the repository. */
export const root = join(dirname(fileURLToPath(import.meta.url)), "../../..");
export const program = process.env.NOISEFIND ?? join(root, "target/release/noisefind");
const browserPath = process.env.CHROMIUM ?? "/usr/bin/chromium";
const axeSource = readFileSync(join(dirname(fileURLToPath(import.meta.url)), "node_modules/axe-core/axe.min.js"), "utf8");

/** A folder that is removed when the tests end. */
export const work = mkdtempSync(join(tmpdir(), "noisefind-browser-"));
process.on("exit", () => rmSync(work, { recursive: true, force: true }));

/** Tunes a small run with the program itself. */
export function tune(folder, prompt, more = []) {
  const flags = ["--evaluations", "16", "--batch-size", "8", "--samples", "4", "--num-inference-steps", "6"];
  const done = spawnSync(program, ["tune", prompt, ...flags, ...more, "--out", folder], { encoding: "utf8" });
  if (done.status !== 0) throw new Error(done.stderr);
}

const started = new Set();

/** Ends every server that still runs, so that a failed test leaves none. */
export const stopAll = () => Promise.all([...started].map((server) => server.stop()));

/** The server on `runs`; `url` holds the token. */
export class Server {
  static async start(runs, more = []) {
    const server = new Server();
    started.add(server);
    server.child = spawn(program, ["serve", runs, ...(more.includes("--port") ? [] : ["--port", "0"]), ...more], { stdio: ["ignore", "pipe", "pipe"] });
    server.url = await new Promise((resolve, reject) => {
      let text = "";
      let errors = "";
      server.child.stdout.on("data", (data) => {
        text += data;
        if (text.includes("\n")) resolve(text.trim());
      });
      server.child.stderr.on("data", (data) => { errors += data; });
      server.child.on("exit", (code) => reject(new Error(`the server ended with ${code}: ${errors}`)));
    });
    server.origin = new URL(server.url).origin;
    server.port = new URL(server.url).port;
    return server;
  }

  /** Ends it; politely, unless another signal is named. */
  async stop(signal = "SIGINT") {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = new Promise((resolve) => { this.child.on("exit", resolve); });
    this.child.kill(signal);
    await ended;
  }
}

const flags = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];

/** A browser with a fresh profile, and the errors that pages report. */
export async function launch() {
  const profile = join(work, `profile-${Date.now()}`);
  const browser = await chromium.launchPersistentContext(profile, {
    executablePath: browserPath, headless: true, args: flags, viewport: { width: 1280, height: 900 },
  });
  browser.problems = [];
  browser.on("weberror", (error) => browser.problems.push(String(error.error())));
  browser.on("console", (message) => {
    // Lost connections are tested, and the browser reports them.
    if (message.type() === "error" && !/ERR_CONNECTION|ERR_EMPTY|ERR_INCOMPLETE|ERR_INTERNET|401|409/.test(message.text())) browser.problems.push(message.text());
  });
  return browser;
}

/** What axe finds that is serious or critical. */
export async function serious(page) {
  await page.evaluate(axeSource);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  return violations
    .filter((one) => one.impact === "serious" || one.impact === "critical")
    .map((one) => `${one.id}: ${one.nodes.slice(0, 3).map((node) => `${node.target} ${node.failureSummary}`).join(" | ")}`);
}

/** Waits until `look` gives something true. */
export async function until(look, what, seconds = 60) {
  const end = Date.now() + 1000 * seconds;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > end) throw new Error(`after ${seconds} s still waiting for ${what}`);
    await new Promise((resolve) => { setTimeout(resolve, 100); });
  }
}

/** Many small run folders, and one with many samples, made from the images of `run`. */
export function makeMany(runs, run, count, samples) {
  const image = join(run, "images", readdirSync(join(run, "images")).find((name) => name.startsWith("tuned-")));
  const config = readFileSync(join(run, "config.toml"), "utf8");
  const record = readFileSync(join(run, "metrics.jsonl"), "utf8").split("\n")[0];
  for (let at = 0; at < count; at += 1) {
    const folder = join(runs, `many-${at}`);
    mkdirSync(join(folder, "images"), { recursive: true });
    writeFileSync(join(folder, "config.toml"), config.replace(/prompt = .*/, `prompt = "prompt number ${at}"`));
    writeFileSync(join(folder, "metrics.jsonl"), `${record}\n`);
    for (const name of ["comparison.json", "environment.json"]) cpSync(join(run, name), join(folder, name));
    for (const arm of ["base", "tuned"]) cpSync(image, join(folder, "images", `${arm}-${at}.png`));
  }
  const folder = join(runs, "many-samples");
  cpSync(run, folder, { recursive: true });
  mkdirSync(join(folder, "samples"), { recursive: true });
  writeFileSync(join(folder, "config.toml"), config.replace(/prompt = .*/, "prompt = \"ten thousand samples\""));
  const steps = samples / 16;
  const parsed = JSON.parse(record);
  writeFileSync(join(folder, "metrics.jsonl"), "");
  for (let step = 1; step <= steps; step += 1) {
    const rewards = Array.from({ length: 16 }, (_, index) => Math.sin(step * 16 + index));
    const line = { ...parsed, step, iteration: step - 1, evaluations: step * 16, rewards, elapsed_seconds: step };
    appendFileSync(join(folder, "metrics.jsonl"), `${JSON.stringify(line)}\n`);
    for (let index = 0; index < 16; index += 1) {
      cpSync(image, join(folder, "samples", `${String(step).padStart(4, "0")}-${String(index).padStart(2, "0")}.png`));
    }
  }
}

export { existsSync, join, readFileSync };
