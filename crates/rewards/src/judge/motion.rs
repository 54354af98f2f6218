//! How the asked nouns of a clip move, from their tracks through the frames.
//!
//! Reference: `pretrain/video_judge.py`.

use serde::Deserialize;

use super::scene::Scene;

/// How an object moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Motion {
    /// From left to right.
    Right,
    /// From right to left.
    Left,
    /// Upwards.
    Up,
    /// Downwards.
    Down,
    /// Not at all.
    Still,
}

impl Motion {
    /// The name in the grammar.
    pub fn name(self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::Left => "left",
            Self::Up => "up",
            Self::Down => "down",
            Self::Still => "still",
        }
    }
}

/// `clip` in the config of a judge that reads clips.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct ClipRules {
    /// Share of the frames that must be right as images, and in which a noun must be found to have a track.
    frames_right: f64,
    /// Least displacement of a motion along its axis, in pixels.
    moved_pixels: f64,
    /// Displacements below this are standing still, in pixels.
    stood_pixels: f64,
}

impl ClipRules {
    /// Whether every threshold is a positive number, and the share at most 1.
    pub(super) fn are_valid(&self) -> bool {
        let positive = |number: f64| number.is_finite() && number > 0.0;
        positive(self.frames_right)
            && self.frames_right <= 1.0
            && positive(self.moved_pixels)
            && positive(self.stood_pixels)
    }

    /// How many of `frames` frames must be right.
    pub(super) fn needed(&self, frames: usize) -> usize {
        (self.frames_right * frames as f64).ceil() as usize
    }

    /// The displacement of the strongest object of `noun` over the clip, `[right, down]` in pixels: the least-squares slope
    /// a frame times the number of steps. `None` where too few frames show the noun.
    pub(super) fn displacement(&self, scenes: &[Scene], noun: &str) -> Option<[f64; 2]> {
        let strongest = |scene: &Scene| {
            scene.objects.iter().find(|object| object.noun == noun).map(|object| [object.x, object.y])
        };
        let track: Vec<(f64, [f32; 2])> = (scenes.iter().enumerate())
            .filter_map(|(at, scene)| Some((at as f64, strongest(scene)?)))
            .collect();
        // A slope needs two points.
        if track.len() < self.needed(scenes.len()).max(2) {
            return None;
        }
        let count = track.len() as f64;
        let middle = track.iter().map(|(at, _)| at).sum::<f64>() / count;
        let spread: f64 = track.iter().map(|(at, _)| (at - middle).powi(2)).sum();
        let steps = (scenes.len() - 1) as f64;
        Some([0, 1].map(|axis| {
            let along = |(at, point): &(f64, [f32; 2])| (at - middle) * f64::from(point[axis]);
            track.iter().map(along).sum::<f64>() / spread * steps
        }))
    }

    /// The motion of a displacement, `None` where it is none of the five.
    pub(super) fn motion(&self, [right, down]: [f64; 2]) -> Option<Motion> {
        if right.hypot(down) < self.stood_pixels {
            return Some(Motion::Still);
        }
        let (along, across, back, forth) = if right.abs() > down.abs() {
            (right, down, Motion::Left, Motion::Right)
        } else {
            (down, right, Motion::Up, Motion::Down)
        };
        let is_clear = along.abs() >= self.moved_pixels && across.abs() < along.abs() / 2.0;
        is_clear.then_some(if along > 0.0 { forth } else { back })
    }
}

/// What a judge of clips finds.
#[derive(Clone, Debug, PartialEq)]
pub struct ClipVerdict {
    /// How many frames are right as images.
    pub frames_right: usize,
    /// The motion of each asked group; `None` where its noun has no track or moves otherwise.
    pub motions: Vec<Option<Motion>>,
    /// Whether they all move as asked; true where nothing is asked.
    pub motion_right: bool,
    /// Whether enough frames and the motion are right.
    pub holds: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::scene::Object;

    const RULES: ClipRules = ClipRules { frames_right: 0.75, moved_pixels: 16.0, stood_pixels: 6.0 };

    fn scene(at: Option<(f32, f32)>) -> Scene {
        let object =
            at.map(|(x, y)| Object { noun: "dog".to_owned(), color: "green".to_owned(), score: 0.9, x, y });
        Scene { objects: object.into_iter().collect(), place: "grass".to_owned() }
    }

    #[test]
    fn a_displacement_is_the_slope_over_the_frames_that_show_the_noun() {
        let moving: Vec<Scene> = (0..8).map(|at| scene(Some((10.0 + 5.0 * at as f32, 30.0)))).collect();
        assert_eq!(RULES.displacement(&moving, "dog"), Some([35.0, 0.0]));
        assert_eq!(RULES.displacement(&moving, "cat"), None);
        let mut gaps = moving;
        (gaps[2], gaps[5]) = (scene(None), scene(None));
        let [right, down] = RULES.displacement(&gaps, "dog").unwrap();
        assert!((right - 35.0).abs() < 1e-9 && down == 0.0);
        gaps[7] = scene(None);
        assert_eq!(RULES.displacement(&gaps, "dog"), None);
        assert_eq!(RULES.displacement(&gaps[..1], "dog"), None);
    }

    #[test]
    fn a_motion_is_clear_or_none() {
        for (moved, expected) in [
            ([16.0, 7.9], Some(Motion::Right)),
            ([-40.0, 0.0], Some(Motion::Left)),
            ([0.0, -16.0], Some(Motion::Up)),
            ([3.0, 30.0], Some(Motion::Down)),
            ([4.0, -4.0], Some(Motion::Still)),
            // Too short, and too oblique.
            ([15.9, 0.0], None),
            ([16.0, 8.0], None),
            ([6.0, 0.0], None),
        ] {
            assert_eq!(RULES.motion(moved), expected, "{moved:?}");
        }
    }
}
