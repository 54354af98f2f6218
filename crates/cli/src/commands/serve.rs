//! `noisefind serve`: look at runs in a browser.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use noisefind_serve::{Options, serve};

use crate::exit::Outcome;
use crate::interrupt;
use crate::output::{print, say};

/// Look at runs in a browser, live, and start work from there
///
/// Only this machine can reach the page unless --host is given. The printed address holds a token that a page needs to
/// start work; looking needs none on this machine.
#[derive(Args)]
pub struct Flags {
    /// Folder of the run folders
    #[arg(value_name = "RUNS_DIR", default_value = "runs")]
    runs: PathBuf,
    /// Port to listen on; 0 takes any that is free
    #[arg(long, value_name = "PORT", default_value_t = 7860)]
    port: u16,
    /// Address to listen on; one that others can reach needs --token
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    host: IpAddr,
    /// Secret that a page must know, at least 16 characters [default: a new one]
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// Name by which a browser may reach the page, beside the address itself; repeatable
    #[arg(long, value_name = "NAME[:PORT]")]
    allow_host: Vec<String>,
}

/// How often the command looks whether it was interrupted.
const PERIOD: Duration = Duration::from_millis(100);

/// Runs the command until Ctrl-C.
pub fn run(flags: Flags) -> anyhow::Result<Outcome> {
    interrupt::listen_for("stopping; work in progress saves itself, press Ctrl-C again to stop at once");
    std::fs::create_dir_all(&flags.runs)
        .map_err(|error| anyhow::anyhow!("cannot create {}: {error}", flags.runs.display()))?;
    let options = Options {
        runs: flags.runs,
        host: flags.host,
        port: flags.port,
        allowed_hosts: flags.allow_host,
        token: flags.token,
        program: std::env::current_exe()?,
    };
    let (stop, stopped) = noisefind_serve::stop_signal();
    std::thread::spawn(move || {
        while !interrupt::requested() {
            std::thread::sleep(PERIOD);
        }
        stop();
    });
    let mut printed = Ok(());
    serve(options, stopped, |url| {
        printed = print(url);
        say("press Ctrl-C to stop");
    })?;
    printed?;
    Ok(Outcome::Done)
}
