use super::*;
use crate::config::GenerationConfig;

const SHAPE: NoiseShape = NoiseShape::image(2, 4, 4);

fn start(root: &Path) -> AskTell {
    let options = TuneOptions {
        prompt: Some("a square".to_owned()),
        reward: Some(vec!["told".parse().unwrap()]),
        evaluations: Some(32),
        batch_size: Some(8),
        ..GenerationConfig::of_model(&format!("{OUTSIDE}test")).into()
    };
    AskTell::start(&options, SHAPE, ("cpu", "f32"), Some(root), IfOccupied::Refuse).unwrap()
}

fn answer(noise: &Noise) -> Answer {
    let reward = Reward::Given(noise.values().iter().map(|&value| f64::from(value.sin())).sum());
    Answer { key: noise.key, reward, judgement: None, held_out: Vec::new(), media: None }
}

fn finish(run: &mut AskTell) -> Vec<u8> {
    while run.stop_reason().is_none() {
        let noises = run.ask();
        run.tell(noises.iter().map(answer).collect()).unwrap();
    }
    std::fs::read(run.save_policy().unwrap()).unwrap()
}

#[test]
fn answers_in_any_order_and_over_several_processes_make_the_same_policy() {
    let folder = tempfile::tempdir().unwrap();
    let expected = finish(&mut start(&folder.path().join("one")));
    let other = folder.path().join("other");
    let mut run = start(&other);
    for told in [3, 8, 5] {
        let mut noises = run.ask();
        noises.reverse();
        run.tell(noises[..told].iter().map(answer).collect()).unwrap();
        // The first answer for a key counts.
        let mut again = answer(&noises[0]);
        again.reward = Reward::Given(1e6);
        if told < 8 {
            assert!(run.tell(vec![again]).unwrap().is_none());
        }
        drop(run);
        run = AskTell::resume(&other).unwrap();
    }
    assert_eq!(finish(&mut run), expected);
}

#[test]
fn a_model_of_this_process_and_a_key_of_another_step_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = start(&folder.path().join("run"));
    let mut other = answer(&run.ask()[0]);
    other.key.iteration = 1;
    let message = run.tell(vec![other]).unwrap_err().to_string();
    assert!(message.contains("(0, 1, 0) is not one of the 8 keys of this step"), "{message}");
    let options = TuneOptions { prompt: Some("a".to_owned()), ..TuneOptions::default() };
    let refused = AskTell::start(&options, SHAPE, ("", ""), Some(folder.path()), IfOccupied::Refuse);
    assert!(refused.err().unwrap().to_string().contains("expected a name that begins with \"python:\""));
}
