//! The options for `ssh` that Ansible inventories carry in `ansible_ssh_common_args`.

use serde_json::Value;

/// Splits a line into words as a POSIX shell does, without expansion; `None` when a quote is not closed.
pub(super) fn words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\'' | '"' => {
                let text = word.get_or_insert_default();
                loop {
                    match letters.next()? {
                        end if end == letter => break,
                        '\\' if letter == '"' => match letters.next()? {
                            escaped @ ('"' | '\\') => text.push(escaped),
                            other => text.extend(['\\', other]),
                        },
                        other => text.push(other),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(letters.next()?),
            blank if blank.is_whitespace() => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Some(words)
}

/// Reads the settings we know; every other option is handed to `unused`.
pub(super) fn settings(line: &str, mut unused: impl FnMut(&str)) -> Vec<(&'static str, Value)> {
    let mut settings = Vec::new();
    let Some(words) = words(line) else {
        unused(line);
        return settings;
    };
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let (flag, attached) = word.split_at(word.char_indices().nth(2).map_or(word.len(), |(end, _)| end));
        let takes_value = flag.len() == 2 && flag.starts_with('-') && "oJpliFS".contains(&flag[1..]);
        let value = match attached {
            "" if takes_value => words.next().unwrap_or_default(),
            _ => attached.to_owned(),
        };
        match flag {
            "-J" => settings.push(("jump", hops(&value))),
            "-l" => settings.push(("user", value.into())),
            "-i" => settings.push(("identity_files", value.into())),
            "-p" => settings.extend(value.parse::<u64>().ok().map(|port| ("port", port.into()))),
            "-o" => match option(&value) {
                Some(Some(setting)) => settings.push(setting),
                Some(None) => {}
                None => unused(&format!("-o {value}")),
            },
            _ => unused(&word),
        }
    }
    settings
}

/// Reads `Name=value`; `Some(None)` is an option that our client has no use for by its nature.
#[expect(clippy::option_option, reason = "known and useful, known and pointless, unknown")]
fn option(text: &str) -> Option<Option<(&'static str, Value)>> {
    let (name, value) = text.split_once(['=', ' '])?;
    let value = value.trim_start_matches(['=', ' ']).trim();
    match (name.to_lowercase().as_str(), value) {
        // One connection a host is kept anyway, and agents are never forwarded.
        ("proxyjump", "none")
        | (
            "controlmaster" | "controlpersist" | "controlpath" | "forwardagent" | "loglevel" | "compression",
            _,
        ) => Some(None),
        ("proxyjump", hops_text) => Some(Some(("jump", hops(hops_text)))),
        ("proxycommand", command) => Some(Some(("jump", Value::Array(vec![forwarder(command)?.into()])))),
        ("connecttimeout", seconds) => Some(Some(("connect_timeout", seconds.parse::<u64>().ok()?.into()))),
        ("stricthostkeychecking", "accept-new") => Some(Some(("known_hosts", "accept-new".into()))),
        ("stricthostkeychecking", "yes") => Some(Some(("known_hosts", "strict".into()))),
        ("identityfile", path) => Some(Some(("identity_files", path.into()))),
        ("user", user) => Some(Some(("user", user.into()))),
        ("port", port) => Some(Some(("port", port.parse::<u64>().ok()?.into()))),
        _ => None,
    }
}

fn hops(text: &str) -> Value {
    text.split(',').map(|hop| hop.trim().to_owned()).collect()
}

/// Reads the jump host out of `ssh -W %h:%p … user@bastion`, the way jump hosts were written before `ProxyJump`.
fn forwarder(command: &str) -> Option<String> {
    let mut words = words(command)?.into_iter();
    if words.next()?.rsplit('/').next()? != "ssh" {
        return None;
    }
    let (mut forwards, mut host, mut user, mut port) = (false, None, None, None);
    while let Some(word) = words.next() {
        match word.as_str() {
            "-W" => forwards = words.next()? == "%h:%p",
            "-q" | "-A" | "-C" => {}
            "-l" => user = Some(words.next()?),
            "-p" => port = Some(words.next()?.parse::<u16>().ok()?),
            word if !word.starts_with('-') && host.is_none() => host = Some(word.to_owned()),
            _ => return None,
        }
    }
    let mut hop = host.filter(|_| forwards)?;
    if let Some(user) = user.filter(|_| !hop.contains('@')) {
        hop = format!("{user}@{hop}");
    }
    Some(port.map_or(hop.clone(), |port| format!("{hop}:{port}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn known_options_become_settings() {
        for (line, expected, ignored) in [
            ("-J a@b:22,c", json!([["jump", ["a@b:22", "c"]]]), ""),
            ("-Jb", json!([["jump", ["b"]]]), ""),
            ("-o ProxyJump=b", json!([["jump", ["b"]]]), ""),
            ("-oProxyJump=b", json!([["jump", ["b"]]]), ""),
            ("-o 'ProxyJump b'", json!([["jump", ["b"]]]), ""),
            (r#"-o ProxyCommand="ssh -W %h:%p -q u@b""#, json!([["jump", ["u@b"]]]), ""),
            (r#"-o ProxyCommand="ssh -p 2222 -l u -W %h:%p b""#, json!([["jump", ["u@b:2222"]]]), ""),
            (r#"-o ProxyCommand="nc -x p %h %p""#, json!([]), "-o ProxyCommand=nc -x p %h %p"),
            ("-o StrictHostKeyChecking=no", json!([]), "-o StrictHostKeyChecking=no"),
            ("-o StrictHostKeyChecking=accept-new", json!([["known_hosts", "accept-new"]]), ""),
            ("-o ControlMaster=auto -o ControlPersist=60s -v", json!([]), "-v"),
            (
                "-o ConnectTimeout=9 -p 23 -l u -i k",
                json!([["connect_timeout", 9], ["port", 23], ["user", "u"], ["identity_files", "k"]]),
                "",
            ),
            ("-o 'open", json!([]), "-o 'open"),
            ("-o", json!([]), "-o "),
            ("é", json!([]), "é"),
        ] {
            let mut unused = Vec::new();
            let settings = settings(line, |option| unused.push(option.to_owned()));
            assert_eq!((json!(settings), unused.join(" ").as_str()), (expected, ignored), "{line}");
        }
    }

    #[test]
    fn words_split_like_a_shell() {
        for (line, expected) in [
            (r#"a 'b c' "d \"e\" \n" f\ g ''"#, Some(vec!["a", "b c", r#"d "e" \n"#, "f g", ""])),
            ("x='a b'c", Some(vec!["x=a bc"])),
            ("", Some(vec![])),
            ("'open", None),
        ] {
            assert_eq!(
                words(line),
                expected.map(|list| list.into_iter().map(str::to_owned).collect()),
                "{line}"
            );
        }
    }
}
