//! Where a past run is read from: the run log here, or a server. Views of both are the same.

use crate::cli::problem::Problem;
use crate::cli::remote::Remote;
use crate::model::address::Address;
use crate::model::event::Start;
use crate::model::run::{RunId, Seq};
use crate::service::{start_of, walk};
use crate::store::{Reader, Record, RunRow, StoreError};

/// Where a past run is read from.
pub(crate) enum Past<'a> {
    /// The run log of this machine.
    Here(&'a Reader),
    /// A server.
    There(&'a Remote),
}

impl Past<'_> {
    /// Returns a run, and what it was started with.
    pub(crate) fn run(&self, run: RunId) -> Result<(RunRow, Start), Problem> {
        match self {
            Self::Here(reader) => Ok((reader.run(run)?, start_of(reader, run)?)),
            Self::There(remote) => {
                let shown = remote.shown(run)?;
                Ok((shown.row(), shown.start()))
            }
        }
    }

    /// Hands over every event after one, in order, and returns the number of the last one.
    pub(crate) fn walk(
        &self,
        run: RunId,
        after: Seq,
        visit: impl FnMut(Record) -> Result<(), Problem>,
    ) -> Result<Seq, Problem> {
        match self {
            Self::Here(reader) => walk::<Problem>(reader, run, after, visit),
            Self::There(remote) => remote.walk(run, after, visit),
        }
    }

    /// Puts the kept bytes beside an output event; a server has sent them with it.
    pub(crate) fn attach(&self, record: &mut Record) -> Result<(), StoreError> {
        match self {
            Self::Here(reader) => reader.attach(record),
            Self::There(_) => Ok(()),
        }
    }

    /// Hands over all output of an effect in one stream; returns how many pieces there were.
    pub(crate) fn pour(
        &self,
        run: RunId,
        range: (Seq, Seq),
        address: &Address,
        stream: &str,
        mut sink: impl FnMut(&[u8]),
    ) -> Result<usize, Problem> {
        match self {
            Self::Here(reader) => Ok(reader.pour(run, range, address, stream, |bytes| {
                sink(bytes);
                true
            })?),
            Self::There(remote) => {
                let mut pieces = 0;
                let number = run.to_string();
                let query = [("address", address.as_str()), ("stream", stream)];
                remote.pour(&["runs", &number, "output"], &query, |bytes| {
                    pieces += 1;
                    sink(bytes);
                })?;
                Ok(pieces)
            }
        }
    }

    /// Returns the text of a script as the run had it, `None` where it had no such script.
    pub(crate) fn source(&self, run: RunId, start: &Start, path: &str) -> Result<Option<String>, Problem> {
        let Some(hash) = start.sources.get(path) else { return Ok(None) };
        match self {
            Self::Here(reader) => Ok(Some(reader.text(hash)?)),
            Self::There(remote) => {
                let number = run.to_string();
                let source: serde_json::Value =
                    remote.get(&["runs", &number, "source"], &[("path", path)])?;
                Ok(source["text"].as_str().map(str::to_owned))
            }
        }
    }

    /// Returns the bytes of a kept file.
    pub(crate) fn artifact(&self, run: RunId, name: &str) -> Result<Option<Vec<u8>>, Problem> {
        match self {
            Self::Here(reader) => Ok(reader.artifact(run, name)?),
            Self::There(remote) => {
                let mut bytes = Vec::new();
                let number = run.to_string();
                let (row, _) = self.run(run)?;
                if !row.summary.artifacts.iter().any(|known| known == name) {
                    return Ok(None);
                }
                remote
                    .pour(&["runs", &number, "artifacts", name], &[], |part| bytes.extend_from_slice(part))?;
                Ok(Some(bytes))
            }
        }
    }
}
