//! The change of one tensor.
//!
//! Low-rank: Hu et al., "LoRA", ICLR 2022. Hadamard and Kronecker products: Yeh et al., "Navigating Text-To-Image
//! Customization", ICLR 2024; reference: LyCORIS 4.1 and PEFT 0.21. Norms: Liu et al., "DoRA", ICML 2024.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::Adapter;
use super::matrix::Matrix;
use super::names::Role;
use crate::error::{Error, Result};
use crate::weights::Change;

/// The tensors of an adapter that change one module, by what they are.
pub(super) type Tensors = BTreeMap<Role, String>;

/// The change of the weight or the bias of a module.
#[derive(Clone, Debug)]
pub(super) struct Delta {
    pub(super) adapter: Rc<Adapter>,
    pub(super) tensors: Tensors,
    /// The names of the module, for the patterns of PEFT.
    pub(super) names: Vec<String>,
    pub(super) part: &'static str,
    pub(super) of: Of,
}

/// What of a module is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    Weight,
    Bias,
}

/// A change of a weight, before the user's factor.
struct Rebuilt {
    values: Vec<f32>,
    /// What the factor of its alpha is divided by.
    rank: usize,
}

/// A factor of a Kronecker product with its rank, where it is a product itself; or why it cannot be made.
type Factor = std::result::Result<(Matrix, Option<usize>), String>;

impl Change for Delta {
    fn apply(&self, name: &str, shape: &[usize], base: &[f32], values: &mut Vec<f32>) -> Result<()> {
        let refused = |reason: String| Error::Lora { file: self.adapter.weights.part().to_owned(), reason };
        let weight = self.adapter.weight;
        let (delta, factor) = match self.of {
            Of::Bias => self.bias()?,
            Of::Weight => {
                let rebuilt = self.rebuilt().and_then(|rebuilt| rebuilt.map_err(refused))?;
                (rebuilt.values, self.factor(rebuilt.rank)?)
            }
        };
        if delta.len() != values.len() {
            let shapes: Vec<String> = self.tensors.values().map(|tensor| self.described(tensor)).collect();
            return Err(refused(format!("{} do not make {name} {shape:?}", shapes.join(" and "))));
        }
        let is_peft = self.tensors.contains_key(&Role::Magnitude);
        let norms = [Role::DoraScale, Role::Magnitude].iter().find_map(|role| self.tensors.get(role));
        let Some(norms) = norms.filter(|_| self.of == Of::Weight) else {
            values.iter_mut().zip(&delta).for_each(|(value, change)| *value += weight * factor * change);
            return Ok(());
        };
        let numbers = self.adapter.weights.numbers(norms)?;
        let by_input =
            self.adapter.weights.shape(norms).is_some_and(|shape| shape.first() == Some(&1)) && !is_peft;
        let groups = if by_input { shape.get(1).copied().unwrap_or(1) } else { shape[0] };
        if numbers.len() != groups {
            return Err(refused(format!(
                "{} is not one norm for each of {groups} rows of {name}",
                self.described(norms)
            )));
        }
        // PEFT scales the change alone, with the norms of the weight that no adapter has changed; LyCORIS scales the change
        // together with its norms.
        let inner = if is_peft { weight * factor } else { factor };
        let before = if is_peft { base } else { values.as_slice() };
        let changed: Vec<f32> =
            before.iter().zip(&delta).map(|(value, change)| value + inner * change).collect();
        let per_output = values.len() / shape[0].max(1);
        let window = per_output / shape.get(1).copied().unwrap_or(1).max(1);
        let group = |at: usize| if by_input { at % per_output / window } else { at / per_output };
        let mut squares = vec![0.0f64; groups];
        changed.iter().enumerate().for_each(|(at, value)| squares[group(at)] += f64::from(*value).powi(2));
        let scales: Vec<f32> = numbers
            .iter()
            .zip(squares)
            .map(|(norm, square)| {
                let root = square.sqrt() as f32;
                if is_peft { norm / root } else { weight * (norm / (root + f32::EPSILON) - 1.0) + 1.0 }
            })
            .collect();
        for (at, (value, change)) in values.iter_mut().zip(&delta).enumerate() {
            *value = (*value + inner * change) * scales[group(at)];
        }
        Ok(())
    }
}

impl Delta {
    /// The change of the weight, or in words why its tensors make none.
    fn rebuilt(&self) -> Result<std::result::Result<Rebuilt, String>> {
        let matrix = |role: Role| self.matrix(role);
        let window = |role: Role| -> Result<Option<(Matrix, usize)>> {
            let second =
                |name: &String| self.adapter.weights.shape(name).and_then(|shape| shape.get(1)).copied();
            let second = self.tensors.get(&role).and_then(second).unwrap_or(0);
            Ok(matrix(role)?.map(|matrix| (matrix, second)))
        };
        if let Some(diff) = matrix(Role::Diff)? {
            return Ok(Ok(Rebuilt { values: diff.values, rank: 1 }));
        }
        if let (Some(down), Some(up)) = (matrix(Role::Down)?, matrix(Role::Up)?) {
            let rank = down.rows;
            let made = match window(Role::Mid)? {
                Some((mid, second)) => mid.between(second, &up, &down),
                None => up.times(&down),
            };
            return Ok(self.made(made, rank));
        }
        if let (Some(a1), Some(b1), Some(a2), Some(b2)) =
            (matrix(Role::HadaW1A)?, matrix(Role::HadaW1B)?, matrix(Role::HadaW2A)?, matrix(Role::HadaW2B)?)
        {
            let rank = b1.rows;
            let made = match (window(Role::HadaT1)?, window(Role::HadaT2)?) {
                (Some((t1, second1)), Some((t2, second2))) => t1
                    .between(second1, &a1.transposed(), &b1)
                    .and_then(|first| first.hadamard(&t2.between(second2, &a2.transposed(), &b2)?)),
                _ => a1.times(&b1).and_then(|first| first.hadamard(&a2.times(&b2)?)),
            };
            return Ok(self.made(made, rank));
        }
        let [first, second] = [
            (Role::LokrW1, Role::LokrW1A, Role::LokrW1B, None),
            (Role::LokrW2, Role::LokrW2A, Role::LokrW2B, Some(Role::LokrT2)),
        ]
        .map(|(whole, a, b, t)| -> Result<Option<Factor>> {
            if let Some(whole) = matrix(whole)? {
                return Ok(Some(Ok((whole, None))));
            }
            let (Some(a), Some(b)) = (matrix(a)?, matrix(b)?) else { return Ok(None) };
            let t = t.map(window).transpose()?.flatten();
            let rank = b.rows;
            let made = match t {
                Some((t, second)) => t.between(second, &a.transposed(), &b),
                None => a.times(&b),
            };
            Ok(Some(made.map(|made| (made, Some(rank)))))
        });
        if let (Some(first), Some(second)) = (first?, second?) {
            let made = first.and_then(|(first, rank1)| {
                let (second, rank2) = second?;
                // Two whole factors have no rank, and alpha does not count.
                Ok((first.kronecker(&second), rank1.or(rank2).unwrap_or(0)))
            });
            return Ok(made
                .map(|(made, rank)| Rebuilt { values: made.values, rank })
                .map_err(|why| self.misfit(&why)));
        }
        let found: Vec<&str> = self.tensors.values().map(String::as_str).collect();
        Ok(Err(format!(
            "expected all the matrices of one change (lora_down and lora_up, hada_w1 and hada_w2, lokr_w1 and lokr_w2, or \
             diff), found {}",
            found.join(", ")
        )))
    }

    fn made(
        &self,
        made: std::result::Result<Matrix, String>,
        rank: usize,
    ) -> std::result::Result<Rebuilt, String> {
        made.map(|made| Rebuilt { values: made.values, rank }).map_err(|why| self.misfit(&why))
    }

    fn misfit(&self, why: &str) -> String {
        let shapes: Vec<String> = self.tensors.values().map(|tensor| self.described(tensor)).collect();
        format!("{} do not fit each other: {why}", shapes.join(" and "))
    }

    /// A tensor with its shape, for messages.
    fn described(&self, tensor: &str) -> String {
        format!("{tensor} {:?}", self.adapter.weights.shape(tensor).unwrap_or_default())
    }

    fn matrix(&self, role: Role) -> Result<Option<Matrix>> {
        let Some(name) = self.tensors.get(&role) else { return Ok(None) };
        let weights = &self.adapter.weights;
        let values = weights.numbers(name)?;
        Ok(Some(Matrix::of(weights.shape(name).unwrap_or_default(), values)))
    }

    /// The change of the bias, with its factor.
    fn bias(&self) -> Result<(Vec<f32>, f32)> {
        let weights = &self.adapter.weights;
        if let Some(own) = self.tensors.get(&Role::BiasDiff) {
            return Ok((weights.numbers(own)?, 1.0));
        }
        let rank =
            self.tensors.get(&Role::Down).and_then(|down| weights.shape(down)?.first().copied()).unwrap_or(1);
        let own = self.tensors.get(&Role::UpBias).map_or(Ok(Vec::new()), |own| weights.numbers(own))?;
        Ok((own, self.factor(rank)?))
    }

    /// What the file says that the change is multiplied with: its alpha through its rank, 1 where it says nothing.
    fn factor(&self, rank: usize) -> Result<f32> {
        if self.tensors.contains_key(&Role::Diff) {
            return Ok(1.0);
        }
        let is_product = self.tensors.keys().any(|role| *role >= Role::HadaW1A);
        if let Some(alpha) = self.tensors.get(&Role::Alpha) {
            let alpha = self.adapter.weights.numbers(alpha)?.first().copied().unwrap_or(0.0);
            // In LyCORIS, no alpha and no rank stand for no factor.
            return Ok(if is_product && (alpha == 0.0 || rank == 0) { 1.0 } else { alpha / rank as f32 });
        }
        let Some(factors) = self.adapter.factors.iter().find(|factors| factors.are_of(self.part)) else {
            return Ok(1.0);
        };
        let stated = factors.rank(&self.names);
        if !is_product && stated != rank as f64 {
            let name = self.tensors.get(&Role::Down).cloned().unwrap_or_default();
            let reason =
                format!("{} has another rank than its config, which says {stated}", self.described(&name));
            return Err(Error::Lora { file: self.adapter.weights.part().to_owned(), reason });
        }
        Ok(factors.factor(&self.names))
    }
}
