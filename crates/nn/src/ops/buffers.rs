//! Memory of finished activations, kept for the next ones: every step of a run needs the same sizes again.
//!
//! Fresh memory would have to be cleared and mapped on one thread before the kernels fill it on all of them.

use std::cell::RefCell;
use std::collections::HashMap;

use half::bf16;

/// Finished buffers of one storage type, by their number of elements.
pub(crate) type Shelf<T> = HashMap<usize, Vec<Vec<T>>>;

thread_local! {
    static F32: RefCell<Shelf<f32>> = RefCell::default();
    static BF16: RefCell<Shelf<bf16>> = RefCell::default();
}

/// A storage type that has a shelf on each thread.
pub(crate) trait Shelved: Copy + Default + 'static {
    fn with_shelf<R>(act: impl FnOnce(&mut Shelf<Self>) -> R) -> R;
}

impl Shelved for f32 {
    fn with_shelf<R>(act: impl FnOnce(&mut Shelf<Self>) -> R) -> R {
        F32.with_borrow_mut(act)
    }
}

impl Shelved for bf16 {
    fn with_shelf<R>(act: impl FnOnce(&mut Shelf<Self>) -> R) -> R {
        BF16.with_borrow_mut(act)
    }
}

/// A buffer of `length` elements with any numbers in it; the caller writes all of them.
pub(crate) fn take<T: Shelved>(length: usize) -> Vec<T> {
    let shelved = T::with_shelf(|shelf| shelf.get_mut(&length).and_then(Vec::pop));
    shelved.unwrap_or_else(|| vec![T::default(); length])
}

/// Puts a finished buffer on the shelf.
pub(crate) fn give<T: Shelved>(buffer: Vec<T>) {
    T::with_shelf(|shelf| shelf.entry(buffer.len()).or_default().push(buffer));
}

/// Frees the shelves of this thread; called at the end of a run, so that nothing stays behind.
pub fn release() {
    f32::with_shelf(HashMap::clear);
    bf16::with_shelf(HashMap::clear);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_until_it_is_released() {
        let mut buffer: Vec<f32> = take(7);
        buffer.fill(3.0);
        give(buffer);
        assert_eq!(take::<f32>(8), [0.0; 8]);
        assert_eq!(take::<f32>(7), [3.0; 7]);
        assert_eq!(take::<f32>(7), [0.0; 7]);
        give(vec![5.0f32; 7]);
        release();
        assert_eq!(take::<f32>(7), [0.0; 7]);
    }
}
