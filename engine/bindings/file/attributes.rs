//! Mode, owner and group: what is wanted of them, and how that differs from what is there.

use std::fmt::Write as _;

use serde::{Serialize, Serializer};

use crate::bindings::file::probe::Observed;
use crate::bindings::{Call, Raise};
use crate::gate::permit::invalid;
use crate::model::signature::{Opt, Type};

/// Wanted mode, owner and group; what is `None` stays as it is.
#[derive(Clone, Default, Serialize)]
pub(super) struct Attributes {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mode: Option<Mode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) owner: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) group: Option<String>,
}

/// Permission bits, with those for set-user-ID, set-group-ID and sticky.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Mode(pub(super) u32);

impl Serialize for Mode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:04o}", self.0))
    }
}

impl Attributes {
    /// Reads the options `mode`, `owner` and `group`.
    pub(super) fn read(call: &Call<'_>) -> Result<Self, Raise> {
        let mode = call.option("mode").map(|_| mode(call, "mode")).transpose()?;
        Ok(Self { mode, owner: name(call, "owner")?, group: name(call, "group")? })
    }

    /// Describes each difference from what is there, one line each; empty when there is none.
    pub(super) fn differences(&self, seen: &Observed) -> String {
        let mut lines = String::new();
        if let Some(Mode(mode)) = self.mode
            && mode != seen.mode
        {
            let _ = writeln!(lines, "mode {:04o} → {mode:04o}", seen.mode);
        }
        for (word, wanted, name, id) in
            [("owner", &self.owner, &seen.owner, seen.uid), ("group", &self.group, &seen.group, seen.gid)]
        {
            if let Some(wanted) = wanted
                && wanted != name
                && *wanted != id.to_string()
            {
                let _ = writeln!(lines, "{word} {name} → {wanted}");
            }
        }
        lines
    }

    /// Returns the mode as `chmod` wants it; GNU's clears the set-group-ID bit of folders only if it has five digits.
    pub(super) fn chmod(&self) -> String {
        self.mode.map(|Mode(mode)| format!("{mode:05o}")).unwrap_or_default()
    }

    /// Returns owner and group as `chown` wants them.
    pub(super) fn chown(&self) -> String {
        match (&self.owner, &self.group) {
            (None, None) => String::new(),
            (Some(owner), None) => owner.clone(),
            (owner, Some(group)) => format!("{}:{group}", owner.as_deref().unwrap_or_default()),
        }
    }
}

/// Reads an option that holds permission bits.
pub(super) fn mode(call: &Call<'_>, key: &str) -> Result<Mode, Raise> {
    let value = call.option(key).unwrap_or_default();
    let text = value.clone().into_string().unwrap_or_default();
    let digits = (3..=5).contains(&text.len()).then_some(text.as_str());
    match digits.and_then(|text| u32::from_str_radix(text, 8).ok()).filter(|mode| *mode <= 0o7777) {
        Some(mode) => Ok(Mode(mode)),
        None => Err(invalid(format!(
            "`{}` wants an octal text such as \"0644\" as option `{key}`, got `{value}`",
            call.name()
        ))
        .into()),
    }
}

/// Reads a name or a number of a user or group.
fn name(call: &Call<'_>, key: &str) -> Result<Option<String>, Raise> {
    let Some(value) = call.option(key) else { return Ok(None) };
    let text =
        if value.is_int() { value.to_string() } else { value.clone().into_string().unwrap_or_default() };
    if text.is_empty() || text.starts_with('-') || text.contains([':', '\n', '/', '\0']) {
        let message = format!(
            "`{}` wants the name or number of a user or group as option `{key}`, got `{value}`",
            call.name()
        );
        return Err(invalid(message).into());
    }
    Ok(Some(text))
}

/// The option `mode`.
pub(super) const MODE: Opt = Opt {
    name: "mode",
    ty: Type::String,
    doc: "Permission bits in octal, such as \"0644\"; kept by default, and for new ones \"0644\" (folders \"0755\").",
};
/// The option `owner`.
pub(super) const OWNER: Opt =
    Opt { name: "owner", ty: Type::Any, doc: "The user who owns it, by name or number; kept by default." };
/// The option `group`.
pub(super) const GROUP: Opt =
    Opt { name: "group", ty: Type::Any, doc: "The group it belongs to, by name or number; kept by default." };
