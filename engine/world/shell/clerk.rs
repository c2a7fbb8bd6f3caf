//! The text of a clerk, a shell that is kept on a host for nlrun's own questions, and how its replies are told apart.

use super::marks::random;
use super::quote::quote;
use crate::world::transport::Stream;

/// Reads questions from standard input, one a line: a token, and a call to evaluate in a shell of its own.
///
/// A reply is what the call writes, then a line break, the token and the exit code; after a failure, the token stands at
/// the end of standard error as well. `answer TEXT` ends a call with all of that in one write, for each costs sshd and us
/// a packet. Tokens go through standard input only: no other user of the host can see one and put it into a file that is
/// going to be read.
const LOOP: &str = r#"cd /
nl='
'
answer() { printf '%s\n%s 0\n' "$1" "$token"; exit 254; }
while IFS=' ' read -r token call; do
  (eval "$call") </dev/null
  code=$?
  [ $code != 254 ] || continue
  [ $code = 0 ] || printf '\n%s\n' "$token" >&2
  printf '\n%s %s\n' "$token" $code
done
"#;

/// The longest exit code with what surrounds it.
const CODE: usize = 8;

/// Returns what a shell with these functions runs to become a clerk.
pub(crate) fn clerk(functions: &str) -> String {
    format!("{functions}{LOOP}")
}

/// Writes the call of a function with exact arguments, on one line.
pub(crate) fn call(function: &str, arguments: &[&str]) -> String {
    let mut call = function.to_owned();
    for argument in arguments {
        call.push(' ');
        call += &quote(argument).replace('\n', r#"'"$nl"'"#);
    }
    call
}

/// A question and what has been heard in reply so far.
#[derive(Debug)]
pub(crate) struct Hearsay {
    token: String,
    out: Vec<u8>,
    err: Vec<u8>,
}

/// What a question came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The exit code of the call, or of a clerk that could not start; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub out: Vec<u8>,
    /// Standard error.
    pub err: Vec<u8>,
}

impl Hearsay {
    /// Begins to listen.
    pub(crate) fn new() -> Self {
        Self { token: random(), out: Vec::new(), err: Vec::new() }
    }

    /// Returns the line that asks a clerk for this.
    pub(crate) fn line(&self, call: &str) -> Vec<u8> {
        format!("{} {call}\n", self.token).into_bytes()
    }

    /// Takes more of what is said.
    pub(crate) fn hear(&mut self, stream: Stream, bytes: &[u8]) {
        match stream {
            Stream::Out => self.out.extend_from_slice(bytes),
            Stream::Err => self.err.extend_from_slice(bytes),
        }
    }

    /// Returns the reply once all of it is there.
    pub(crate) fn reply(&mut self) -> Option<Reply> {
        // A clerk says nothing after its reply, so the end is at the end.
        let from = self.out.len().saturating_sub(self.token.len() + CODE);
        let end = format!("\n{} ", self.token);
        let at = from + self.out[from..].windows(end.len()).position(|part| part == end.as_bytes())?;
        let code = std::str::from_utf8(&self.out[at + end.len()..]).ok()?.strip_suffix('\n')?.parse().ok()?;
        if code != 0 {
            let end = format!("\n{}\n", self.token);
            let length = self.err.strip_suffix(end.as_bytes())?.len();
            self.err.truncate(length);
        }
        self.out.truncate(at);
        Some(self.rest(Some(code)))
    }

    /// Returns what a clerk said that ended without a reply.
    pub(crate) fn rest(&mut self, code: Option<i32>) -> Reply {
        Reply { code, out: std::mem::take(&mut self.out), err: std::mem::take(&mut self.err) }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::process::{Command, Stdio};

    use super::*;

    const FUNCTIONS: &str =
        "show() { printf '<%s>' \"$@\"; [ \"$1\" != bad ] || { echo why >&2; exit 7; }; }\n";

    /// Asks one clerk all of this, one after the other.
    #[expect(clippy::disallowed_methods, reason = "the text is tried on this machine's own shell")]
    fn ask(questions: &[(&str, &[&str])]) -> Vec<Reply> {
        let mut shell = Command::new("/bin/sh")
            .args(["-c", &clerk(FUNCTIONS)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = shell.stdin.take().unwrap();
        let (mut out, mut err) = (shell.stdout.take().unwrap(), shell.stderr.take().unwrap());
        let mut replies = Vec::new();
        for (function, arguments) in questions {
            let mut hearsay = Hearsay::new();
            stdin.write_all(&hearsay.line(&call(function, arguments))).unwrap();
            let mut byte = [0];
            let reply = loop {
                out.read_exact(&mut byte).unwrap();
                hearsay.hear(Stream::Out, &byte);
                let failed = hearsay.out.ends_with(b" 7\n") || hearsay.out.ends_with(b" 127\n");
                while failed && !hearsay.err.ends_with(format!("{}\n", hearsay.token).as_bytes()) {
                    err.read_exact(&mut byte).unwrap();
                    hearsay.hear(Stream::Err, &byte);
                }
                if let Some(reply) = hearsay.reply() {
                    break reply;
                }
            };
            replies.push(reply);
        }
        drop(stdin);
        assert!(shell.wait().unwrap().success());
        replies
    }

    #[test]
    fn arguments_arrive_exactly_and_replies_do_not_mix() {
        let odd = "it's $HOME\nand `id` \\ \"x\"\n\n";
        let replies =
            ask(&[("show", &[odd, "", " a "]), ("show", &["bad", "x"]), ("nope", &[]), ("show", &[])]);
        let said: Vec<_> = replies
            .iter()
            .map(|reply| (reply.code, String::from_utf8_lossy(&reply.out).into_owned()))
            .collect();
        assert_eq!(
            said,
            [
                (Some(0), format!("<{odd}><>< a >")),
                (Some(7), "<bad><x>".to_owned()),
                (Some(127), String::new()),
                (Some(0), "<>".to_owned()),
            ]
        );
        assert_eq!(replies[1].err, b"why\n");
        assert!(String::from_utf8_lossy(&replies[2].err).contains("nope"));
    }

    #[test]
    fn a_reply_is_whole_or_none() {
        let mut hearsay = Hearsay::new();
        let end = format!("\n{} 70\n", hearsay.token);
        let said = format!("a\n{}b{end}", hearsay.token);
        for byte in said.as_bytes() {
            assert_eq!(hearsay.reply(), None);
            hearsay.hear(Stream::Out, &[*byte]);
        }
        assert_eq!(hearsay.reply(), None, "its standard error is still to come");
        let err = format!("x\n{}\n", hearsay.token);
        hearsay.hear(Stream::Err, err.as_bytes());
        let out = format!("a\n{}b", hearsay.token).into_bytes();
        assert_eq!(hearsay.reply(), Some(Reply { code: Some(70), out, err: b"x".to_vec() }));
    }
}
