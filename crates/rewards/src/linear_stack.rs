//! A stack of linear layers with nothing between them, ending in one number: the head of several published scorers.

use noisefind_nn::weights::Scope;

/// The layers under `layers.N`. They run in f64 on the host: they are small, and their sums decide the last digits.
pub(crate) struct LinearStack {
    layers: Vec<Layer>,
}

struct Layer {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl LinearStack {
    /// Loads `layers.<name>.weight` and `.bias` for each name, `widths` being one longer; a tensor that is absent is
    /// noted in the scope's weights.
    pub(crate) fn load(scope: &Scope<'_>, names: &[usize], widths: &[usize]) -> Self {
        let layer = |(name, width): (&usize, &[usize])| {
            let scope = scope.at("layers").at(name);
            let (input, output) = (width[0], width[1]);
            Layer {
                weight: scope.tensor("weight", &[output, input]).unwrap_or_default(),
                bias: scope.tensor("bias", &[output]).unwrap_or_default(),
            }
        };
        Self { layers: names.iter().zip(widths.windows(2)).map(layer).collect() }
    }

    /// The number that comes out of a vector of the first width.
    pub(crate) fn forward(&self, input: Vec<f64>) -> f64 {
        self.layers.iter().fold(input, |x, layer| layer.forward(&x)).iter().sum()
    }
}

impl Layer {
    fn forward(&self, x: &[f64]) -> Vec<f64> {
        let rows = self.weight.chunks_exact(x.len()).zip(&self.bias);
        rows.map(|(row, &bias)| {
            f64::from(bias) + row.iter().zip(x).map(|(&weight, &x)| f64::from(weight) * x).sum::<f64>()
        })
        .collect()
    }
}
