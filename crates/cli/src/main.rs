//! `noisefind`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(noisefind_cli::run(std::env::args_os()))
}
