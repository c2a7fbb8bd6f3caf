//! Network devices of the lab: a configuration each, which is the user's file `network/NAME`, and a virtual device that starts with it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::cisco::Device;
use super::folder::{Folder, FolderError};
use crate::cisco::{Access, Faults, Machine, Os};
use crate::world::files;

/// The name of whoever logs in.
pub const USER: &str = "nlrun";
/// Where the secret store has the password of the login, and the enable secret.
pub const SECRET: &str = "lab/cisco";

/// A device as the lab knows it.
#[derive(Debug, Clone, Copy)]
pub struct Model {
    /// Its name.
    pub name: &'static str,
    /// What runs on it.
    pub os: Os,
    /// Whether it knows old algorithms only.
    pub is_old: bool,
    /// What it is, in some words.
    pub about: &'static str,
    text: &'static str,
}

/// All of them.
pub const ALL: [Model; 5] = [
    Model {
        name: "rtr01",
        os: Os::Ios,
        is_old: false,
        about: "a router with IOS-XE; its user is nlrun",
        text: include_str!("project/network/rtr01"),
    },
    Model {
        name: "sw01",
        os: Os::Ios,
        is_old: true,
        about: "a switch with an old IOS and old algorithms",
        text: include_str!("project/network/sw01"),
    },
    Model {
        name: "ap01",
        os: Os::Ap,
        is_old: false,
        about: "an autonomous access point",
        text: include_str!("project/network/ap01"),
    },
    Model {
        name: "fw01",
        os: Os::Asa,
        is_old: false,
        about: "a firewall, an ASA, of site 1",
        text: include_str!("project/network/fw01"),
    },
    Model {
        name: "fw02",
        os: Os::Asa,
        is_old: false,
        about: "its like of site 2",
        text: include_str!("project/network/fw02"),
    },
];

/// Where a device listens.
#[derive(Debug, Clone, Copy)]
pub struct Wired {
    /// Which one.
    pub model: Model,
    /// The port of its SSH server.
    pub port: u16,
}

/// A device that runs.
pub struct Running {
    machine: Arc<Mutex<Machine>>,
    kept: PathBuf,
}

impl Model {
    /// Switches it on with what it has saved, or as it is delivered.
    pub fn start(&self, folder: &Folder, password: &str, enable: &str) -> (Device, Running) {
        let kept = folder.own("network").join(self.name);
        let saved = std::fs::read_to_string(&kept).ok();
        let machine = Machine::new(self.os, saved.as_deref().unwrap_or(self.text));
        let access =
            Access { login: (USER.to_owned(), password.to_owned()), enable: Some(enable.to_owned()) };
        let faults = Faults { legacy: self.is_old, ..Faults::default() };
        let device = Device { faults, ..Device::new(machine, access) };
        let running = Running { machine: device.machine.clone(), kept };
        (device, running)
    }

    /// Writes what is intended to run on it.
    pub fn intend(&self, folder: &mut Folder) -> Result<(), FolderError> {
        folder.put(&format!("network/{}", self.name), self.text)
    }
}

impl Running {
    /// Keeps what the device has saved for its next start; what was not saved is lost, as with any device.
    pub fn keep(&self) -> std::io::Result<()> {
        std::fs::create_dir_all(self.kept.parent().unwrap_or(Path::new(".")))?;
        files::replace(&self.kept, self.machine.lock().startup().as_bytes(), 0o600)
    }
}
