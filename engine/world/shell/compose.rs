//! Composes the one line that a remote shell is given from a command.

use crate::world::transport::{Command, Line, Sudo};

use super::marks::Marks;
use super::quote::{quote, quote_all};

/// Text for a shell, and the marks that it will write to standard error.
#[derive(Debug)]
pub struct Script {
    /// What the shell reads.
    pub text: String,
    /// What to look for in its standard error.
    pub marks: Marks,
}

/// Composes `command` for a POSIX shell.
///
/// Without sudo a line for the shell is run by that shell itself. Under sudo it is run by `sh`; exact words
/// without environment or directory are given to `sudo -n` as they are, so that narrow sudoers rules match.
pub fn compose(command: &Command) -> Script {
    let marks = Marks::new(command.sudo.as_ref().is_some_and(|sudo| sudo.password.is_some()));
    let tell = marks.tell_shell();
    let text = match &command.sudo {
        None => format!("{tell}; {}", body(command)),
        Some(sudo) => format!("{tell}; exec {}", under_sudo(command, sudo, &marks)),
    };
    Script { text, marks }
}

/// Composes `command` for a device that has no POSIX shell: the line and nothing else, or `None` when more is asked.
pub fn bare(command: &Command) -> Option<Script> {
    let asks_more =
        !command.env.is_empty() || command.cwd.is_some() || command.sudo.is_some() || command.detach;
    let text = match &command.line {
        Line::Words(words) => words.join(" "),
        Line::Shell(line) => line.clone(),
    };
    (!asks_more).then(|| Script { text, marks: Marks::none() })
}

fn under_sudo(command: &Command, sudo: &Sudo, marks: &Marks) -> String {
    let user = sudo.user.as_ref().map(|user| format!(" -u {}", quote(user))).unwrap_or_default();
    if sudo.password.is_some() {
        // `-k`: a cached login neither answers for us nor is left behind, so the prompt says all there is to know.
        let inner = format!("{}; {}", marks.tell_admitted(), body(command));
        return format!("sudo -k -S -H -p {}{user} -- sh -c {}", quote(&marks.prompt()), quote(&inner));
    }
    match &command.line {
        Line::Words(words) if command.env.is_empty() && command.cwd.is_none() && !command.detach => {
            format!("sudo -n -H{user} -- {}", quote_all(words))
        }
        _ => format!("sudo -n -H{user} -- sh -c {}", quote(&body(command))),
    }
}

fn body(command: &Command) -> String {
    let mut text = String::new();
    if let Some(cwd) = &command.cwd {
        text.extend(["cd -- ", &quote(cwd), " || exit 1; "]);
    }
    if !command.env.is_empty() {
        let pairs: Vec<_> =
            command.env.iter().map(|(name, value)| format!("{name}={}", quote(value))).collect();
        text.extend(["export ", &pairs.join(" "), " || exit 1; "]);
    }
    let line = match &command.line {
        Line::Words(words) => format!("exec {}", quote_all(words)),
        Line::Shell(line) => line.clone(),
    };
    if command.detach {
        let quiet = format!("sh -c {} </dev/null >/dev/null 2>&1 &", quote(&line));
        text.extend([
            "if command -v setsid >/dev/null 2>&1; then setsid ",
            &quiet,
            " else nohup ",
            &quiet,
            " fi",
        ]);
    } else {
        text += &line;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn command(line: Line) -> Command {
        Command {
            line,
            stdin: Arc::from([]),
            env: Vec::new(),
            cwd: None,
            sudo: None,
            timeout: None,
            detach: false,
        }
    }

    fn words(list: &[&str]) -> Line {
        Line::Words(list.iter().map(|word| (*word).to_owned()).collect())
    }

    /// The text without the mark in front, and with the token replaced.
    fn tail(command: &Command) -> String {
        let script = compose(command);
        let at = script.text.find("; ").expect("a mark comes first");
        let token = &script.text[script.text.find('@').unwrap()..script.text.find("pid:").unwrap()];
        script.text[at + 2..].replace(token, "@T-")
    }

    #[test]
    fn every_part_has_its_place() {
        let sudo = |user: Option<&str>, password: Option<&str>| {
            Some(Sudo {
                user: user.map(str::to_owned),
                password: password.map(|text| zeroize::Zeroizing::new(text.to_owned())),
            })
        };
        let shell = || command(Line::Shell("a | b".to_owned()));
        let exact = || command(words(&["ls", "a b"]));
        let env = vec![("A".to_owned(), "1 2".to_owned())];
        let cwd = Some("/srv/x y".to_owned());
        let table = [
            (shell(), "a | b"),
            (exact(), "exec ls 'a b'"),
            (Command { cwd: cwd.clone(), ..exact() }, "cd -- '/srv/x y' || exit 1; exec ls 'a b'"),
            (Command { env: env.clone(), ..shell() }, "export A='1 2' || exit 1; a | b"),
            (Command { sudo: sudo(None, None), ..exact() }, "exec sudo -n -H -- ls 'a b'"),
            (Command { sudo: sudo(Some("app"), None), ..shell() }, "exec sudo -n -H -u app -- sh -c 'a | b'"),
            (
                Command { sudo: sudo(None, Some("pw")), ..shell() },
                "exec sudo -k -S -H -p @T-pw@ -- sh -c 'echo @T-in@ >&2; a | b'",
            ),
        ];
        for (command, expected) in table {
            assert_eq!(tail(&command), expected);
        }
    }

    #[test]
    fn no_secret_is_in_the_text() {
        let sudo = Sudo { user: None, password: Some(zeroize::Zeroizing::new("hunter2".to_owned())) };
        let script = compose(&Command { sudo: Some(sudo), ..command(words(&["id"])) });
        assert!(!script.text.contains("hunter2"));
    }

    #[test]
    fn a_device_without_a_shell_is_given_the_line_alone() {
        let plain = bare(&command(Line::Shell("show version".to_owned()))).expect("nothing more is asked");
        assert_eq!(plain.text, "show version");
        assert!(plain.marks.is_quiet());
        assert!(bare(&Command { cwd: Some("/".to_owned()), ..command(words(&["x"])) }).is_none());
    }
}
