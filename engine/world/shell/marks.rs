//! Marks that the composed command writes to standard error for us, taken out before anyone else sees them.

/// What a mark told, or what was between marks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cue {
    /// Ordinary output.
    Text(Vec<u8>),
    /// The shell that runs the command started with this process id.
    Shell(u32),
    /// sudo asks for the password.
    Password,
    /// sudo let us in: the command runs now, and may read standard input.
    Admitted,
}

/// Finds the marks of one command in its standard error.
///
/// The token is random, so no other output can be taken for a mark. At most a mark's length is ever held back.
#[derive(Debug)]
pub struct Marks {
    prefix: String,
    tag: Option<String>,
    awaited: usize,
    held: Vec<u8>,
}

/// The longest text between a mark's prefix and its closing `@`.
const BODY: usize = 16;

impl Marks {
    /// Prepares marks with a fresh token; `sudo` says that a password is going to be sent.
    pub(super) fn new(sudo: bool) -> Self {
        Self {
            prefix: format!("@nlrun-{}-", random()),
            tag: None,
            awaited: if sudo { 2 } else { 1 },
            held: Vec::new(),
        }
    }

    /// Prepares the same with a tag for the environment, which is not the token: a command may print its environment.
    pub(super) fn tagged(sudo: bool) -> Self {
        Self { tag: Some(random()), ..Self::new(sudo) }
    }

    /// Expects no mark at all: output is handed on as it is.
    pub(super) fn none() -> Self {
        Self { prefix: String::new(), tag: None, awaited: 0, held: Vec::new() }
    }

    /// The tag that all of the command carries in its environment, where the server makes that necessary.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The shell text that tells the shell's process id.
    pub(super) fn tell_shell(&self) -> String {
        format!("echo {}pid:$$@ >&2", self.prefix)
    }

    /// The shell text that tells that sudo let us in.
    pub(super) fn tell_admitted(&self) -> String {
        format!("echo {}in@ >&2", self.prefix)
    }

    /// The prompt that sudo is asked to show.
    pub(super) fn prompt(&self) -> String {
        format!("{}pw@", self.prefix)
    }

    /// Whether all awaited marks have come, so that output needs no look any more.
    pub fn is_quiet(&self) -> bool {
        self.awaited == 0 && self.held.is_empty()
    }

    /// Takes a chunk of standard error and returns what it means, in order.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Cue> {
        self.held.extend_from_slice(bytes);
        let mut cues = Vec::new();
        while self.awaited > 0 && !self.held.is_empty() {
            let prefix = self.prefix.as_bytes();
            let Some(at) = self.held.windows(prefix.len()).position(|window| window == prefix) else {
                let keep = (1..prefix.len().min(self.held.len() + 1))
                    .rev()
                    .find(|&n| self.held.ends_with(&prefix[..n]))
                    .unwrap_or(0);
                let text = self.held.len() - keep;
                push_text(&mut cues, self.held.drain(..text).collect());
                return cues;
            };
            push_text(&mut cues, self.held.drain(..at).collect());
            let body = &self.held[prefix.len()..];
            let Some(end) = body.iter().take(BODY).position(|&byte| byte == b'@') else {
                if body.len() < BODY {
                    return cues;
                }
                push_text(&mut cues, self.held.drain(..prefix.len()).collect());
                continue;
            };
            let mut length = prefix.len() + end + 1;
            let cue = match &body[..end] {
                b"pw" => Some(Cue::Password),
                other => {
                    // `echo` ends these two with a newline, which belongs to the mark.
                    if body.len() == end + 1 {
                        return cues;
                    }
                    length += 1;
                    self.awaited -= 1;
                    match other {
                        b"in" => Some(Cue::Admitted),
                        pid => std::str::from_utf8(pid)
                            .ok()
                            .and_then(|text| text.strip_prefix("pid:")?.parse().ok())
                            .map(Cue::Shell),
                    }
                }
            };
            self.held.drain(..length);
            cues.extend(cue);
        }
        push_text(&mut cues, std::mem::take(&mut self.held));
        cues
    }

    /// Returns what was held back when the output ends.
    pub fn finish(&mut self) -> Vec<u8> {
        self.awaited = 0;
        std::mem::take(&mut self.held)
    }
}

pub(super) fn random() -> String {
    let mut random = [0_u8; 8];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut random)
        .expect("the system has a source of randomness");
    format!("{:016x}", u64::from_ne_bytes(random))
}

fn push_text(cues: &mut Vec<Cue>, bytes: Vec<u8>) {
    if !bytes.is_empty() {
        cues.push(Cue::Text(bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks() -> Marks {
        Marks { prefix: "@nlrun-7-".to_owned(), tag: None, awaited: 2, held: Vec::new() }
    }

    fn text(cues: &[Cue]) -> String {
        cues.iter()
            .map(|cue| match cue {
                Cue::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                other => format!("<{other:?}>"),
            })
            .collect()
    }

    #[test]
    fn marks_are_found_however_the_chunks_fall() {
        let whole =
            b"motd @ here\n@nlrun-7-pid:42@\n@nlrun-7-pw@sorry\n@nlrun-7-pw@@nlrun-7-in@\nrest @nlrun-7-pw@";
        let expected = "motd @ here\n<Shell(42)><Password>sorry\n<Password><Admitted>rest @nlrun-7-pw@";
        for size in 1..whole.len() {
            let mut marks = marks();
            let mut cues: Vec<Cue> = whole.chunks(size).flat_map(|chunk| marks.feed(chunk)).collect();
            push_text(&mut cues, marks.finish());
            assert_eq!(text(&cues), expected, "chunks of {size}");
            assert!(marks.is_quiet());
        }
    }

    #[test]
    fn what_only_looks_like_a_mark_is_output() {
        let mut marks = marks();
        let mut cues = marks.feed(b"@nlrun-7-0123456789abcdefghi@nlrun-");
        push_text(&mut cues, marks.finish());
        assert_eq!(text(&cues), "@nlrun-7-0123456789abcdefghi@nlrun-");
    }

    #[test]
    fn tokens_differ() {
        assert_ne!(Marks::new(false).prefix, Marks::new(false).prefix);
    }
}
