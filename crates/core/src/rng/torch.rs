//! The exact stream of `torch.randn` with a CPU generator, so that seed 42 here is seed 42 in diffusers.
//!
//! PyTorch draws from MT19937. From 16 values on it fills the tensor with uniforms and transforms blocks of 16
//! by Box-Muller with the single-precision logarithm and sine of Moshier's Cephes library; below 16 it draws
//! pairs in double precision. `golden/torch_rng.py` makes the numbers that the tests compare with, bit for bit.

use std::f64::consts::TAU;

const STATE_WORDS: usize = 624;
const MIDDLE_WORD: usize = 397;
const BLOCK: usize = 16;

/// `torch.randn(count, generator=torch.Generator().manual_seed(seed))` in single precision.
///
/// Like PyTorch, the generator uses the low 32 bits of `seed`.
pub fn torch_normal(seed: u64, count: usize) -> Vec<f32> {
    TorchStream::new(seed).normals(count)
}

/// A `torch.Generator` on the CPU, from which several tensors are drawn one after the other.
#[derive(Clone, Debug)]
pub struct TorchStream {
    generator: MersenneTwister,
    /// The second of a pair of which only one value was asked for.
    spare: Option<f64>,
}

impl TorchStream {
    /// The generator after `manual_seed(seed)`; like PyTorch, it uses the low 32 bits of `seed`.
    pub fn new(seed: u64) -> Self {
        Self { generator: MersenneTwister::new(seed as u32), spare: None }
    }

    /// The next `torch.randn(count, generator=self)` in single precision.
    pub fn normals(&mut self, count: usize) -> Vec<f32> {
        if count < BLOCK { self.small_normals(count) } else { block_normals(&mut self.generator, count) }
    }

    /// Fewer than 16 values: Box-Muller pairs in double precision, each rounded once at the end.
    fn small_normals(&mut self, count: usize) -> Vec<f32> {
        let mut normal = || {
            if let Some(spare) = self.spare.take() {
                return spare;
            }
            let angle = TAU * self.generator.uniform_f64();
            let radius = (-2.0 * libm::log1p(-self.generator.uniform_f64())).sqrt();
            self.spare = Some(radius * libm::sin(angle));
            radius * libm::cos(angle)
        };
        (0..count).map(|_| normal() as f32).collect()
    }
}

/// 16 values or more: blocks of 16; an incomplete last block is drawn again over the last 16 values.
fn block_normals(generator: &mut MersenneTwister, count: usize) -> Vec<f32> {
    let mut values: Vec<f32> = (0..count).map(|_| generator.uniform_f32()).collect();
    values.chunks_exact_mut(BLOCK).for_each(transform_block);
    if !count.is_multiple_of(BLOCK) {
        let tail = &mut values[count - BLOCK..];
        tail.fill_with(|| generator.uniform_f32());
        transform_block(tail);
    }
    values
}

/// Box-Muller on 8 pairs: value `j` gives the radius, value `j + 8` the angle.
fn transform_block(block: &mut [f32]) {
    let (lower, upper) = block.split_at_mut(BLOCK / 2);
    for (first, second) in lower.iter_mut().zip(upper) {
        let radius = (-2.0 * cephes_log(1.0 - *first)).sqrt();
        let (sine, cosine) = cephes_sine_cosine(std::f32::consts::TAU * *second);
        *first = radius * cosine;
        *second = radius * sine;
    }
}

/// Horner's rule with one rounding per coefficient, highest power first.
fn horner(x: f32, coefficients: &[f32]) -> f32 {
    coefficients.iter().fold(0.0, |sum, &coefficient| sum.mul_add(x, coefficient))
}

/// Natural logarithm of a positive normal number.
fn cephes_log(x: f32) -> f32 {
    const COEFFICIENTS: [f32; 9] = [
        7.037_683_6e-2,
        -1.151_461e-1,
        1.167_699_84e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_8e-1,
        2.000_071_4e-1,
        -2.499_999_4e-1,
        3.333_333e-1,
    ];
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    // x = fraction 2^exponent with the fraction in [1/2, 1), then moved around 1.
    let mut exponent = ((x.to_bits() >> 23) as i32 - 126) as f32;
    let mut fraction = f32::from_bits(x.to_bits() & 0x007f_ffff | 0x3f00_0000);
    if fraction < std::f32::consts::FRAC_1_SQRT_2 {
        exponent -= 1.0;
        fraction = fraction - 1.0 + fraction;
    } else {
        fraction -= 1.0;
    }
    let square = fraction * fraction;
    let mut tail = (horner(fraction, &COEFFICIENTS) * fraction).mul_add(square, exponent * LN_2_LOW);
    tail = (-square).mul_add(0.5, tail);
    exponent.mul_add(LN_2_HIGH, fraction + tail)
}

/// Sine and cosine of an angle in `0.0..8192.0`.
fn cephes_sine_cosine(angle: f32) -> (f32, f32) {
    const SINE: [f32; 3] = [-1.951_529_6e-4, 8.332_161e-3, -1.666_665_5e-1];
    const COSINE: [f32; 3] = [2.443_315_7e-5, -1.388_731_6e-3, 4.166_664_6e-2];
    /// Pi / 4 in three parts, so that the reduction keeps its last bits.
    const QUARTER_PI: [f32; 3] = [0.785_156_25, 2.418_756_5e-4, 3.774_895e-8];
    let octant = ((angle * 1.273_239_5) as i32 + 1) & !1;
    let count = octant as f32;
    let x = QUARTER_PI.iter().fold(angle, |rest, &part| (-count).mul_add(part, rest));
    let square = x * x;
    let cosine = (horner(square, &COSINE) * square).mul_add(square, -0.5 * square) + 1.0;
    let sine = (horner(square, &SINE) * square).mul_add(x, x);
    let (sine, cosine) = if octant & 2 == 0 { (sine, cosine) } else { (cosine, sine) };
    (if octant & 4 == 0 { sine } else { -sine }, if (octant + 2) & 4 == 0 { cosine } else { -cosine })
}

/// MT19937 (Matsumoto and Nishimura, 1998).
#[derive(Clone, Debug)]
struct MersenneTwister {
    state: [u32; STATE_WORDS],
    next: usize,
}

impl MersenneTwister {
    fn new(seed: u32) -> Self {
        let mut state = [seed; STATE_WORDS];
        for at in 1..STATE_WORDS {
            let previous = state[at - 1] ^ (state[at - 1] >> 30);
            state[at] = 1_812_433_253u32.wrapping_mul(previous).wrapping_add(at as u32);
        }
        Self { state, next: STATE_WORDS }
    }

    fn next_u32(&mut self) -> u32 {
        if self.next == STATE_WORDS {
            self.twist();
        }
        let mut word = self.state[self.next];
        self.next += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }

    fn twist(&mut self) {
        for at in 0..STATE_WORDS {
            let joined = (self.state[at] & 0x8000_0000) | (self.state[(at + 1) % STATE_WORDS] & 0x7fff_ffff);
            let odd = if joined & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[at] = self.state[(at + MIDDLE_WORD) % STATE_WORDS] ^ (joined >> 1) ^ odd;
        }
        self.next = 0;
    }

    /// 24 random bits in `0.0..1.0`.
    fn uniform_f32(&mut self) -> f32 {
        (self.next_u32() & 0x00ff_ffff) as f32 * (1.0 / 16_777_216.0)
    }

    /// 53 random bits in `0.0..1.0`, high word first.
    fn uniform_f64(&mut self) -> f64 {
        let bits = (u64::from(self.next_u32()) << 32) | u64::from(self.next_u32());
        (bits & ((1 << 53) - 1)) as f64 * (1.0 / (1u64 << 53) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first outputs of MT19937 under its reference seed 5489.
    #[test]
    fn the_twister_agrees_with_its_reference() {
        let mut generator = MersenneTwister::new(5489);
        assert_eq!([(); 3].map(|()| generator.next_u32()), [3_499_211_612, 581_869_302, 3_890_346_734]);
    }
}
