//! Puts numbers into the order in which a micro-kernel reads its right operand.

use crate::micro::MicroKernel;

/// Fills one panel from `WIDTH` rows of `depth` operands, each of which becomes a column.
///
/// `depth` is a multiple of `DEPTH_ALIGN`, and `to` has `WIDTH * depth` elements.
pub(crate) fn pack_columns<K: MicroKernel>(rows: &[K::Operand], depth: usize, to: &mut [K::Operand]) {
    for first in (0..K::WIDTH).step_by(K::RUN) {
        for at in (0..depth).step_by(K::GROUP) {
            let to = &mut to[K::panel_offset(at, first)..][..K::RUN * K::GROUP];
            for (to, row) in to.chunks_exact_mut(K::GROUP).zip(rows[first * depth..].chunks_exact(depth)) {
                to.copy_from_slice(&row[at..at + K::GROUP]);
            }
        }
    }
}

/// Fills one panel from rows of which `WIDTH` operands count; the first operand of a row is its first column.
///
/// `to.len() / WIDTH` rows of `stride` operands are read.
pub(crate) fn pack_rows<K: MicroKernel>(rows: &[K::Operand], stride: usize, to: &mut [K::Operand]) {
    for at in (0..to.len() / K::WIDTH).step_by(K::GROUP) {
        for first in (0..K::WIDTH).step_by(K::RUN) {
            let to = &mut to[K::panel_offset(at, first)..][..K::RUN * K::GROUP];
            for part in 0..K::GROUP {
                let from = &rows[(at + part) * stride + first..][..K::RUN];
                for (to, from) in to[part..].iter_mut().step_by(K::GROUP).zip(from) {
                    *to = *from;
                }
            }
        }
    }
}
