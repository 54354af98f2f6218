// Times of the page over 501 runs and 10,000 samples in a real browser: `npm run bench --prefix crates/serve/browser`.
import { mkdirSync } from "node:fs";
import { Server, join, launch, makeMany, stopAll, tune, work } from "../../crates/serve/browser/harness.js";

const median = (values) => values.toSorted((one, two) => one - two)[Math.floor(values.length / 2)];
const runs = join(work, "runs");
mkdirSync(runs);
tune(join(runs, "dog"), "a dog on the moon");
const many = join(work, "many");
makeMany(many, join(runs, "dog"), 500, 10_000);
const server = await Server.start(many);
const browser = await launch();
try {
  const page = await browser.newPage();
  const views = [];
  await page.addInitScript(() => {
    const marking = new MutationObserver(() => {
      if (!document.querySelector(".row")) return;
      performance.mark("rows");
      marking.disconnect();
    });
    marking.observe(document, { childList: true, subtree: true });
  });
  for (let at = 0; at < 11; at += 1) {
    await page.goto("about:blank");
    await page.goto(`${server.origin}/`, { waitUntil: "commit" });
    await page.waitForSelector(".row img");
    // Both marks are the browser's own: the request, and the first contentful paint.
    const paint = await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime);
    const rows = await page.evaluate(() => performance.getEntriesByName("rows")[0]?.startTime);
    views.push({ paint, rows });
  }
  const list = (name) => views.map((view) => view[name]).filter((value) => value !== undefined);
  console.log(`first contentful paint: median ${median(list("paint")).toFixed(0)} ms of ${list("paint").map((value) => value.toFixed(0)).join(", ")}`);
  if (list("rows").length > 0) console.log(`first rows of 501 runs: median ${median(list("rows")).toFixed(0)} ms of ${list("rows").map((value) => value.toFixed(0)).join(", ")}`);
  await page.getByLabel("Search runs").fill("ten thousand");
  await page.locator(".row-link").first().click();
  await page.getByRole("button", { name: "Samples", exact: true }).click();
  await page.getByText("10,000 evaluated samples").waitFor();
  const frames = await page.evaluate(async () => {
    let last = performance.now();
    const gaps = [];
    for (let at = 0; at < 120; at += 1) {
      scrollTo(0, at * 700);
      await new Promise(requestAnimationFrame);
      const now = performance.now();
      gaps.push(now - last);
      last = now;
    }
    return gaps.sort((one, two) => one - two);
  });
  console.log(`scrolling 10,000 samples, 700 pixels a frame: median ${frames[60].toFixed(0)} ms a frame, 95 % below ${frames.at(-6).toFixed(0)} ms`);
} finally {
  await browser.close();
  await stopAll();
}
