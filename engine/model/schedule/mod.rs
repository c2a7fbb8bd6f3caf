//! Schedules: when runs are due, and what becomes of each instant. Plain data and pure functions, without a clock.
//!
//! [`read`] makes [`Schedule`]s of files; [`Schedule::next`] is the one function that knows when something is due;
//! [`decide`] says what becomes of every instant up to now. The scheduler, the preview and [`simulate`] call the same.

mod admission;
pub mod calendar;
pub mod clock;
pub mod cron;
mod cursor;
mod decide;
mod decision;
mod definition;
mod file;
mod lint;
mod policy;
mod simulate;
pub(in crate::model) mod source;
pub mod when;
pub mod zone;

pub use admission::{Limits, Started, Wait, Waiting, admit};
pub use calendar::{Calendar, Calendars};
pub use cron::{Cron, CronError};
pub use cursor::{Cursor, Deferred, Pause};
pub use decide::{Active, CATCH_UP, Decided, Facts, blocked, decide};
pub use decision::{Decision, Queued, Reason, State, Undelivered};
pub use definition::{Revision, RunKey, Schedule};
pub use file::{Definition, Origin, read};
pub use lint::{Recorded, lint};
pub use policy::{Blocked, JitterMode, Misfire, Notify, Overlap, StaleSync};
pub use simulate::{Blackout, MovedClock, Scenario, Simulated, Simulation, simulate};
pub use when::{Dst, When};
pub use zone::{Zone, ZoneError};
