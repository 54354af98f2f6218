//! The formats in which the model computes, with the default model.

use serde_json::Value;

use crate::{json, succeed};

/// Both runs sample from the same noises, so where bf16 were worse than f32 by more than chance, it would show.
#[test]
fn tuning_in_bf16_reaches_the_reward_of_f32_within_noise() {
    let folder = tempfile::tempdir().unwrap();
    let tuned = |dtype: &str| {
        let arguments =
            "tune|a dog on the moon|--evaluations|48|--samples|16|--num-inference-steps|6|--seed|3|--json";
        let arguments: Vec<&str> = arguments.split('|').chain(["--dtype", dtype, "--out", dtype]).collect();
        let tuned = json(&succeed(folder.path(), &arguments));
        let made = std::fs::read_to_string(folder.path().join(dtype).join("environment.json")).unwrap();
        assert_eq!(json(&made)["dtype"], dtype);
        tuned["comparison"].clone()
    };
    let (single, half) = (tuned("f32"), tuned("bf16"));
    let number = |value: &Value| value.as_f64().expect("a number");
    for arm in ["base", "tuned"] {
        let [low, high] = [0, 1].map(|end| number(&single[arm]["reward_ci95"][end]));
        let found = number(&half[arm]["reward_mean"]);
        assert!((low..=high).contains(&found), "{arm}: {found} in bf16, {low} to {high} in f32");
    }
    let gains = [&single, &half].map(|compared| number(&compared["standardised_gain"]));
    assert!(gains.iter().all(|gain| *gain > 0.0), "{gains:?}");
}
