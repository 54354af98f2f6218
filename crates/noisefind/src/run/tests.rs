//! A whole run over clips with the test double, stopped between any two samples.

use std::path::Path;

use noisefind_core::media::Media;
use noisefind_core::noise::SampleKey;
use noisefind_core::ports::Reward;
use noisefind_core::run::StopReason;
use noisefind_rundir::{IfOccupied, RunReader};

use crate::config::{GenerationConfig, TuneOptions};
use crate::observer::Observer;
use crate::record::SampleLine;
use crate::run::tune::{TuneRequest, Tuned, tune};

/// Stops after a number of samples.
struct Patient {
    left: usize,
    seen: Vec<(SampleKey, usize, bool)>,
}

impl Observer for Patient {
    fn sampled(&mut self, key: SampleKey, media: &Media, reward: Option<&Reward>) {
        self.left -= 1;
        self.seen.push((key, media.frames(), reward.is_some()));
    }

    fn interrupted(&self) -> bool {
        self.left == 0
    }
}

fn request(out: &Path) -> TuneRequest {
    let options = TuneOptions {
        prompt: Some("a green dog".to_owned()),
        evaluations: Some(24),
        batch_size: Some(8),
        samples: Some(4),
        plateau_iterations: Some(0),
        seed: Some(5),
        ..GenerationConfig::of_model("fake-video").into()
    };
    TuneRequest::New {
        options: Box::new(options),
        out: Some(out.to_owned()),
        if_occupied: IfOccupied::Refuse,
    }
}

fn run(request: &TuneRequest, samples: usize) -> (Tuned, Patient) {
    let mut observer = Patient { left: samples, seen: Vec::new() };
    let tuned = tune(request, &mut observer).expect("the test doubles do not fail");
    (tuned, observer)
}

#[test]
fn stopped_after_every_sample_a_run_over_clips_evaluates_each_once_and_has_the_same_result() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, stopped) = (folder.path().join("whole"), folder.path().join("stopped"));
    let (tuned, observer) = run(&request(&whole), usize::MAX);
    assert_eq!(tuned.stop_reason, StopReason::EvaluationsUsed);
    let total = 24 + 2 * 4;
    assert_eq!(observer.seen.len(), total);
    assert!(observer.seen.iter().all(|(_, frames, rewarded)| *frames == 4 && *rewarded));

    let mut seen = run(&request(&stopped), 1).1.seen;
    for _ in 1..total {
        let (_, observer) = run(&TuneRequest::Resume { run: stopped.clone(), loading: Box::default() }, 1);
        seen.extend(observer.seen);
    }
    let (resumed, observer) =
        run(&TuneRequest::Resume { run: stopped.clone(), loading: Box::default() }, usize::MAX);
    assert_eq!(resumed.stop_reason, StopReason::EvaluationsUsed);
    assert!(observer.seen.is_empty(), "everything was recorded before");
    let expected = run(&TuneRequest::Resume { run: whole.clone(), loading: Box::default() }, usize::MAX)
        .0
        .comparison
        .unwrap();
    assert_eq!(
        crate::evaluate::comparison::Comparison { elapsed_seconds: 0.0, ..resumed.comparison.unwrap() },
        crate::evaluate::comparison::Comparison { elapsed_seconds: 0.0, ..expected }
    );
    let read = |run: &Path, name: &str| std::fs::read(run.join(name)).unwrap();
    for name in ["policy.safetensors", "best-noises.safetensors", "grid.png"] {
        assert!(read(&whole, name) == read(&stopped, name), "{name} differs");
    }
    let samples = |run: &Path| RunReader::open(run).unwrap().samples::<SampleLine>().unwrap();
    let timeless = |line: SampleLine| SampleLine { elapsed_seconds: 0.0, ..line };
    let recorded: Vec<SampleLine> = samples(&stopped).into_iter().map(timeless).collect();
    assert_eq!(recorded, samples(&whole).into_iter().map(timeless).collect::<Vec<_>>());
    assert_eq!((recorded.len(), recorded[0].fps), (total, Some(8.0)));
    assert!(seen.len() == total, "{} evaluations instead of {total}", seen.len());
}

#[test]
fn records_of_earlier_versions_are_read() {
    let line = r#"{"step":1,"elapsed_seconds":2.5,"iteration":0,"evaluations":2,"rewards":[0.5,null],
        "reward_mean":0.5,"reward_std":0.0,"reward_min":0.5,"reward_max":0.5,"reward_base_sigmas":0.25,
        "reward_smoothed":0.5,"best_reward":0.5,"missing":1,"missing_reasons":["black"],"expected_reward":0.5,
        "updated":true,"kl_nats":1.0,"mean_norm":1.0,"mean_rms":1.0,"sigma_mean":1.0,"step_norm":1.0,
        "effective_sample_size":1.0,"explained_share":0.125,"warnings":[],
        "watched":[{"scorer":"taste","rewards":[1.0],"reward_mean":1.0,"reward_base_sigmas":0.5,
        "reward_smoothed":1.0,"fallen":false}]}"#;
    let line: crate::record::MetricsLine = serde_json::from_str(line).unwrap();
    assert_eq!((line.record.standardised_gain, line.record.predictive_r2), (Some(0.25), Some(0.125)));
    assert_eq!(line.held_out[0].standardised_gain, Some(0.5));
}
