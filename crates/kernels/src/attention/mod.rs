//! Scaled dot-product attention, `softmax(scale * q k^T) v`, without the matrix of weights in memory.

mod head;

use rayon::prelude::*;

use crate::dispatch::{Task, dispatch};
use crate::element::Element;
use crate::error::{Result, check_length, check_shape};
use crate::isa::Isa;
use crate::micro::{LoadAs, MicroKernel, Operand};
use crate::product::SharedOutput;

use head::{Head, PackedHead};

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
    T::attention(Isa::current(), [q, k, v], shape, out)
}

/// Attends with an instruction set that this machine has.
pub(crate) fn attention_for<T: Element>(
    isa: Isa,
    operands: [HeadRows<'_, T>; 3],
    shape: &AttentionShape<'_>,
    out: &mut [T],
) -> Result<()> {
    shape.check(&operands, out.len())?;
    dispatch(isa, T::DTYPE, AllHeads { operands, shape, out: SharedOutput::new(out) });
    Ok(())
}

struct AllHeads<'a, T> {
    operands: [HeadRows<'a, T>; 3],
    shape: &'a AttentionShape<'a>,
    out: SharedOutput<T>,
}

impl<T: Element + LoadAs<O>, O: Operand> Task<O> for AllHeads<'_, T> {
    type Output = ();

    fn run<K: MicroKernel<Operand = O>>(self) {
        let shape = self.shape;
        (0..shape.batch * shape.heads).into_par_iter().for_each(|at| {
            let (sample, head) = (at / shape.heads, at % shape.heads);
            let packed = PackedHead::<K>::pack(&self.operands, shape, sample, head);
            let head = Head::<K, T> {
                packed: packed.view(),
                q: &self.operands[0],
                shape,
                sample,
                head,
                out: &self.out,
            };
            let size = Head::<K, T>::TASK_QUERIES;
            (0..shape.queries.div_ceil(size)).into_par_iter().for_each(|block| {
                K::begin();
                head.attend(block * size..shape.queries.min((block + 1) * size));
                K::end();
            });
        });
    }
}

impl AttentionShape<'_> {
    fn check<T>(&self, [q, k, v]: &[HeadRows<'_, T>; 3], out: usize) -> Result<()> {
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
    pub(crate) fn visible_keys(&self, sample: usize, query: usize) -> usize {
        let length = self.key_lengths.map_or(self.keys, |lengths| lengths[sample].min(self.keys));
        if self.causal { length.min(query + 1) } else { length }
    }
}
