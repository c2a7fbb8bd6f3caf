//! Ranges in names: `edge-[1:3]`, `rack[01:10:3]`, `node-[a:c]`.

/// The most names that one text may stand for.
pub(super) const LIMIT: usize = 100_000;

/// Why a range cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// The bracket is not closed.
    #[error("`{text}` has a `[` without `]`")]
    Unclosed {
        /// The whole text.
        text: String,
    },
    /// The bounds are neither two numbers nor two letters.
    #[error("`[{range}]` is not a range: two numbers or two letters are wanted, as in `[1:3]` or `[a:c]`")]
    Bounds {
        /// What stands between the brackets.
        range: String,
    },
    /// The end lies before the start.
    #[error("the range `[{range}]` ends before it starts")]
    Backwards {
        /// What stands between the brackets.
        range: String,
    },
    /// The text stands for too many names.
    #[error("`{text}` stands for more than {LIMIT} names")]
    TooMany {
        /// The whole text.
        text: String,
    },
}

/// Expands every range of a text, leftmost slowest; a text without ranges stands for itself.
///
/// Both ends are included, a third number is the step, and a start with leading zeros sets the width, as in Ansible.
/// A bracket without a colon is left alone: it is a glob's character class.
pub(super) fn expand(text: &str) -> Result<Vec<String>, RangeError> {
    let mut names = vec![String::new()];
    let mut rest = text;
    while let Some(open) = rest.find('[') {
        let close =
            rest[open..].find(']').ok_or_else(|| RangeError::Unclosed { text: text.to_owned() })? + open;
        let inside = &rest[open + 1..close];
        let parts = if inside.contains(':') { members(inside)? } else { vec![rest[open..=close].to_owned()] };
        if names.len().saturating_mul(parts.len()) > LIMIT {
            return Err(RangeError::TooMany { text: text.to_owned() });
        }
        let before = &rest[..open];
        names = names
            .iter()
            .flat_map(|name| parts.iter().map(move |part| format!("{name}{before}{part}")))
            .collect();
        rest = &rest[close + 1..];
    }
    for name in &mut names {
        name.push_str(rest);
    }
    Ok(names)
}

fn members(range: &str) -> Result<Vec<String>, RangeError> {
    let bounds = || RangeError::Bounds { range: range.to_owned() };
    let backwards = || RangeError::Backwards { range: range.to_owned() };
    let parts: Vec<&str> = range.split(':').collect();
    let (start, end, step) = match parts[..] {
        // Ansible reads an empty start as 0.
        ["", end] => ("0", end, 1),
        [start, end] => (start, end, 1),
        [start, end, step] => {
            (start, end, step.parse::<usize>().ok().filter(|step| *step > 0).ok_or_else(bounds)?)
        }
        _ => return Err(bounds()),
    };
    if let (Ok(first), Ok(last)) = (start.parse::<u64>(), end.parse::<u64>()) {
        let width = if start.len() > 1 && start.starts_with('0') { start.len() } else { 0 };
        if last < first {
            return Err(backwards());
        }
        if (last - first) / step as u64 >= LIMIT as u64 {
            return Err(RangeError::TooMany { text: format!("[{range}]") });
        }
        return Ok((first..=last).step_by(step).map(|number| format!("{number:0width$}")).collect());
    }
    match (start.as_bytes(), end.as_bytes()) {
        (&[first], &[last]) if letters(first, last) => {
            if last < first {
                return Err(backwards());
            }
            Ok((first..=last).step_by(step).map(|letter| char::from(letter).to_string()).collect())
        }
        _ => Err(bounds()),
    }
}

fn letters(first: u8, last: u8) -> bool {
    (first.is_ascii_lowercase() && last.is_ascii_lowercase())
        || (first.is_ascii_uppercase() && last.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_expand_as_in_ansible() {
        for (text, expected) in [
            ("edge-1", &["edge-1"][..]),
            ("edge-[1:3]", &["edge-1", "edge-2", "edge-3"]),
            ("w[08:10].nl", &["w08.nl", "w09.nl", "w10.nl"]),
            ("w[0:4:2]", &["w0", "w2", "w4"]),
            ("w[:1]", &["w0", "w1"]),
            ("n-[a:c]", &["n-a", "n-b", "n-c"]),
            ("[a:b][1:2]", &["a1", "a2", "b1", "b2"]),
            ("edge-[12]", &["edge-[12]"]),
        ] {
            assert_eq!(expand(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for (text, expected) in [
            ("e[1:", "`e[1:` has a `[` without `]`"),
            ("e[3:1]", "the range `[3:1]` ends before it starts"),
            ("e[c:a]", "the range `[c:a]` ends before it starts"),
            (
                "e[1:x]",
                "`[1:x]` is not a range: two numbers or two letters are wanted, as in `[1:3]` or `[a:c]`",
            ),
            (
                "e[a:C]",
                "`[a:C]` is not a range: two numbers or two letters are wanted, as in `[1:3]` or `[a:c]`",
            ),
            (
                "e[1:2:0]",
                "`[1:2:0]` is not a range: two numbers or two letters are wanted, as in `[1:3]` or `[a:c]`",
            ),
            ("e[0:99999999999]", "`[0:99999999999]` stands for more than 100000 names"),
            ("e[0:999][0:999]", "`e[0:999][0:999]` stands for more than 100000 names"),
        ] {
            assert_eq!(expand(text).unwrap_err().to_string(), expected, "{text}");
        }
    }
}
