//! Scaled dot-product attention, `softmax(scale * q k^T) v`, without the matrix of weights in memory.

use rayon::prelude::*;

use crate::activation::exp;
use crate::element::Element;
use crate::error::{Result, check_shape};

/// Rows of queries, keys or values inside a larger matrix, so that a fused projection needs no copies.
///
/// Element `d` of head `h` in row `i` of sample `b` is `data[(b * rows + i) * row_stride + h * head_dim + d]`.
#[derive(Clone, Copy, Debug)]
pub struct HeadRows<'a, T> {
    /// Starts at the first row's first head.
    pub data: &'a [T],
    /// Elements from one row to the next.
    pub row_stride: usize,
}

/// Sizes of an attention.
#[derive(Clone, Copy, Debug)]
pub struct AttentionShape<'a> {
    /// Samples.
    pub batch: usize,
    /// Heads.
    pub heads: usize,
    /// Channels of one head.
    pub head_dim: usize,
    /// Query rows of one sample.
    pub queries: usize,
    /// Key and value rows of one sample.
    pub keys: usize,
    /// Factor before the softmax, usually `1 / sqrt(head_dim)`.
    pub scale: f32,
    /// Whether row `i` sees only keys `0..=i`.
    pub causal: bool,
    /// How many keys count in each sample, `[batch]`; the rest is padding. All of them without.
    pub key_lengths: Option<&'a [usize]>,
}

/// Attention of every head; `out` is `[batch, queries, heads * head_dim]`. A query that sees no key gives zeros.
///
/// # Errors
/// A length that does not fit.
pub fn attention<T: Element>(
    q: HeadRows<'_, T>,
    k: HeadRows<'_, T>,
    v: HeadRows<'_, T>,
    shape: &AttentionShape<'_>,
    out: &mut [T],
) -> Result<()> {
    shape.check(&q, &k, &v, out.len())?;
    let width = shape.heads * shape.head_dim;
    out.par_chunks_mut(shape.head_dim).enumerate().for_each(|(at, out)| {
        let (head, row) = (at % shape.heads, at / shape.heads);
        let (sample, query) = (row / shape.queries, row % shape.queries);
        let visible = shape.visible_keys(sample, query);
        let start = row * q.row_stride + head * shape.head_dim;
        let q_row = &q.data[start..start + shape.head_dim];
        let mut maximum = f32::NEG_INFINITY;
        let mut total = 0.0;
        let mut sums = vec![0.0; shape.head_dim];
        for key in 0..visible {
            let at = sample * shape.keys + key;
            let k_row = &k.data[at * k.row_stride + head * shape.head_dim..][..shape.head_dim];
            let v_row = &v.data[at * v.row_stride + head * shape.head_dim..][..shape.head_dim];
            let score =
                shape.scale * q_row.iter().zip(k_row).map(|(q, k)| q.widen() * k.widen()).sum::<f32>();
            let raised = score.max(maximum);
            let (old, new) = (exp(maximum - raised), exp(score - raised));
            maximum = raised;
            total = total * old + new;
            for (sum, v) in sums.iter_mut().zip(v_row) {
                *sum = *sum * old + new * v.widen();
            }
        }
        for (out, sum) in out.iter_mut().zip(&sums) {
            *out = T::narrow(if visible == 0 { 0.0 } else { sum / total });
        }
    });
    debug_assert_eq!(out.len(), shape.batch * shape.queries * width);
    Ok(())
}

impl AttentionShape<'_> {
    fn check<T>(
        &self,
        q: &HeadRows<'_, T>,
        k: &HeadRows<'_, T>,
        v: &HeadRows<'_, T>,
        out: usize,
    ) -> Result<()> {
        use crate::error::check_length;
        check_shape("heads", "at least 1", self.heads, self.heads > 0)?;
        check_shape("head channels", "at least 1", self.head_dim, self.head_dim > 0)?;
        let width = self.heads * self.head_dim;
        for (name, rows, count) in
            [("queries", q, self.queries), ("keys", k, self.keys), ("values", v, self.keys)]
        {
            check_shape(
                "row stride",
                "at least heads * head channels",
                rows.row_stride,
                rows.row_stride >= width,
            )?;
            let count = self.batch * count;
            let needed = if count == 0 { 0 } else { (count - 1) * rows.row_stride + width };
            check_shape(name, "enough elements for all rows", rows.data.len(), rows.data.len() >= needed)?;
        }
        if let Some(lengths) = self.key_lengths {
            check_length("key lengths", self.batch, lengths.len())?;
        }
        check_length("output", self.batch * self.queries * width, out)
    }

    /// How many keys a query sees, counted from the first.
    fn visible_keys(&self, sample: usize, query: usize) -> usize {
        let length = self.key_lengths.map_or(self.keys, |lengths| lengths[sample].min(self.keys));
        if self.causal { length.min(query + 1) } else { length }
    }
}
