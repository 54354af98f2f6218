//! What is in an image: objects as peaks of heat maps, their colours, the place; and whether that is what was asked.
//!
//! Reference: `Reader.read` and `holds` in `pretrain/judge.py`.

use std::fmt;

use serde::Deserialize;

use super::grammar::{Asked, Relation, Specification};

/// One object that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// The noun, by its name in the grammar.
    pub noun: String,
    /// The colour, by its name in the grammar.
    pub color: String,
    /// Height of its peak, in 0..=1.
    pub score: f32,
    /// Column of its centre in pixels.
    pub x: f32,
    /// Row of its centre in pixels.
    pub y: f32,
}

/// An image, read.
#[derive(Clone, Debug, PartialEq)]
pub struct Scene {
    /// The objects, the surest first.
    pub objects: Vec<Object>,
    /// The place, by its name in the grammar.
    pub place: String,
}

impl fmt::Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> =
            self.objects.iter().map(|object| format!("{} {}", object.color, object.noun)).collect();
        let objects = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
        write!(f, "{objects} ({})", self.place)
    }
}

/// From where on a peak is an object, and a distance a relation.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Thresholds {
    /// Least height of a peak, in 0..=1.
    pub(super) heat: f32,
    /// Cells a side of the window in which a peak is the highest; odd.
    pub(super) peak_window: usize,
    /// Peaks closer than this are one object.
    pub(super) same_object_cells: f32,
    /// Least distance between two objects of a relation.
    pub(super) relation_pixels: f32,
}

/// The names behind the channels of the maps.
#[derive(Clone, Debug)]
pub(super) struct Vocabulary {
    pub(super) nouns: Vec<String>,
    pub(super) colors: Vec<String>,
    pub(super) places: Vec<String>,
}

/// What the network says about one image, channel last.
pub(super) struct Maps<'a> {
    /// Cells a side.
    pub(super) side: usize,
    /// Pixels a cell.
    pub(super) cell: usize,
    /// Logits, `[side, side, nouns]`.
    pub(super) heat: &'a [f32],
    /// Logits, `[side, side, colors]`.
    pub(super) color: &'a [f32],
    /// Logits, `[places]`.
    pub(super) place: &'a [f32],
}

impl Maps<'_> {
    /// Reads the maps into a scene.
    pub(super) fn read(&self, vocabulary: &Vocabulary, thresholds: &Thresholds) -> Scene {
        let place = vocabulary.places[argmax(self.place)].clone();
        let best: Vec<(usize, f32)> = self
            .heat
            .chunks_exact(vocabulary.nouns.len())
            .map(|cell| {
                let noun = argmax(cell);
                (noun, 1.0 / (1.0 + (-cell[noun]).exp()))
            })
            .collect();
        let mut peaks: Vec<usize> = (0..best.len())
            .filter(|&cell| best[cell].1 >= thresholds.heat)
            .filter(|&cell| self.is_peak(&best, cell, thresholds.peak_window / 2))
            .collect();
        // The sort is stable, so that equal peaks stay in reading order.
        peaks.sort_by(|&a, &b| best[b].1.total_cmp(&best[a].1));
        let mut kept: Vec<usize> = Vec::new();
        for cell in peaks {
            if kept.iter().all(|&other| self.distance(cell, other) >= thresholds.same_object_cells) {
                kept.push(cell);
            }
        }
        let centre = |at: usize| (at as f32 + 0.5) * self.cell as f32;
        let objects = kept
            .into_iter()
            .map(|cell| {
                let colors = vocabulary.colors.len();
                Object {
                    noun: vocabulary.nouns[best[cell].0].clone(),
                    color: vocabulary.colors[argmax(&self.color[cell * colors..][..colors])].clone(),
                    score: best[cell].1,
                    x: centre(cell % self.side),
                    y: centre(cell / self.side),
                }
            })
            .collect();
        Scene { objects, place }
    }

    fn is_peak(&self, best: &[(usize, f32)], cell: usize, reach: usize) -> bool {
        let range = |at: usize| at.saturating_sub(reach)..(at + reach + 1).min(self.side);
        let (x, y) = (cell % self.side, cell / self.side);
        range(y).all(|row| range(x).all(|column| best[row * self.side + column].1 <= best[cell].1))
    }

    fn distance(&self, a: usize, b: usize) -> f32 {
        let columns = (a % self.side).abs_diff(b % self.side) as f32;
        columns.hypot((a / self.side).abs_diff(b / self.side) as f32)
    }
}

fn argmax(values: &[f32]) -> usize {
    (0..values.len()).fold(0, |best, at| if values[at] > values[best] { at } else { best })
}

/// Which parts of a prompt an image meets; what is not asked for is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Exactly the nouns asked for, in exactly that number.
    pub nouns: bool,
    /// Enough of them in the colours asked for.
    pub colors: bool,
    /// The place.
    pub place: bool,
    /// The relation.
    pub relation: bool,
}

impl Verdict {
    /// Whether the image is what the prompt says.
    pub fn holds(&self) -> bool {
        self.nouns && self.colors && self.place && self.relation
    }

    /// Compares a scene with what was asked; `relation_pixels` is the least distance along a relation.
    pub(super) fn new(scene: &Scene, asked: &Specification, relation_pixels: f32) -> Self {
        Self {
            nouns: nouns_hold(scene, &asked.nouns),
            colors: colors_hold(scene, &asked.nouns),
            place: asked.place.as_ref().is_none_or(|place| *place == scene.place),
            relation: asked
                .relation
                .is_none_or(|relation| relation_holds(scene, &asked.nouns, relation, relation_pixels)),
        }
    }
}

fn nouns_hold(scene: &Scene, asked: &[Asked]) -> bool {
    let wanted = |noun: &str| -> usize {
        asked.iter().filter(|group| group.noun == noun).map(|group| group.count).sum()
    };
    let found = |noun: &str| scene.objects.iter().filter(|object| object.noun == noun).count();
    let all: usize = asked.iter().map(|group| group.count).sum();
    scene.objects.len() == all && asked.iter().all(|group| found(&group.noun) == wanted(&group.noun))
}

/// Each group claims its objects; groups with a colour choose first.
fn colors_hold(scene: &Scene, asked: &[Asked]) -> bool {
    let mut free: Vec<_> = scene.objects.iter().collect();
    let (colored, others): (Vec<_>, Vec<_>) = asked.iter().partition(|group| group.color.is_some());
    colored.into_iter().chain(others).all(|group| {
        (0..group.count).all(|_| {
            let claimed = free.iter().position(|object| {
                object.noun == group.noun && group.color.as_ref().is_none_or(|color| *color == object.color)
            });
            claimed.map(|at| free.remove(at)).is_some()
        })
    })
}

fn relation_holds(scene: &Scene, asked: &[Asked], relation: Relation, least: f32) -> bool {
    // The surest object of each noun stands for it.
    let surest = |group: &Asked| scene.objects.iter().find(|object| object.noun == group.noun);
    let [first, second, ..] = asked else { return false };
    let (Some(first), Some(second)) = (surest(first), surest(second)) else { return false };
    let distance = match relation {
        Relation::Left => second.x - first.x,
        Relation::Right => first.x - second.x,
        Relation::Above => second.y - first.y,
        Relation::Below => first.y - second.y,
    };
    distance > least
}

#[cfg(test)]
mod tests {
    use super::*;

    const THRESHOLDS: Thresholds =
        Thresholds { heat: 0.4, peak_window: 3, same_object_cells: 2.5, relation_pixels: 4.0 };

    fn vocabulary() -> Vocabulary {
        let names = |text: &str| text.split(' ').map(str::to_owned).collect();
        Vocabulary { nouns: names("dog cat"), colors: names("red green"), places: names("grass moon") }
    }

    /// Peaks at (x, y, noun, color, logit) over a cold map of 8 x 8 cells.
    fn read(peaks: &[(usize, usize, usize, usize, f32)]) -> Scene {
        let (mut heat, mut color) = (vec![-9.0; 128], vec![0.0; 128]);
        for &(x, y, noun, hue, logit) in peaks {
            heat[(y * 8 + x) * 2 + noun] = logit;
            color[(y * 8 + x) * 2 + hue] = 1.0;
        }
        Maps { side: 8, cell: 4, heat: &heat, color: &color, place: &[0.0, 1.0] }
            .read(&vocabulary(), &THRESHOLDS)
    }

    fn asked(noun: &str, count: usize, color: Option<&str>) -> Asked {
        Asked { noun: noun.to_owned(), count, color: color.map(str::to_owned), size: None }
    }

    fn verdict(scene: &Scene, nouns: &[Asked], relation: Option<Relation>) -> Verdict {
        Verdict::new(scene, &Specification { nouns: nouns.to_vec(), place: None, relation }, 4.0)
    }

    #[test]
    fn peaks_become_objects_and_their_neighbours_do_not() {
        // The second is beside the first, the third lies within the distance of one object, the last is too weak.
        let scene = read(&[
            (1, 1, 0, 1, 3.0),
            (2, 1, 1, 0, 2.0),
            (3, 2, 1, 0, 2.5),
            (6, 6, 1, 0, 1.0),
            (1, 6, 0, 0, -0.5),
        ]);
        assert_eq!(scene.to_string(), "green dog, red cat (moon)");
        assert_eq!((scene.objects[0].x, scene.objects[0].y), (6.0, 6.0));
        assert!((scene.objects[1].score - 0.731_06).abs() < 1e-4);
        assert_eq!(read(&[]).to_string(), "nothing (moon)");
    }

    #[test]
    fn counts_are_exact_and_colours_are_claimed_once() {
        let scene = read(&[(1, 1, 0, 1, 3.0), (5, 5, 0, 0, 2.0)]);
        assert!(verdict(&scene, &[asked("dog", 2, None)], None).holds());
        assert!(verdict(&scene, &[asked("dog", 1, None), asked("dog", 1, Some("green"))], None).holds());
        assert!(!verdict(&scene, &[asked("dog", 1, None)], None).nouns);
        assert!(!verdict(&scene, &[asked("dog", 2, None), asked("cat", 1, None)], None).nouns);
        let two_green = verdict(&scene, &[asked("dog", 2, Some("green"))], None);
        assert_eq!((two_green.nouns, two_green.colors), (true, false));
    }

    #[test]
    fn a_relation_needs_distance_and_a_place_is_compared() {
        let scene = read(&[(1, 1, 0, 0, 3.0), (5, 2, 1, 0, 2.0)]);
        let pair = [asked("dog", 1, None), asked("cat", 1, None)];
        assert!(verdict(&scene, &pair, Some(Relation::Left)).relation);
        assert!(!verdict(&scene, &pair, Some(Relation::Right)).relation);
        // Four pixels apart is not more than four pixels.
        assert!(!verdict(&scene, &pair, Some(Relation::Above)).relation);
        assert!(!verdict(&scene, &pair[..1], Some(Relation::Left)).relation);
        let on = |place: &str| Specification { place: Some(place.to_owned()), ..Specification::default() };
        assert!(Verdict::new(&scene, &on("moon"), 4.0).place);
        assert!(!Verdict::new(&scene, &on("grass"), 4.0).place);
    }
}
