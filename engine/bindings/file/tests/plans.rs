//! Effects of one plan that touch each other: what the plan saw before each is what is found when it is applied.

use std::os::unix::fs::symlink;

use super::*;

fn lab() -> Lab {
    let lab = Lab::new();
    lab.source("site/index.html", "<p>\n");
    lab.source("site/bin/run", "#!/bin/sh\n");
    lab.source("site/conf/a/b", "deep\n");
    lab
}

/// Demands that a plan of the script can be applied, and that it has this many changes.
#[track_caller]
fn holds(lab: &Lab, changes: usize, script: &str) {
    let script = format!("let h = \"localhost\"; let www = dir + \"/www\"; {script}");
    let planned = lab.plan(&script);
    assert_eq!(planned.changes(), changes, "{script}\n{}", planned.diff());
    let applied = lab.apply(&script);
    assert_eq!(planned.states(), applied.states(), "{script}");
    assert_eq!((planned.changes(), planned.diff()), (applied.changes(), applied.diff()), "{script}");
}

#[test]
fn files_of_a_tree_are_edited_after_it_was_put() {
    let script = r#"
        tree_put(h, www, "site");
        file_put(h, www + "/index.html", "mine\n", #{ mode: "0600" });
        line_ensure(h, www + "/bin/run", "exit 0");
        line_ensure(h, www + "/bin/run", "exit 0");
        file_put(h, www + "/conf/a/b", "deep\n");
        file_put(h, www + "/conf/own", "own\n");
        dir_ensure(h, www + "/conf", #{ mode: "0750" });
        dir_ensure(h, www + "/conf/a");
        file_absent(h, www + "/conf/own");
        tree_put(h, www, "site");
        tree_put(h, www, "site");
    "#;
    holds(&lab(), 7, script);
    let lab = lab();
    lab.file("www/index.html", "old\n");
    lab.file("www/bin/run", "#!/bin/sh\n");
    lab.file("www/conf/own", "there\n");
    holds(&lab, 7, script);
}

#[test]
fn a_folder_is_made_or_filled_before_a_tree_is_put_into_it() {
    holds(&lab(), 2, r#"dir_ensure(h, www, #{ mode: "0750" }); tree_put(h, www, "site");"#);
    let filled = r#"
        file_put(h, www + "/conf/own", "own\n", #{ parents: true });
        file_put(h, www + "/bin/run", "mine\n", #{ parents: true });
        tree_put(h, www, "site");
        tree_put(h, www, "site", #{ delete: true });
        file_put(h, www + "/conf/own", "own\n");
    "#;
    holds(&lab(), 5, filled);
    holds(&lab(), 1, r#"file_put(h, www + "/a/b", "x", #{ parents: true }); dir_ensure(h, www + "/a");"#);
}

#[test]
fn what_was_in_a_removed_folder_is_not_there_any_more() {
    let lab_with = || {
        let lab = lab();
        lab.file("old/x", "old\n");
        lab.file("old/deep/y", "old\n");
        lab.file("www/index.html", "<p>\n");
        lab.file("www/extra/z", "z\n");
        lab
    };
    let removed = r#"let old = dir + "/old"; file_absent(h, old, #{ recursive: true });"#;
    for (changes, rest) in [
        (3, r#"file_put(h, old + "/x", "new\n", #{ parents: true }); line_ensure(h, old + "/x", "more");"#),
        (3, r#"dir_ensure(h, old); file_put(h, old + "/x", "new\n"); file_absent(h, old + "/deep/y");"#),
        (
            4,
            r#"dir_ensure(h, old + "/deep"); dir_ensure(h, old); file_put(h, old + "/deep/y", "new\n"); line_ensure(h, old + "/deep/y", "more");"#,
        ),
        (
            4,
            r#"file_put(h, old + "/x", "a", #{ parents: true }); file_absent(h, old, #{ recursive: true }); file_put(h, old + "/x", "b", #{ parents: true });"#,
        ),
        (2, r#"tree_put(h, old, "site"); tree_put(h, old, "site", #{ delete: true });"#),
    ] {
        holds(&lab_with(), changes, &format!("{removed}{rest}"));
    }
    let script = r#"
        tree_put(h, www, "site", #{ delete: true });
        file_put(h, www + "/extra/z", "new\n", #{ parents: true });
        line_ensure(h, www + "/extra/z", "more");
        file_absent(h, www, #{ recursive: true });
        tree_put(h, www, "site");
    "#;
    holds(&lab_with(), 5, script);
}

#[test]
fn a_link_that_the_plan_makes_is_followed() {
    let script = r#"
        dir_ensure(h, dir + "/releases/1");
        link_ensure(h, dir + "/current", "releases/1");
        file_put(h, dir + "/current/a", "one\n");
        line_ensure(h, dir + "/releases/1/a", "two");
        line_ensure(h, dir + "/current/a", "three");
        link_ensure(h, dir + "/a", "current/a");
        file_put(h, dir + "/a", "four\n");
        dir_ensure(h, dir + "/current", #{ mode: "0700" });
    "#;
    let lab = lab();
    holds(&lab, 8, script);
    assert_eq!((lab.read("releases/1/a").as_str(), lab.mode("releases/1")), ("four\n", 0o700));
}

#[test]
fn one_path_by_two_names_is_one_path() {
    let lab = lab();
    lab.file("real/old/x", "old\n");
    symlink("real", lab.at("near")).unwrap();
    let script = r#"
        tree_put(h, dir + "/near/www", "site");
        file_put(h, dir + "/real/www/index.html", "mine\n");
        line_ensure(h, dir + "/near/www/index.html", "more");
        file_absent(h, dir + "/near/old", #{ recursive: true });
        file_put(h, dir + "/real/old/x", "new\n", #{ parents: true });
        line_ensure(h, dir + "/near/old/x", "more");
    "#;
    holds(&lab, 6, script);
}
