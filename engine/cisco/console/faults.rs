//! What goes wrong on a virtual device on purpose: `NAME` or `NAME=VALUE`, as `nlrun cisco device --fault` takes it.

use crate::model::nearest::did_you_mean;

/// What goes wrong on purpose. The lines of a session are counted from its first one; what is answered to a question is a line, too. What
/// happens at a line happens once: the next session is as good as any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    /// The connection is cut at this line, which is not done any more.
    pub cut: Option<u64>,
    /// This line is done and not answered, nor is any behind it.
    pub hang: Option<u64>,
    /// The device reloads at this line: what was not saved is lost.
    pub reload: Option<u64>,
    /// How many seconds it cannot be reached after a reload.
    pub boot: u64,
    /// Another engineer changes the configuration at this line.
    pub edit: Option<u64>,
    /// Another engineer is in configuration mode and has locked it.
    pub is_locked: bool,
    /// Lines that are refused whatever they say.
    pub refuse: Vec<String>,
    /// The line of a configuration that is refused: the first one behind `configure terminal` is 1.
    pub refuse_at: Option<u64>,
    /// Pages cannot be switched off.
    pub pages: bool,
    /// A message of the log comes in the middle of each answer.
    pub noise: bool,
    /// Long lines are scrolled while they are typed, with `$` where something is hidden.
    pub wrap: bool,
    /// Milliseconds that each answer takes.
    pub slow: u64,
    /// So many connections are closed before they say anything, as when all lines are in use.
    pub busy: u64,
    /// Only what old devices have: diffie-hellman-group1-sha1, aes128-cbc, hmac-sha1 and an ssh-rsa key.
    pub legacy: bool,
    /// No password is taken but in answer to the question for it.
    pub asks: bool,
}

/// A fault as it is named: its name, what stands behind `=`, and what happens.
type Known = (&'static str, &'static str, &'static str);

const KNOWN: [Known; 15] = [
    ("cut", "LINE", "the connection is cut at this line, which is not done"),
    ("hang", "LINE", "this line is done and not answered, nor is any behind it"),
    ("reload", "LINE", "the device reloads at this line, and loses what was not saved"),
    ("boot", "SECONDS", "it cannot be reached for so long after a reload"),
    ("edit", "LINE", "another engineer changes the configuration at this line"),
    ("locked", "", "another engineer has locked the configuration"),
    ("refuse", "TEXT", "this line is refused, wherever it comes"),
    ("refuse-at", "LINE", "this line of a configuration is refused, counted from `configure terminal`"),
    ("pages", "", "pages cannot be switched off"),
    ("noise", "", "a message of the log comes in the middle of each answer"),
    ("wrap", "", "a long line is scrolled while it is typed, and `$` stands for what is hidden"),
    ("slow", "MILLISECONDS", "each answer takes so long"),
    ("busy", "COUNT", "so many connections are closed before anything is said"),
    ("legacy", "", "only group1-sha1, aes128-cbc, hmac-sha1 and ssh-rsa are offered"),
    ("keyboard-interactive", "", "a password is taken only in answer to the question for it"),
];

impl Faults {
    /// Adds one.
    pub fn add(&mut self, text: &str) -> Result<(), String> {
        let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
        let Some((_, wants, _)) = KNOWN.iter().find(|(known, ..)| *known == name) else {
            let hint = did_you_mean(name, KNOWN.iter().map(|(known, ..)| *known));
            let names: Vec<&str> = KNOWN.iter().map(|(known, ..)| *known).collect();
            return Err(format!(
                "there is no fault `{name}`; {}",
                hint.unwrap_or_else(|| format!("there are {}", names.join(", ")))
            ));
        };
        let value = match (wants.is_empty(), value) {
            (true, None) => "",
            (false, Some(value)) if !value.is_empty() => value,
            (true, Some(_)) => return Err(format!("`{name}` takes no value")),
            (false, _) => return Err(format!("`{name}` takes a value: `{name}={wants}`")),
        };
        let number =
            || value.parse::<u64>().map_err(|_| format!("`{value}` is no number; write `{name}={wants}`"));
        match name {
            "cut" => self.cut = Some(number()?),
            "hang" => self.hang = Some(number()?),
            "reload" => self.reload = Some(number()?),
            "boot" => self.boot = number()?,
            "edit" => self.edit = Some(number()?),
            "locked" => self.is_locked = true,
            "refuse" => self.refuse.push(value.to_owned()),
            "refuse-at" => self.refuse_at = Some(number()?),
            "pages" => self.pages = true,
            "noise" => self.noise = true,
            "wrap" => self.wrap = true,
            "slow" => self.slow = number()?,
            "busy" => self.busy = number()?,
            "legacy" => self.legacy = true,
            _ => self.asks = true,
        }
        Ok(())
    }

    /// Returns the help: a line a fault.
    pub fn help() -> String {
        let lines = KNOWN.iter().map(|(name, wants, about)| {
            let whole = if wants.is_empty() { (*name).to_owned() } else { format!("{name}={wants}") };
            format!("  {whole:<22} {about}")
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_that_is_named_is_one() {
        for (name, wants, _) in KNOWN {
            let mut faults = Faults::default();
            let text = if wants.is_empty() { name.to_owned() } else { format!("{name}=3") };
            faults.add(&text).unwrap();
            assert_ne!(faults, Faults::default(), "{name} changes nothing");
            assert!(Faults::help().contains(name));
            assert!(Faults::default().add(&format!("{name}=")).is_err(), "{name}=");
        }
        for (text, why) in [
            ("cut", "takes a value: `cut=LINE`"),
            ("cut=soon", "`soon` is no number"),
            ("noise=1", "takes no value"),
            ("hung=2", "did you mean `hang`?"),
            ("fire", "there are cut, hang"),
        ] {
            let error = Faults::default().add(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
