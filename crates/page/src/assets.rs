//! The page's own files, embedded: no build step made them and no network is needed for them.

use std::sync::LazyLock;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

/// One embedded file.
#[derive(Clone, Copy, Debug)]
pub struct Asset {
    /// Its name in the page.
    pub name: &'static str,
    /// Its media type.
    pub mime: &'static str,
    /// Its content.
    pub bytes: &'static [u8],
}

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

macro_rules! assets {
    ($($file:literal as $name:literal: $mime:expr),* $(,)?) => {
        &[$(Asset { name: $name, mime: $mime, bytes: include_bytes!(concat!("../assets/", $file)) }),*]
    };
}

/// All of them.
pub const ASSETS: &[Asset] = assets![
    "app.js" as "app.js": SCRIPT,
    "chart.js" as "chart.js": SCRIPT,
    "compare.js" as "compare.js": SCRIPT,
    "figures.js" as "figures.js": SCRIPT,
    "format.js" as "format.js": SCRIPT,
    "list.js" as "list.js": SCRIPT,
    "location.js" as "location.js": SCRIPT,
    "picture.js" as "picture.js": SCRIPT,
    "report.js" as "report.js": SCRIPT,
    "run.js" as "run.js": SCRIPT,
    "samples.js" as "samples.js": SCRIPT,
    "server.js" as "server.js": SCRIPT,
    "source.js" as "source.js": SCRIPT,
    "ui.js" as "ui.js": SCRIPT,
    "viewer.js" as "viewer.js": SCRIPT,
    "work.js" as "work.js": SCRIPT,
    "vendor/htm.js" as "htm.js": SCRIPT,
    "vendor/preact.js" as "preact.js": SCRIPT,
    "vendor/preact-hooks.js" as "preact-hooks.js": SCRIPT,
    "vendor/uplot.js" as "uplot.js": SCRIPT,
    "vendor/uplot.css" as "uplot.css": STYLE,
    "base.css" as "base.css": STYLE,
    "views.css" as "views.css": STYLE,
    "vendor/geist.woff2" as "geist.woff2": "font/woff2",
    "vendor/geist-mono.woff2" as "geist-mono.woff2": "font/woff2",
    "icon.svg" as "icon.svg": "image/svg+xml",
];

/// The hash of all assets, 16 hexadecimal digits. It stands in their addresses, so a browser may cache them without asking.
pub static VERSION: LazyLock<String> = LazyLock::new(|| {
    let hash = ASSETS.iter().fold(Sha256::new(), |hash, asset| hash.chain_update(asset.bytes)).finalize();
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
});

/// The page of the server; it names its assets under [`VERSION`].
pub static INDEX: LazyLock<String> = LazyLock::new(|| {
    include_str!("../assets/index.html").replace("\"/assets/", &format!("\"/assets/{}/", *VERSION))
});

/// The modules that a report needs; those of the server are left out.
const REPORT_SCRIPTS: [&str; 15] = [
    "chart.js",
    "figures.js",
    "format.js",
    "htm.js",
    "location.js",
    "picture.js",
    "preact-hooks.js",
    "preact.js",
    "report.js",
    "run.js",
    "samples.js",
    "source.js",
    "ui.js",
    "uplot.js",
    "viewer.js",
];

/// The file of that name.
pub fn asset(name: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.name == name)
}

/// How modules name each other in front of the quotation mark.
const IMPORTS: [&str; 3] = ["from ", "from", "import("];

/// All styles, with the text face inside.
pub(crate) fn report_style() -> String {
    let styles = ["uplot.css", "base.css", "views.css"].map(text);
    let style = styles.concat();
    let face = asset("geist.woff2").map(|face| data_url("font/woff2", face.bytes)).unwrap_or_default();
    // The face for numbers and code is left to the reader's system: a report is mailed.
    style.replace("geist.woff2", &face).replace("url(\"geist-mono.woff2\")", "local(\"Geist Mono\")")
}

/// The import map of a report: each module as a data URL under the name `noisefind/NAME`.
pub(crate) fn report_import_map() -> String {
    let entries = REPORT_SCRIPTS.iter().map(|name| {
        // A module in a data URL has no folder to be relative to.
        let source = IMPORTS.iter().fold(text(name), |source, import| {
            source.replace(&format!("{import}\"./"), &format!("{import}\"noisefind/"))
        });
        (format!("noisefind/{name}"), data_url("text/javascript", source.as_bytes()).into())
    });
    let imports: serde_json::Map<String, serde_json::Value> = entries.collect();
    serde_json::json!({ "imports": imports }).to_string()
}

/// The bytes as a URL that holds them.
pub(crate) fn data_url(mime: &str, bytes: &[u8]) -> String {
    format!("data:{mime};base64,{}", BASE64_STANDARD.encode(bytes))
}

fn text(name: &str) -> String {
    asset(name).map(|asset| String::from_utf8_lossy(asset.bytes).into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_every_module_that_it_imports() {
        let map: serde_json::Value = serde_json::from_str(&report_import_map()).unwrap();
        let imports = map["imports"].as_object().unwrap();
        for name in imports.keys() {
            let source = text(name.strip_prefix("noisefind/").unwrap());
            assert!(!source.is_empty(), "{name}");
            for import in IMPORTS {
                for line in source.split(&format!("{import}\"./")).skip(1) {
                    let imported = line.split('"').next().unwrap();
                    assert!(
                        imports.contains_key(&format!("noisefind/{imported}")),
                        "{name} imports {imported}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_index_names_only_what_is_embedded_and_nothing_is_inline() {
        let index = &*INDEX;
        let prefix = format!("/assets/{}/", *VERSION);
        let names = index.split(&prefix).skip(1);
        assert_eq!(names.clone().count(), index.matches("/assets/").count());
        for part in names {
            let name = part.split('"').next().unwrap();
            assert!(asset(name).is_some(), "{name}");
        }
        assert!(!index.contains("style=") && !index.contains("<style") && !index.contains("onclick"));
        assert!(index.split("<script").skip(1).all(|tag| tag.contains("src=")));
    }
}
