//! DPM-Solver++ in its multistep form for networks with the preconditioning of Karras et al.
//!
//! Lu et al., "DPM-Solver++", 2022, algorithm 2; Karras et al., "Elucidating the Design Space of Diffusion-Based Generative
//! Models", NeurIPS 2022, table 1.

use noisefind_nn::error::Result;

use super::dpm::{self, ALIASES, Algorithm, Level, Solver};
use super::dpm_multistep::{Ending, steps};
use super::edm_euler::Preconditioning;
use super::sigmas::{check_start, closed};
use super::step::{Bound, Step};
use super::{PredictionType, Request, Schedule, SchedulerClass, SchedulerConfig};

pub(super) const CLASS: SchedulerClass = SchedulerClass {
    name: "edm-dpmpp-2m",
    class_name: "EDMDPMSolverMultistepScheduler",
    predictions: &[PredictionType::Edm],
    parameters: &[
        ("sigma_min", "0.002"),
        ("sigma_max", "80.0"),
        ("sigma_data", "0.5"),
        ("sigma_schedule", "\"karras\""),
        ("num_train_timesteps", "1000"),
        ("prediction_type", "\"epsilon\""),
        ("rho", "7.0"),
        ("solver_order", "2"),
        ("thresholding", "false"),
        ("dynamic_thresholding_ratio", "0.995"),
        ("sample_max_value", "1.0"),
        ("algorithm_type", "\"dpmsolver++\""),
        ("solver_type", "\"midpoint\""),
        ("lower_order_final", "true"),
        ("euler_at_final", "false"),
        ("final_sigmas_type", "\"zero\""),
    ],
    aliases: ALIASES,
    schedule,
};

fn schedule(config: &SchedulerConfig, request: &Request) -> Result<Schedule> {
    let network = Preconditioning::read(config)?;
    let known = [("dpmsolver++", Algorithm::Clean), ("sde-dpmsolver++", Algorithm::CleanSde)];
    let algorithm = Algorithm::read(config, &known)?;
    let order = config.whole("solver_order", 1, 1 << 10)?;
    let holds = order < 3 || algorithm == Algorithm::Clean;
    config.check("solver_order", holds, order, "1 or 2 for sde-dpmsolver++")?;
    let bound = Bound::threshold(config)?;
    let sigmas = network.levels(config, request.steps)?;
    let times: Vec<f64> = sigmas.iter().map(|sigma| 0.25 * sigma.ln()).collect();
    check_start(&times, request.steps)?;
    let ending = Ending::read(config, algorithm)?;
    let sigmas = closed(sigmas, ending.last_sigma(&[network.sigma_min() as f32]));
    let call = |at: usize, time: f64| {
        let (level, clean) = (Level::of_edm(sigmas[at]), network.clean(sigmas[at]));
        let step = dpm::call(time, level, clean, [0.0, 1.0], bound, true);
        Step { input_scale: network.input_scale(sigmas[at]), ..step }
    };
    let solver = Solver::read(config)?;
    let steps = steps(&times, &sigmas, Level::of_edm, algorithm, solver, order, &ending, call);
    Ok(Schedule::of(steps, network.init_noise_sigma()))
}
