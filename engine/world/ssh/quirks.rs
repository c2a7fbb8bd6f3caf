//! What a kind of server does differently from OpenSSH, told by its greeting.

/// How a server's commands have to be given to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Quirks {
    /// The name to call it by.
    pub name: &'static str,
    /// The bytes of the longest command it takes.
    pub longest_command: usize,
    /// How many commands it can be trusted with at once on one connection.
    pub commands: usize,
    /// Whether all commands of a connection run in one session and process group.
    pub shares_group: bool,
}

const ORDINARY: Quirks =
    Quirks { name: "the server", longest_command: usize::MAX, commands: usize::MAX, shares_group: false };

/// It hangs up, with all that runs on the connection, at a command of 9000 bytes or more (`MAX_CMD_LEN`). Where two commands
/// run at once it now and then closes a channel without an exit status (2022.83, with OpenSSH's client as with ours).
const DROPBEAR: Quirks = Quirks { name: "dropbear", longest_command: 8999, commands: 1, shares_group: true };

impl Quirks {
    /// Tells a server by the text of its greeting.
    pub(super) fn of(greeting: &str) -> Self {
        if greeting.contains("SSH-2.0-dropbear") { DROPBEAR } else { ORDINARY }
    }
}
