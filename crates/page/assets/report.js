// A report: the same views, with everything inside the page.
import { html, render } from "./ui.js";
import { setImages } from "./source.js";
import { Run } from "./run.js";

const { run, strips } = JSON.parse(document.getElementById("data").textContent);
const root = document.getElementById("app");
// The images stand in the page for readers without scripts; they are taken from there.
const stills = new Map([...root.querySelectorAll("img[data-key]")].map((image) => [image.dataset.key, image.src]));
setImages((_, key, size) => (size === "strip" ? strips[key] : stills.get(key)));
root.replaceChildren();
render(html`<${Run} run=${run} isReport=${true} />`, root);
