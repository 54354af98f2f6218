// The page in a real browser, with the program's own runs and work.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { mkdirSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { Server, join, launch, makeMany, root, serious, stopAll, tune, until, work } from "./harness.js";

const runs = join(work, "runs");
const WIDTHS = [390, 768, 1440];
let browser;
let server;

/** A page of the server. */
async function open(path = "/", options = {}) {
  const page = await browser.newPage();
  const from = options.server ?? server;
  await page.goto(`${from.origin}${path}${options.token === false ? "" : new URL(from.url).hash}`);
  await page.waitForSelector("main:not([aria-busy]) h1");
  return page;
}

async function accessible(page, what) {
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    assert.deepEqual(await serious(page), [], `${what}, ${colorScheme}`);
  }
}

/** Nothing may be wider than the window. */
async function fits(page, what) {
  for (const width of WIDTHS) {
    await page.setViewportSize({ width, height: 900 });
    // Charts follow the window in the next frames.
    const fitting = () => page.evaluate(() => document.documentElement.scrollWidth <= document.documentElement.clientWidth);
    await until(fitting, `${what} to fit a window of ${width} pixels`, 3);
    if (process.env.SCREENSHOTS) await page.screenshot({ path: join(process.env.SCREENSHOTS, `${what}-${width}.png`) });
  }
  await page.setViewportSize({ width: 1280, height: 900 });
}

before(async () => {
  mkdirSync(runs, { recursive: true });
  tune(join(runs, "dog"), "a green dog");
  tune(join(runs, "moon"), "a dog on the moon", ["--method", "paper"]);
  browser = await launch();
  server = await Server.start(runs);
});

after(async () => {
  await browser?.close();
  await stopAll();
});

test("the list is searched, filtered, sorted and linked", async () => {
  const page = await open();
  assert.equal(await page.locator(".row").count(), 2);
  assert.equal(page.url().includes("token"), false, "the token does not stay in the address");
  await page.getByLabel("Search runs").fill("moon");
  assert.equal(await page.locator(".row").count(), 1);
  assert.match(page.url(), /q=moon/);
  await page.reload();
  await page.waitForSelector(".row");
  assert.equal(await page.locator(".row .prompt").innerText(), "a dog on the moon");
  await page.getByLabel("Search runs").fill("");
  await page.getByLabel("Method").selectOption("find");
  assert.equal(await page.locator(".row .prompt").innerText(), "a green dog");
  await page.getByLabel("Method").selectOption("");
  await page.getByLabel("Sort by").selectOption("prompt");
  assert.deepEqual(await page.locator(".row .prompt").allInnerTexts(), ["a dog on the moon", "a green dog"]);
  await page.getByRole("button", { name: /^Running/ }).click();
  await page.getByText("No run matches").waitFor();
  await page.getByRole("button", { name: "Clear search and filters" }).click();
  await accessible(page, "list");
  await fits(page, "list");
  await page.close();
});

test("a run shows pairs, curves, samples, components and how it was made", async () => {
  const page = await open();
  await page.getByText("a green dog").first().click();
  await page.waitForSelector(".pair");
  assert.equal(await page.locator(".pair").count(), 4);
  await until(() => page.evaluate(() => [...document.querySelectorAll(".pair img")].every((image) => image.naturalWidth > 0)), "images");
  await page.waitForSelector(".chart canvas");
  await page.getByRole("button", { name: "Reward: show the table" }).click();
  assert.equal(await page.locator(".twin tbody tr").count(), 2);
  await accessible(page, "run");
  await fits(page, "run");
  await page.getByRole("button", { name: "Samples", exact: true }).click();
  assert.match(page.url(), /tab=samples/);
  assert.equal(await page.locator(".sample-grid .tile").count(), 16);
  await page.getByRole("button", { name: "Best first" }).click();
  const rewards = (await page.locator(".sample-grid .caption").allInnerTexts()).map(Number);
  assert.deepEqual(rewards, [...rewards].sort((one, two) => two - one));
  await accessible(page, "samples");
  await fits(page, "samples");
  await page.getByRole("button", { name: "Components" }).click();
  assert.ok(await page.locator(".component").count() >= 1);
  await accessible(page, "components");
  await fits(page, "components");
  await page.getByRole("button", { name: "Details" }).click();
  assert.match(await page.locator("pre").innerText(), /prompt = "a green dog"/);
  assert.match(await page.locator(".command code").first().innerText(), /^noisefind tune --config /);
  await accessible(page, "details");
  await fits(page, "details");
  await page.close();
});

test("base and tuned are swiped and blinked, with the keyboard alone", async () => {
  const page = await open();
  for (let at = 0; at < 40; at += 1) {
    await page.keyboard.press("Tab");
    if (await page.evaluate(() => document.activeElement.matches(".row-link"))) break;
  }
  await page.keyboard.press("Enter");
  await page.waitForSelector(".pair");
  await page.locator(".pair").first().focus();
  await page.keyboard.press("Enter");
  await page.waitForSelector("dialog[open] .side");
  const title = await page.locator("dialog h2").innerText();
  await page.keyboard.press("ArrowRight");
  await until(async () => await page.locator("dialog h2").innerText() !== title, "the next seed");
  await page.keyboard.press("s");
  await page.waitForSelector("dialog .swipe-line");
  const slider = page.getByLabel("How much of base is shown over tuned");
  await slider.focus();
  await page.keyboard.press("Home");
  assert.equal(await page.locator(".swipe-line").evaluate((line) => line.style.left), "0%");
  await accessible(page, "swipe");
  await fits(page, "swipe");
  await page.getByRole("button", { name: "Blink" }).click();
  assert.match(page.url(), /mode=blink/);
  await page.getByRole("button", { name: "Show the other" }).click();
  assert.equal(await page.locator("dialog .arm").innerText(), "tuned");
  await page.keyboard.press("Escape");
  await until(async () => await page.locator("dialog[open]").count() === 0, "the viewer to close");
  await page.close();
});

test("runs are compared by seed, by step and over evaluations", async () => {
  const page = await open();
  for (const name of ["Compare a green dog", "Compare a dog on the moon"]) await page.getByLabel(name).check();
  await page.getByRole("button", { name: "Compare 2 runs" }).click();
  await page.getByText("Same seeds side by side").waitFor();
  // These prompts differ, so each has a base of its own.
  assert.equal(await page.locator(".seed-row").count(), 4);
  const step = page.getByRole("slider", { name: "Evaluations" });
  await step.focus();
  await page.keyboard.press("Home");
  assert.equal(await page.locator(".slider output").innerText(), "8 evaluations");
  assert.match(page.url(), /at=8/);
  assert.equal(await page.locator(".component-row .tile img").count(), 16);
  assert.ok(await page.locator(".chart canvas").count() >= 3);
  await accessible(page, "compare");
  await fits(page, "compare");
  await page.close();
});

test("more is sampled with one button, and sampling is cancelled", async () => {
  const page = await open();
  await page.getByText("a green dog").first().click();
  await page.getByLabel("How many samples").fill("2");
  await page.getByRole("button", { name: "Sample more" }).click();
  await page.waitForSelector(".job progress");
  await page.getByText("More from this policy").waitFor({ timeout: 120_000 });
  assert.equal(await page.getByRole("button", { name: /^sampled with seed/ }).count(), 2);
  await page.getByLabel("How many samples").fill("200");
  await page.getByRole("button", { name: "Sample more" }).click();
  await page.getByText(/sampling, [1-9][0-9]* of 200/).waitFor({ timeout: 60_000 });
  await page.getByRole("button", { name: "Cancel" }).click();
  await page.getByText("Cancelled").waitFor({ timeout: 60_000 });
  await accessible(page, "sampled");
  await page.close();
});

test("a run is started, watched, cancelled, and goes on after the server was killed", async () => {
  const own = await Server.start(runs);
  const page = await open("/start", { server: own });
  await page.getByLabel("Prompt", { exact: false }).first().fill("a blue car below a penguin");
  await page.getByLabel("Evaluations").fill("64");
  await page.getByLabel("Fresh samples").fill("4");
  await page.getByLabel("Denoising steps").fill("6");
  await page.getByText("--evaluations=64").waitFor();
  assert.match(await page.locator(".command code").innerText(), /^noisefind tune .* -- 'a blue car below a penguin'$/);
  await accessible(page, "start");
  await fits(page, "start");
  await page.getByRole("button", { name: "Start the run" }).click();
  await page.getByRole("button", { name: "Look at the run" }).click({ timeout: 60_000 });
  await page.waitForSelector(".state.running");
  await page.waitForSelector(".chart canvas", { timeout: 90_000 });
  const seen = async () => Number(/(\d+) of 64/.exec(await page.locator(".run-progress").innerText())?.[1]);
  const first = await seen();
  await until(async () => await seen() > first, "the next step to appear by itself");
  await fits(page, "live");
  await page.getByRole("button", { name: "Cancel" }).click();
  await page.getByText("Stopped", { exact: true }).waitFor({ timeout: 60_000 });
  await accessible(page, "stopped");

  await page.getByRole("button", { name: "Go on" }).click();
  await page.waitForSelector(".state.running", { timeout: 60_000 });
  await own.stop("SIGKILL");
  await page.getByText("Connection lost").waitFor();
  const again = await Server.start(runs, ["--port", own.port]);
  await until(async () => await page.locator(".lost").count() === 0, "the connection");
  await page.getByText("Base above tuned").waitFor({ timeout: 120_000 });
  await until(async () => await page.locator(".pair").count() === 4, "the four pairs of the comparison");
  await page.close();
  await again.stop();
});

test("a page without the token looks and cannot start work", async () => {
  const fresh = await launch();
  const page = await fresh.newPage();
  await page.goto(`${server.origin}/start`);
  await page.getByText("opened without its token").waitFor();
  assert.equal(await page.getByRole("button", { name: "Start the run" }).isDisabled(), true);
  await fresh.close();
});

test("a report opens from disk without a network", async (context) => {
  const page = await browser.newPage();
  const asked = [];
  page.on("request", (request) => { if (!/^(file|data|blob):/.test(request.url())) asked.push(request.url()); });
  context.after(() => browser.setOffline(false));
  await browser.setOffline(true);
  await page.goto(pathToFileURL(join(runs, "dog", "report.html")).href);
  await page.waitForSelector(".pair");
  await page.waitForSelector(".chart canvas");
  assert.equal(await page.locator(".pair img").count(), 8);
  await page.getByRole("button", { name: "Samples", exact: true }).click();
  assert.equal(await page.locator(".sample-grid .tile img").count(), 16);
  await page.reload();
  await page.waitForSelector(".sample-grid .tile img");
  await page.getByRole("button", { name: "Overview" }).click();
  await page.locator(".pair").first().click();
  await page.waitForSelector("dialog[open] .side img");
  await page.keyboard.press("Escape");
  await accessible(page, "report");
  await fits(page, "report");
  assert.deepEqual(asked, []);
  await page.close();
});

test("clips of a report play on hover and in the viewer, in step", async (context) => {
  const model = join(root, "golden/diffusion/modelscope");
  tune(join(work, "clip"), "a green dog", ["--model", model, "--num-frames", "4", "--reward", "jpeg-size"]);
  const page = await browser.newPage();
  context.after(() => page.close());
  await page.goto(pathToFileURL(join(work, "clip", "report.html")).href);
  await page.waitForSelector(".pairs .picture[data-clip]");
  const places = (inside) => page.$$eval(`${inside} .strip.playing`, (strips) => strips.map((strip) => [strip.dataset.frames, strip.style.backgroundPositionX]));
  const plays = async (inside) => {
    const seen = new Set();
    await until(async () => {
      const found = await places(inside);
      const known = found.filter(([frames]) => frames === "4").map(([, place]) => place);
      if (known.length >= 2) {
        assert.equal(new Set(known).size, 1, "the clips are out of step");
        seen.add(known[0]);
      }
      return seen.size >= 3;
    }, `three frames of the clips in ${inside}`, 5);
  };
  await page.locator(".pairs .picture[data-clip]").first().hover();
  await plays(".pairs");
  await page.locator(".pairs .picture[data-clip]").first().click();
  await page.waitForSelector("dialog[open] .moving");
  await page.mouse.move(0, 0);
  await plays("dialog");
  if (process.env.SCREENSHOTS) await page.screenshot({ path: join(process.env.SCREENSHOTS, "clips.png") });
});

test("five hundred runs and ten thousand samples: only what is near the window exists", async () => {
  const many = join(work, "many");
  makeMany(many, join(runs, "dog"), 500, 10_000);
  const big = await Server.start(many);
  const page = await browser.newPage();
  const thumbnails = [];
  page.on("request", (request) => { if (request.resourceType() === "image") thumbnails.push(request.url()); });
  await page.goto(`${big.origin}/`);
  await page.waitForSelector(".row img");
  assert.ok(await page.locator(".row").count() < 60, "only rows near the window exist");
  assert.ok(thumbnails.length < 60, `${thumbnails.length} images were loaded for one window of runs`);
  await page.getByLabel("Search runs").fill("ten thousand");
  await page.locator(".row-link").first().click();
  await page.getByRole("button", { name: "Samples", exact: true }).click();
  await page.getByText("10,000 evaluated samples").waitFor();
  // In one call, because a busy machine takes its time between two, and what scrolling rests at is loaded.
  const tiles = await page.evaluate(async () => {
    const counts = [];
    for (let at = 1; at <= 60; at += 1) {
      scrollTo(0, at * 700);
      await new Promise(requestAnimationFrame);
      await new Promise(requestAnimationFrame);
      counts.push(document.querySelectorAll(".tile").length);
    }
    return counts;
  });
  assert.ok(tiles.every((count) => count > 0 && count < 600), `tiles that exist while scrolling: ${tiles}`);
  // What fast scrolling passes is not loaded; what it stops at is.
  await until(() => page.evaluate(() => {
    const inside = [...document.querySelectorAll(".tile img")].filter((image) => {
      const { top, bottom } = image.getBoundingClientRect();
      return bottom > 0 && top < innerHeight;
    });
    return inside.length > 0 && inside.every((image) => image.complete && image.naturalWidth > 0);
  }), "the images of the window");
  assert.ok(thumbnails.length < 3000, `${thumbnails.length} of 10,000 images were loaded while scrolling`);
  await page.close();
  await big.stop();
});

test("no page reported an error", () => assert.deepEqual(browser.problems, []));
