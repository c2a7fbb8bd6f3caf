//! `cisco device`: a virtual device behind SSH.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{Platform, read};
use crate::cisco::{self, Access, Faults, Machine};
use crate::cli::Context;
use crate::cli::problem::Problem;
use crate::cli::serve::told_to_end;
use crate::lab::cisco as lab;
use crate::model::duration;

/// Run a virtual device behind SSH, to rehearse on
///
/// It starts with a configuration from a file, takes changes as a device does and refuses what a device refuses, and forgets them when
/// it ends. It asks for a password, or for it by keyboard-interactive, and knows `enable`, `show`, `configure` with its timers and
/// `configure replace`, `write`, `copy`, `dir` and `reload`. It speaks well enough for netmiko and NAPALM.
#[derive(Debug, Args)]
#[command(after_help = device_help())]
pub(super) struct DeviceOptions {
    #[command(flatten)]
    platform: Platform,
    /// The configuration that it starts with
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Where it listens; port 0 is any free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Who may log in
    #[arg(long, value_name = "NAME", default_value = "admin")]
    user: String,
    /// The password of the login
    #[arg(long, value_name = "PASSWORD", default_value = "cisco")]
    password: String,
    /// The enable secret; empty: a login has all rights at once
    #[arg(long, value_name = "SECRET", default_value = "cisco")]
    enable: String,
    /// What goes wrong on purpose, as below; may be given several times
    #[arg(long, value_name = "FAULT")]
    fault: Vec<String>,
    /// How long a minute of its timers is, as `90s` or `200ms`
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = length)]
    minute: Duration,
}

fn length(text: &str) -> Result<Duration, String> {
    duration::parse(text).map_err(|error| error.to_string())
}

fn device_help() -> String {
    format!(
        "Examples:\n  nlrun cisco device --os ios --config rtr01.cfg --listen 127.0.0.1:2222 &\n  \
         ssh -p 2222 admin@127.0.0.1        # the password is `cisco`, and so is the enable secret\n  \
         nlrun cisco device --os asa --config fw01.cfg --fault refuse-at=7 --fault noise\n\n\
         Faults. A session's lines are counted from its first one, and an answer to a question is one; what happens at a line happens once:\n{}\n\n\
         Wrong passwords close the door for a while where the configuration says `login block-for 60 attempts 3 within 30`.",
        Faults::help()
    )
}

pub(super) fn device(context: &Context, options: &DeviceOptions) -> Result<u8, Problem> {
    let os = options.platform.os;
    let text = read(context, &options.config)?;
    cisco::guard(os, &text).map_err(|error| {
        Problem::usage(format!("`{}` cannot be used: {error}", options.config.display()), None)
    })?;
    let enable = Some(options.enable.clone()).filter(|secret| !secret.is_empty());
    let access = Access { login: (options.user.clone(), options.password.clone()), enable };
    let mut faults = Faults::default();
    for text in &options.fault {
        faults.add(text).map_err(|error| Problem::usage(error, None))?;
    }
    let virtual_one =
        lab::Device { faults, minute: options.minute, ..lab::Device::new(Machine::new(os, &text), access) };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Problem::Other(error.to_string()))?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(options.listen)
            .await
            .map_err(|error| Problem::Other(format!("cannot listen on {}: {error}", options.listen)))?;
        let address = listener.local_addr().map_err(|error| Problem::Other(error.to_string()))?;
        context.out.line(&format!("{address}"));
        context.out.word(&format!(
            "a virtual device: ssh -p {} {}@{}",
            address.port(),
            options.user,
            address.ip()
        ));
        tokio::select! {
            () = lab::serve(listener, virtual_one) => {}
            () = told_to_end() => {}
        }
        Ok(0)
    })
}
