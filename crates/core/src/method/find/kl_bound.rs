//! A hard bound on the divergence to `N(0, I)`, and the rules by which sigma follows the mean.
//!
//! The model was trained on noises of norm close to `sqrt(d)`. The rules keep samples there, and the bound keeps a
//! component from collapsing to one image.

use super::config::Spread;
use crate::error::Result;
use crate::gaussian::Gaussian;

/// Smallest variance that a rule gives.
const VARIANCE_FLOOR: f64 = 0.01;

/// The sigma that `spread` prescribes for `mean`.
pub(super) fn sigma_for(mean: &[f32], spread: Spread) -> Vec<f32> {
    let from_square = |square: f64| (1.0 - square).max(VARIANCE_FLOOR).sqrt() as f32;
    match spread {
        Spread::Unit => vec![1.0; mean.len()],
        Spread::PerElement => mean.iter().map(|&mu| from_square(f64::from(mu).powi(2))).collect(),
        Spread::Uniform => {
            let square = mean.iter().map(|&mu| f64::from(mu).powi(2)).sum::<f64>();
            vec![from_square(square / mean.len().max(1) as f64); mean.len()]
        }
    }
}

/// Shrinks `(mean, sigma)` towards `(0, 1)` by one factor, `(s mu, sigma^s)`, just as far as the divergence
/// needs to be at most `budget_nats`; a Gaussian within its budget is returned unchanged.
pub(super) fn project(gaussian: Gaussian, budget_nats: f64) -> Result<Gaussian> {
    if gaussian.kl_to_standard_normal() <= budget_nats {
        return Ok(gaussian);
    }
    let shrunk = |factor: f64| {
        let mean = gaussian.mean().iter().map(|&mu| (factor * f64::from(mu)) as f32);
        let sigma = gaussian.sigma().iter().map(|&sigma| libm::pow(f64::from(sigma), factor) as f32);
        Gaussian::new(mean.collect(), sigma.collect())
    };
    // The divergence grows with the factor, and the lower end always fits, so bisection keeps the bound exactly.
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..30 {
        let middle = 0.5 * (low + high);
        if shrunk(middle)?.kl_to_standard_normal() <= budget_nats { low = middle } else { high = middle }
    }
    shrunk(low)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn variance_is_preserved() {
        let mean = [0.6f32, -0.8, 0.0];
        let sigma = sigma_for(&mean, Spread::PerElement);
        mean.iter().zip(&sigma).for_each(|(mu, s)| assert!((mu * mu + s * s - 1.0).abs() < 1e-6));
        let sigma = sigma_for(&mean, Spread::Uniform);
        let square: f32 = mean.iter().zip(&sigma).map(|(mu, s)| mu * mu + s * s).sum();
        assert!((square - 3.0).abs() < 1e-5);
        assert_eq!(sigma_for(&[5.0], Spread::PerElement), [0.1]);
    }

    proptest! {
        #[test]
        fn the_divergence_never_exceeds_its_budget(
            policy in prop::collection::vec((-5.0f32..5.0, 0.01f32..4.0), 1..40),
            budget in 1e-4f64..50.0,
        ) {
            let (mean, sigma): (Vec<f32>, Vec<f32>) = policy.into_iter().unzip();
            let gaussian = Gaussian::new(mean, sigma).unwrap();
            let before = gaussian.kl_to_standard_normal();
            let inside = project(gaussian.clone(), budget).unwrap();
            let after = inside.kl_to_standard_normal();
            prop_assert!(after <= budget);
            prop_assert!(after > 0.95 * before.min(budget) - 1e-4);
            if before <= budget {
                prop_assert_eq!(inside, gaussian);
            }
        }
    }
}
