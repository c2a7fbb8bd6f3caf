//! Prompts: a device's name, and where the session is.

/// Where a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// After a login without rights: `name>`.
    User,
    /// With rights: `name#`.
    Privileged,
    /// Where the configuration is changed: `name(config)#`, `name(config-if)#`.
    Configuration,
}

/// Reads a line that is a prompt and nothing else: the name, and where the session is.
pub(super) fn prompt(line: &str) -> Option<(&str, Mode)> {
    match prompt_before(line) {
        Some((name, mode, "")) => Some((name, mode)),
        _ => None,
    }
}

/// Reads the prompt that a line begins with.
pub(super) fn prompt_before(line: &str) -> Option<(&str, Mode, &str)> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "._-@/:+".contains(c);
    let end = line.find(|c: char| !is_part(c))?;
    let (name, rest) = line.split_at(end);
    if name.is_empty() || name.len() > 63 {
        return None;
    }
    if let Some(inside) = rest.strip_prefix('(') {
        let (word, rest) = inside.split_once(')')?;
        let rest = rest.strip_prefix('#')?;
        let is_mode = word.starts_with("conf") && word.chars().all(is_part);
        return is_mode.then_some((name, Mode::Configuration, rest));
    }
    match rest.split_at_checked(1)? {
        (">", rest) => Some((name, Mode::User, rest)),
        ("#", rest) => Some((name, Mode::Privileged, rest)),
        _ => None,
    }
}

/// Whether a prompt's name is the device's: where the configuration is changed, long names are cut.
pub(super) fn is_same(own: &str, name: &str, mode: Mode) -> bool {
    own == name
        || (mode == Mode::Configuration && name.len() >= 16 && own.starts_with(name))
        // The first prompt was that of a session left in configuration.
        || (name.starts_with(own) && own.len() >= 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_are_read() {
        for (line, expected) in [
            ("rtr01>", Some(("rtr01", Mode::User))),
            ("rtr01#", Some(("rtr01", Mode::Privileged))),
            ("fw01/pri/act#", Some(("fw01/pri/act", Mode::Privileged))),
            ("rtr01(config)#", Some(("rtr01", Mode::Configuration))),
            ("rtr01(config-ext-nacl)#", Some(("rtr01", Mode::Configuration))),
            ("rtr01(config-if)>", None),
            ("no prompt#", None),
            ("#", None),
            ("rtr01#show", None),
            ("", None),
            ("interface Gi0/1", None),
        ] {
            assert_eq!(prompt(line), expected, "{line}");
        }
    }
}
