//! What a form asks for as a command of the program. Every value is checked and passed as one argument; no shell is
//! involved, and nothing that a form says can name a program or a path.

use std::path::{Path, PathBuf};

use noisefind_page::{RunId, RunState, Summary, quote};
use noisefind_rundir::file_name_from_prompt;
use serde::{Deserialize, Serialize};

use crate::error::Refusal;

/// The models that are part of the program.
const OWN_MODELS: [&str; 3] = ["emoji-64-turbo", "emoji-64", "emoji-64-video"];
/// Longest prompt, in characters.
const PROMPT_LENGTH: usize = 2000;

/// The program and the folder that it works in.
pub(crate) struct Program {
    pub path: PathBuf,
    pub runs: PathBuf,
}

/// Work that a client can ask for.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Work {
    /// A new run.
    Start(StartForm),
    /// More samples from the policy of a run.
    Sample(SampleForm),
    /// A run that was stopped goes on.
    Resume {
        /// Its id.
        run: String,
    },
}

/// The common settings of a new run; what is absent takes its default.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartForm {
    /// What the samples should show.
    pub prompt: String,
    /// The program's own model, or one that a listed run uses.
    pub model: Option<String>,
    /// `find` or `paper`.
    pub method: Option<String>,
    /// Samples to generate and score while tuning.
    pub evaluations: Option<u32>,
    /// Fresh samples of the final comparison, an arm.
    pub samples: Option<u32>,
    /// Random seed.
    pub seed: Option<u32>,
    /// Denoising steps.
    pub num_inference_steps: Option<u32>,
    /// Classifier-free guidance.
    pub guidance_scale: Option<f64>,
    /// What the samples should not show.
    pub negative_prompt: Option<String>,
}

/// More samples from a policy.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SampleForm {
    /// The id of the run.
    pub run: String,
    /// How many.
    pub count: u32,
    /// Seed of the first; absent: after the last one that was sampled.
    pub seed: Option<u64>,
}

/// A command that is ready to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Command {
    pub kind: &'static str,
    /// What it works on, for people.
    pub title: String,
    /// The name of the run's folder, relative to the folder of the runs.
    pub run: String,
    pub arguments: Vec<String>,
    /// Added for our own reading, not shown.
    pub reporting: Vec<&'static str>,
}

/// What the page shows of it.
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
    pub command: String,
    pub run: String,
}

impl Command {
    /// As somebody would type it.
    pub fn line(&self) -> String {
        let words = self.arguments.iter().map(|word| quote(word));
        std::iter::once("noisefind".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
    }

    pub fn shown(&self) -> Shown {
        Shown { command: self.line(), run: self.run.clone() }
    }
}

impl Program {
    /// The command for `work`; `listed` are the runs of the folder and `next` tells call number and seed of a run's next
    /// samples.
    pub fn command(
        &self,
        work: &Work,
        listed: &[Summary],
        next: impl Fn(&Summary) -> (u32, u64),
    ) -> Result<Command, Refusal> {
        match work {
            Work::Start(form) => self.start(form, listed),
            Work::Sample(form) => self.sample(form, listed, next),
            Work::Resume { run } => self.resume(run, listed),
        }
    }

    fn start(&self, form: &StartForm, listed: &[Summary]) -> Result<Command, Refusal> {
        let prompt = text(&form.prompt, "the prompt")?;
        if prompt.trim().is_empty() {
            return Err(Refusal::bad("the prompt is empty; say what the samples should show"));
        }
        let mut arguments = vec!["tune".to_owned()];
        let mut flag = |name: &str, value: Option<String>| {
            arguments.extend(value.map(|value| format!("--{name}={value}")));
        };
        if let Some(model) = form.model.as_deref().filter(|model| !model.is_empty()) {
            let is_listed = listed.iter().any(|run| run.model == model) && !model.starts_with("exec:");
            if !OWN_MODELS.contains(&model) && !is_listed {
                let reason = format!(
                    "the model {model:?} is neither built in ({}) nor that of a listed run; start it from a terminal once",
                    OWN_MODELS.join(", ")
                );
                return Err(Refusal::bad(reason));
            }
            flag("model", Some(model.to_owned()));
        }
        if let Some(method) = form.method.as_deref().filter(|method| !method.is_empty()) {
            if !method.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-') {
                return Err(Refusal::bad(format!("the method is {method:?}, expected find or paper")));
            }
            flag("method", Some(method.to_owned()));
        }
        flag("evaluations", within(form.evaluations, "evaluations", 2, 1_000_000)?);
        flag("samples", within(form.samples, "samples", 2, 10_000)?);
        flag("seed", form.seed.map(|seed| seed.to_string()));
        flag("num-inference-steps", within(form.num_inference_steps, "num-inference-steps", 1, 1000)?);
        if let Some(scale) = form.guidance_scale {
            if !(0.0..=100.0).contains(&scale) {
                return Err(Refusal::bad(format!(
                    "guidance-scale is {scale}, expected a number from 0 to 100"
                )));
            }
            flag("guidance-scale", Some(scale.to_string()));
        }
        let negative = text(form.negative_prompt.as_deref().unwrap_or_default(), "the negative prompt")?;
        flag("negative-prompt", Some(negative.to_owned()).filter(|negative| !negative.is_empty()));
        let name = self.free_name(prompt, form.seed.unwrap_or_default());
        arguments.push(format!("--out={}", self.runs.join(&name).display()));
        arguments.extend(["--".to_owned(), prompt.to_owned()]);
        Ok(Command {
            kind: "start",
            title: prompt.to_owned(),
            run: name,
            arguments,
            reporting: vec!["--progress=json"],
        })
    }

    fn sample(
        &self,
        form: &SampleForm,
        listed: &[Summary],
        next: impl Fn(&Summary) -> (u32, u64),
    ) -> Result<Command, Refusal> {
        let run = find(&form.run, listed)?;
        if run.state != RunState::Finished {
            return Err(Refusal::bad(
                "this run has no policy yet; it can be sampled from when it is finished",
            ));
        }
        let count = within(Some(form.count), "count", 1, 256)?.unwrap_or_default();
        let (call, seed) = next(run);
        let seed = form.seed.unwrap_or(seed);
        let folder = self.runs.join(&run.name);
        let out = folder.join("sampled").join(format!("{call:04}"));
        let arguments = vec![
            "sample".to_owned(),
            folder.display().to_string(),
            "-n".to_owned(),
            count,
            "--seed".to_owned(),
            seed.to_string(),
            "--out".to_owned(),
            out.display().to_string(),
        ];
        let (title, run) = (run.prompt.clone(), run.name.clone());
        Ok(Command { kind: "sample", title, run, arguments, reporting: vec!["--progress=json"] })
    }

    fn resume(&self, run: &str, listed: &[Summary]) -> Result<Command, Refusal> {
        let run = find(run, listed)?;
        if run.state != RunState::Stopped {
            return Err(Refusal::bad("only a run that was stopped can go on"));
        }
        let arguments =
            vec!["tune".to_owned(), "--resume".to_owned(), self.runs.join(&run.name).display().to_string()];
        let (title, run) = (run.prompt.clone(), run.name.clone());
        Ok(Command { kind: "resume", title, run, arguments, reporting: vec!["--progress=json"] })
    }

    /// A folder that is free now; the program itself refuses one that was taken meanwhile.
    fn free_name(&self, prompt: &str, seed: u32) -> String {
        let name = format!("{}-{seed}", file_name_from_prompt(prompt));
        let is_free = |name: &String| !exists(&self.runs.join(name));
        let numbered = (2..10_000).map(|number| format!("{name}-{number}"));
        std::iter::once(name.clone()).chain(numbered).find(is_free).unwrap_or(name)
    }
}

fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

fn find<'a>(id: &str, listed: &'a [Summary]) -> Result<&'a Summary, Refusal> {
    let id = id.parse::<RunId>().ok();
    id.and_then(|id| listed.iter().find(|run| run.id == id)).ok_or_else(|| Refusal::not_found("run"))
}

fn text<'a>(value: &'a str, what: &str) -> Result<&'a str, Refusal> {
    let length = value.chars().count();
    if length > PROMPT_LENGTH {
        return Err(Refusal::bad(format!(
            "{what} has {length} characters, expected at most {PROMPT_LENGTH}"
        )));
    }
    if value.contains('\0') {
        return Err(Refusal::bad(format!("{what} contains a NUL, which no program can be given")));
    }
    Ok(value)
}

fn within(value: Option<u32>, name: &str, least: u32, most: u32) -> Result<Option<String>, Refusal> {
    match value {
        Some(value) if !(least..=most).contains(&value) => {
            Err(Refusal::bad(format!("{name} is {value}, expected {least} to {most}")))
        }
        value => Ok(value.map(|value| value.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use noisefind_page::Catalogue;

    use super::*;

    fn program(root: &Path) -> (Program, Vec<Summary>) {
        for (name, model) in [("one", "fake"), ("two", "exec:rm -rf /")] {
            std::fs::create_dir_all(root.join(name)).unwrap();
            std::fs::write(
                root.join(name).join("config.toml"),
                format!("prompt = \"a\"\nmodel = \"{model}\"\n"),
            )
            .unwrap();
        }
        std::fs::write(root.join("one/comparison.json"), "{}").unwrap();
        let mut catalogue = Catalogue::new(root);
        catalogue.refresh().unwrap();
        (Program { path: "noisefind".into(), runs: root.into() }, catalogue.summaries())
    }

    fn start(form: StartForm) -> Result<Command, Refusal> {
        let root = tempfile::tempdir().unwrap();
        let (program, listed) = program(root.path());
        program.command(&Work::Start(form), &listed, |_| (1, 0))
    }

    #[test]
    fn a_prompt_is_one_argument_whatever_it_holds() {
        for prompt in ["--help", "a; rm -rf /", "$(reboot)", "'", "\n", "exec:sh"] {
            let form = StartForm { prompt: format!("{prompt}x"), ..StartForm::default() };
            let command = start(form).unwrap();
            assert_eq!(
                command.arguments[command.arguments.len() - 2..],
                ["--".to_owned(), format!("{prompt}x")]
            );
        }
        let form = StartForm { prompt: "a green dog".to_owned(), seed: Some(3), ..StartForm::default() };
        assert_eq!(start(form).unwrap().run, "a-green-dog-3");
    }

    #[test]
    fn every_model_inside_the_program_can_be_started() {
        for model in OWN_MODELS {
            let form =
                StartForm { prompt: "a".to_owned(), model: Some(model.to_owned()), ..StartForm::default() };
            assert!(start(form).is_ok(), "{model}");
        }
    }

    #[test]
    fn what_a_form_may_not_say_is_refused() {
        let of = |change: fn(&mut StartForm)| {
            let mut form = StartForm { prompt: "a".to_owned(), ..StartForm::default() };
            change(&mut form);
            start(form).unwrap_err().reason
        };
        assert!(of(|form| form.prompt = " ".to_owned()).contains("empty"));
        assert!(of(|form| form.prompt = "a\0b".to_owned()).contains("NUL"));
        assert!(of(|form| form.prompt = "a".repeat(2001)).contains("2001"));
        assert!(of(|form| form.model = Some("/etc".to_owned())).contains("neither"));
        assert!(of(|form| form.model = Some("exec:rm -rf /".to_owned())).contains("neither"));
        assert!(of(|form| form.method = Some("--config=x".to_owned())).contains("method"));
        assert!(of(|form| form.evaluations = Some(0)).contains("evaluations"));
        assert!(of(|form| form.guidance_scale = Some(f64::NAN)).contains("guidance-scale"));
        assert!(serde_json::from_str::<Work>("{\"kind\":\"start\",\"prompt\":\"a\",\"out\":\"/\"}").is_err());
    }

    #[test]
    fn samples_go_into_the_folder_of_their_run() {
        let root = tempfile::tempdir().unwrap();
        let (program, listed) = program(root.path());
        let [one, two] = ["one", "two"].map(|name| listed.iter().find(|run| run.name == name).unwrap());
        let form = |run: &str, count| Work::Sample(SampleForm { run: run.to_owned(), count, seed: None });
        let command = program.command(&form(&one.id.to_string(), 4), &listed, |_| (2, 40)).unwrap();
        let out = root.path().join("one/sampled/0002").display().to_string();
        assert_eq!(command.arguments[2..], ["-n", "4", "--seed", "40", "--out", &out].map(str::to_owned));
        for (run, count) in [("../one", 4), (&two.id.to_string(), 4), (&one.id.to_string(), 0), ("", 4)] {
            assert!(program.command(&form(run, count), &listed, |_| (1, 0)).is_err(), "{run} {count}");
        }
    }
}
