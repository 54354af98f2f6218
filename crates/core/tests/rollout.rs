//! Properties of a rollout: where it stops, and what runs beside what.

mod common;

use std::ops::ControlFlow;
use std::sync::mpsc;
use std::time::Duration;

use common::Settings;
use common::doubles::IdentityGenerator;
use noisefind_core::Error;
use noisefind_core::config::{FindConfig, RunConfig};
use noisefind_core::media::Media;
use noisefind_core::noise::{Noise, NoiseShape};
use noisefind_core::ports::{Generator, PortError};
use noisefind_core::rollout::Rollout;

const SHAPE: NoiseShape = NoiseShape::image(2, 4, 4);

/// The noises of a first batch.
fn batch() -> Vec<Noise> {
    Settings::find(FindConfig::default(), RunConfig::default()).start(SHAPE).ask()
}

#[test]
fn a_rollout_stops_where_it_is_told_to() {
    let mut generator = IdentityGenerator::new(SHAPE);
    let mut rollout = Rollout::new("a toy", &mut generator);
    rollout.generation_batch = 4;
    let mut done = 0;
    let stopped = rollout.run(batch(), |_| {
        done += 1;
        Ok::<_, Error>(if done == 6 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    });
    stopped.unwrap();
    // The third batch was generated while the second was scored, and is thrown away.
    assert_eq!((done, generator.calls()), (6, 3));
}

/// A generator that tells when it is called.
struct Announcing(IdentityGenerator, mpsc::Sender<usize>);

impl Generator for Announcing {
    fn noise_shape(&self) -> NoiseShape {
        self.0.noise_shape()
    }

    fn generate(&mut self, prompt: &str, noises: &[Noise]) -> Result<Vec<Media>, PortError> {
        let _ = self.1.send(noises.len());
        self.0.generate(prompt, noises)
    }
}

#[test]
fn the_next_batch_is_generated_while_one_is_scored() {
    let (sender, calls) = mpsc::channel();
    let mut generator = Announcing(IdentityGenerator::new(SHAPE), sender);
    let noises = batch();
    let mut expected = noises.chunks(4).skip(1);
    assert!(noises.len() > 4);
    let mut scored = 0;
    let mut rollout = Rollout::new("a toy", &mut generator);
    rollout.generation_batch = 4;
    let mut first_call = true;
    let outcome = rollout.run(noises.clone(), |sample| {
        if std::mem::take(&mut first_call) {
            assert_eq!(calls.recv(), Ok(4));
        }
        // Nothing of a batch is handed over before the call for the next one has begun.
        if scored % 4 == 0
            && let Some(batch) = expected.next()
        {
            assert_eq!(calls.recv_timeout(Duration::from_secs(60)), Ok(batch.len()));
        }
        assert_eq!(sample.noise.key, noises[scored].key);
        scored += 1;
        Ok::<_, Error>(ControlFlow::Continue(()))
    });
    outcome.unwrap();
    assert_eq!(scored, noises.len());
}
