//! Config of the sampler, `scheduler_config.json` of diffusers.

use std::str::FromStr;

use serde::Deserialize;

use noisefind_nn::config::Keys;
use noisefind_nn::error::{Error, Result};
use noisefind_nn::files::ModelFiles;

/// Which solver walks from noise to picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SolverKind {
    /// Denoising diffusion implicit models.
    Ddim,
    /// Pseudo linear multistep, without its Runge-Kutta start.
    Pndm,
    /// Euler's method in the noise level.
    Euler,
    /// Euler's method with fresh noise in every step.
    EulerAncestral,
    /// DPM-Solver++ of second order, multistep.
    DpmSolverMultistep,
    /// Latent consistency models.
    Lcm,
    /// Euler's method for rectified flows.
    FlowMatchEuler,
}

impl SolverKind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Ddim,
        Self::Pndm,
        Self::Euler,
        Self::EulerAncestral,
        Self::DpmSolverMultistep,
        Self::Lcm,
        Self::FlowMatchEuler,
    ];

    /// The name that users write.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ddim => "ddim",
            Self::Pndm => "pndm",
            Self::Euler => "euler",
            Self::EulerAncestral => "euler-ancestral",
            Self::DpmSolverMultistep => "dpmpp-2m",
            Self::Lcm => "lcm",
            Self::FlowMatchEuler => "flow-match-euler",
        }
    }

    const fn class_name(self) -> &'static str {
        match self {
            Self::Ddim => "DDIMScheduler",
            Self::Pndm => "PNDMScheduler",
            Self::Euler => "EulerDiscreteScheduler",
            Self::EulerAncestral => "EulerAncestralDiscreteScheduler",
            Self::DpmSolverMultistep => "DPMSolverMultistepScheduler",
            Self::Lcm => "LCMScheduler",
            Self::FlowMatchEuler => "FlowMatchEulerDiscreteScheduler",
        }
    }

    /// The keys whose mathematics this solver does not implement, and the values that switch it off.
    const fn refused(self) -> &'static [(&'static str, &'static [&'static str])] {
        const OFF: &[&str] = &["false"];
        match self {
            Self::Ddim | Self::Lcm => &[],
            Self::Pndm => &[("skip_prk_steps", &["true"])],
            Self::Euler => &[
                ("use_exponential_sigmas", OFF),
                ("use_beta_sigmas", OFF),
                ("interpolation_type", &["linear"]),
                ("timestep_type", &["discrete"]),
                ("sigma_min", &[]),
                ("sigma_max", &[]),
                ("final_sigmas_type", &["zero"]),
            ],
            Self::EulerAncestral => &[],
            Self::DpmSolverMultistep => &[
                ("solver_order", &["2"]),
                ("algorithm_type", &["dpmsolver++"]),
                ("solver_type", &["midpoint"]),
                ("lower_order_final", &["true"]),
                ("euler_at_final", OFF),
                ("use_exponential_sigmas", OFF),
                ("use_beta_sigmas", OFF),
                ("use_lu_lambdas", OFF),
                ("use_flow_sigmas", OFF),
                ("final_sigmas_type", &["zero"]),
                ("variance_type", &["fixed_small", "fixed_large"]),
            ],
            Self::FlowMatchEuler => &[
                ("use_dynamic_shifting", OFF),
                ("shift_terminal", &[]),
                ("use_karras_sigmas", OFF),
                ("use_exponential_sigmas", OFF),
                ("use_beta_sigmas", OFF),
                ("invert_sigmas", OFF),
                ("stochastic_sampling", OFF),
            ],
        }
    }
}

impl FromStr for SolverKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| Error::Option {
            option: "scheduler",
            found: text.to_owned(),
            expected: Self::ALL.map(Self::name).join(", "),
        })
    }
}

/// What the denoiser's output means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PredictionType {
    /// The noise in the sample.
    Epsilon,
    /// The clean sample.
    Sample,
    /// `sqrt(a) noise - sqrt(1 - a) sample` (Salimans and Ho 2022).
    VPrediction,
}

impl PredictionType {
    /// The config's spelling.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Epsilon => "epsilon",
            Self::Sample => "sample",
            Self::VPrediction => "v_prediction",
        }
    }
}

/// How the noise variance grows over training time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BetaSchedule {
    /// Evenly.
    Linear,
    /// Evenly in its square root.
    ScaledLinear,
    /// Nichol and Dhariwal's squared cosine.
    #[serde(rename = "squaredcos_cap_v2")]
    SquaredCosine,
}

/// Which of the training times are visited (Lin et al. 2023, table 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimestepSpacing {
    /// Multiples of a whole step, starting low.
    Leading,
    /// Evenly from the first to the last.
    Linspace,
    /// Multiples of a fractional step, ending high.
    Trailing,
}

/// The sampler's config with the defaults of its class; field names are the config's keys.
#[derive(Clone, Debug, PartialEq)]
pub struct SchedulerConfig {
    /// The solver.
    pub kind: SolverKind,
    /// Training times.
    pub num_train_timesteps: usize,
    /// First noise variance.
    pub beta_start: f64,
    /// Last noise variance.
    pub beta_end: f64,
    /// What lies between.
    pub beta_schedule: BetaSchedule,
    /// All noise variances, in place of the three fields above.
    pub trained_betas: Option<Vec<f32>>,
    /// What the denoiser's output means.
    pub prediction_type: PredictionType,
    /// Which training times are visited.
    pub timestep_spacing: TimestepSpacing,
    /// Added to every leading timestep.
    pub steps_offset: usize,
    /// Whether the variances are rescaled so that the last time is pure noise.
    pub rescale_betas_zero_snr: bool,
    /// Whether the step after the last one has no noise at all, instead of the noise of time 0.
    pub set_alpha_to_one: bool,
    /// Bound of the predicted clean sample, where it is clipped.
    pub clip_sample_range: Option<f32>,
    /// Dynamic thresholding of the predicted clean sample: quantile and largest bound.
    pub thresholding: Option<(f64, f32)>,
    /// Whether noise levels are spaced as Karras et al. (2022) do.
    pub use_karras_sigmas: bool,
    /// Steps that a consistency model was distilled from.
    pub original_inference_steps: usize,
    /// Scale of time in the boundary condition of consistency models.
    pub timestep_scaling: f64,
    /// Shift of a flow's noise levels towards high noise.
    pub shift: f64,
}

impl SchedulerConfig {
    /// Reads `scheduler/scheduler_config.json`; `kind` replaces the solver, and keeps the values that both share.
    ///
    /// # Errors
    /// Where it is absent, damaged or not implemented.
    pub fn read(model: &ModelFiles, kind: Option<SolverKind>) -> Result<Self> {
        Self::from_keys(&Keys::read(model, "scheduler/scheduler_config.json")?, kind)
    }

    pub(crate) fn from_keys(keys: &Keys, kind: Option<SolverKind>) -> Result<Self> {
        let kind = match kind {
            Some(kind) => kind,
            None => {
                let class: String = keys.required("_class_name")?;
                SolverKind::ALL.into_iter().find(|kind| kind.class_name() == class).ok_or_else(|| {
                    let known = SolverKind::ALL.map(SolverKind::class_name).join(", ");
                    keys.invalid("_class_name", class, format!("one of {known}; or choose with --scheduler"))
                })?
            }
        };
        keys.refuse_except(kind.refused())?;
        let num_train_timesteps = keys.size("num_train_timesteps", 1000, 1 << 20)?;
        let trained_betas: Option<Vec<f32>> = keys.optional("trained_betas")?;
        if let Some(betas) = &trained_betas {
            let holds = betas.len() == num_train_timesteps;
            keys.check("trained_betas", holds, betas.len(), format!("{num_train_timesteps} numbers"))?;
        }
        let is_lcm = kind == SolverKind::Lcm;
        let (start, end) = if is_lcm { (0.00085, 0.012) } else { (0.0001, 0.02) };
        let schedule = if is_lcm { BetaSchedule::ScaledLinear } else { BetaSchedule::Linear };
        let spacing = match kind {
            SolverKind::Ddim | SolverKind::Pndm | SolverKind::Lcm => TimestepSpacing::Leading,
            _ => TimestepSpacing::Linspace,
        };
        let clips = matches!(kind, SolverKind::Ddim | SolverKind::Lcm)
            && keys.or("clip_sample", kind == SolverKind::Ddim)?;
        let thresholds = matches!(kind, SolverKind::Ddim | SolverKind::Lcm | SolverKind::DpmSolverMultistep)
            && keys.or("thresholding", false)?;
        Ok(Self {
            kind,
            num_train_timesteps,
            beta_start: keys.positive("beta_start", start)?,
            beta_end: keys.positive("beta_end", end)?,
            beta_schedule: keys.or("beta_schedule", schedule)?,
            trained_betas,
            prediction_type: keys.or("prediction_type", PredictionType::Epsilon)?,
            timestep_spacing: keys.or("timestep_spacing", spacing)?,
            steps_offset: keys.or("steps_offset", 0)?,
            rescale_betas_zero_snr: keys.or("rescale_betas_zero_snr", false)?,
            set_alpha_to_one: keys.or("set_alpha_to_one", kind != SolverKind::Pndm)?,
            clip_sample_range: if clips {
                Some(keys.positive("clip_sample_range", 1.0)? as f32)
            } else {
                None
            },
            thresholding: if thresholds {
                let quantile: f64 = keys.or("dynamic_thresholding_ratio", 0.995)?;
                keys.check(
                    "dynamic_thresholding_ratio",
                    (0.0..=1.0).contains(&quantile),
                    quantile,
                    "0 to 1",
                )?;
                Some((quantile, keys.positive("sample_max_value", 1.0)? as f32))
            } else {
                None
            },
            use_karras_sigmas: keys.or("use_karras_sigmas", false)?,
            original_inference_steps: keys.size("original_inference_steps", 50, num_train_timesteps)?,
            timestep_scaling: keys.positive("timestep_scaling", 10.0)?,
            shift: keys.positive("shift", 1.0)?,
        })
    }
}
