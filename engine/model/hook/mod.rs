//! What GitLab reports, what is triggered by it, and what people write in merge requests.

mod access;
mod command;
mod event;
mod trigger;

pub use access::Access;
pub use command::{Command, CommandError};
pub use event::{Event, Kind, MergeRequest, Note, Pipeline};
pub use trigger::{Action, Definition, Trigger, read};
