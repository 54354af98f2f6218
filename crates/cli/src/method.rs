//! The flags that choose the method and turn parts of it off.

use clap::{Args, ValueEnum};
use noisefind::core::config::{FindConfig, FindPart, MethodConfig, PaperConfig, RandomSearchConfig};

/// Where help lists these flags.
const HEADING: &str = "Method";

/// Which method learns, and which of its parts are off.
#[derive(Args)]
pub struct MethodFlags {
    /// How the policy learns [default: find]
    #[arg(help_heading = HEADING, long, value_enum)]
    method: Option<Method>,
    /// Settings of paper: those that were published, or those that learn most within 160 evaluations in batches of 16
    /// [default: published]
    #[arg(help_heading = HEADING, long, value_enum)]
    preset: Option<Preset>,
    /// How much samples of the policy of find vary, from 0 to 1: 0 is one component, 0.5 is 8, 1 is 64, each further one
    /// around another noise that succeeds [default: 0.5]
    #[arg(help_heading = HEADING, long, value_name = "0..1", allow_negative_numbers = true)]
    variety: Option<f64>,
    /// Part of find to turn off, to measure what it contributes; repeatable
    #[arg(help_heading = HEADING, long, value_enum, value_name = "PART")]
    without: Vec<Part>,
    /// Part of paper: use rewards as they are, without the value network as a baseline
    #[arg(help_heading = HEADING, long)]
    no_calibration: bool,
    /// Part of paper: do not clip the ratio of new to old policy
    #[arg(help_heading = HEADING, long)]
    no_ratio_clipping: bool,
    /// Part of paper: one pass over the newest batch, not several over recent batches
    #[arg(help_heading = HEADING, long)]
    no_reuse: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Method {
    /// Gaussian-process surrogate over all evaluations; needs the fewest
    Find,
    /// The paper's policy gradient
    Paper,
    /// Zero-order search around the best noise
    RandomSearch,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Preset {
    /// The paper's and its released program's
    Published,
    /// A larger step and a wider clip interval, chosen on prompts of the default model
    Tuned,
}

#[derive(Clone, Copy, ValueEnum)]
enum Part {
    /// Sample around the noise with the highest reward, without a surrogate
    #[value(alias = "landscape")]
    Surrogate,
    /// Learn one component, not several
    #[value(alias = "several-gaussians")]
    SeveralComponents,
    /// Seek the highest reward with a few components, even where failures can be told from successes
    SuccessThreshold,
    /// Learn even where the base already succeeds
    KeptBase,
    /// Spend the whole budget even where fresh samples are known to succeed
    SuccessStop,
    /// Keep sigma at 1 while the mean grows
    VariancePreservation,
}

impl From<Method> for MethodConfig {
    fn from(method: Method) -> Self {
        match method {
            Method::Find => Self::Find(FindConfig::default()),
            Method::Paper => Self::Paper(PaperConfig::default()),
            Method::RandomSearch => Self::RandomSearch(RandomSearchConfig::default()),
        }
    }
}

impl From<Part> for FindPart {
    fn from(part: Part) -> Self {
        match part {
            Part::Surrogate => Self::Surrogate,
            Part::SeveralComponents => Self::SeveralComponents,
            Part::SuccessThreshold => Self::SuccessThreshold,
            Part::KeptBase => Self::KeptBase,
            Part::SuccessStop => Self::SuccessStop,
            Part::VariancePreservation => Self::VariancePreservation,
        }
    }
}

impl MethodFlags {
    /// The method, where a flag says anything about it; `file` is what a config file says.
    ///
    /// # Errors
    /// Where a part is turned off that belongs to another method, or the variety is out of range.
    pub fn config(self, file: Option<&MethodConfig>) -> noisefind::Result<Option<MethodConfig>> {
        let named = self.method.map(MethodConfig::from);
        let of_paper = [
            (self.no_calibration, "--no-calibration"),
            (self.no_ratio_clipping, "--no-ratio-clipping"),
            (self.no_reuse, "--no-reuse"),
        ];
        let of_paper = of_paper.into_iter().find_map(|(given, flag)| given.then_some(flag));
        if self.without.is_empty() && of_paper.is_none() && self.variety.is_none() && self.preset.is_none() {
            return Ok(named);
        }
        let mut config = named.or_else(|| file.cloned()).unwrap_or_default();
        let name = config.name();
        if let Some(preset) = self.preset {
            let MethodConfig::Paper(paper) = &mut config else {
                return Err(noisefind::Error::Usage(format!(
                    "--preset belongs to paper, and the method is {name}; give --method paper, or leave it out"
                )));
            };
            *paper = match preset {
                Preset::Published => PaperConfig::default(),
                Preset::Tuned => PaperConfig::tuned(),
            };
        }
        match (config, of_paper) {
            (MethodConfig::Find(find), None) => {
                let find = match self.variety {
                    Some(variety) => find.with_variety(variety)?,
                    None => find,
                };
                let parts = self.without.into_iter().map(FindPart::from);
                Ok(Some(MethodConfig::Find(parts.fold(find, FindConfig::without))))
            }
            (_, None) if self.variety.is_some() => Err(noisefind::Error::Usage(format!(
                "--variety belongs to find, and the method is {name}; leave it out, or give --method find"
            ))),
            (MethodConfig::Paper(paper), _) if self.without.is_empty() => {
                Ok(Some(MethodConfig::Paper(PaperConfig {
                    calibration: paper.calibration && !self.no_calibration,
                    ratio_clipping: paper.ratio_clipping && !self.no_ratio_clipping,
                    reuse: paper.reuse && !self.no_reuse,
                    ..paper
                })))
            }
            (_, Some(flag)) if self.without.is_empty() => Err(noisefind::Error::Usage(format!(
                "{flag} turns off a part of paper, and the method is {name}; give --method paper, or leave it out"
            ))),
            _ => Err(noisefind::Error::Usage(format!(
                "--without turns off a part of find, and the method is {name}; leave it out, or give --method find"
            ))),
        }
    }
}
