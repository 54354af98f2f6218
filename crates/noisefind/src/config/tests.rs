use super::*;

fn defaults() -> ModelDefaults {
    ModelDefaults {
        num_inference_steps: 20,
        guidance_scale: 4.0,
        reward: Some("clip-score".to_owned()),
        judge: None,
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
    given.watch = Some(vec!["image-reward:folder".to_owned()]);
    given.method = Some(MethodConfig::Paper(Default::default()));
    let config = given.resolve(&defaults()).unwrap();
    let other_model =
        ModelDefaults { num_inference_steps: 50, guidance_scale: 7.5, reward: None, judge: None };
    let read = TuneOptions::parse(Path::new("config.toml"), &config.to_toml().unwrap()).unwrap();
    assert_eq!(read.resolve(&other_model).unwrap(), config);
}

#[test]
fn flags_win_over_the_file() {
    let file = TuneOptions { seed: Some(1), samples: Some(8), ..TuneOptions::default() };
    let merged = TuneOptions { seed: Some(2), ..options() }.or(file);
    assert_eq!((merged.seed, merged.samples), (Some(2), Some(8)));
}

#[test]
fn one_value_stands_for_a_list_of_one() {
    let text = "reward = \"jpeg-size=-1\"\nwatch = \"aesthetic\"";
    let read = TuneOptions::parse(Path::new("c.toml"), text).unwrap();
    assert_eq!(read.reward, Some(vec![RewardTerm { scorer: "jpeg-size".to_owned(), weight: -1.0 }]));
    assert_eq!(read.watch, Some(vec!["aesthetic".to_owned()]));
}

#[test]
fn unknown_keys_are_refused_by_name() {
    let message = TuneOptions::parse(Path::new("c.toml"), "gidance_scale = 4.0").unwrap_err().to_string();
    assert!(message.contains("gidance_scale"), "{message}");
}

#[test]
fn values_outside_their_range_are_refused() {
    let message = |change: fn(&mut TuneOptions)| {
        let mut given = options();
        change(&mut given);
        given.resolve(&defaults()).unwrap_err().to_string()
    };
    assert_eq!(message(|given| given.evaluations = Some(0)), "--evaluations is 0, expected 2 or more");
    assert_eq!(
        message(|given| given.guidance_scale = Some(-1.0)),
        "--guidance-scale is -1, expected 0 or more"
    );
    assert_eq!(message(|given| given.eta = Some(f64::NAN)), "--eta is NaN, expected a number from 0 to 1");
    assert!(message(|given| given.prompt = Some(" \n".to_owned())).starts_with("the prompt is empty"));
    let too_large = message(|given| (given.batch_size, given.evaluations) = (Some(20), Some(10)));
    assert!(too_large.starts_with("--batch-size is 20, more than the whole budget"), "{too_large}");
    let both = message(|given| given.watch = Some(vec!["clip-score".to_owned()]));
    assert!(both.starts_with("--watch clip-score: it is climbed"), "{both}");
}
