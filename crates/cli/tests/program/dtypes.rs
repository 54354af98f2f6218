//! The formats in which the model computes, with the default model.

use serde_json::Value;

use crate::{json, succeed};

/// Where bf16 were worse than f32 by more than chance, it would show. Both means have an error: the interval of their difference is as
/// wide as both intervals together, added in squares.
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
        let mean = |compared: &Value| number(&compared[arm]["reward_mean"]);
        let half_width = |compared: &Value| {
            let [low, high] = [0, 1].map(|end| number(&compared[arm]["reward_ci95"][end]));
            (high - low) / 2.0
        };
        let difference = mean(&half) - mean(&single);
        let chance = half_width(&single).hypot(half_width(&half));
        assert!(difference.abs() <= chance, "{arm}: bf16 differs by {difference}, chance by {chance}");
    }
    let gains = [&single, &half].map(|compared| number(&compared["standardised_gain"]));
    assert!(gains.iter().all(|gain| *gain > 0.0), "{gains:?}");
}
