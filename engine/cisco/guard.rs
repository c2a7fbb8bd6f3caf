//! Whether a text is a whole configuration of the platform that it is said to be of. What is not must never become a mass deletion.

use super::Os;
use super::tree::Tree;

/// Why a text cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// There is nothing in it.
    #[error("it is empty")]
    Empty,
    /// It holds bytes that no configuration has.
    #[error("line {line} holds bytes that no configuration has")]
    Binary {
        /// The line, from one.
        line: usize,
    },
    /// It holds something that a session or another program left.
    #[error("line {line} is no configuration, but {what}: `{text}`")]
    Foreign {
        /// The line, from one.
        line: usize,
        /// What it is.
        what: &'static str,
        /// The line.
        text: String,
    },
    /// It begins as a device prints it, and its end is missing.
    #[error("its end is missing (`{end}`), so it was cut off")]
    Truncated {
        /// The line that would be there.
        end: &'static str,
    },
    /// It is of another platform.
    #[error("it is a configuration of {found}, not of {wanted}: line {line}, `{text}`")]
    Platform {
        /// What was asked for.
        wanted: Os,
        /// What it is.
        found: &'static str,
        /// The line, from one.
        line: usize,
        /// The line.
        text: String,
    },
    /// The other one is another device's.
    #[error("these are two devices: `{running}` and `{intended}`, with hardly a line in common")]
    OtherDevice {
        /// The name of the one.
        running: String,
        /// The name of the other.
        intended: String,
    },
    /// One has an end and the other has none.
    #[error("{which} ends without `{end}`, which the other has, so it was cut off")]
    OneEnded {
        /// Which of both.
        which: &'static str,
        /// The line that is missing.
        end: &'static str,
    },
}

/// Refuses what is no whole configuration of the platform.
pub fn guard(os: Os, text: &str) -> Result<(), Unusable> {
    if text.trim().is_empty() {
        return Err(Unusable::Empty);
    }
    let mut is_printed = false;
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let is_strange = |byte: u8| byte < 0x20 && !matches!(byte, b'\t' | b'\r' | 0x03 | 0x0c | 0x08);
        if line.bytes().any(is_strange) || line.contains('\u{fffd}') {
            return Err(Unusable::Binary { line: number });
        }
        let bare = line.trim();
        let foreign = |what| Err(Unusable::Foreign { line: number, what, text: short(bare) });
        if bare.contains("--More--") || bare.contains("<--- More --->") {
            return foreign("a page of a terminal");
        }
        if bare.starts_with("% ") || bare.starts_with("ERROR:") {
            return foreign("a device's refusal");
        }
        if bare.starts_with("<!DOCTYPE") || bare.to_ascii_lowercase().starts_with("<html") {
            return foreign("a web page");
        }
        if line.starts_with("<<<<<<< ") || line.starts_with(">>>>>>> ") || line == "=======" {
            return foreign("a conflict that Git left");
        }
        is_printed |= bare.starts_with("Building configuration")
            || bare.starts_with("Current configuration :")
            || bare.starts_with(": Saved");
        let other = match os {
            Os::Asa => {
                let is_ios = bare.starts_with("Building configuration") || line.starts_with("version 1");
                is_ios.then_some("IOS")
            }
            Os::Ios | Os::Ap => {
                let is_asa = line.starts_with("ASA Version ") || line.starts_with("PIX Version ");
                is_asa.then_some("an ASA")
            }
        };
        if let Some(found) = other {
            return Err(Unusable::Platform { wanted: os, found, line: number, text: short(bare) });
        }
    }
    if is_printed && !is_end(os, text) {
        return Err(Unusable::Truncated { end: end(os) });
    }
    Ok(())
}

/// Refuses two texts of which one was cut off, or which are two devices.
pub fn guard_pair(os: Os, running: &str, intended: &str) -> Result<(), Unusable> {
    let ends = (is_end(os, running), is_end(os, intended));
    // Also of a few lines: all but the first ones may be what is missing.
    let is_long = is_long(running) || is_long(intended);
    match ends {
        (false, true) if is_long => {
            return Err(Unusable::OneEnded { which: "the running configuration", end: end(os) });
        }
        (true, false) if is_long => {
            return Err(Unusable::OneEnded { which: "the intended configuration", end: end(os) });
        }
        _ => {}
    }
    let (a, b) = (Tree::read(os, running), Tree::read(os, intended));
    let name = |tree: &Tree<'_>| {
        tree.nodes.iter().find_map(|node| node.head.strip_prefix("hostname ").map(str::to_owned))
    };
    if let (Some(running), Some(intended)) = (name(&a), name(&b))
        && running != intended
    {
        let heads: std::collections::HashSet<&str> = a.nodes.iter().map(|node| &*node.head).collect();
        let all = b.nodes.iter().filter(|node| !node.is_trivia()).count();
        let common = b.nodes.iter().filter(|node| !node.is_trivia() && heads.contains(&*node.head)).count();
        if all > 20 && common * 3 < all {
            return Err(Unusable::OtherDevice { running, intended });
        }
    }
    Ok(())
}

/// Whether it is long enough to be a whole configuration.
fn is_long(text: &str) -> bool {
    text.lines().count() > 3
}

fn end(os: Os) -> &'static str {
    if os == Os::Asa { ": end" } else { "end" }
}

/// Whether a text ends as a device ends its configuration.
pub fn is_end(os: Os, text: &str) -> bool {
    let last = text.lines().rev().map(str::trim).filter(|line| !line.is_empty() && *line != "!").take(3);
    last.into_iter().any(|line| match os {
        Os::Asa => line == ": end" || line.starts_with("Cryptochecksum:"),
        Os::Ios | Os::Ap => line == "end",
    })
}

fn short(text: &str) -> String {
    text.chars().take(60).collect()
}
