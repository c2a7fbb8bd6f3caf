//! Lines of an `ssh_config` into items, values checked.

use std::time::Duration;

use super::StrictHostKeyChecking;

/// One meaningful line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    /// What follows applies to hosts that match.
    Host(Vec<String>),
    /// What follows applies when every criterion holds.
    Match(Vec<Criterion>),
    /// Other files stand here; filled in by the reader of files.
    Include { patterns: Vec<String>, files: Vec<Vec<Item>> },
    /// A value.
    Set(Keyword),
}

/// One condition of a `Match` line; the flag says that it is negated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Criterion {
    All,
    Never,
    Final(bool),
    Host(bool, String),
    OriginalHost(bool, String),
    User(bool, String),
    LocalUser(bool, String),
}

/// A keyword with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Keyword {
    HostName(String),
    Port(u16),
    User(String),
    IdentityFile(String),
    IdentitiesOnly(bool),
    IdentityAgent(String),
    CertificateFile(String),
    ProxyJump(Vec<String>),
    ProxyCommand(String),
    UserKnownHostsFile(Vec<String>),
    GlobalKnownHostsFile(Vec<String>),
    StrictHostKeyChecking(StrictHostKeyChecking),
    HostKeyAlias(String),
    HashKnownHosts(bool),
    ConnectTimeout(Option<Duration>),
    ServerAliveInterval(Duration),
    ServerAliveCountMax(u32),
    KexAlgorithms(String),
    HostKeyAlgorithms(String),
    Ciphers(String),
    Macs(String),
    PubkeyAcceptedAlgorithms(String),
    PreferredAuthentications(Vec<String>),
}

/// A file's items, and the lines with criteria that are not evaluated.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) items: Vec<Item>,
    pub(super) unsupported: Vec<(u64, String)>,
}

/// Reads a whole file; an error is a line, from 1, and a sentence.
pub(super) fn parse(text: &str) -> Result<Parsed, (u64, String)> {
    let mut parsed = Parsed::default();
    for (line, number) in text.lines().zip(1..) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        item(line, number, &mut parsed).map_err(|message| (number, message))?;
    }
    Ok(parsed)
}

fn item(line: &str, number: u64, parsed: &mut Parsed) -> Result<(), String> {
    let (name, rest) = split_keyword(line);
    let lower = name.to_lowercase();
    // A command is for the shell: its quotes and `#` are its own.
    if lower == "proxycommand" {
        parsed.items.push(Item::Set(Keyword::ProxyCommand(rest.to_owned())));
        return Ok(());
    }
    let is_used = matches!(lower.as_str(), "host" | "match" | "include") || KNOWN.contains(&lower.as_str());
    if !is_used {
        return Ok(());
    }
    let words = words(rest).ok_or_else(|| format!("a quote in `{name}` is not closed"))?;
    if words.is_empty() {
        return Err(format!("`{name}` has no value"));
    }
    parsed.items.push(match lower.as_str() {
        "host" => Item::Host(words),
        "include" => Item::Include { patterns: words, files: Vec::new() },
        "match" => Item::Match(criteria(&words, number, &mut parsed.unsupported)?),
        _ => Item::Set(keyword(name, &lower, &words)?),
    });
    Ok(())
}

const KNOWN: [&str; 23] = [
    "hostname",
    "port",
    "user",
    "identityfile",
    "identitiesonly",
    "identityagent",
    "certificatefile",
    "proxyjump",
    "userknownhostsfile",
    "globalknownhostsfile",
    "stricthostkeychecking",
    "hostkeyalias",
    "hashknownhosts",
    "connecttimeout",
    "serveraliveinterval",
    "serveralivecountmax",
    "kexalgorithms",
    "hostkeyalgorithms",
    "ciphers",
    "macs",
    "pubkeyacceptedalgorithms",
    "pubkeyacceptedkeytypes",
    "preferredauthentications",
];

fn keyword(name: &str, lower: &str, words: &[String]) -> Result<Keyword, String> {
    let first = words[0].clone();
    let wrong = |wanted: &str| format!("`{name}` wants {wanted}, not `{first}`");
    let list = || first.split(',').map(|part| part.trim().to_owned()).collect::<Vec<String>>();
    let flag = || match first.to_lowercase().as_str() {
        "yes" | "true" => Ok(true),
        "no" | "false" => Ok(false),
        _ => Err(wrong("`yes` or `no`")),
    };
    let seconds = || seconds(&first).ok_or_else(|| wrong("a time such as `10`, `30s` or `1m`"));
    Ok(match lower {
        "hostname" => Keyword::HostName(first),
        "port" => Keyword::Port(first.parse().ok().filter(|port| *port > 0).ok_or_else(|| wrong("a port"))?),
        "user" => Keyword::User(first),
        "identityfile" => Keyword::IdentityFile(first),
        "identitiesonly" => Keyword::IdentitiesOnly(flag()?),
        "identityagent" => Keyword::IdentityAgent(first),
        "certificatefile" => Keyword::CertificateFile(first),
        "proxyjump" if first.eq_ignore_ascii_case("none") => Keyword::ProxyJump(Vec::new()),
        "proxyjump" => Keyword::ProxyJump(list()),
        "userknownhostsfile" => Keyword::UserKnownHostsFile(words.to_vec()),
        "globalknownhostsfile" => Keyword::GlobalKnownHostsFile(words.to_vec()),
        "stricthostkeychecking" => Keyword::StrictHostKeyChecking(match first.to_lowercase().as_str() {
            "yes" | "true" => StrictHostKeyChecking::Yes,
            "ask" => StrictHostKeyChecking::Ask,
            "accept-new" => StrictHostKeyChecking::AcceptNew,
            "no" | "false" | "off" => StrictHostKeyChecking::No,
            _ => return Err(wrong("`yes`, `ask`, `accept-new` or `no`")),
        }),
        "hostkeyalias" => Keyword::HostKeyAlias(first),
        "hashknownhosts" => Keyword::HashKnownHosts(flag()?),
        "connecttimeout" if first == "none" => Keyword::ConnectTimeout(None),
        "connecttimeout" => Keyword::ConnectTimeout(Some(seconds()?)),
        "serveraliveinterval" if first == "none" => Keyword::ServerAliveInterval(Duration::ZERO),
        "serveraliveinterval" => Keyword::ServerAliveInterval(seconds()?),
        "serveralivecountmax" => Keyword::ServerAliveCountMax(first.parse().map_err(|_| wrong("a number"))?),
        "kexalgorithms" => Keyword::KexAlgorithms(first),
        "hostkeyalgorithms" => Keyword::HostKeyAlgorithms(first),
        "ciphers" => Keyword::Ciphers(first),
        "macs" => Keyword::Macs(first),
        "preferredauthentications" => Keyword::PreferredAuthentications(list()),
        _ => Keyword::PubkeyAcceptedAlgorithms(first),
    })
}

fn criteria(
    words: &[String],
    number: u64,
    unsupported: &mut Vec<(u64, String)>,
) -> Result<Vec<Criterion>, String> {
    let mut criteria = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let (negated, name) = match word.strip_prefix('!') {
            Some(name) => (true, name),
            None => (false, word.as_str()),
        };
        // `Match host=web*` is one word for us and two for OpenSSH.
        let (name, attached) = name.split_once('=').map_or((name, None), |(name, value)| (name, Some(value)));
        let mut value = || match attached {
            Some(value) => Ok(value.to_owned()),
            None => words.next().cloned().ok_or_else(|| format!("`Match {name}` has no value")),
        };
        criteria.push(match name.to_lowercase().as_str() {
            "all" if !negated => Criterion::All,
            "all" => return Err("`Match !all` never matches".to_owned()),
            "final" | "canonical" => Criterion::Final(negated),
            "host" => Criterion::Host(negated, value()?),
            "originalhost" => Criterion::OriginalHost(negated, value()?),
            "user" => Criterion::User(negated, value()?),
            "localuser" => Criterion::LocalUser(negated, value()?),
            other => {
                unsupported.push((number, other.to_owned()));
                return Ok(vec![Criterion::Never]);
            }
        });
    }
    Ok(criteria)
}

/// Cuts `Keyword value`, `Keyword=value` and `Keyword = value`.
fn split_keyword(line: &str) -> (&str, &str) {
    let end = line.find(|letter: char| letter.is_whitespace() || letter == '=').unwrap_or(line.len());
    let rest = line[end..].trim_start();
    (line[..end].trim_matches('"'), rest.strip_prefix('=').unwrap_or(rest).trim())
}

/// Splits values as OpenSSH's `argv_split`: both quotes, backslash before a quote or itself, `#` ends the line.
fn words(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (_, '\\') => {
                let is_escape =
                    |next: &char| matches!(next, '\\' | '"' | '\'') || (quote.is_none() && *next == ' ');
                let escaped = letters.next_if(is_escape).unwrap_or('\\');
                word.get_or_insert_default().push(escaped);
            }
            (Some(open), _) if letter == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, _) if letter.is_whitespace() => words.extend(word.take()),
            (_, _) => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

/// Reads a time as sshd_config(5) writes it: `90`, `90s`, `1m30s`, `2h`, `1d`, `1w`.
fn seconds(text: &str) -> Option<Duration> {
    let mut total = 0_u64;
    let mut digits = String::new();
    for letter in text.chars() {
        let factor = match letter.to_ascii_lowercase() {
            '0'..='9' => {
                digits.push(letter);
                continue;
            }
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            'w' => 604_800,
            _ => return None,
        };
        total = total.checked_add(std::mem::take(&mut digits).parse::<u64>().ok()?.checked_mul(factor)?)?;
    }
    if !digits.is_empty() {
        total = total.checked_add(digits.parse().ok()?)?;
    }
    (!text.is_empty()).then_some(Duration::from_secs(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_items() {
        let set = |keyword| vec![Item::Set(keyword)];
        for (line, expected) in [
            ("Port 22", set(Keyword::Port(22))),
            ("  PORT=22  # comment", set(Keyword::Port(22))),
            ("port = \"22\"", set(Keyword::Port(22))),
            ("# Port 22", vec![]),
            ("ForwardAgent yes", vec![]),
            ("Unknown \"open", vec![]),
            ("IdentityFile '~/a b'", set(Keyword::IdentityFile("~/a b".to_owned()))),
            (r"IdentityFile ~/a\ b", set(Keyword::IdentityFile("~/a b".to_owned()))),
            ("ProxyCommand=nc '%h' %p # x", set(Keyword::ProxyCommand("nc '%h' %p # x".to_owned()))),
            ("ProxyJump NONE", set(Keyword::ProxyJump(vec![]))),
            ("ConnectTimeout 1m30s", set(Keyword::ConnectTimeout(Some(Duration::from_secs(90))))),
            (
                "PubkeyAcceptedKeyTypes +ssh-rsa",
                set(Keyword::PubkeyAcceptedAlgorithms("+ssh-rsa".to_owned())),
            ),
            ("Host a \"b c\" !d", vec![Item::Host(vec!["a".to_owned(), "b c".to_owned(), "!d".to_owned()])]),
            (
                "Match !host a,b final",
                vec![Item::Match(vec![Criterion::Host(true, "a,b".to_owned()), Criterion::Final(false)])],
            ),
            ("Match user=root", vec![Item::Match(vec![Criterion::User(false, "root".to_owned())])]),
            ("Match host a exec \"true\"", vec![Item::Match(vec![Criterion::Never])]),
        ] {
            assert_eq!(parse(line).unwrap().items, expected, "{line}");
        }
    }

    #[test]
    fn wrong_values_are_refused_with_their_line() {
        for (text, line, message) in [
            ("\nPort ssh", 2, "`Port` wants a port, not `ssh`"),
            ("Port 0", 1, "`Port` wants a port, not `0`"),
            ("Port", 1, "`Port` has no value"),
            ("Host \"a", 1, "a quote in `Host` is not closed"),
            ("HashKnownHosts maybe", 1, "`HashKnownHosts` wants `yes` or `no`, not `maybe`"),
            (
                "ConnectTimeout soon",
                1,
                "`ConnectTimeout` wants a time such as `10`, `30s` or `1m`, not `soon`",
            ),
            ("Match user", 1, "`Match user` has no value"),
            ("Match !all", 1, "`Match !all` never matches"),
        ] {
            assert_eq!(parse(text).unwrap_err(), (line, message.to_owned()), "{text}");
        }
    }
}
