//! `completions`: a script that completes the words of `nlrun` in a shell.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::cli::Context;
use crate::cli::arguments::Arguments;

/// Print a script that completes words in a shell
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nlrun completions bash > ~/.local/share/bash-completion/completions/nlrun\n  \
    nlrun completions zsh > ~/.zfunc/_nlrun\n  nlrun completions fish > ~/.config/fish/completions/nlrun.fish"
)]
pub(crate) struct CompletionsOptions {
    /// The shell
    shell: Shell,
}

pub(crate) fn completions(context: &Context, options: &CompletionsOptions) -> u8 {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Arguments::command(), "nlrun", &mut script);
    context.out.raw(&script);
    0
}
