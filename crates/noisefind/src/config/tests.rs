use std::path::Path;

use super::*;

fn defaults() -> ModelDefaults {
    ModelDefaults {
        generation: GenerationConfig {
            num_inference_steps: Some(20),
            guidance_scale: Some(4.0),
            ..GenerationConfig::default()
        },
        reward: Some("clip-score".to_owned()),
        judge: None,
        success_reward: Some(0.5),
    }
}

fn options() -> TuneOptions {
    TuneOptions { prompt: Some("a dog".to_owned()), ..TuneOptions::default() }
}

#[test]
fn a_written_config_resolves_to_itself() {
    let mut given = options();
    given.max_seconds = Some(1.5);
    given.seed = Some(7);
    given.reward = Some(vec!["aesthetic=0.5:a=b".parse().unwrap(), RewardTerm::new("exec:./judge")]);
    given.holdout = Some(vec!["image-reward:folder".to_owned()]);
    given.method = Some(MethodConfig::Paper(Default::default()));
    let config = given.resolve(&defaults()).unwrap();
    let other_model = ModelDefaults::default();
    let read = TuneOptions::parse(Path::new("config.toml"), &config.to_toml().unwrap()).unwrap();
    assert_eq!(read.resolve(&other_model).unwrap(), config);
}

#[test]
fn the_success_reward_of_the_model_goes_with_its_own_scorer() {
    let resolved = |given: TuneOptions| match given.resolve(&defaults()).unwrap().method {
        MethodConfig::Find(find) => find.success_reward,
        other => panic!("{}", other.name()),
    };
    assert_eq!(resolved(options()), Some(0.5));
    let other = || Some(vec![RewardTerm::new("aesthetic")]);
    assert_eq!(resolved(TuneOptions { reward: other(), ..options() }), None);
    assert_eq!(resolved(TuneOptions { reward: other(), success_reward: Some(6.0), ..options() }), Some(6.0));
}

#[test]
fn flags_win_over_the_file() {
    let file = TuneOptions { seed: Some(1), samples: Some(8), ..TuneOptions::default() };
    let merged = TuneOptions { seed: Some(2), ..options() }.or(file);
    assert_eq!((merged.seed, merged.samples), (Some(2), Some(8)));
}

#[test]
fn configs_for_one_file_do_not_follow_to_another_model() {
    let with = |model: Option<&str>, config_from: Option<&str>| {
        let loading = LoadingConfig { model: model.map(str::to_owned), ..LoadingConfig::default() };
        let config_from = config_from.map(str::to_owned);
        TuneOptions::from(GenerationConfig { loading, config_from, ..GenerationConfig::default() })
    };
    let recorded = || with(Some("a.safetensors"), Some("configs"));
    assert_eq!(with(None, None).or_recorded(recorded()).generation, recorded().generation);
    let other = with(Some("folder"), None);
    assert_eq!(other.clone().or_recorded(recorded()).generation, other.generation);
}

#[test]
fn one_value_stands_for_a_list_of_one() {
    let text = "reward = \"jpeg-size=-1\"\nholdout = \"aesthetic\"";
    let read = TuneOptions::parse(Path::new("c.toml"), text).unwrap();
    assert_eq!(read.reward, Some(vec![RewardTerm { scorer: "jpeg-size".to_owned(), weight: -1.0 }]));
    assert_eq!(read.holdout, Some(vec!["aesthetic".to_owned()]));
}

#[test]
fn what_a_config_file_gets_wrong_is_named_by_line_key_and_value() {
    let message = |text: &str| TuneOptions::parse(Path::new("c.toml"), text).unwrap_err().to_string();
    for (text, expected) in [
        ("gidance_scale = 4.0", "line 1: there is no setting gidance_scale; did you mean guidance_scale?"),
        (
            "seed = 1\n\nevaluations = \"many\"",
            "line 3: evaluations is \"many\", expected a whole number, 0 or more",
        ),
        ("batch_size = -1", "line 1: batch_size is -1, expected a whole number, 0 or more"),
        ("eta = nan", "line 1: eta is NaN, expected a finite number"),
        (
            "noise_rng = \"mt\"",
            "line 1: noise_rng is \"mt\", expected \"philox\", \"torch\" or \"torch-batch\"",
        ),
        ("reward = 3", "line 1: reward is 3, expected a text or a list of texts"),
        (
            "prompt = a dog",
            "line 1: \"prompt = a dog\" is not TOML, expected `key = value`, with texts in quotes",
        ),
        ("[method]\nname = \"luck\"", "line 1: method.name is \"luck\", which is not the name of a method"),
        (
            "[method]\nname = \"find\"\nradios = 1",
            "line 1: method.radios is 1, which is not a setting of the method \"find\" or not a value of it",
        ),
    ] {
        assert_eq!(message(text), format!("c.toml: {expected}"), "{text}");
    }
}

#[test]
fn keys_of_earlier_versions_are_read() {
    let read = TuneOptions::parse(Path::new("c.toml"), "watch = \"aesthetic\"\nkept_noises = 7").unwrap();
    assert_eq!((read.holdout, read.best_noises), (Some(vec!["aesthetic".to_owned()]), Some(7)));
}

#[test]
fn a_policy_remembers_every_setting_that_changes_images() {
    let mut given = options();
    given.generation = GenerationConfig {
        num_frames: Some(8),
        fps: Some(12.5),
        lora: Some(vec!["a.safetensors=0.5".to_owned()]),
        negative_prompt: Some(String::new()),
        noise_rng: Some(NoiseRng::Torch),
        ..GenerationConfig::of_model("folder")
    };
    given.generation.loading.generation_batch = Some(3);
    let config = given.resolve(&defaults()).unwrap();
    let provenance = |generation: Map<String, Value>| {
        let mut fields = serde_json::json!({
            "format": Provenance::FORMAT, "program_version": "0", "prompt": "a dog", "model": "folder",
            "model_sha256": "", "noise_shape": [1, 1, 1], "method": "find", "seed": 0, "evaluations": 2,
            "reward": "clip-score", "kl_nats": 0.0,
        });
        fields.as_object_mut().unwrap().extend(generation);
        serde_json::from_value::<Provenance>(fields).unwrap()
    };
    let read = TuneOptions::of_policy(&provenance(config.generation.provenance())).unwrap();
    let again = read.generation.clone().resolve(GenerationConfig::default()).unwrap();
    let mut expected = config.generation.clone();
    expected.loading.generation_batch = None;
    assert_eq!((read.generation.loading.generation_batch, again), (None, expected));

    // Before the random generator was recorded, an empty text meant that there was no negative prompt.
    let older = Map::from_iter([
        ("negative_prompt".to_owned(), Value::from("")),
        ("scheduler".to_owned(), Value::Null),
    ]);
    let read = TuneOptions::of_policy(&provenance(older)).unwrap().generation;
    assert_eq!(read, GenerationConfig::of_model("folder"));
}

#[test]
fn an_external_generator_is_told_the_settings_that_are_its_own() {
    let config = options().resolve(&defaults()).unwrap().generation;
    let keys: Vec<String> = config.external().keys().cloned().collect();
    assert_eq!(keys, ["clip_skip", "eta", "guidance_scale", "noise_rng", "num_inference_steps"]);
}

#[test]
fn values_outside_their_range_are_refused() {
    let message = |change: fn(&mut TuneOptions)| {
        let mut given = options();
        change(&mut given);
        given.resolve(&defaults()).unwrap_err().to_string()
    };
    assert_eq!(
        message(|given| given.evaluations = Some(0)),
        "--evaluations is 0, expected from 2 to 10000000"
    );
    assert_eq!(
        message(|given| given.generation.guidance_scale = Some(-1.0)),
        "--guidance-scale is -1, expected 0 or more"
    );
    assert_eq!(message(|given| given.generation.eta = Some(f64::NAN)), "--eta is NaN, expected from 0 to 1");
    assert!(message(|given| given.prompt = Some(" \n".to_owned())).starts_with("the prompt is empty"));
    let too_large = message(|given| (given.batch_size, given.evaluations) = (Some(20), Some(10)));
    assert!(too_large.starts_with("--batch-size is 20, more than the whole budget"), "{too_large}");
    assert_eq!(
        message(|given| given.generation.noise_rng = Some(NoiseRng::TorchBatch)),
        "--noise-rng is torch-batch, expected philox or torch, because each sample of a run has a seed of its own"
    );
    let both = message(|given| given.holdout = Some(vec!["clip-score".to_owned()]));
    assert!(both.starts_with("--holdout clip-score: it is optimised"), "{both}");
}
