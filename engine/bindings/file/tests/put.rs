use super::*;

#[test]
fn a_file_is_made_once_and_a_second_pass_sends_nothing() {
    let lab = Lab::new();
    let script = r#"file_put("localhost", dir + "/a", "hello\n", #{ mode: "0640" })"#;
    let planned = lab.plan(script);
    assert!(lab.names().is_empty());
    assert!(planned.diff().ends_with("@@ -0,0 +1 @@\n+hello\n"), "{}", planned.diff());
    lab.settles(script);
    assert_eq!((lab.read("a").as_str(), lab.mode("a")), ("hello\n", 0o640));
    assert_eq!(lab.names(), ["a"]);
}

#[test]
fn a_changed_content_is_shown_as_a_diff_and_keeps_mode_and_owner() {
    let lab = Lab::new();
    let path = lab.file("a", "one\ntwo\n");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4711)).unwrap();
    let is_root = rustix::process::geteuid().is_root();
    if is_root {
        std::os::unix::fs::chown(&path, Some(12345), Some(54321)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o4711)).unwrap();
    }
    let ran = lab.apply(r#"file_put("localhost", dir + "/a", "one\n2\n")"#);
    assert!(ran.diff().ends_with("@@ -1,2 +1,2 @@\n one\n-two\n+2\n"), "{}", ran.diff());
    let found = fs::metadata(&path).unwrap();
    assert_eq!(found.mode() & 0o7777, 0o4711);
    if is_root {
        assert_eq!((found.uid(), found.gid()), (12345, 54321));
    }
}
