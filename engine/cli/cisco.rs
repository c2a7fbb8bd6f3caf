//! `cisco diff|simulate|drift|validate|device`: configurations of Cisco devices in files, and devices to rehearse on.

mod device;
mod validate;

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use self::device::{DeviceOptions, device};
use self::validate::{Rules, validate};
use crate::cisco::{self, Device, Drift, Note, Os, Plan, Risk};
use crate::cli::Context;
use crate::cli::check::count;
use crate::cli::diagnostic::safe;
use crate::cli::problem::Problem;

/// Bytes of a configuration; the largest ones have some hundred thousand lines.
const MOST: u64 = 64 << 20;
/// The exit code for something to do.
const CHANGES: u8 = 2;
/// The exit code for a plan that nobody can make, and for a command that is refused.
const CANNOT: u8 = 1;

/// Compare, rehearse and check configurations of Cisco devices
#[derive(Debug, Args)]
pub(crate) struct CiscoOptions {
    #[command(subcommand)]
    verb: CiscoVerb,
}

#[derive(Debug, Subcommand)]
enum CiscoVerb {
    /// Print the commands that turn one configuration into another
    ///
    /// In an order that a device accepts, in their place, no more than needed; a model of the device has taken them before they are
    /// printed. Ends with code 0 when there is nothing to do, 2 when there is, 1 when nobody can tell. With --json, one object:
    /// `blocks` (each with `description commands risks inverse`) and `notes`.
    #[command(after_help = "Examples:\n  nlrun cisco diff --os asa running.cfg network/configs/fw01\n  \
        nlrun cisco diff --os ios running.cfg intended.cfg --json | jq '.blocks[].risks'")]
    Diff {
        #[command(flatten)]
        platform: Platform,
        /// What runs on the device; `-` for standard input
        running: PathBuf,
        /// What is to run there
        intended: PathBuf,
    },
    /// Print the configuration that a device has after some commands
    ///
    /// Indented lines are entered in the section above them; without indentation, as a terminal takes them. Ends with code 1 at the
    /// first command that the device refuses, and names it.
    Simulate {
        #[command(flatten)]
        platform: Platform,
        /// What runs on the device
        running: PathBuf,
        /// The commands, one a line; `-` for standard input
        commands: PathBuf,
    },
    /// Say whether a device is what it is said to be
    ///
    /// `same`, `textual` (the same in other words or another order), `different` with the kinds of difference, or `unknown`. Ends
    /// with code 0, 0, 2 and 1.
    Drift {
        #[command(flatten)]
        platform: Platform,
        /// What runs on the device; `-` for standard input
        running: PathBuf,
        /// What is to run there
        intended: PathBuf,
    },
    /// Say what is wrong with a configuration by itself
    ///
    /// Names that lead nowhere, addresses that are there twice, access lists bound to nothing, and the rules of a file. Ends with
    /// code 1 when something is an error, or the file cannot be used.
    #[command(
        after_help = "A file of rules:\n  rules:\n    - name: every VTI is filtered\n      severity: critical\n      \
        every: {section: 'interface *', line: 'nameif vti-*', needs: 'access-group * in interface $value'}\n    \
        - name: no HTTP\n      forbid: {line: ip http server}\n    \
        - name: passwords are hidden\n      require: {line: service password-encryption}\n    \
        - name: translated networks are known\n      nat_sources: {interfaces: '(*,outside_*)', group: ALL_NETWORKS, private_only: true}\n    \
        - name: we can come in\n      reachable: {from: 192.0.2.0/24}\n\n\
        A file of functions, each public one with one parameter a rule; it answers with what is wrong: nothing, a text, lines,\n\
        or `#{message, line, severity}`. Lines have `text number words lines above`, `find(glob)`, `has(glob)`, `value(words)`,\n\
        and for ASA `members(group)`:\n  \
        fn no_telnet(config) { config.find(\"line vty *\").filter(|line| line.has(\"transport input *telnet*\")) }"
    )]
    Validate {
        #[command(flatten)]
        platform: Platform,
        /// The configuration; `-` for standard input
        file: PathBuf,
        /// Rules of the site: data as YAML, or functions (`*.rhai`); may be given several times
        #[arg(long, value_name = "FILE")]
        rules: Vec<PathBuf>,
    },
    Device(DeviceOptions),
}

/// Whose configuration it is.
#[derive(Debug, Args)]
struct Platform {
    /// The platform: ios (IOS and IOS-XE), asa, or ap (autonomous access point)
    #[arg(long, value_name = "OS", value_parser = os)]
    os: Os,
}

fn os(text: &str) -> Result<Os, String> {
    text.parse()
}

pub(crate) fn cisco(context: &Context, options: &CiscoOptions) -> Result<u8, Problem> {
    match &options.verb {
        CiscoVerb::Diff { platform, running, intended } => {
            let (a, b) = pair(context, platform.os, running, intended)?;
            diff(context, platform.os, &a, &b)
        }
        CiscoVerb::Simulate { platform, running, commands } => {
            simulate(context, platform.os, &read(context, running)?, &read(context, commands)?)
        }
        CiscoVerb::Drift { platform, running, intended } => Ok(drift(
            context,
            &cisco::drift(platform.os, &read(context, running)?, &read(context, intended)?),
        )),
        CiscoVerb::Validate { platform, file, rules } => {
            let rules = Rules::read(context, rules)?;
            Ok(validate(context, platform.os, &read(context, file)?, &rules))
        }
        CiscoVerb::Device(options) => device(context, options),
    }
}

/// Reads two configurations, and refuses what must not become a plan.
fn pair(context: &Context, os: Os, running: &Path, intended: &Path) -> Result<(String, String), Problem> {
    let (a, b) = (read(context, running)?, read(context, intended)?);
    for (path, text) in [(running, &a), (intended, &b)] {
        cisco::guard(os, text)
            .map_err(|error| Problem::Other(format!("`{}` cannot be used: {error}", path.display())))?;
    }
    cisco::guard_pair(os, &a, &b).map_err(|error| Problem::Other(error.to_string()))?;
    Ok((a, b))
}

fn diff(context: &Context, os: Os, running: &str, intended: &str) -> Result<u8, Problem> {
    let unclear = |error: cisco::Unclear| Problem::Other(error.to_string());
    let mut plan = cisco::diff(os, running, intended).map_err(unclear)?;
    if context.out.json {
        cisco::invert(os, running, &mut plan).map_err(unclear)?;
        context.out.json(&plan);
    } else {
        show(context, &plan);
    }
    Ok(if plan.is_empty() { 0 } else { CHANGES })
}

/// Prints commands for a device to stdout, and what people need to know to stderr.
fn show(context: &Context, plan: &Plan) {
    let out = &context.out;
    out.raw(plan.to_string().as_bytes());
    tell(context, &plan.notes);
    for block in plan.blocks.iter().filter(|block| !block.risks.is_empty()) {
        let risks: Vec<&str> = block.risks.iter().map(|risk: &Risk| risk.words()).collect();
        out.word(&safe(&format!(
            "{}: {}: {}",
            out.words.yellow("risk"),
            block.description,
            risks.join("; ")
        )));
    }
    let commands = plan.commands().count();
    if commands > 0 {
        out.word(&format!("{} in {}", count(commands, "command"), count(plan.blocks.len(), "block")));
    }
}

/// Says what could not be compared or is not sent.
fn tell(context: &Context, notes: &[Note]) {
    let out = &context.out;
    for note in notes {
        out.word(&safe(&format!("{}: {} {}", out.words.yellow("note"), note.line, note.text)));
    }
}

fn simulate(context: &Context, os: Os, running: &str, commands: &str) -> Result<u8, Problem> {
    let mut device = Device::new(os, running);
    match device.enter_all(commands) {
        Ok(()) => {
            let after = device.running();
            if context.out.json {
                context.out.json(&json!({ "running": after }));
            } else {
                context.out.raw(after.as_bytes());
            }
            Ok(0)
        }
        Err(refusal) => {
            if context.out.json {
                context.out.json(&json!({ "refused": refusal.command, "reason": refusal.reason }));
                return Ok(CANNOT);
            }
            Err(Problem::Other(format!("a device refuses {refusal}")))
        }
    }
}

fn drift(context: &Context, drift: &Drift) -> u8 {
    let out = &context.out;
    if out.json {
        out.json(drift);
    }
    match drift {
        Drift::Same => {
            if !out.json {
                out.line("same");
            }
            0
        }
        Drift::Textual { notes } => {
            if !out.json {
                out.line("textual");
                tell(context, notes);
            }
            0
        }
        Drift::Different { classes, plan } => {
            if !out.json {
                let classes: Vec<String> = classes
                    .iter()
                    .map(|class| {
                        serde_json::to_value(class).ok().and_then(|value| value.as_str().map(str::to_owned))
                    })
                    .map(Option::unwrap_or_default)
                    .collect();
                out.line(&format!("different: {}", classes.join(" ")));
                out.word("what would bring it back:");
                show(context, plan);
            }
            CHANGES
        }
        Drift::Unknown { why } => {
            if !out.json {
                out.line("unknown");
                out.word(&safe(why));
            }
            CANNOT
        }
    }
}

fn read(context: &Context, path: &Path) -> Result<String, Problem> {
    let cannot = |error: &dyn std::fmt::Display| {
        Problem::usage(format!("cannot read `{}`: {error}", path.display()), None)
    };
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().take(MOST + 1).read_to_end(&mut bytes).map_err(|error| cannot(&error))?;
    } else {
        let path = context.place.cwd.join(path);
        let file = std::fs::File::open(&path).map_err(|error| cannot(&error))?;
        file.take(MOST + 1).read_to_end(&mut bytes).map_err(|error| cannot(&error))?;
    }
    if bytes.len() as u64 > MOST {
        return Err(cannot(&"it has more than 64 MiB"));
    }
    // Old devices print Latin-1 in descriptions.
    Ok(String::from_utf8(bytes)
        .unwrap_or_else(|error| error.into_bytes().iter().copied().map(char::from).collect()))
}
