//! The lab: a simulated world on loopback, with its project, its certificates and its secrets. Its parts are strict: what the real
//! ones refuse, they refuse.

mod appliances;
mod authority;
mod bao;
pub mod cisco;
mod devices;
mod folder;
mod host;
pub mod http;
pub mod nginx;
mod project;
mod ssh;
mod tls;
mod world;

pub use appliances::Appliances;
pub use bao::Bao;
pub use folder::{Folder, FolderError};
pub use world::{Lab, LabError, MOST_HOSTS, Place, Wanted, hold};

/// Returns an error with its causes, as one sentence.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}
