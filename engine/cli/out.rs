//! Where words and data go: data to standard output, words to standard error.

use std::io::{IsTerminal as _, Write as _};

use crate::cli::arguments::{Colour, Common};
use crate::cli::diagnostic::{render, safe};
use crate::cli::problem::Problem;
use crate::cli::style::Style;
use crate::model::diagnostic::Diagnostic;

/// The two streams, and how much to say.
#[derive(Debug, Clone)]
pub(crate) struct Out {
    /// Colours of standard output.
    pub(crate) data: Style,
    /// Colours of standard error.
    pub(crate) words: Style,
    /// Whether both ends are a terminal with a person.
    pub(crate) is_terminal: bool,
    /// Columns of the terminal that standard output is.
    pub(crate) width: Option<u16>,
    /// Whether steps are sections of a log that GitLab shows.
    pub(crate) sections: bool,
    pub(crate) json: bool,
    pub(crate) quiet: bool,
    pub(crate) verbose: u8,
}

impl Out {
    #[expect(clippy::disallowed_methods, reason = "the command line is where the environment comes in")]
    pub(crate) fn new(common: &Common) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let wanted = |is_terminal: bool| match common.color {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => is_terminal && !plain,
        };
        let (out, err) = (std::io::stdout().is_terminal(), std::io::stderr().is_terminal());
        Self {
            data: Style::new(wanted(out)),
            words: Style::new(wanted(err)),
            is_terminal: out && err && std::io::stdin().is_terminal(),
            width: rustix::termios::tcgetwinsize(std::io::stdout())
                .ok()
                .filter(|size| size.ws_col > 0)
                .map(|size| size.ws_col),
            sections: !common.json && std::env::var_os("GITLAB_CI").is_some_and(|value| value == "true"),
            json: common.json,
            quiet: common.quiet,
            verbose: common.verbose,
        }
    }

    /// Prints data, exactly.
    pub(crate) fn raw(&self, bytes: &[u8]) {
        if !self.try_raw(bytes) {
            // The reader is gone (`| head`): nothing more can be said, and that is no failure.
            std::process::exit(0);
        }
    }

    /// Prints data, exactly; returns whether anybody reads it.
    pub(crate) fn try_raw(&self, bytes: &[u8]) -> bool {
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(bytes).and_then(|()| stdout.flush()).is_ok()
    }

    /// Prints a line of data.
    pub(crate) fn line(&self, text: &str) {
        self.raw(format!("{text}\n").as_bytes());
    }

    /// Prints one JSON value a line.
    pub(crate) fn json(&self, value: &impl serde::Serialize) {
        self.line(&serde_json::to_string(value).unwrap_or_default());
    }

    /// Says something, unless nobody wants to hear it.
    pub(crate) fn word(&self, text: &str) {
        if !self.quiet {
            self.always(text);
        }
    }

    /// Says something that must be heard.
    pub(crate) fn always(&self, text: &str) {
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }

    /// Shows a finding with its source line.
    pub(crate) fn diagnostic(&self, diagnostic: &Diagnostic) {
        let text = render(diagnostic, self.words.is_on());
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
    }

    /// Shows why nothing happened.
    pub(crate) fn problem(&self, problem: &Problem) {
        if self.json {
            self.json(&problem.json());
        }
        for diagnostic in problem.diagnostics() {
            self.diagnostic(diagnostic);
        }
        if let Some(text) = problem.text() {
            self.always(&format!("{}: {}", self.words.red("error"), safe(&text)));
        }
        if let Some(hint) = problem.hint() {
            self.always(&format!("{}: {}", self.words.cyan("hint"), safe(&hint)));
        }
    }
}

/// Prints a JSON value for a program whose words were wrong, before there is an [`Out`].
pub(crate) fn print_json(value: &serde_json::Value) {
    let _ = writeln!(std::io::stdout().lock(), "{value}");
}

/// Says something where there is no [`Out`] at hand.
pub(crate) fn tell(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// How the engine's own messages are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// A line for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Sends the engine's own messages to standard error when they are asked for; a server's are always.
pub(crate) fn log_to_stderr(common: &Common, server: Option<LogFormat>, words: Style) {
    let level = match (common.verbose, server) {
        (0 | 1, None) => return,
        (0, Some(_)) => "nlrun=info",
        (1 | 2, _) => "nlrun=debug,russh=info",
        _ => "trace",
    };
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(level)
        .with_writer(std::io::stderr)
        .with_ansi(words.is_on());
    let _ = match server {
        Some(LogFormat::Json) => {
            tracing::subscriber::set_global_default(subscriber.json().flatten_event(true).finish())
        }
        Some(LogFormat::Text) | None => tracing::subscriber::set_global_default(subscriber.finish()),
    };
}
