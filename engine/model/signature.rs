//! What a script-facing function looks like: the one description that registration, docs and the check read.

use crate::model::effect::Kind;

/// The type of a parameter, an option or a result, in words that operators know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// Any value.
    Any,
    /// Text.
    String,
    /// A whole number.
    Int,
    /// A number with or without a fraction.
    Number,
    /// `true` or `false`.
    Bool,
    /// A host: its name, or the value that `hosts()` gives.
    Host,
    /// A host or an array of hosts; with an array the function fans out and returns one result a host.
    Hosts,
    /// An array of hosts, or of maps with a `name`.
    Items,
    /// A pattern of the inventory (`web:&nl:!edge-3`).
    Pattern,
    /// A command: an array of exact words, or a string for the remote shell.
    Command,
    /// A length of time: `"90s"`, `"5m"`, or a number of seconds.
    Duration,
    /// The name of a secret.
    SecretName,
    /// A secret.
    Secret,
    /// Text, bytes or a secret.
    Content,
    /// An array.
    Array,
    /// A map.
    Map,
    /// A function or closure with this many parameters.
    Function(u8),
    /// A path on a host.
    RemotePath,
    /// A path in the project.
    LocalPath,
    /// Nothing.
    Unit,
}

/// One positional parameter.
#[derive(Debug, Clone, Copy)]
pub struct Param {
    /// Its name in the documentation.
    pub name: &'static str,
    /// What it takes.
    pub ty: Type,
    /// Whether a call may end before it.
    pub optional: bool,
}

/// One key of the option map, which stands last, or before the body when the last parameter is a function.
#[derive(Debug, Clone, Copy)]
pub struct Opt {
    /// The key.
    pub name: &'static str,
    /// What it takes.
    pub ty: Type,
    /// What it means, with unit and default; one sentence.
    pub doc: &'static str,
}

/// How a capability's target follows from the arguments, for the static check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Touches {
    /// No target: the bare verb.
    Nothing,
    /// The host (or hosts) in argument 0.
    Host,
    /// The host in argument 0 and the path in the argument of this index.
    HostPath(u8),
    /// The text of the argument of this index.
    Text(u8),
    /// Something below the cluster in argument 0.
    Cluster,
    /// The host in argument 0, which need not be in the inventory, and the port in argument 1.
    Port,
    /// The host in argument 0, or the name or address there.
    HostOrName,
}

/// The effect behind a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Performs {
    /// The effect's name: also the capability's verb (`ssh.exec`).
    pub effect: &'static str,
    /// Read, ensure or act.
    pub kind: Kind,
    /// What a grant must cover.
    pub touches: Touches,
}

/// One script-facing function.
#[derive(Debug, Clone, Copy)]
pub struct Signature {
    /// `area_verb`, or a bare control word such as `each`.
    pub name: &'static str,
    /// Positional parameters, required ones first. An option map may follow them if `options` is not empty.
    pub params: &'static [Param],
    /// Keys of the option map; empty when the function takes none.
    pub options: &'static [Opt],
    /// Keys of the option map without which the call is an error.
    pub required_options: &'static [&'static str],
    /// What a call returns, in words (`#{ ok, code, out, err, ms }`).
    pub returns: &'static str,
    /// The effect it performs; `None` for pure and control functions.
    pub performs: Option<Performs>,
    /// Markdown; the first line is a sentence.
    pub doc: &'static str,
    /// A runbook body that compiles and plans.
    pub example: &'static str,
}

impl Signature {
    /// Returns the least and the greatest number of arguments, the option map included.
    pub fn arity(&self) -> (usize, usize) {
        let required = self.params.iter().filter(|p| !p.optional).count();
        let options = usize::from(!self.options.is_empty());
        let least = required + usize::from(!self.required_options.is_empty());
        (least, self.params.len() + options)
    }

    /// Whether the last parameter is a function: the option map then stands before it, so that the body comes last.
    pub fn takes_body(&self) -> bool {
        self.params.last().is_some_and(|param| matches!(param.ty, Type::Function(_)))
    }

    /// Returns the call form for people: `ssh_exec(host, command, #{ … })`.
    pub fn usage(&self) -> String {
        let mut words: Vec<String> = self
            .params
            .iter()
            .map(|p| if p.optional { format!("[{}]", p.name) } else { p.name.to_owned() })
            .collect();
        if !self.options.is_empty() {
            let options = if self.required_options.is_empty() { "[#{ … }]" } else { "#{ … }" };
            words.insert(words.len() - usize::from(self.takes_body()), options.to_owned());
        }
        format!("{}({})", self.name, words.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_stand_before_a_body() {
        let signature = Signature {
            name: "each",
            params: &[
                Param { name: "hosts", ty: Type::Hosts, optional: false },
                Param { name: "body", ty: Type::Function(1), optional: false },
            ],
            options: &[Opt { name: "parallel", ty: Type::Int, doc: "How many." }],
            required_options: &[],
            returns: "",
            performs: None,
            doc: "",
            example: "",
        };
        assert_eq!(signature.usage(), "each(hosts, [#{ … }], body)");
        assert_eq!(signature.arity(), (2, 3));
    }
}
