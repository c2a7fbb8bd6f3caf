//! The words of the command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};

use crate::cli::approve::ApproveOptions;
use crate::cli::audit::AuditOptions;
use crate::cli::caps::CapsOptions;
use crate::cli::cert::CertOptions;
use crate::cli::check::CheckOptions;
use crate::cli::cisco::CiscoOptions;
use crate::cli::completions::CompletionsOptions;
use crate::cli::db::DbOptions;
use crate::cli::docs::DocsOptions;
use crate::cli::doctor::DoctorOptions;
use crate::cli::execute::ExecuteOptions;
use crate::cli::hosts::HostsOptions;
use crate::cli::k8s::K8sOptions;
use crate::cli::lab::{LabNginxOptions, LabOptions};
use crate::cli::log::LogOptions;
use crate::cli::notify::NotifyOptions;
use crate::cli::runs::RunsOptions;
use crate::cli::schedule::ScheduleOptions;
use crate::cli::secrets::SecretsOptions;
use crate::cli::serve::ServeOptions;
use crate::cli::show::ShowOptions;
use crate::cli::token::TokenOptions;
use crate::cli::user::UserOptions;
use crate::cli::verify::VerifyOptions;
use crate::cli::which::Which;

/// Runs runbooks on real infrastructure: checked, planned, recorded, resumable.
#[derive(Debug, Parser)]
#[command(
    name = "nlrun",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true
)]
#[command(after_help = "`nlrun FILE …` is short for `nlrun run FILE …`.\n\nExit codes: 0 done · 1 failed · \
    2 changes pending (`plan --exit-code`) · 3 stopped by the gate · 4 some hosts failed or were unreachable · \
    5 cancelled or timed out · 64 wrong usage or configuration")]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Colour {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The heading of the options that all verbs have.
const EVERYWHERE: &str = "Options of every verb";

/// Options that all verbs have.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    /// The project's folder [default: the nearest one upwards with nlrun.yaml]
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "DIR")]
    pub(crate) project: Option<PathBuf>,
    /// The folder of the run log [default: .nlrun in the project]
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "DIR", env = "NLRUN_STATE")]
    pub(crate) state: Option<PathBuf>,
    /// The inventory, a file or folder [default: inventory/ in the project]
    #[arg(long, short = 'i', global = true, help_heading = EVERYWHERE, value_name = "PATH", env = "NLRUN_INVENTORY")]
    pub(crate) inventory: Option<PathBuf>,
    /// Print JSON, one object a line
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub(crate) json: bool,
    /// Print no words, only data and errors
    #[arg(long, short, global = true, help_heading = EVERYWHERE)]
    pub(crate) quiet: bool,
    /// Print more; twice for the messages of the engine itself
    #[arg(long, short, global = true, help_heading = EVERYWHERE, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// A server that does it, such as `https://nlrun.example.net` [default: NLRUN_SERVER, else this machine]
    ///
    /// For `run plan apply resume cancel runs show log hosts schedule approve`. The token comes from NLRUN_TOKEN.
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "URL")]
    pub(crate) server: Option<String>,
    /// A file with the token for the server [default: NLRUN_TOKEN]
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// The authority that signed the server's certificate, in PEM [default: those of this machine]
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// When to use colours
    #[arg(long, global = true, help_heading = EVERYWHERE, value_enum, default_value = "auto", value_name = "WHEN")]
    pub(crate) color: Colour,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Check a runbook and run it
    Run(RunOptions),
    /// Show what a runbook would do, without doing it
    Plan(PlanOptions),
    /// Do what a plan says, and nothing else
    Apply(ApplyOptions),
    /// Go on with a run that was interrupted
    ///
    /// Not with a plan, which changes nothing: make a new one.
    Resume(ResumeOptions),
    /// Run a recorded run again from its journal, without network
    Replay(ReplayOptions),
    /// End a run that another process runs
    Cancel(CancelOptions),
    Runs(RunsOptions),
    Show(ShowOptions),
    Log(LogOptions),
    Check(CheckOptions),
    Caps(CapsOptions),
    Hosts(HostsOptions),
    Docs(DocsOptions),
    Cert(CertOptions),
    Cisco(CiscoOptions),
    K8s(K8sOptions),
    Verify(VerifyOptions),
    Db(DbOptions),
    Doctor(DoctorOptions),
    Secrets(SecretsOptions),
    Schedule(ScheduleOptions),
    Lab(LabOptions),
    LabNginx(LabNginxOptions),
    Serve(ServeOptions),
    Approve(ApproveOptions),
    Notify(NotifyOptions),
    Token(TokenOptions),
    User(UserOptions),
    Audit(AuditOptions),
    Execute(ExecuteOptions),
    Completions(CompletionsOptions),
}

/// What to run and with what.
#[derive(Debug, Clone, Args)]
pub(crate) struct Runbook {
    /// The runbook: a path, or a name below runbooks/
    pub(crate) runbook: String,
    /// A parameter
    #[arg(long, short, value_name = "NAME=VALUE")]
    pub(crate) set: Vec<String>,
    /// Parameters from a file, YAML or JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) params: Option<PathBuf>,
    /// Limit the run to these capabilities [default: all that NEEDS names]
    #[arg(long, value_name = "CAPABILITY")]
    pub(crate) grant: Vec<String>,
    /// Allow a capability to a runbook without NEEDS, instead of asking
    #[arg(long, value_name = "CAPABILITY")]
    pub(crate) allow: Vec<String>,
}

/// How a run is asked for at a server.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Options with --server")]
pub(crate) struct Remotely {
    /// Follow the run to its end, and end with its code: what happens anyway
    #[arg(long, conflicts_with = "no_wait")]
    pub(crate) follow: bool,
    /// Print the run's number and do not wait for its end
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// Asking again with the same key gives the same run [default in GitLab CI: made from CI_JOB_ID]
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
    /// The queue
    #[arg(long, value_name = "NAME")]
    pub(crate) queue: Option<String>,
    /// 0 to 100, the higher before the lower
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) priority: Option<u8>,
    /// Branch, tag or commit of the project
    #[arg(long, value_name = "REVISION")]
    pub(crate) revision: Option<String>,
}

impl Remotely {
    /// Returns an option that means nothing without a server.
    pub(crate) fn first(&self) -> Option<&'static str> {
        [
            (self.follow, "--follow"),
            (self.no_wait, "--no-wait"),
            (self.key.is_some(), "--key"),
            (self.queue.is_some(), "--queue"),
            (self.priority.is_some(), "--priority"),
            (self.revision.is_some(), "--revision"),
        ]
        .into_iter()
        .find_map(|(is_given, name)| is_given.then_some(name))
    }
}

#[derive(Debug, Args)]
pub(crate) struct RunOptions {
    #[command(flatten)]
    pub(crate) runbook: Runbook,
    /// Answer yes to every question
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Write a report for CI in JUnit's format
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
    /// Write what later jobs of a pipeline get to know: `NLRUN_STATUS=done` and more, a line each
    #[arg(long, value_name = "FILE")]
    pub(crate) dotenv: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) remotely: Remotely,
}

#[derive(Debug, Args)]
pub(crate) struct PlanOptions {
    #[command(flatten)]
    pub(crate) runbook: Runbook,
    /// Write the plan to a file, for `nlrun apply`
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// End with code 2 when something would change
    #[arg(long)]
    pub(crate) exit_code: bool,
    /// Write a report for CI in JUnit's format
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
    /// Write what later jobs of a pipeline get to know: `NLRUN_STATUS=done` and more, a line each
    #[arg(long, value_name = "FILE")]
    pub(crate) dotenv: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) remotely: Remotely,
}

#[derive(Debug, Args)]
pub(crate) struct ApplyOptions {
    /// The plan, as `nlrun plan -o FILE` wrote it
    pub(crate) plan: PathBuf,
    /// Go on past the end of an incomplete plan
    #[arg(long)]
    pub(crate) beyond: bool,
    /// Answer yes to every question
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Write a report for CI in JUnit's format
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
    /// Write what later jobs of a pipeline get to know: `NLRUN_STATUS=done` and more, a line each
    #[arg(long, value_name = "FILE")]
    pub(crate) dotenv: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) remotely: Remotely,
}

#[derive(Debug, Args)]
pub(crate) struct ResumeOptions {
    /// The run's number, or `last`
    pub(crate) run: Which,
    /// An act in doubt that did happen, by its address
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) done: Vec<String>,
    /// An act in doubt to perform again, by its address
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) again: Vec<String>,
    /// Answer yes to every question
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Write a report for CI in JUnit's format
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ReplayOptions {
    /// The run's number, or `last`
    pub(crate) run: Which,
}

#[derive(Debug, Args)]
pub(crate) struct CancelOptions {
    /// The run's number, or `last`
    pub(crate) run: Which,
    /// Do not even clean up
    #[arg(long)]
    pub(crate) now: bool,
    /// Do not wait until it has ended
    #[arg(long)]
    pub(crate) no_wait: bool,
}

/// Puts `run` in front of a runbook that stands where a verb should.
pub(crate) fn with_verb(mut words: Vec<OsString>) -> Vec<OsString> {
    let command = Arguments::command();
    let takes_value = |word: &str| {
        command.get_arguments().any(|argument| {
            let long = argument.get_long().is_some_and(|long| word == format!("--{long}"));
            let short = argument.get_short().is_some_and(|short| word == format!("-{short}"));
            (long || short) && argument.get_action().takes_values()
        })
    };
    let mut index = 1;
    while let Some(word) = words.get(index).and_then(|word| word.to_str()) {
        if takes_value(word) {
            index += 2;
        } else if word.starts_with('-') {
            index += 1;
        } else {
            let is_verb = command.get_subcommands().any(|verb| verb.get_name() == word) || word == "help";
            if !is_verb && (word.ends_with(".rhai") || word.contains('/')) {
                words.insert(index, "run".into());
            }
            break;
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_runbook_in_the_place_of_a_verb_is_run() {
        let cases = [
            ("nlrun x.rhai", "nlrun run x.rhai"),
            ("nlrun --json x.rhai --set a=1", "nlrun --json run x.rhai --set a=1"),
            ("nlrun --state dir runbooks/x", "nlrun --state dir run runbooks/x"),
            ("nlrun plan x.rhai", "nlrun plan x.rhai"),
            ("nlrun help", "nlrun help"),
            ("nlrun rnu", "nlrun rnu"),
        ];
        for (given, expected) in cases {
            let words = given.split(' ').map(OsString::from).collect();
            let found: Vec<String> =
                with_verb(words).iter().map(|w| w.to_string_lossy().into_owned()).collect();
            assert_eq!(found.join(" "), expected);
        }
    }
}
