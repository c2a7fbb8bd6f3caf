//! `lab`: a simulated world on loopback to try things in. `lab-nginx` is a program of its hosts.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::cli::Context;
use crate::cli::diagnostic::safe;
use crate::cli::problem::Problem;
use crate::cli::table::{Cell, Table};
use crate::lab::{self, FolderError, Lab, LabError, MOST_HOSTS, Wanted};

/// Start a simulated world on loopback, with a project to try things in
///
/// SSH hosts with files and a web server, virtual network devices, a secret store, TLS endpoints, and a project whose runbooks work on
/// them. It runs until Ctrl-C, and what its hosts and its store hold, and its devices have saved, is there again at the next start. Files of the project that you edit are yours. With --json, one
/// object when it is ready: `folder places kept without_hosts`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nlrun lab                              # then, in a second terminal: cd lab\n  \
                  nlrun lab -- run certs/sync            # one command inside; the lab ends with it, with its exit code\n  \
                  nlrun lab --dir /tmp/lab --hosts 10 --port-base 20000"
)]
pub(crate) struct LabOptions {
    /// Its folder; made if there is none
    #[arg(long, value_name = "DIR", default_value = "lab")]
    dir: PathBuf,
    /// How many SSH hosts [default: as before, or 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=MOST_HOSTS as i64))]
    hosts: Option<u8>,
    /// The first port; 0 for any that are free [default: as before, or 14100]
    #[arg(long, value_name = "PORT", value_parser = ports)]
    port_base: Option<u16>,
    /// A command of nlrun to run inside, instead of waiting for Ctrl-C
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Be the web server of a host of the lab
#[derive(Debug, Args)]
#[command(hide = true)]
pub(crate) struct LabNginxOptions {
    /// The words of `nginx`
    #[arg(last = true)]
    words: Vec<String>,
}

/// Reads a first port that leaves room for the others.
fn ports(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(port @ (0 | 1024..=65_400)) => Ok(port),
        Ok(_) | Err(_) => Err("a port from 1024 to 65400, or 0".to_owned()),
    }
}

pub(crate) fn lab(context: &Context, options: &LabOptions) -> Result<u8, Problem> {
    let program = std::env::current_exe().map_err(|error| Problem::Other(error.to_string()))?;
    let wanted = Wanted {
        folder: context.place.cwd.join(&options.dir),
        hosts: options.hosts.map(usize::from),
        base: options.port_base,
        program,
    };
    let is_alone = options.command.is_empty();
    lab::hold(&wanted, &options.command, |lab| ready(context, options, lab, is_alone)).map_err(problem)
}

pub(crate) fn nginx(options: &LabNginxOptions) -> u8 {
    lab::nginx::main(&options.words, &mut std::io::stderr())
}

fn ready(context: &Context, options: &LabOptions, lab: &Lab, is_alone: bool) {
    let out = &context.out;
    if let Some(reason) = lab.without_hosts() {
        out.always(&format!("{}: there are no SSH hosts: {}", out.words.yellow("warning"), safe(reason)));
        out.always("  they need user namespaces (Linux, util-linux): `unshare --user --map-root-user --mount true` must work");
    }
    if !lab.kept().is_empty() {
        out.word(&format!("left as you edited them: {}", safe(&lab.kept().join(", "))));
    }
    if out.json && is_alone {
        let places: Vec<_> = lab
            .places()
            .iter()
            .map(|place| {
                json!({ "name": place.name, "address": place.address(), "port": place.port, "about": place.about })
            })
            .collect();
        out.json(&json!({
            "folder": lab.root(), "places": places, "kept": lab.kept(), "without_hosts": lab.without_hosts(),
        }));
        return;
    }
    // A command inside has standard output to itself.
    if !is_alone || out.quiet {
        return;
    }
    let mut table = Table::new(out, &["what", "where", ""], &[]);
    for place in lab.places() {
        table.row([Cell::new(&place.name), Cell::good(place.address()), Cell::new(&place.about)]);
    }
    let dir = safe(&options.dir.display().to_string());
    out.raw(table.text().as_bytes());
    out.word(&format!(
        "\nThe lab is ready; Ctrl-C ends it. In a second terminal:\n\n  {}\n  {}        # how the hosts are\n  {}   # what a \
         new certificate would change\n  {}    # takes it there\n\n{dir}/README.md has more, also to break.",
        out.words.bold(&format!("cd {dir}")),
        out.words.bold("nlrun run hello"),
        out.words.bold("nlrun plan certs/sync"),
        out.words.bold("nlrun run certs/sync"),
    ));
}

fn problem(error: LabError) -> Problem {
    let text = crate::gate::sentence(&error);
    match &error {
        LabError::Port { .. } => {
            Problem::usage(text, Some("choose others with `--port-base`, or 0 for any".to_owned()))
        }
        LabError::Folder(FolderError::Held { .. }) => {
            Problem::usage(text, Some("use that one, or give another folder with `--dir`".to_owned()))
        }
        LabError::Folder(FolderError::Fixed { .. }) => {
            Problem::usage(text, Some("give another folder with `--dir`, or remove that one".to_owned()))
        }
        LabError::Folder(FolderError::Foreign(_)) => Problem::usage(
            text,
            Some("give another folder with `--dir`; it is made if there is none".to_owned()),
        ),
        LabError::Folder(_)
        | LabError::Certificate(_)
        | LabError::Key(_)
        | LabError::Store(_)
        | LabError::Machine(_) => Problem::Other(text),
    }
}
