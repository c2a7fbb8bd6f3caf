//! Files on hosts, through a POSIX shell: no SFTP is needed, and sudo and jump hosts make no difference.

mod attributes;
mod content;
mod edit;
mod entry;
mod probe;
mod promise;
mod put;
mod read;
mod remote;
mod tar;
mod template;
mod text;
mod tree;

pub(super) use remote::PRELUDE;

use crate::bindings::{Binding, Function};
use crate::model::effect::Kind;
use crate::model::signature::{Param, Performs, Signature, Touches, Type};

const HOST: Param = Param { name: "host", ty: Type::Hosts, optional: false };
const PATH: Param = Param { name: "path", ty: Type::RemotePath, optional: false };

const fn performs(effect: &'static str, kind: Kind) -> Performs {
    Performs { effect, kind, touches: Touches::HostPath(1) }
}

const CHANGED: &str = "A map `#{ host, path, changed, backup }`; `backup` is the path of the kept file, or nothing (in a \
                       plan always). For an array of hosts, a result a host with that map as `.value`.";

const ENTRY: &str =
    "A map `#{ host, path, changed }`. For an array of hosts, a result a host with that map as `.value`.";

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
                performs: Some(performs("file.stat", Kind::Read)),
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
                returns: "Text, bytes with `blob: true`, or a secret with `secret: \"name\"`.",
                performs: Some(performs("file.read", Kind::Read)),
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
                performs: Some(performs("file.fetch", Kind::Read)),
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
                performs: Some(performs("file.put", Kind::Ensure)),
                doc: "Makes sure that a file holds exactly this: text, bytes, a secret, or a file of the project.\n\n\
                      Contents are compared by SHA-256 on the host, and nothing is sent when they are equal. A new \
                      content is written beside the file, checked, and renamed over it: at no time is half of it to \
                      be seen.",
                example: r#"file_put("localhost", "/tmp/nlrun-example", "hello\n", #{ mode: "0600" });"#,
            },
            run: put::file_put,
        },
        Function {
            signature: Signature {
                name: "template_put",
                params: &[
                    HOST,
                    PATH,
                    Param { name: "template", ty: Type::LocalPath, optional: false },
                    Param { name: "vars", ty: Type::Map, optional: true },
                ],
                options: template::OPTIONS,
                required_options: &[],
                returns: CHANGED,
                performs: Some(performs("file.put", Kind::Ensure)),
                doc: "Renders a Jinja2 template of the project for each host and puts it there as `file_put` does.\n\n\
                      Templates know the host's variables and `inventory_hostname`, `ansible_host`, `group_names`, \
                      `groups`, `hostvars` and `host`; `vars` come on top and may hold secrets. Options follow \
                      after `vars`, so give at least `#{}` before them.",
                example: r#"if false { template_put("localhost", "/tmp/nlrun-example", "templates/motd.j2", #{ name: "nl" }); }"#,
            },
            run: template::template_put,
        },
        Function {
            signature: Signature {
                name: "line_ensure",
                params: &[HOST, PATH, Param { name: "line", ty: Type::String, optional: false }],
                options: edit::LINE,
                required_options: &[],
                returns: CHANGED,
                performs: Some(performs("file.put", Kind::Ensure)),
                doc: "Makes sure that a line is in a file, once, or is not.\n\nWith `regex`, the last line that \
                      matches becomes this one. It needs the capability `file.put`, because it can change a file in \
                      any way that `file_put` can.",
                example: r#"line_ensure("localhost", "/tmp/nlrun-example", "PermitRootLogin no", #{ regex: "^#?PermitRootLogin", create: true });"#,
            },
            run: edit::line_ensure,
        },
        Function {
            signature: Signature {
                name: "block_ensure",
                params: &[HOST, PATH, Param { name: "text", ty: Type::String, optional: false }],
                options: edit::BLOCK,
                required_options: &[],
                returns: CHANGED,
                performs: Some(performs("file.put", Kind::Ensure)),
                doc: "Makes sure that a block of lines stands in a file between two markers, or is not there.",
                example: r#"block_ensure("localhost", "/tmp/nlrun-example", "10.0.0.1 edge-1\n10.0.0.2 edge-2", #{ create: true });"#,
            },
            run: edit::block_ensure,
        },
        Function {
            signature: Signature {
                name: "tree_put",
                params: &[HOST, PATH, Param { name: "source", ty: Type::LocalPath, optional: false }],
                options: tree::OPTIONS,
                required_options: &[],
                returns: "A map `#{ host, path, changed, files_added, files_changed, files_removed }`. For an array of \
                          hosts, a result a host with that map as `.value`.",
                performs: Some(performs("file.tree", Kind::Ensure)),
                doc: "Makes sure that a folder holds what a folder of the project holds, and with `delete` nothing \
                      else.\n\nOnly files that differ are sent, and each becomes live at once. Its capability is \
                      `file.tree` and not `file.put`: a path that covers one file should not cover a folder.",
                example: r#"if false { tree_put("localhost", "/tmp/nlrun-example.d", "files/site", #{ exclude: ["*.swp"] }); }"#,
            },
            run: tree::tree_put,
        },
        Function {
            signature: Signature {
                name: "dir_ensure",
                params: &[HOST, PATH],
                options: entry::FOLDER,
                required_options: &[],
                returns: ENTRY,
                performs: Some(performs("dir.ensure", Kind::Ensure)),
                doc: "Makes sure that a folder exists, with this mode and owner.",
                example: r#"dir_ensure("localhost", "/tmp/nlrun-example.d", #{ mode: "0750" });"#,
            },
            run: entry::dir_ensure,
        },
        Function {
            signature: Signature {
                name: "link_ensure",
                params: &[HOST, PATH, Param { name: "target", ty: Type::String, optional: false }],
                options: entry::LINK,
                required_options: &[],
                returns: ENTRY,
                performs: Some(performs("link.ensure", Kind::Ensure)),
                doc: "Makes sure that a path is a symbolic link to this target.",
                example: r#"link_ensure("localhost", "/tmp/nlrun-example.link", "/etc/hosts");"#,
            },
            run: entry::link_ensure,
        },
        Function {
            signature: Signature {
                name: "file_absent",
                params: &[HOST, PATH],
                options: entry::ABSENT,
                required_options: &[],
                returns: ENTRY,
                performs: Some(performs("file.absent", Kind::Ensure)),
                doc: "Makes sure that nothing is at a path; a folder goes only with `recursive: true`.",
                example: r#"file_absent("localhost", "/tmp/nlrun-example");"#,
            },
            run: entry::file_absent,
        },
    ],
};

#[cfg(test)]
mod tests;
