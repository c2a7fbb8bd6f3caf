//! The command line: words and rendering; nothing is decided here. One verb, one file.

mod approve;
mod arguments;
mod ask;
mod audit;
mod caps;
mod cert;
mod check;
mod cisco;
mod completions;
mod db;
pub mod diagnostic;
mod docs;
mod doctor;
mod dotenv;
mod doubts;
mod effects;
mod execute;
mod hosts;
mod junit;
mod k8s;
mod lab;
mod lines;
mod log;
mod moving;
mod notify;
mod out;
mod past;
mod problem;
mod remote;
mod run;
mod runs;
mod schedule;
mod secrets;
mod serve;
mod show;
mod standing;
mod style;
mod table;
mod token;
mod user;
mod verify;
mod view;
mod when;
mod which;

use std::process::ExitCode;

use clap::Parser as _;

use arguments::{Arguments, Verb};
use out::Out;
use problem::Problem;

/// What every verb gets: where to write, where it was called, and the options that all verbs have.
pub(crate) struct Context {
    /// Where to write.
    pub(crate) out: Out,
    /// Where it was called, and by whom.
    pub(crate) place: crate::service::Place,
    /// The options that all verbs have.
    pub(crate) common: arguments::Common,
}

impl Context {
    /// Finds the project.
    pub(crate) fn project(&self) -> Result<crate::service::Project, Problem> {
        let from = match &self.common.project {
            Some(folder) => self.place.cwd.join(folder),
            None => self.place.cwd.clone(),
        };
        Ok(crate::service::Project::find(&from).map_err(crate::service::ServiceError::from)?)
    }

    /// Finds the project of a runbook: the one that its file is in, or the one of this folder.
    pub(crate) fn project_of(&self, runbook: &str) -> Result<crate::service::Project, Problem> {
        let folder = self.place.cwd.join(runbook).canonicalize().ok().filter(|path| path.is_file());
        if let (None, Some(folder)) =
            (&self.common.project, folder.as_deref().and_then(std::path::Path::parent))
        {
            let project =
                crate::service::Project::find(folder).map_err(crate::service::ServiceError::from)?;
            if project.is_marked() {
                return Ok(project);
            }
        }
        self.project()
    }

    /// Opens the run log of a project, and marks runs whose process is gone.
    pub(crate) fn store(&self, project: &crate::service::Project) -> Result<crate::store::Store, Problem> {
        let dir = project.state(self.common.state.as_deref(), &self.place.cwd);
        let store = crate::store::Store::open(&dir, &project.store_options())?;
        for run in crate::service::sweep(&store)? {
            let summary = store.reader()?.run(run)?.summary;
            self.out.word(&format!("run {run} was interrupted; {}", crate::service::remedy(run, &summary)));
        }
        Ok(store)
    }
}

/// Runs the command line and returns the exit code.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments::with_verb(std::env::args_os().collect())) {
        Ok(arguments) => arguments,
        Err(error) => {
            let words: Vec<_> = std::env::args_os().collect();
            if error.use_stderr() && words.iter().any(|word| word == "--json") {
                let text = error.render().to_string();
                let text = text.lines().next().unwrap_or_default();
                let message = text.strip_prefix("error: ").unwrap_or(text);
                out::print_json(&Problem::usage(message, None).json());
            }
            let _ = error.print();
            // Help and version are what was asked for; everything else is wrong usage.
            return ExitCode::from(if error.use_stderr() { problem::USAGE } else { 0 });
        }
    };
    let Arguments { common, verb } = arguments;
    let context = Context { out: Out::new(&common), place: here(), common };
    let format = match &verb {
        Verb::Serve(options) => Some(options.log_format),
        _ => None,
    };
    out::log_to_stderr(&context.common, format, context.out.words);
    if let Some(result) = remote::dispatch(&context, &verb) {
        return ended(&context, result);
    }
    let result = match verb {
        Verb::Run(options) => run::run(&context, options),
        Verb::Plan(options) => run::plan(&context, options),
        Verb::Apply(options) => run::apply(&context, &options),
        Verb::Resume(options) => run::resume(&context, &options),
        Verb::Replay(options) => run::replay(&context, &options),
        Verb::Cancel(options) => run::cancel(&context, &options),
        Verb::Runs(options) => runs::runs(&context, options),
        Verb::Show(options) => show::show(&context, &options),
        Verb::Log(options) => log::log(&context, &options),
        Verb::Check(options) => check::check(&context, &options),
        Verb::Caps(options) => caps::caps(&context, &options),
        Verb::Hosts(options) => hosts::hosts(&context, &options),
        Verb::Docs(options) => docs::docs(&context, &options),
        Verb::K8s(options) => k8s::k8s(&context, &options),
        Verb::Cert(options) => cert::cert(&context, &options),
        Verb::Cisco(options) => cisco::cisco(&context, &options),
        Verb::Verify(options) => verify::verify(&context, &options),
        Verb::Db(options) => db::db(&context, &options),
        Verb::Doctor(_) => Ok(doctor::doctor(&context)),
        Verb::Secrets(options) => secrets::secrets(&context, &options),
        Verb::Schedule(options) => schedule::schedule(&context, &options),
        Verb::Lab(options) => lab::lab(&context, &options),
        Verb::LabNginx(options) => Ok(lab::nginx(&options)),
        Verb::Serve(options) => serve::serve(&context, &options),
        Verb::Approve(options) => approve::approve(&context, &options),
        Verb::Notify(options) => notify::notify(&context, &options),
        Verb::Token(options) => token::token(&context, options),
        Verb::User(options) => user::user(&context, options),
        Verb::Audit(options) => audit::audit(&context, options),
        Verb::Execute(options) => execute::execute(&context, &options),
        Verb::Completions(options) => Ok(completions::completions(&context, &options)),
    };
    ended(&context, result)
}

fn ended(context: &Context, result: Result<u8, Problem>) -> ExitCode {
    match result {
        Ok(code) => ExitCode::from(code),
        Err(problem) => {
            context.out.problem(&problem);
            ExitCode::from(problem.exit_code())
        }
    }
}

/// Reads where the command was called.
#[expect(clippy::disallowed_methods, reason = "the command line is where the environment comes in")]
fn here() -> crate::service::Place {
    let home = std::env::var_os("HOME").map(std::path::PathBuf::from).unwrap_or_default();
    let user = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok()).unwrap_or_else(|| {
        if rustix::process::getuid().is_root() { "root".to_owned() } else { String::new() }
    });
    let agent =
        std::env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty()).map(std::path::PathBuf::from);
    crate::service::Place {
        cwd: std::env::current_dir().unwrap_or_default(),
        variables: std::env::vars_os().collect(),
        person: crate::world::endpoint::Person { user, home, agent },
    }
}
