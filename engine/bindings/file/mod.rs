//! Files on hosts, through a POSIX shell: no SFTP is needed, and sudo and jump hosts make no difference.

mod attributes;
mod content;
mod probe;
mod put;
mod read;
mod remote;
mod text;
mod tree;

use crate::bindings::{Binding, Function};
use crate::model::effect::Kind;
use crate::model::signature::{Param, Performs, Signature, Touches, Type};

const HOST: Param = Param { name: "host", ty: Type::Hosts, optional: false };
const PATH: Param = Param { name: "path", ty: Type::RemotePath, optional: false };

const fn performs(effect: &'static str, kind: Kind) -> Option<Performs> {
    Some(Performs { effect, kind, touches: Touches::HostPath(1) })
}

const CHANGED: &str = "A map `#{ host, path, changed, backup }`; `backup` is the path of the kept file, or nothing (in a \
                       plan always). For an array of hosts, a result a host with that map as `.value`.";

/// Files and templates.
pub const BINDING: Binding = Binding {
    area: "file",
    doc: "Files, folders, links, lines and templates on hosts.",
    functions: &[
        Function {
            signature: Signature {
                name: "file_stat",
                params: &[HOST, PATH],
                options: read::STAT,
                required_options: &[],
                returns: "A map `#{ exists, type, mode, owner, group, size, mtime, sha256, target }`; `type` is \
                          `file`, `directory`, `link`, `special` or `absent`, and what does not apply is `()`.",
                performs: performs("file.stat", Kind::Read),
                doc: "Tells what is at a path.\n\nWhat may not be looked at is a failure, never `absent`.",
                example: r#"print(file_stat("localhost", "/etc/hosts").mode);"#,
            },
            run: read::file_stat,
        },
        Function {
            signature: Signature {
                name: "file_read",
                params: &[HOST, PATH],
                options: read::READ,
                required_options: &[],
                returns: "Text, or bytes with `blob: true`.",
                performs: performs("file.read", Kind::Read),
                doc: "Reads a file; one that does not exist is a failure.",
                example: r#"print(file_read("localhost", "/etc/hostname").trim());"#,
            },
            run: read::file_read,
        },
        Function {
            signature: Signature {
                name: "file_fetch",
                params: &[HOST, PATH, Param { name: "name", ty: Type::String, optional: false }],
                options: read::FETCH,
                required_options: &[],
                returns: "A map `#{ host, name, bytes, sha256 }`.",
                performs: performs("file.fetch", Kind::Read),
                doc: "Keeps a file of the host as a file of the run, up to 256 MiB.\n\nFor an array of hosts, the \
                      host's name stands before the file's.",
                example: r#"file_fetch("localhost", "/etc/hostname", "hostname.txt");"#,
            },
            run: read::file_fetch,
        },
        Function {
            signature: Signature {
                name: "file_put",
                params: &[HOST, PATH, Param { name: "content", ty: Type::Content, optional: true }],
                options: put::OPTIONS,
                required_options: &[],
                returns: CHANGED,
                performs: performs("file.put", Kind::Ensure),
                doc: "Makes sure that a file holds exactly this: text, bytes, a secret, or a file of the project.\n\n\
                      Contents are compared by SHA-256 on the host, and nothing is sent when they are equal. A new \
                      content is written beside the file, checked, and renamed over it: at no time is half of it to \
                      be seen.",
                example: r#"file_put("localhost", "/tmp/nlrun-example", "hello\n", #{ mode: "0600" });"#,
            },
            run: put::file_put,
        },
    ],
};

#[cfg(test)]
mod tests;
