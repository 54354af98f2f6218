//! The flags that choose the method and turn parts of it off.

use clap::{Args, ValueEnum};
use noisefind::core::config::{FindConfig, FindPart, MethodConfig, PaperConfig};

/// Which method learns, and what it goes without.
#[derive(Args)]
pub struct MethodFlags {
    /// How the policy learns [default: find]
    #[arg(long, value_enum)]
    method: Option<Method>,
    /// Part of find to turn off, to see what it is worth; repeatable
    #[arg(long, value_enum, value_name = "PART")]
    without: Vec<Part>,
    /// Part of paper: take rewards as they are, not against what the value network expects
    #[arg(long)]
    no_calibration: bool,
    /// Part of paper: let the ratio of new to old policy go where it wants
    #[arg(long)]
    no_ratio_clipping: bool,
    /// Part of paper: learn once from the newest batch, not several times from recent ones
    #[arg(long)]
    no_reuse: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Method {
    /// Ours: a model of which noises are good to draw around, far fewer pictures
    Find,
    /// The paper's algorithm
    Paper,
}

#[derive(Clone, Copy, ValueEnum)]
enum Part {
    /// Draw around the noise with the highest reward, whatever its neighbours say
    Landscape,
    /// Learn one Gaussian, not several that take turns
    SeveralGaussians,
    /// Keep sigma at 1 while the mean grows
    VariancePreservation,
}

impl From<Method> for MethodConfig {
    fn from(method: Method) -> Self {
        match method {
            Method::Find => Self::Find(FindConfig::default()),
            Method::Paper => Self::Paper(PaperConfig::default()),
        }
    }
}

impl From<Part> for FindPart {
    fn from(part: Part) -> Self {
        match part {
            Part::Landscape => Self::Landscape,
            Part::SeveralGaussians => Self::SeveralGaussians,
            Part::VariancePreservation => Self::VariancePreservation,
        }
    }
}

impl MethodFlags {
    /// The method, where a flag says anything about it; `file` is what a config file says.
    ///
    /// # Errors
    /// Where a part is turned off that belongs to the other method.
    pub fn config(self, file: Option<&MethodConfig>) -> noisefind::Result<Option<MethodConfig>> {
        let named = self.method.map(MethodConfig::from);
        let of_paper = [
            (self.no_calibration, "--no-calibration"),
            (self.no_ratio_clipping, "--no-ratio-clipping"),
            (self.no_reuse, "--no-reuse"),
        ];
        let of_paper = of_paper.into_iter().find_map(|(given, flag)| given.then_some(flag));
        if self.without.is_empty() && of_paper.is_none() {
            return Ok(named);
        }
        match (named.or_else(|| file.cloned()).unwrap_or_default(), of_paper) {
            (MethodConfig::Find(_), Some(flag)) => Err(noisefind::Error::Usage(format!(
                "{flag} turns off a part of paper, and the method is find; give --method paper, or --without PART"
            ))),
            (MethodConfig::Paper(_), _) if !self.without.is_empty() => Err(noisefind::Error::Usage(
                "--without turns off a part of find, and the method is paper; leave it out, or give --method find"
                    .to_owned(),
            )),
            (MethodConfig::Find(find), None) => {
                let parts = self.without.into_iter().map(FindPart::from);
                Ok(Some(MethodConfig::Find(parts.fold(find, FindConfig::without))))
            }
            (MethodConfig::Paper(paper), _) => Ok(Some(MethodConfig::Paper(PaperConfig {
                calibration: paper.calibration && !self.no_calibration,
                ratio_clipping: paper.ratio_clipping && !self.no_ratio_clipping,
                reuse: paper.reuse && !self.no_reuse,
                ..paper
            }))),
        }
    }
}
