//! A file on a host: private until it is whole, on disk before it is live, and not replaced when something is amiss.

use super::{call, ledger};
use crate::support::project::Project;

/// Puts `new` into the file `target` with these options.
fn project(options: &str) -> Project {
    let project = Project::new();
    let text = format!(
        "const NEEDS = [\"file.put\"];\nfile_put(\"localhost\", \"{}\", \"new\", #{{ {options} }});",
        project.path("target").display()
    );
    project.runbook("puts", &text)
}

#[test]
fn a_file_is_private_until_it_is_whole_and_on_disk_before_it_is_live() {
    // `wc` reads the new file as standard input, before it gets its mode.
    let project = project("mode: \"0644\"")
        .program("wc", "stat -Lc %a /proc/self/fd/0 >>done; exec /usr/bin/wc \"$@\"")
        .program(
            "dd",
            "test -e target && echo live >>done; case $* in *conv=fsync*) echo synced $LC_ALL >>done;; esac; \
             exec /bin/dd \"$@\"",
        );
    call(&project, ["run", "puts"]).success();
    assert_eq!(project.read("target"), "new");
    // Tools speak the language in which their words are understood.
    assert_eq!(ledger(&project).into_keys().collect::<Vec<_>>(), ["600", "synced C"]);
}

#[test]
fn what_cannot_be_kept_or_owned_as_wanted_is_not_replaced() {
    for (name, options) in
        [("cp", "backup: true"), ("chown", "owner: \"nobody\""), ("chmod", "mode: \"0600\"")]
    {
        let project = project(options).file("target", "old").program(name, "echo no >&2; exit 1");
        let output = call(&project, ["run", "puts"]).ends(1);
        assert!(output.stderr.contains("target"), "{name}\n{}", output.stderr);
        assert_eq!(project.read("target"), "old", "{name}");
        let files = std::fs::read_dir(project.root()).unwrap().flatten();
        let left = files.filter(|file| file.file_name().to_string_lossy().contains("target")).count();
        assert_eq!(left, 1, "{name}");
    }
}

#[test]
fn a_file_that_may_not_be_read_is_not_replaced() {
    let script = "case $(readlink /proc/self/fd/0) in */target) exit 1;; esac; exec /usr/bin/sha256sum";
    let project = project("").file("target", "old").program("sha256sum", script);
    let output = call(&project, ["run", "puts"]).ends(1);
    assert!(output.stderr.contains("permission denied"), "{}", output.stderr);
    assert_eq!(project.read("target"), "old");
}
