//! The orthonormal DCT-II basis of the noise and its low-frequency subspace.
//!
//! Low spatial frequencies decide layout and colour, so a mean that lives in the lowest `k x k` of each channel
//! spends its divergence where a picture is decided. Source: Ahmed, Natarajan and Rao, "Discrete Cosine
//! Transform", 1974.

use crate::noise::NoiseShape;

/// The lowest frequencies of every channel: `m = channels * frames kept * rows kept * columns kept`
/// coefficients. Keeping all of them makes the transform a rotation of the whole space.
#[derive(Clone, Debug)]
pub struct FrequencyBasis {
    channels: usize,
    axes: [Axis; 3],
}

/// One axis: `table[frequency * length + position]`.
#[derive(Clone, Debug)]
struct Axis {
    length: usize,
    kept: usize,
    table: Vec<f64>,
}

impl FrequencyBasis {
    /// The subspace of the lowest `space` frequencies along rows and columns and the lowest `frames` along
    /// frames; more than an axis has keeps all of it.
    pub fn new(shape: NoiseShape, space: usize, frames: usize) -> Self {
        let axes = [
            Axis::new(shape.frames.unwrap_or(1), frames),
            Axis::new(shape.height, space),
            Axis::new(shape.width, space),
        ];
        Self { channels: shape.channels, axes }
    }

    /// How many coefficients there are: the dimension `m` of the subspace.
    pub fn len(&self) -> usize {
        self.channels * self.axes.iter().map(|axis| axis.kept).product::<usize>()
    }

    /// Whether the subspace is the point 0, as for a noise without numbers.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Coefficients `<z, phi_j>` of a noise of `d` numbers, in order `[channel, frame, row, column]` of
    /// frequencies.
    pub fn coefficients(&self, values: &[f32]) -> Vec<f32> {
        self.transform(values, Axis::analyse, |axis| axis.length)
    }

    /// The noise `sum_j c_j phi_j` of `d` numbers; the transpose of [`coefficients`](Self::coefficients).
    pub fn synthesize(&self, coefficients: &[f32]) -> Vec<f32> {
        self.transform(coefficients, Axis::synthesize, |axis| axis.kept)
    }

    /// The orthogonal projection of a noise on the subspace.
    pub fn project(&self, values: &[f32]) -> Vec<f32> {
        self.synthesize(&self.coefficients(values))
    }

    /// Applies `step` along columns, rows and frames of every channel.
    fn transform(
        &self,
        values: &[f32],
        step: fn(&Axis, &[f64], usize) -> Vec<f64>,
        length: fn(&Axis) -> usize,
    ) -> Vec<f32> {
        let plane: usize = self.axes.iter().map(length).product();
        let mut out = Vec::new();
        for channel in values.chunks_exact(plane.max(1)) {
            let channel: Vec<f64> = channel.iter().map(|&value| f64::from(value)).collect();
            let [frames, rows, columns] = &self.axes;
            let channel = step(columns, &channel, 1);
            let inner = channel.len() / (length(frames) * length(rows));
            let channel = step(rows, &channel, inner);
            let inner = channel.len() / length(frames);
            out.extend(step(frames, &channel, inner).into_iter().map(|value| value as f32));
        }
        out
    }
}

impl Axis {
    /// `phi_k(n) = s_k cos(pi (n + 1/2) k / N)` with `s_0 = sqrt(1/N)`, otherwise `sqrt(2/N)`.
    fn new(length: usize, kept: usize) -> Self {
        let kept = kept.min(length);
        let table = (0..kept * length)
            .map(|at| {
                let (frequency, position) = (at / length, at % length);
                let scale = if frequency == 0 { 1.0 } else { 2.0 };
                let angle = std::f64::consts::PI * (position as f64 + 0.5) * frequency as f64 / length as f64;
                (scale / length as f64).sqrt() * libm::cos(angle)
            })
            .collect();
        Self { length, kept, table }
    }

    /// `[outer, length, inner]` to `[outer, kept, inner]`.
    fn analyse(&self, values: &[f64], inner: usize) -> Vec<f64> {
        self.apply(values, inner, self.length, self.kept, |to, from| self.table[to * self.length + from])
    }

    /// `[outer, kept, inner]` to `[outer, length, inner]`.
    fn synthesize(&self, values: &[f64], inner: usize) -> Vec<f64> {
        self.apply(values, inner, self.kept, self.length, |to, from| self.table[from * self.length + to])
    }

    fn apply(
        &self,
        values: &[f64],
        inner: usize,
        from_count: usize,
        to_count: usize,
        weight: impl Fn(usize, usize) -> f64,
    ) -> Vec<f64> {
        let outer = values.len() / (from_count * inner);
        let mut out = vec![0.0; outer * to_count * inner];
        for (block, sums) in
            values.chunks_exact(from_count * inner).zip(out.chunks_exact_mut(to_count * inner))
        {
            for (to, row) in sums.chunks_exact_mut(inner).enumerate() {
                for (from, source) in block.chunks_exact(inner).enumerate() {
                    let weight = weight(to, from);
                    row.iter_mut().zip(source).for_each(|(sum, value)| *sum += weight * value);
                }
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::SampleKey;
    use crate::rng::{Domain, Stream};

    const VIDEO: NoiseShape = NoiseShape { channels: 2, frames: Some(3), height: 4, width: 5 };

    fn random(count: usize) -> Vec<f32> {
        Stream::new(SampleKey { seed: 1, iteration: 0, index: 0 }, Domain::Fake).normals(count)
    }

    fn distance(first: &[f32], second: &[f32]) -> f32 {
        first.iter().zip(second).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn the_full_basis_is_a_rotation() {
        let basis = FrequencyBasis::new(VIDEO, 99, 99);
        let values = random(VIDEO.numel());
        let coefficients = basis.coefficients(&values);
        let square = |values: &[f32]| values.iter().map(|x| x * x).sum::<f32>();
        assert_eq!(coefficients.len(), VIDEO.numel());
        assert!((square(&coefficients) - square(&values)).abs() < 1e-3);
        assert!(distance(&basis.synthesize(&coefficients), &values) < 1e-5);
    }

    #[test]
    fn the_subspace_keeps_its_own_members_and_projects_once() {
        let basis = FrequencyBasis::new(VIDEO, 2, 2);
        assert_eq!(basis.len(), 2 * 2 * 2 * 2);
        let coefficients = random(basis.len());
        assert!(distance(&basis.coefficients(&basis.synthesize(&coefficients)), &coefficients) < 1e-5);
        let projected = basis.project(&random(VIDEO.numel()));
        assert!(distance(&basis.project(&projected), &projected) < 1e-5);
    }

    #[test]
    fn a_constant_channel_is_one_coefficient() {
        let basis = FrequencyBasis::new(NoiseShape::image(1, 2, 2), 2, 1);
        assert!(distance(&basis.coefficients(&[3.0; 4]), &[6.0, 0.0, 0.0, 0.0]) < 1e-6);
    }
}
