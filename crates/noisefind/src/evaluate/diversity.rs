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
    fn distances_are_those_of_the_colours() {
        assert_eq!(mean_pairwise_distance(&[plain(0.5), plain(0.5)]), Some(0.0));
        let distance = mean_pairwise_distance(&[plain(0.0), plain(1.0), plain(1.0)]).unwrap();
        assert!((distance - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(mean_pairwise_distance(&[plain(0.5)]), None);
    }
}
