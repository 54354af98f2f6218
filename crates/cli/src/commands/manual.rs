//! `noisefind completions` and `noisefind man`: what shells and `man` want to know about the command line.

use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use noisefind::rundir::write_atomic;

use crate::args::Arguments;
use crate::exit::Outcome;
use crate::output::print;

/// Print the completion script of a shell
///
/// For bash: noisefind completions bash > ~/.local/share/bash-completion/completions/noisefind
#[derive(Args)]
pub struct CompletionFlags {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Write the man pages: one for the program and one for each command
#[derive(Args)]
pub struct ManFlags {
    /// Folder for the pages, such as ~/.local/share/man/man1
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
}

/// Prints the completion script.
pub fn completions(flags: CompletionFlags) -> anyhow::Result<Outcome> {
    let mut script = Vec::new();
    clap_complete::generate(flags.shell, &mut Arguments::command(), "noisefind", &mut script);
    print(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Outcome::Done)
}

/// Writes the man pages.
pub fn man(flags: ManFlags) -> anyhow::Result<Outcome> {
    let mut program = Arguments::command();
    program.build();
    let commands = program.get_subcommands().map(|command| (format!("-{}", command.get_name()), command));
    for (suffix, command) in std::iter::once((String::new(), &program)).chain(commands) {
        let name = format!("noisefind{suffix}");
        let mut page = Vec::new();
        clap_mangen::Man::new(command.clone()).title(&name).render(&mut page)?;
        let path = flags.out.join(format!("{name}.1"));
        write_atomic(&path, &page).map_err(noisefind::Error::from)?;
        print(&path.display().to_string())?;
    }
    Ok(Outcome::Done)
}
