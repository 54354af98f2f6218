//! How different images are from each other, without any network that could have a taste.

use noisefind_core::media::Media;

/// Rows and columns that a frame is averaged down to: layout and colour, not texture.
const SIDE: usize = 8;

/// Mean root-mean-square distance over all pairs of images, each averaged down to 8x8 RGB; between 0 (all
/// the same) and 1. `None` of fewer than two images, or of images of different sizes.
pub fn mean_pairwise_distance(media: &[Media]) -> Option<f64> {
    let small = media.iter().map(averaged).collect::<Vec<_>>();
    let length = small.first()?.len();
    if small.len() < 2 || small.iter().any(|image| image.len() != length) {
        return None;
    }
    let mut sum = 0.0;
    for (at, one) in small.iter().enumerate() {
        for two in &small[..at] {
            let squares = one.iter().zip(two).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
            sum += (squares / length as f64).sqrt();
        }
    }
    Some(sum / (small.len() * (small.len() - 1) / 2) as f64)
}

/// Vendi score of images (Friedman and Dieng, "The Vendi Score", 2023, eq. 1): the exponential of the entropy of the
/// eigenvalues of `K / n`, between 1 (all the same) and `n` (all different). `K` is a Gaussian kernel of the distances that
/// diversity is measured by, with this bandwidth. `None` of no image, or of images of different sizes.
pub fn vendi_score(media: &[Media], bandwidth: f64) -> Option<f64> {
    let small = media.iter().map(averaged).collect::<Vec<_>>();
    let length = small.first()?.len();
    if small.iter().any(|image| image.len() != length) {
        return None;
    }
    let count = small.len() as f64;
    let kernel = |one: &[f64], two: &[f64]| {
        let squares = one.iter().zip(two).map(|(a, b)| (a - b).powi(2)).sum::<f64>() / length as f64;
        (-squares / (2.0 * bandwidth * bandwidth)).exp() / count
    };
    let matrix = small.iter().map(|one| small.iter().map(|two| kernel(one, two)).collect()).collect();
    let shares = eigenvalues(matrix).into_iter().filter(|share| *share > 0.0);
    Some(shares.map(|share| -share * share.ln()).sum::<f64>().exp())
}

/// Eigenvalues of a symmetric matrix by cyclic Jacobi rotations (Golub and Van Loan, "Matrix Computations", section 8.5).
fn eigenvalues(mut matrix: Vec<Vec<f64>>) -> Vec<f64> {
    const SWEEPS: usize = 30;
    let size = matrix.len();
    for _ in 0..SWEEPS {
        for p in 0..size {
            for q in p + 1..size {
                if matrix[p][q].abs() < 1e-14 {
                    continue;
                }
                let theta = (matrix[q][q] - matrix[p][p]) / (2.0 * matrix[p][q]);
                let tangent = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
                let cosine = 1.0 / (tangent * tangent + 1.0).sqrt();
                let sine = tangent * cosine;
                for row in &mut matrix {
                    (row[p], row[q]) = (cosine * row[p] - sine * row[q], sine * row[p] + cosine * row[q]);
                }
                let (above, below) = matrix.split_at_mut(q);
                for (a, b) in above[p].iter_mut().zip(&mut below[0]) {
                    (*a, *b) = (cosine * *a - sine * *b, sine * *a + cosine * *b);
                }
            }
        }
    }
    (0..size).map(|at| matrix[at][at]).collect()
}

/// Box averages of pixels from 0 to 1, `frames * rows * columns * 3` values with at most [`SIDE`] rows and columns.
fn averaged(media: &Media) -> Vec<f64> {
    let (height, width) = (media.height(), media.width());
    let (rows, columns) = (height.min(SIDE), width.min(SIDE));
    let mut averages = Vec::new();
    for frame in media.pixels().chunks(height * width * 3) {
        for row in 0..rows {
            for column in 0..columns {
                let ys = row * height / rows..(row + 1) * height / rows;
                let xs = column * width / columns..(column + 1) * width / columns;
                let scale = 255.0 * (ys.len() * xs.len()) as f64;
                let mut sums = [0u64; 3];
                for pixel in
                    ys.flat_map(|y| frame[3 * (y * width + xs.start)..3 * (y * width + xs.end)].chunks(3))
                {
                    sums.iter_mut().zip(pixel).for_each(|(sum, &byte)| *sum += u64::from(byte));
                }
                averages.extend(sums.map(|sum| sum as f64 / scale));
            }
        }
    }
    averages
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(value: f32) -> Media {
        Media::quantise(1, 20, 12, &[value; 3 * 20 * 12]).unwrap()
    }

    #[test]
    fn the_vendi_score_counts_different_images() {
        let (dark, light, grey) = (plain(0.0), plain(1.0), plain(0.5));
        let score = |media: &[&Media]| {
            vendi_score(&media.iter().map(|&one| one.clone()).collect::<Vec<_>>(), 0.05).unwrap()
        };
        assert!((score(&[&dark, &dark, &dark]) - 1.0).abs() < 1e-9);
        assert!((score(&[&dark, &light, &grey]) - 3.0).abs() < 1e-9);
        // Of four images half are the same: shares 1/2, 1/2 of two directions.
        assert!((score(&[&dark, &dark, &light, &light]) - 2.0).abs() < 1e-9);
        assert_eq!(vendi_score(&[], 0.1), None);
        // A kernel that is neither 0 nor 1: K = [[1, k], [k, 1]] has the eigenvalues (1 +- k) / 2.
        let found = vendi_score(&[plain(0.0), plain(0.1)], 0.1).unwrap();
        let k = (-0.5f64 * (26.0f64 / 255.0 / 0.1).powi(2)).exp();
        let entropy = |share: f64| -share * share.ln();
        assert!(
            (found - (entropy((1.0 + k) / 2.0) + entropy((1.0 - k) / 2.0)).exp()).abs() < 1e-6,
            "{found}"
        );
    }

    #[test]
    fn distances_are_those_of_the_colours() {
        assert_eq!(mean_pairwise_distance(&[plain(0.5), plain(0.5)]), Some(0.0));
        let distance = mean_pairwise_distance(&[plain(0.0), plain(1.0), plain(1.0)]).unwrap();
        assert!((distance - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(mean_pairwise_distance(&[plain(0.5)]), None);
    }
}
