//! Working memory that each thread keeps, so that repeated calls allocate nothing.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

use half::{bf16, f16};

/// One cache line; buffers made of these start on a line, as tile and vector loads want it.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug)]
struct Line([u8; LINE_BYTES]);

const LINE_BYTES: usize = 64;

/// A type of which every bit pattern is a value.
///
/// # Safety
/// Implement it only for types without invalid bit patterns, padding or a larger alignment than a cache line.
pub unsafe trait Plain: Copy + 'static {}
// SAFETY: every pattern of 32 bits is an f32.
unsafe impl Plain for f32 {}
// SAFETY: bf16 is a transparent u16.
unsafe impl Plain for bf16 {}
// SAFETY: f16 is a transparent u16.
unsafe impl Plain for f16 {}
// SAFETY: every pattern of 8 bits is an i8.
unsafe impl Plain for i8 {}

thread_local! {
    static POOL: RefCell<Vec<Vec<Line>>> = const { RefCell::new(Vec::new()) };
}

/// A borrowed buffer of this thread; goes back to the thread's pool when dropped. Holds stale numbers at first.
pub(crate) struct Scratch<T> {
    lines: Vec<Line>,
    length: usize,
    element: std::marker::PhantomData<*mut T>,
}

impl<T: Plain> Scratch<T> {
    /// A buffer of `length` elements: the smallest kept one that is large enough, else the largest one, grown.
    pub(crate) fn take(length: usize) -> Self {
        let needed = (length * size_of::<T>()).div_ceil(LINE_BYTES);
        let mut lines = POOL.with_borrow_mut(|pool| {
            let fits = pool.iter().position(|lines| lines.len() >= needed);
            fits.or(pool.len().checked_sub(1)).map_or_else(Vec::new, |at| pool.remove(at))
        });
        if lines.len() < needed {
            lines.resize(needed, Line([0; LINE_BYTES]));
        }
        Self { lines, length, element: std::marker::PhantomData }
    }
}

impl<T> Drop for Scratch<T> {
    fn drop(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        // A thread that is shutting down has no pool any more; then the buffer is freed.
        let _ = POOL.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            let at = pool.partition_point(|kept| kept.len() < lines.len());
            pool.insert(at, lines);
        });
    }
}

impl<T: Plain> Deref for Scratch<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the lines hold at least `length` elements, are initialised and aligned, and any bits are a `T`.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.length) }
    }
}

impl<T: Plain> DerefMut for Scratch<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as for `deref`; the unique borrow of `self` is the only way to these lines.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.length) }
    }
}

/// Whole cache lines; in tests they end where a page without permission begins, so that a read behind them is noticed.
#[cfg(not(all(test, unix)))]
type Lines = Vec<Line>;
#[cfg(all(test, unix))]
use crate::tests::GuardedBytes as Lines;

#[cfg(not(all(test, unix)))]
fn zero_lines(count: usize) -> Lines {
    vec![Line([0; LINE_BYTES]); count]
}

#[cfg(all(test, unix))]
fn zero_lines(count: usize) -> Lines {
    Lines::zeros(count * LINE_BYTES)
}

/// Memory for packed weights: like a boxed slice, but starting on a cache line.
#[derive(Clone, Debug)]
pub(crate) struct AlignedBox<T> {
    lines: Lines,
    length: usize,
    element: std::marker::PhantomData<T>,
}

impl<T: Plain> AlignedBox<T> {
    /// `length` zeros.
    pub(crate) fn zeros(length: usize) -> Self {
        let lines = (length * size_of::<T>()).div_ceil(LINE_BYTES);
        Self { lines: zero_lines(lines), length, element: std::marker::PhantomData }
    }
}

impl<T: Plain> Deref for AlignedBox<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the lines hold at least `length` elements, are initialised and aligned, and any bits are a `T`.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.length) }
    }
}

impl<T: Plain> DerefMut for AlignedBox<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as for `deref`; the unique borrow of `self` is the only way to these lines.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.length) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_reused_and_aligned() {
        let first = Scratch::<f32>::take(1000);
        let address = first.as_ptr();
        assert_eq!(address as usize % LINE_BYTES, 0);
        assert_eq!(first.len(), 1000);
        drop(first);
        let second = Scratch::<bf16>::take(1990);
        assert_eq!(second.as_ptr().cast(), address);
        let nested = Scratch::<f32>::take(10);
        assert_ne!(nested.as_ptr(), address);
    }
}
