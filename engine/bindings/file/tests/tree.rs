use super::*;

fn source(lab: &Lab) {
    lab.source("site/index.html", "<p>\n");
    lab.source("site/bin/run", "#!/bin/sh\n");
    lab.source("site/it's \\ \"a\" name/-n", b"\0\xff");
    lab.source("site/skip.swp", "x");
    fs::set_permissions(lab.dir.path().join("site/bin/run"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::create_dir(lab.dir.path().join("site/empty")).unwrap();
}

#[test]
fn a_folder_is_copied_and_only_differences_are_sent() {
    let lab = Lab::new();
    source(&lab);
    let script = r#"tree_put("localhost", dir + "/www", "site", #{ exclude: ["*.swp"] })"#;
    lab.settles(script);
    assert_eq!(fs::read(lab.at("www/it's \\ \"a\" name/-n")).unwrap(), b"\0\xff");
    assert_eq!(
        (lab.mode("www/bin/run"), lab.mode("www/index.html"), lab.mode("www/empty")),
        (0o755, 0o644, 0o755)
    );
    assert!(!lab.at("www/skip.swp").exists());
    let kept = lab.inode("www/bin/run");
    lab.file("www/index.html", "changed");
    lab.file("www/extra", "x");
    fs::set_permissions(lab.at("www/bin/run"), fs::Permissions::from_mode(0o700)).unwrap();
    let planned = lab.plan(script);
    assert_eq!(planned.diff(), "~ bin/run (mode 0700 → 0755)\n~ index.html\n");
    lab.settles(script);
    assert_eq!((lab.read("www/index.html").as_str(), lab.inode("www/bin/run")), ("<p>\n", kept));
    assert!(lab.at("www/extra").exists());
    let names = fs::read_dir(lab.at("www")).unwrap().count();
    assert_eq!(names, 5, "nothing of ours is left behind");
}

#[test]
fn what_the_source_does_not_hold_goes_only_on_request() {
    let lab = Lab::new();
    source(&lab);
    lab.file("www/old/deep/x", "x");
    lab.file("www/data/keep.db", "x");
    lab.file("www/data/other", "x");
    lab.file("www/bin", "in the way");
    let plain = r#"tree_put("localhost", dir + "/www", "site")"#;
    assert_eq!(lab.apply(plain).reason(), "in_the_way");
    let script = r#"tree_put("localhost", dir + "/www", "site", #{ delete: true, exclude: ["*.db"] })"#;
    let planned = lab.plan(script);
    assert!(planned.diff().starts_with("- data/other\n- old\n"), "{}", planned.diff());
    lab.settles(script);
    assert!(lab.at("www/data/keep.db").exists() && !lab.at("www/data/other").exists());
    assert!(!lab.at("www/old").exists() && lab.at("www/bin/run").exists());
    assert_eq!(lab.apply(r#"tree_put("localhost", dir + "/x/y", "site")"#).reason(), "parent");
    assert_eq!(
        lab.apply(r#"tree_put("localhost", "/srv", "site", #{ delete: true })"#).failure().kind,
        "invalid"
    );
    assert_eq!(lab.apply(r#"tree_put("localhost", dir + "/x", "../x")"#).failure().kind, "invalid");
}
