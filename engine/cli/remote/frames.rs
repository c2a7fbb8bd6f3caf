//! Server-sent events as they arrive (WHATWG HTML, 9.2.6 "Interpreting an event stream").

/// One event of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Frame {
    /// Its name; `message` when it has none.
    pub(super) event: String,
    /// Its data, lines joined.
    pub(super) data: String,
}

/// Puts events together from pieces of any size.
#[derive(Debug, Default)]
pub(super) struct Frames {
    rest: Vec<u8>,
    frame: Frame,
    has_data: bool,
}

impl Frames {
    /// Takes a piece and returns the events that are whole now.
    pub(super) fn take(&mut self, piece: &[u8]) -> Vec<Frame> {
        let mut whole = Vec::new();
        self.rest.extend_from_slice(piece);
        let mut begin = 0;
        while let Some(length) = self.rest[begin..].iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(&self.rest[begin..begin + length]).into_owned();
            begin += length + 1;
            whole.extend(self.line(line.trim_end_matches('\r')));
        }
        self.rest.drain(..begin);
        whole
    }

    fn line(&mut self, line: &str) -> Option<Frame> {
        if line.is_empty() {
            let frame = std::mem::take(&mut self.frame);
            let has_data = std::mem::take(&mut self.has_data);
            return has_data.then_some(frame);
        }
        // A comment: the server says that it is still there.
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.frame.event),
            "data" => {
                if self.has_data {
                    self.frame.data.push('\n');
                }
                self.frame.data.push_str(value);
                self.has_data = true;
            }
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_the_same_however_they_are_cut() {
        let stream = ": here\n\nid: 1\nevent: event\ndata: {\"a\":\ndata: \"é\"}\n\nevent: end\r\ndata:{}\r\n\r\nid: 3\n\ndata: half";
        let frame = |event: &str, data: &str| Frame { event: event.into(), data: data.into() };
        let expected = [frame("event", "{\"a\":\n\"é\"}"), frame("end", "{}")];
        for size in 1..stream.len() {
            let mut frames = Frames::default();
            let found: Vec<Frame> =
                stream.as_bytes().chunks(size).flat_map(|piece| frames.take(piece)).collect();
            assert_eq!(found, expected, "{size}");
        }
    }
}
