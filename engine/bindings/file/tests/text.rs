use regex::bytes::Regex;

use super::super::text::{Anchor, Block, Edit, Line, Pattern};
use super::*;

fn pattern(text: &str) -> Pattern {
    Pattern(Regex::new(text).unwrap())
}

#[test]
fn a_line_is_there_once() {
    let end = || Anchor::End {};
    let table = [
        // regex, anchor, absent, old, new
        (None, end(), false, "a\nb\n", "a\nb\nx\n"),
        (None, end(), false, "a\nb", "a\nb\nx\n"),
        (None, end(), false, "", "x\n"),
        (None, end(), false, "a\nx\nb\n", "a\nx\nb\n"),
        (None, end(), false, "x", "x"),
        (None, end(), false, "a\r\n", "a\r\nx\r\n"),
        (None, Anchor::Start {}, false, "a\n", "x\na\n"),
        (None, Anchor::After(pattern("^a")), false, "a1\na2\nb\n", "a1\na2\nx\nb\n"),
        (None, Anchor::Before(pattern("^a")), false, "a1\na2\nb\n", "a1\nx\na2\nb\n"),
        (None, Anchor::After(pattern("^z")), false, "a\n", "a\nx\n"),
        (None, Anchor::After(pattern("^a")), false, "a", "a\nx\n"),
        (Some("^(#?k=|x)"), end(), false, "#k=1\nk=2\nb\n", "#k=1\nx\nb\n"),
        (Some("^k="), end(), false, "b\nk=2", "b\nx"),
        (Some("^k="), end(), false, "b\nx\n", "b\nx\n"),
        (Some("^k="), end(), false, "b\n", "b\nx\n"),
        (Some("^k="), end(), false, "k=1\r\nb\r\n", "x\r\nb\r\n"),
        (None, end(), true, "x\na\nx\n", "a\n"),
        (Some("^k="), end(), true, "k=1\na\nk=2\n", "a\n"),
        (None, end(), true, "a\n", "a\n"),
    ];
    for (regex, anchor, absent, old, new) in table {
        let line = Line { text: "x".to_owned(), regex: regex.map(pattern), anchor, absent, create: false };
        let edit = Edit::Line(line);
        let found = edit.apply(old.as_bytes());
        assert_eq!(String::from_utf8_lossy(&found), new, "{old:?} {regex:?}");
        assert_eq!(edit.apply(&found), found, "twice is once: {old:?}");
    }
}

#[test]
fn a_block_is_there_once() {
    let table = [
        // anchor, absent, old, new
        (Anchor::End {}, false, "a\n", "a\n<\nx\ny\n>\n"),
        (Anchor::End {}, false, "a", "a\n<\nx\ny\n>\n"),
        (Anchor::Start {}, false, "a\n", "<\nx\ny\n>\na\n"),
        (Anchor::After(pattern("a")), false, "a\nb\n", "a\n<\nx\ny\n>\nb\n"),
        (Anchor::End {}, false, "<\nold\n>\nb\n", "<\nx\ny\n>\nb\n"),
        (Anchor::End {}, false, "<\nold\n>", "<\nx\ny\n>"),
        (Anchor::End {}, false, "<\r\nold\r\n>\r\nb\r\n", "<\r\nx\r\ny\r\n>\r\nb\r\n"),
        (Anchor::End {}, true, "a\n<\nold\n>\nb\n", "a\nb\n"),
        (Anchor::End {}, true, "a\n<\nold\n", "a\n<\nold\n"),
    ];
    for (anchor, absent, old, new) in table {
        let text = "x\ny\n".to_owned();
        let (begin, end) = ("<".to_owned(), ">".to_owned());
        let edit = Edit::Block(Block { text, begin, end, anchor, absent, create: false });
        let found = edit.apply(old.as_bytes());
        assert_eq!(String::from_utf8_lossy(&found), new, "{old:?}");
        assert_eq!(edit.apply(&found), found, "twice is once: {old:?}");
    }
}

#[test]
fn lines_of_a_file_are_edited_in_place() {
    let lab = Lab::new();
    lab.file("a", "#Port 22\nPermitRootLogin yes\n");
    fs::set_permissions(lab.at("a"), fs::Permissions::from_mode(0o600)).unwrap();
    lab.settles(
        r#"line_ensure("localhost", dir + "/a", "PermitRootLogin no", #{ regex: "^#?PermitRootLogin" })"#,
    );
    lab.settles(r#"line_ensure("localhost", dir + "/a", "Port 2222", #{ regex: "^#?Port", validate: "grep -q Port %s" })"#);
    lab.settles(r#"block_ensure("localhost", dir + "/a", "x\ny", #{ before: "BOF", marker: "; {mark} x" })"#);
    assert_eq!(lab.read("a"), "; BEGIN x\nx\ny\n; END x\nPort 2222\nPermitRootLogin no\n");
    assert_eq!(lab.mode("a"), 0o600);
    lab.settles(r#"block_ensure("localhost", dir + "/a", "", #{ marker: "; {mark} x", absent: true })"#);
    lab.settles(r#"line_ensure("localhost", dir + "/a", "", #{ regex: "Port", absent: true })"#);
    assert_eq!(lab.read("a"), "PermitRootLogin no\n");
    assert_eq!(lab.names(), ["a"]);
}

#[test]
fn a_missing_file_is_made_only_on_request() {
    let lab = Lab::new();
    assert_eq!(lab.apply(r#"line_ensure("localhost", dir + "/a", "x")"#).reason(), "absent");
    assert_eq!(lab.plan(r#"line_ensure("localhost", dir + "/a", "x")"#).changes(), 1);
    assert_eq!(lab.apply(r#"line_ensure("localhost", dir + "/a", "x", #{ absent: true })"#).changes(), 0);
    assert!(lab.names().is_empty());
    lab.settles(r#"line_ensure("localhost", dir + "/a", "x", #{ create: true, mode: "0640" })"#);
    assert_eq!((lab.read("a").as_str(), lab.mode("a")), ("x\n", 0o640));
    for wrong in [
        r#"line_ensure("localhost", dir + "/a", "x\ny")"#,
        r#"line_ensure("localhost", dir + "/a", "x", #{ regex: "(" })"#,
        r#"line_ensure("localhost", dir + "/a", "x", #{ after: "a", before: "b" })"#,
        r##"block_ensure("localhost", dir + "/a", "x", #{ marker: "# x" })"##,
    ] {
        assert_eq!(lab.apply(wrong).failure().kind, "invalid", "{wrong}");
    }
}
