use super::*;

#[test]
fn a_folder_is_made_with_what_is_above_it() {
    let lab = Lab::new();
    lab.settles(r#"dir_ensure("localhost", dir + "/a/b", #{ mode: "2750" })"#);
    assert_eq!((lab.mode("a"), lab.mode("a/b")), (0o755, 0o2750));
    lab.settles(r#"dir_ensure("localhost", dir + "/a/b/", #{ mode: "0700" })"#);
    assert_eq!(lab.mode("a/b"), 0o700);
    assert_eq!(lab.apply(r#"dir_ensure("localhost", dir + "/x/y", #{ parents: false })"#).reason(), "parent");
    lab.file("file", "x");
    assert_eq!(lab.apply(r#"dir_ensure("localhost", dir + "/file")"#).reason(), "not_directory");
    std::os::unix::fs::symlink("a", lab.at("link")).unwrap();
    assert_eq!(lab.apply(r#"dir_ensure("localhost", dir + "/link", #{ mode: "0755" })"#).changes(), 0);
    assert_eq!(lab.names(), ["a", "file", "link"]);
}

#[test]
fn a_link_is_made_and_moved() {
    let lab = Lab::new();
    lab.file("file", "x");
    fs::create_dir(lab.at("folder")).unwrap();
    for target in ["folder", "/nowhere/it's", "-x\ny"] {
        let literal = serde_json::to_string(target).unwrap();
        lab.settles(&format!("link_ensure(\"localhost\", dir + \"/link\", {literal})"));
        assert_eq!(fs::read_link(lab.at("link")).unwrap().to_str(), Some(target));
    }
    assert_eq!(lab.apply(r#"link_ensure("localhost", dir + "/file", "x")"#).reason(), "exists");
    assert_eq!(
        lab.apply(r#"link_ensure("localhost", dir + "/folder", "x", #{ force: true })"#).reason(),
        "directory"
    );
    lab.settles(r#"link_ensure("localhost", dir + "/file", "x", #{ force: true })"#);
    assert!(fs::read_dir(lab.at("folder")).unwrap().next().is_none());
    let stat = lab.apply(r#"file_stat("localhost", dir + "/link")"#).value().cast::<rhai::Map>();
    assert_eq!(stat["type"].clone().into_string().unwrap(), "link");
    assert_eq!(stat["target"].clone().into_string().unwrap(), "-x\ny");
}

#[test]
fn what_shall_be_absent_is_removed() {
    let lab = Lab::new();
    lab.file("a", "text\n");
    lab.file("folder/b", "x");
    std::os::unix::fs::symlink("folder", lab.at("link")).unwrap();
    let planned = lab.plan(r#"file_absent("localhost", dir + "/a")"#);
    assert!(planned.diff().ends_with("+++ /dev/null\n@@ -1 +0,0 @@\n-text\n"), "{}", planned.diff());
    lab.settles(r#"file_absent("localhost", dir + "/a")"#);
    lab.settles(r#"file_absent("localhost", dir + "/link")"#);
    assert_eq!(lab.names(), ["folder"]);
    assert_eq!(lab.apply(r#"file_absent("localhost", dir + "/folder")"#).reason(), "directory");
    lab.settles(r#"file_absent("localhost", dir + "/folder", #{ recursive: true })"#);
    assert!(lab.names().is_empty());
    for top in ["/", "/nlrun-top", "/nlrun-top/"] {
        let script = format!("file_absent(\"localhost\", \"{top}\", #{{ recursive: true }})");
        assert_eq!(lab.apply(&script).failure().kind, "invalid", "{top}");
    }
}
