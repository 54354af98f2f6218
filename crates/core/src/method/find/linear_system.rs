//! Symmetric positive definite systems in `f64`: the covariances of observations, a few hundred of them.

/// Factorises the lower triangle in place, `A = L L'`; `None` where `A` is not positive definite.
pub(super) fn cholesky(matrix: &mut [f64], count: usize) -> Option<()> {
    for i in 0..count {
        let (above, below) = matrix.split_at_mut(i * count);
        let row = &mut below[..=i];
        for j in 0..i {
            let other = &above[j * count..=j * count + j];
            let product: f64 = row[..j].iter().zip(other).map(|(a, b)| a * b).sum();
            row[j] = (row[j] - product) / other[j];
        }
        let rest = row[i] - row[..i].iter().map(|value| value * value).sum::<f64>();
        if rest.is_nan() || rest <= 0.0 {
            return None;
        }
        row[i] = rest.sqrt();
    }
    Some(())
}

/// `x` with `L L' x = right`.
pub(super) fn solve(factor: &[f64], count: usize, right: &[f64]) -> Vec<f64> {
    let mut x = right.to_vec();
    for i in 0..count {
        let row = &factor[i * count..=i * count + i];
        let known: f64 = row[..i].iter().zip(&x).map(|(a, b)| a * b).sum();
        x[i] = (x[i] - known) / row[i];
    }
    for i in (0..count).rev() {
        let row = &factor[i * count..=i * count + i];
        x[i] /= row[i];
        let solved = x[i];
        x[..i].iter_mut().zip(row).for_each(|(value, weight)| *value -= weight * solved);
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cholesky_solves_a_hand_case() {
        let mut matrix = vec![4.0, 0.0, 2.0, 3.0];
        assert_eq!(cholesky(&mut matrix, 2), Some(()));
        let x = solve(&matrix, 2, &[2.0, -1.0]);
        // [[4, 2], [2, 3]] [1, -1] = [2, -1].
        assert!((x[0] - 1.0).abs() < 1e-12 && (x[1] + 1.0).abs() < 1e-12);
        assert_eq!(cholesky(&mut [1.0, 0.0, 2.0, 1.0], 2), None);
    }
}
