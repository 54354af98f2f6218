//! Small dense matrices in f32, as far as adapters multiply them.

use noisefind_kernels::{Dtype, Epilogue, PackedMatrix, gemm};

/// Numbers by rows.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Matrix {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) values: Vec<f32>,
}

impl Matrix {
    /// The numbers of a tensor, whose first dimension are the rows.
    pub(super) fn of(shape: &[usize], values: Vec<f32>) -> Self {
        let rows = shape.first().copied().unwrap_or(1);
        Self { rows, columns: values.len().checked_div(rows).unwrap_or(0), values }
    }

    pub(super) fn transposed(&self) -> Self {
        let column = |at: usize| self.values.iter().skip(at).step_by(self.columns).copied();
        Self { rows: self.columns, columns: self.rows, values: (0..self.columns).flat_map(column).collect() }
    }

    /// `self * other`.
    ///
    /// # Errors
    /// In words, where the sizes do not fit.
    pub(super) fn times(&self, other: &Self) -> Result<Self, String> {
        let [inner, columns] = [self.columns, other.columns];
        if inner != other.rows || [self.rows, inner, columns].contains(&0) {
            return Err(format!("[{}, {}] times [{}, {columns}]", self.rows, self.columns, other.rows));
        }
        let mut values = vec![0.0; self.rows * columns];
        PackedMatrix::pack(&other.transposed().values, None, columns, inner, Dtype::F32)
            .and_then(|packed| gemm(&self.values, &packed, &Epilogue::default(), &mut values))
            .map_err(|error| error.to_string())?;
        Ok(Self { rows: self.rows, columns, values })
    }

    /// `out[p, r, window] = sum over i, j of outer[p, i] window[i, j, window] inner[j, r]`, with `self` as the window,
    /// whose shape is `[i, j, window]`.
    ///
    /// # Errors
    /// In words, where the sizes do not fit.
    pub(super) fn between(&self, second: usize, outer: &Self, inner: &Self) -> Result<Self, String> {
        if second == 0 || !self.columns.is_multiple_of(second) {
            return Err(format!("a window of {} numbers for {second} rows", self.columns));
        }
        let window = self.columns / second;
        // [p, j window], then each p as [j, window]^T times [j, r].
        let left = outer.times(self)?;
        let mut values = Vec::with_capacity(outer.rows * inner.columns * window);
        for row in left.values.chunks_exact(self.columns) {
            let row = Self { rows: second, columns: window, values: row.to_vec() };
            values.extend(inner.transposed().times(&row)?.values);
        }
        Ok(Self { rows: outer.rows, columns: inner.columns * window, values })
    }

    /// Element by element.
    ///
    /// # Errors
    /// In words, where the sizes differ.
    pub(super) fn hadamard(mut self, other: &Self) -> Result<Self, String> {
        if (self.rows, self.columns) != (other.rows, other.columns) {
            return Err(format!("[{}, {}] by [{}, {}]", self.rows, self.columns, other.rows, other.columns));
        }
        self.values.iter_mut().zip(&other.values).for_each(|(value, factor)| *value *= factor);
        Ok(self)
    }

    /// Every number of `self` times the whole of `other`.
    pub(super) fn kronecker(&self, other: &Self) -> Self {
        let mut values = Vec::with_capacity(self.values.len() * other.values.len());
        for own in self.values.chunks_exact(self.columns.max(1)) {
            for row in other.values.chunks_exact(other.columns.max(1)) {
                values.extend(own.iter().flat_map(|factor| row.iter().map(move |value| factor * value)));
            }
        }
        Self { rows: self.rows * other.rows, columns: self.columns * other.columns, values }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix<const N: usize>(rows: usize, values: [f32; N]) -> Matrix {
        Matrix { rows, columns: N / rows, values: values.to_vec() }
    }

    #[test]
    fn products_are_those_of_the_textbook() {
        let (a, b) = (matrix(2, [1.0, 2.0, 3.0, 4.0]), matrix(2, [5.0, 6.0, 7.0, 8.0]));
        assert_eq!(a.times(&b).unwrap(), matrix(2, [19.0, 22.0, 43.0, 50.0]));
        assert_eq!(a.clone().hadamard(&b).unwrap(), matrix(2, [5.0, 12.0, 21.0, 32.0]));
        let expected = matrix(2, [3.0, 4.0, 6.0, 8.0]);
        assert_eq!(matrix(1, [1.0, 2.0]).kronecker(&matrix(2, [3.0, 4.0])).values, [3.0, 6.0, 4.0, 8.0]);
        assert_eq!(matrix(2, [1.0, 2.0]).kronecker(&matrix(1, [3.0, 4.0])), expected);
        assert!(a.times(&matrix(1, [1.0, 2.0])).is_err());
    }

    #[test]
    fn a_window_lies_between_two_matrices() {
        // One row and one column: the window times both numbers.
        let window = matrix(1, [1.0, 2.0, 3.0]);
        let (outer, inner) = (matrix(1, [2.0]), matrix(1, [5.0]));
        assert_eq!(window.between(1, &outer, &inner).unwrap().values, [10.0, 20.0, 30.0]);
        // t[i, j] with i = j = 2 and no window is a product of three matrices.
        let (t, outer, inner) =
            (matrix(2, [1.0, 2.0, 3.0, 4.0]), matrix(1, [1.0, 10.0]), matrix(2, [1.0, 100.0]));
        assert_eq!(t.between(2, &outer, &inner).unwrap().values, [31.0 + 4200.0]);
    }
}
