//! `report.html`: the views of a run as one page that needs nothing beside it, to be kept or mailed.
//!
//! What stands in the page is readable without scripts; the scripts replace it by the same views as the server's. A policy
//! in the page itself forbids every connection.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use crate::assets::{data_url, report_import_map, report_style};
use crate::comparison::Estimate;
use crate::error::Result;
use crate::folder::Folder;
use crate::image_key::ImageKey;
use crate::images::{ImageSize, read_image};
use crate::run::{Pair, RunView, ScoredImage, read_single};

/// Most evaluated samples whose images are put into a report.
const EVALUATED_LIMIT: usize = 512;
const START: &str = "import \"noisefind/report.js\";";

/// The page for the run in `root`; `comparison` is what `comparison.json` holds or will hold.
///
/// # Errors
/// Where it is not a run; images that cannot be read are left out.
pub fn report(root: &Path, comparison: &[u8]) -> Result<String> {
    let folder = Folder::open(root)?;
    let run = read_single(&folder, comparison)?;
    let images = Images::read(&folder, &run);
    Ok(page(&run, &images).into_string())
}

/// Images by their key, as URLs that hold them.
#[derive(Default)]
struct Images {
    stills: BTreeMap<String, String>,
    strips: BTreeMap<String, String>,
}

impl Images {
    fn read(folder: &Folder, run: &RunView) -> Self {
        let mut images = Self::default();
        let scored = run.pairs.iter().flat_map(|pair| pair.base.iter().chain(&pair.tuned)).chain(&run.best);
        for ScoredImage { key, clip, .. } in scored {
            images.add(folder, key, *clip, ImageSize::Medium);
        }
        let evaluated = run.evaluated.iter().flat_map(|step| {
            step.indices.iter().map(|index| (ImageKey::Evaluated(step.step, *index).to_string(), step.clip))
        });
        for (key, clip) in evaluated.take(EVALUATED_LIMIT) {
            images.add(folder, &key, clip, ImageSize::Thumbnail);
        }
        for sampled in &run.sampled {
            images.add(folder, &sampled.key, sampled.clip, ImageSize::Thumbnail);
        }
        images
    }

    fn add(&mut self, folder: &Folder, key: &str, clip: bool, size: ImageSize) {
        let Ok(parsed) = key.parse() else { return };
        let url = |size| {
            let image = read_image(folder, parsed, size).ok()?;
            Some(data_url(image.mime, &image.bytes))
        };
        if let Some(url) = url(size) {
            self.stills.insert(key.to_owned(), url);
        }
        if let Some(url) = clip.then(|| url(ImageSize::Strip)).flatten() {
            self.strips.insert(key.to_owned(), url);
        }
    }
}

fn page(run: &RunView, images: &Images) -> Markup {
    let (style, map) = (report_style(), report_import_map());
    // Data URLs as scripts are what the modules are; everything else is named by its hash.
    let policy = format!(
        "default-src 'none'; img-src data:; font-src data:; style-src '{}'; script-src '{}' '{}' data:; base-uri 'none'; form-action 'none'",
        hash(&style),
        hash(&map),
        hash(START),
    );
    let data = serde_json::json!({ "run": run, "strips": images.strips });
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (run.summary.prompt) " · noisefind" }
                style { (PreEscaped(style)) }
                script type="importmap" { (PreEscaped(map)) }
            }
            body {
                div id="app" { (content(run, images)) }
                script type="application/json" id="data" { (PreEscaped(data.to_string().replace('<', "\\u003c"))) }
                script type="module" { (PreEscaped(START)) }
            }
        }
    }
}

fn content(run: &RunView, images: &Images) -> Markup {
    let summary = &run.summary;
    html! {
        main.page {
            header.run-head {
                h1 { (summary.prompt) }
                p.faint {
                    (summary.model) ", " (summary.method) ", reward " (summary.reward) ", "
                    (summary.evaluations) " evaluations in " (format!("{:.0}", summary.elapsed_seconds)) " s"
                    @if let Some(reason) = &run.stop_reason { "; stopped because " (reason) }
                }
            }
            @if let Some(compared) = &run.comparison {
                section {
                    h2 { "Result" }
                    table.figures {
                        thead { tr { th scope="col" { "Figure" } th scope="col" { "Base" } th scope="col" { "Tuned" } } }
                        tbody {
                            @for row in &compared.rows {
                                tr {
                                    th scope="row" { (row.name) }
                                    td { (estimate(row.base)) }
                                    td { (estimate(row.tuned)) }
                                }
                            }
                        }
                    }
                    p {
                        "Gain " (estimate(compared.gain)) " standard deviations of the baseline on "
                        (compared.samples) " fresh seeds."
                        @if let Some(sentence) = &compared.best_of_n { " " (sentence) }
                    }
                }
            }
            @if !run.pairs.is_empty() {
                section {
                    h2 { "Base above tuned" }
                    div.pairs { @for pair in &run.pairs { (figure(pair, images)) } }
                }
            }
            @if !run.steps.is_empty() { (steps(run)) }
            @if !run.evaluated.is_empty() {
                section {
                    h2 { "Evaluated samples" }
                    div.samples-plain {
                        @for step in &run.evaluated {
                            @for index in &step.indices {
                                (image(images, &ImageKey::Evaluated(step.step, *index).to_string(),
                                    &format!("sample {index} of step {}", step.step)))
                            }
                        }
                    }
                }
            }
            @for key in run.best.iter().map(|best| &best.key).chain(run.sampled.iter().map(|one| &one.key)) {
                (image(images, key, "sample"))
            }
            @if !run.warnings.is_empty() {
                section { h2 { "Warnings" } ul { @for warning in &run.warnings { li { (warning) } } } }
            }
            section { h2 { "Configuration" } pre { (run.config) } }
        }
    }
}

fn figure(pair: &Pair, images: &Images) -> Markup {
    html! {
        figure.pair {
            @for (arm, shown) in [("base", &pair.base), ("tuned", &pair.tuned)] {
                @if let Some(shown) = shown {
                    (image(images, &shown.key, &format!("{arm}, seed {}", pair.seed)))
                }
            }
            figcaption { "seed " (pair.seed) }
        }
    }
}

fn image(images: &Images, key: &str, alt: &str) -> Markup {
    html! {
        @if let Some(url) = images.stills.get(key) { img data-key=(key) alt=(alt) src=(url); }
    }
}

fn steps(run: &RunView) -> Markup {
    let number = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.3}"));
    html! {
        section {
            h2 { "Steps" }
            table.figures {
                thead {
                    tr {
                        @for name in ["Evaluations", "Reward", "95 % interval", "KL, nats", "Diversity", "Missing"] {
                            th scope="col" { (name) }
                        }
                    }
                }
                tbody {
                    @for step in &run.steps {
                        tr {
                            td { (step.evaluations) }
                            td { (number(step.reward.value)) }
                            td {
                                @if let Some([low, high]) = step.reward.interval { (format!("{low:.3} to {high:.3}")) }
                            }
                            td { (number(step.kl_nats)) }
                            td { (number(step.diversity)) }
                            td { (step.missing) }
                        }
                    }
                }
            }
        }
    }
}

fn estimate(estimate: Estimate) -> String {
    let value = estimate.value.map_or_else(|| "unknown".to_owned(), |value| format!("{value:.3}"));
    match estimate.interval {
        Some([low, high]) => format!("{value} [{low:.3}, {high:.3}]"),
        None => value,
    }
}

/// As a content security policy names what is inline.
fn hash(text: &str) -> String {
    format!("sha256-{}", BASE64_STANDARD.encode(Sha256::digest(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_with_prompt(prompt: &str) -> String {
        let root = tempfile::tempdir().unwrap();
        let config = toml::Table::from_iter([("prompt".to_owned(), toml::Value::String(prompt.to_owned()))]);
        std::fs::write(root.path().join("config.toml"), config.to_string()).unwrap();
        report(root.path(), b"{}").unwrap()
    }

    #[test]
    fn prompts_cannot_become_markup() {
        let page = run_with_prompt("</title></script><script>alert(1)</script><img src=x onerror=alert(1)>");
        assert!(!page.contains("<script>alert") && !page.contains("<img src=x"));
        assert!(page.contains("&lt;script&gt;alert(1)"));
        // The import map, the data and the module: nothing else is a script.
        assert_eq!(page.matches("<script").count(), 3);
        assert_eq!(page.matches("</script>").count(), 3);
    }

    #[test]
    fn nothing_is_fetched_from_anywhere() {
        let page = run_with_prompt("a green dog");
        for outside in ["src=\"http", "href=\"http", "@import", "url(http"] {
            assert!(!page.contains(outside), "{outside}");
        }
    }
}
