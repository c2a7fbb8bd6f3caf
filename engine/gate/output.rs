//! Output on its way: redacted, gathered into chunks, written to the log, and kept for the script up to a limit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::gate::Gate;
use crate::gate::Stop;
use crate::gate::redactor::Streaming;
use crate::model::address::Address;
use crate::world::transport::{Sink, SinkClosed, Stream};

/// A chunk is written when it has this many bytes …
const CHUNK: usize = 64 * 1024;
/// … or when the last one is this old: a line shows up in `log -f` at once, a flood does not become a million events.
const PAUSE: Duration = Duration::from_millis(100);

/// One stream of a command's output, as far as the script may see it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Captured {
    /// The whole length, in bytes.
    pub bytes: u64,
    /// Whether the script's part ends before the stream did.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// The script's part; the log has all of it.
    #[serde(skip)]
    pub data: Vec<u8>,
}

impl Captured {
    /// Returns the script's part as text, wrong UTF-8 replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.data).into_owned()
    }

    /// Returns about the last `limit` bytes as text, trimmed.
    pub fn tail(&self, limit: usize) -> String {
        let from = self.data.len().saturating_sub(limit);
        String::from_utf8_lossy(&self.data[from..]).trim().to_owned()
    }
}

struct Flow {
    name: &'static str,
    captured: Captured,
    streaming: Streaming,
    pending: Vec<u8>,
    written: Option<Instant>,
}

impl Flow {
    fn new(name: &'static str, gate: &Gate) -> Self {
        let streaming = gate.redactor.stream();
        Self { name, captured: Captured::default(), streaming, pending: Vec::new(), written: None }
    }
}

/// Takes the output of one command.
pub(super) struct Capture {
    gate: Arc<Gate>,
    address: Address,
    limit: usize,
    logged: bool,
    out: Flow,
    err: Flow,
    redacted: bool,
    stop: Option<Stop>,
}

/// What a command's output came to.
pub(super) struct Ended {
    pub(super) out: Captured,
    pub(super) err: Captured,
    pub(super) redacted: bool,
    pub(super) stop: Option<Stop>,
}

impl Capture {
    pub(super) fn new(gate: &Arc<Gate>, address: &Address, limit: usize, logged: bool) -> Self {
        let (out, err) = (Flow::new("out", gate), Flow::new("err", gate));
        let (gate, address) = (gate.clone(), address.clone());
        Self { gate, address, limit, logged, out, err, redacted: false, stop: None }
    }

    pub(super) async fn finish(mut self) -> Ended {
        for stream in [Stream::Out, Stream::Err] {
            let flow = self.flow(stream);
            let mut rest = std::mem::take(&mut flow.pending);
            let replaced = flow.streaming.finish(&mut rest);
            let name = flow.name;
            self.redacted |= replaced;
            if self.logged && !rest.is_empty() && self.stop.is_none() {
                self.stop = self.gate.recorder.output(&self.address, name, &rest).await.err();
            }
        }
        Ended { out: self.out.captured, err: self.err.captured, redacted: self.redacted, stop: self.stop }
    }

    fn flow(&mut self, stream: Stream) -> &mut Flow {
        match stream {
            Stream::Out => &mut self.out,
            Stream::Err => &mut self.err,
        }
    }
}

impl Sink for Capture {
    async fn take(&mut self, stream: Stream, bytes: &[u8]) -> Result<(), SinkClosed> {
        let (limit, logged) = (self.limit, self.logged);
        let flow = self.flow(stream);
        flow.captured.bytes += bytes.len() as u64;
        let room = limit.saturating_sub(flow.captured.data.len());
        flow.captured.data.extend_from_slice(&bytes[..bytes.len().min(room)]);
        flow.captured.truncated |= bytes.len() > room;
        if !logged {
            return Ok(());
        }
        let replaced = flow.streaming.push(bytes, &mut flow.pending);
        let due = flow.written.is_none_or(|at| at.elapsed() >= PAUSE);
        let ready = if flow.pending.len() >= CHUNK || (due && flow.written.is_some()) {
            flow.written = Some(Instant::now());
            std::mem::take(&mut flow.pending)
        } else {
            // The first bytes start the clock: most commands say little and end, and then one chunk is enough.
            flow.written.get_or_insert_with(Instant::now);
            Vec::new()
        };
        let name = flow.name;
        self.redacted |= replaced;
        for part in ready.chunks(CHUNK) {
            if let Err(stop) = self.gate.recorder.output(&self.address, name, part).await {
                self.stop = Some(stop);
                return Err(SinkClosed);
            }
        }
        Ok(())
    }

    async fn pause(&mut self) -> Result<(), SinkClosed> {
        for stream in [Stream::Out, Stream::Err] {
            let flow = self.flow(stream);
            if flow.pending.is_empty() || flow.written.is_none_or(|at| at.elapsed() < PAUSE) {
                continue;
            }
            flow.written = Some(Instant::now());
            let (part, name) = (std::mem::take(&mut flow.pending), flow.name);
            if let Err(stop) = self.gate.recorder.output(&self.address, name, &part).await {
                self.stop = Some(stop);
                return Err(SinkClosed);
            }
        }
        Ok(())
    }
}
