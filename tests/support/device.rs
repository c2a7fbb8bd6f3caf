//! Virtual Cisco devices on loopback, in this process: what runs on one can be looked at and changed behind its back.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "each test module uses a part of it")]

use std::sync::Arc;
use std::time::Duration;

use nlrun::cisco::{Access, Drift, Faults, Machine, Os, drift};
use nlrun::lab::cisco as lab;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use super::project::Project;

/// The password of the login.
pub const PASSWORD: &str = "log-me-in-please";
/// What `enable` asks for.
pub const ENABLE: &str = "enable-me-please";

/// A running device; it ends with this value.
pub struct Device {
    os: Os,
    /// The loopback port it listens on.
    pub port: u16,
    /// What it is.
    pub machine: Arc<Mutex<Machine>>,
    runtime: Option<Runtime>,
}

impl Device {
    /// Starts a device on which nothing goes wrong.
    pub fn start(os: Os, configuration: &str) -> Self {
        Self::with(os, configuration, Faults::default())
    }

    /// Starts a device with faults.
    pub fn with(os: Os, configuration: &str, faults: Faults) -> Self {
        Self::run(os, lab::Device { faults, ..made(os, configuration) })
    }

    /// Serves a device.
    pub fn run(os: Os, device: lab::Device) -> Self {
        let machine = device.machine.clone();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).unwrap();
        let port = listener.local_addr().unwrap().port();
        runtime.spawn(lab::serve(listener, device));
        Self { os, port, machine, runtime: Some(runtime) }
    }

    /// Passes on so many connections and closes all others: the port of that.
    pub fn behind(&self, connections: usize) -> u16 {
        let runtime = self.runtime.as_ref().unwrap();
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).unwrap();
        let (port, own) = (listener.local_addr().unwrap().port(), self.port);
        runtime.spawn(async move {
            let mut count = 0;
            while let Ok((mut near, _)) = listener.accept().await {
                count += 1;
                if count > connections {
                    continue;
                }
                tokio::spawn(async move {
                    let mut far = dial(own).await;
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        port
    }

    /// What runs on it.
    pub fn running(&self) -> String {
        self.machine.lock().running()
    }

    /// Demands that this runs and is saved, as far as it says the same.
    #[track_caller]
    pub fn has(&self, text: &str, about: &str) {
        for (what, found) in [("runs", self.running()), ("starts with", self.startup())] {
            let is_same = matches!(drift(self.os, &found, text), Drift::Same | Drift::Textual { .. });
            assert!(is_same, "it {what}\n{found}\nand not\n{text}\n{about}");
        }
    }

    /// What it starts with.
    pub fn startup(&self) -> String {
        self.machine.lock().startup().to_owned()
    }

    /// Its line in an inventory, with more settings.
    pub fn line(&self, name: &str, more: &str) -> String {
        format!(
            "  {name}: {{address: 127.0.0.1, port: {}, user: ops, password: cisco/login, enable_password: cisco/enable, os: {}, \
             known_hosts: accept-new{more}}}\n",
            self.port, self.os
        )
    }

    /// A project with this device as `dev`.
    pub fn project(&self) -> Project {
        self.project_with("")
    }

    /// The same, with more settings of the device.
    pub fn project_with(&self, more: &str) -> Project {
        secrets(Project::new()).inventory(&format!("hosts:\n{}", self.line("dev", more)))
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a test connects to its own server")]
async fn dial(port: u16) -> TcpStream {
    TcpStream::connect(("127.0.0.1", port)).await.unwrap()
}

/// A device on which nothing goes wrong, and whose minutes have twenty seconds: timers that should not end do not.
pub fn made(os: Os, configuration: &str) -> lab::Device {
    let login = ("ops".to_owned(), PASSWORD.to_owned());
    let access = Access { login, enable: Some(ENABLE.to_owned()) };
    let made = lab::Device::new(Machine::new(os, configuration), access);
    lab::Device { minute: Duration::from_secs(20), ..made }
}

/// Reads faults as they are named on the command line of `nlrun cisco device`.
pub fn faults(texts: &[&str]) -> Faults {
    let mut faults = Faults::default();
    for text in texts {
        faults.add(text).unwrap();
    }
    faults
}

/// Gives a project the passwords of these devices.
pub fn secrets(project: Project) -> Project {
    project
        .file("nlrun.yaml", "secrets:\n  sources: [{env: {prefix: NLRUN_SECRET_}}]\n")
        .variable("NLRUN_SECRET_CISCO_LOGIN", PASSWORD)
        .variable("NLRUN_SECRET_CISCO_ENABLE", ENABLE)
}
