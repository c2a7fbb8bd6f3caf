//! `notify`: the targets of notifications, and whether messages arrive there.

use clap::{Args, Subcommand};
use serde_json::json;

use crate::cli::Context;
use crate::cli::diagnostic::safe;
use crate::cli::problem::Problem;
use crate::cli::table::{Cell, Table};
use crate::service::{send_notice, test_notice};
use crate::world::clock;
use crate::world::notify::Messenger;

/// List the targets of notifications, and try them
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nlrun notify list\n  nlrun notify test ops")]
pub(crate) struct NotifyOptions {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List targets: `server.notify.targets` in nlrun.yaml
    ///
    /// With --json, one object a target: `target way default fault`.
    List,
    /// Send a message to a target now
    ///
    /// Ends with code 1 when it is not taken.
    Test {
        /// Its name
        name: String,
    },
}

pub(crate) fn notify(context: &Context, options: &NotifyOptions) -> Result<u8, Problem> {
    let project = context.project()?;
    let config = &project.config().server.notify;
    match &options.what {
        What::List => {
            let mut table = Table::new(&context.out, &["target", "way", "default", "fault"], &[]);
            for (name, target) in &config.targets {
                let (is_default, fault) = (config.default.contains(name), target.fault());
                if context.out.json {
                    context.out.json(&json!({
                        "target": name, "way": target.way(), "default": is_default, "fault": fault,
                    }));
                    continue;
                }
                table.row([
                    Cell::new(name),
                    Cell::new(target.way()),
                    Cell::new(if is_default { "yes" } else { "" }),
                    fault.map_or_else(|| Cell::new(""), |fault| Cell::bad(&fault)),
                ]);
            }
            if config.targets.is_empty() {
                context.out.word("there are no targets: `server.notify.targets` in nlrun.yaml names them");
            } else if !context.out.json {
                context.out.raw(table.text().as_bytes());
            }
            Ok(0)
        }
        What::Test { name } => {
            if !config.targets.contains_key(name) {
                let known: Vec<&str> = config.targets.keys().map(String::as_str).collect();
                let hint = crate::model::nearest::did_you_mean(name, known.iter().copied());
                return Err(Problem::usage(format!("there is no target `{name}`"), hint));
            }
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|error| Problem::Other(error.to_string()))?;
            let messenger = Messenger::new(project.root().to_owned());
            let id = format!("nlrun-test-{}", clock::now().as_microsecond());
            let notice = test_notice(&project);
            let sent = send_notice(&project, &context.place, &messenger, name, &notice, &id);
            runtime.block_on(sent).map_err(|error| Problem::Other(safe(&error)))?;
            context.out.word(&format!("target `{name}` has taken the message; look whether it arrives"));
            Ok(0)
        }
    }
}
