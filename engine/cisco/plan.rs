//! What a comparison comes to: commands in blocks, each with what it may do and how it is taken back.

use std::fmt;

use serde::Serialize;

use super::secrets::without_secret;

/// One command, as it is typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// How deep the section is that it is entered in; a section's header has its parent's depth.
    pub depth: usize,
    /// The command.
    pub text: String,
    /// The rest of a banner, from behind the words of its command to its second delimiter.
    pub body: Option<String>,
}

impl fmt::Display for Command {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{:depth$}{}{}",
            "",
            self.text,
            self.body.as_deref().unwrap_or_default(),
            depth = self.depth
        )
    }
}

impl Serialize for Command {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What a command may do to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    /// It may cut off whoever enters it, or the next login.
    Access,
    /// It may drop traffic.
    Traffic,
    /// It cannot be taken back by a command.
    Irreversible,
    /// It needs a secret that the text does not hold.
    Secret,
}

impl Risk {
    /// What it means, for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Access => "may cut off the session or the next login",
            Self::Traffic => "may drop traffic",
            Self::Irreversible => "cannot be taken back by a command",
            Self::Secret => "needs a secret that is masked here",
        }
    }
}

/// Commands that belong together: they are about one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Block {
    /// What it is about: `change interface GigabitEthernet0/1`.
    pub description: String,
    /// The commands, in order.
    pub commands: Vec<Command>,
    /// What they may do.
    pub risks: Vec<Risk>,
    /// The commands that take it back, where it stands when it has been entered; [`super::invert`] fills them in.
    pub inverse: Vec<Command>,
}

/// Something that is no command, and that people must know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Note {
    /// What it is about: a line, with its section.
    pub line: String,
    /// What is to be known.
    pub text: String,
}

/// Commands that turn one configuration into another.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Plan {
    /// The commands, in the order in which a device accepts them.
    pub blocks: Vec<Block>,
    /// What could not be compared, and what a person has to do.
    pub notes: Vec<Note>,
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Returns it as people and records may see it: without secrets.
    #[must_use]
    pub fn masked(mut self) -> Self {
        for block in &mut self.blocks {
            for command in block.commands.iter_mut().chain(&mut block.inverse) {
                command.text = without_secret(&command.text);
            }
        }
        for note in &mut self.notes {
            note.line = without_secret(&note.line);
        }
        self
    }

    /// Returns all commands in order.
    pub fn commands(&self) -> impl Iterator<Item = &Command> {
        self.blocks.iter().flat_map(|block| &block.commands)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.commands().try_for_each(|command| writeln!(formatter, "{command}"))
    }
}
