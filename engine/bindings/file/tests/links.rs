//! Links among the folders of a path: where they lead is authorised, and a link that comes in between is not followed.

use std::os::unix::fs::symlink;
use std::sync::Arc;

use super::super::remote::{Place, Script};
use super::*;
use crate::bindings::sudo::Become;
use crate::gate::{Done, Effect, Halt, Permit, Seen};
use crate::model::effect::{Kind, Target};

/// Every function that takes a path, on something in the folder `p`.
const CALLS: [&str; 13] = [
    r#"file_put(h, p + "/a", "new")"#,
    r#"file_put(h, p + "/none", "new")"#,
    r#"file_put(h, p + "/x/y/none", "new", #{ parents: true })"#,
    r#"file_put(h, p + "/a", "new", #{ follow: false })"#,
    r#"template_put(h, p + "/a", "files/t.j2", #{}, #{ mode: "0600" })"#,
    r#"line_ensure(h, p + "/a", "new")"#,
    r#"block_ensure(h, p + "/a", "new")"#,
    r#"file_absent(h, p + "/a")"#,
    r#"dir_ensure(h, p + "/folder", #{ mode: "0700" })"#,
    r#"link_ensure(h, p + "/none", "x")"#,
    r#"file_read(h, p + "/a")"#,
    r#"file_fetch(h, p + "/a", "a")"#,
    r#"tree_put(h, p + "/tree", "files")"#,
];

/// A folder `own`, in which `app` is a link to the folder `other` beside it.
fn lab() -> Lab {
    let lab = Lab::new();
    lab.source("files/t.j2", "new");
    lab.file("other/a", "old\n");
    fs::create_dir(lab.at("other/folder")).unwrap();
    fs::create_dir(lab.at("own")).unwrap();
    symlink("../other", lab.at("own/app")).unwrap();
    lab
}

fn needs(lab: &Lab, folders: &[&str]) -> Vec<String> {
    let below = |name: &&str| format!("*:*:{}/**", globset::escape(lab.at(name).to_str().unwrap()));
    let mut needs: Vec<String> = folders.iter().map(below).collect();
    needs.push("project.*".to_owned());
    needs
}

fn run(lab: &Lab, mode: Mode, folders: &[&str], call: &str) -> Ran {
    let needs = needs(lab, folders);
    let needs: Vec<&str> = needs.iter().map(String::as_str).collect();
    let script = format!("let h = \"localhost\"; let p = dir + \"/own/app\"; {call}");
    lab.run_session(harness::session(lab.dir.path(), mode, &needs), &script)
}

#[test]
fn a_link_among_the_folders_does_not_lead_out_of_what_the_run_may_touch() {
    let lab = lab();
    let before = fs::read_dir(lab.at("other")).unwrap().count();
    for mode in [Mode::Plan, Mode::Apply] {
        for call in CALLS.iter().chain(&[r#"file_stat(h, p + "/a")"#, r#"file_stat(h, p + "/none")"#]) {
            let ran = run(&lab, mode, &["own"], call);
            assert_eq!(ran.reason(), "link", "{call}");
            let (message, real) = (ran.failure().message, lab.at("other"));
            let line = format!(":localhost:{}/", real.to_str().unwrap());
            assert!(message.contains("add \"") && message.contains(&line), "{message}");
        }
    }
    assert_eq!(lab.read("other/a"), "old\n");
    assert_eq!(fs::read_dir(lab.at("other")).unwrap().count(), before);
}

#[test]
fn a_link_among_the_folders_is_kept_where_both_paths_are_covered() {
    for call in CALLS {
        let lab = lab();
        let planned = run(&lab, Mode::Plan, &["own", "other"], call).changes();
        let applied = run(&lab, Mode::Apply, &["own", "other"], call).changes();
        assert_eq!(planned, applied, "{call}");
        assert_eq!(applied, usize::from(!call.contains("read") && !call.contains("fetch")), "{call}");
        assert_eq!(run(&lab, Mode::Apply, &["own", "other"], call).changes(), 0, "{call}");
        assert!(fs::symlink_metadata(lab.at("own/app")).unwrap().is_symlink(), "{call}");
        assert_eq!(fs::read_dir(lab.at("own")).unwrap().count(), 1, "{call}");
    }
    let lab = lab();
    fs::create_dir(lab.at("own/real")).unwrap();
    symlink("real", lab.at("own/near")).unwrap();
    let within = r#"file_put(h, dir + "/own/near/a", "new", #{ backup: true })"#;
    assert_eq!(run(&lab, Mode::Apply, &["own"], within).changes(), 1);
    assert_eq!(lab.read("own/real/a"), "new");
}

#[test]
fn the_plan_knows_where_a_path_leads() {
    let lab = lab();
    let pre = |ran: &Ran| ran.states()[0].clone();
    let call = r#"file_put(h, p + "/a", "new")"#;
    let planned = pre(&run(&lab, Mode::Plan, &["own", "other", "third"], call));
    assert_eq!(planned["real"], lab.at("other/a").to_str().unwrap());
    lab.file("third/a", "old\n");
    fs::remove_file(lab.at("own/app")).unwrap();
    symlink("../third", lab.at("own/app")).unwrap();
    assert_ne!(planned, pre(&run(&lab, Mode::Apply, &["own", "other", "third"], call)));
}

/// A script that writes, called with a path whose folder has become a link since the host was asked.
#[derive(serde::Serialize)]
struct Swapped {
    #[serde(skip)]
    place: Place,
    number: usize,
}

impl Effect for Swapped {
    const NAME: &'static str = "file.put";
    const KIND: Kind = Kind::Ensure;
    type Output = ();

    fn target(&self) -> Target {
        bindings::call::on_host(&self.place.host, Some(&self.place.path))
    }

    async fn perform(&self, permit: &Permit<'_>, _seen: &Seen<()>) -> Result<Done<()>, Failure> {
        let path = self.place.path.as_str();
        let (script, rest): (Script, &[&str]) = match self.number {
            0 => (Script::Put, &["1", "", "", "", "", "token", "0", "", ""]),
            1 => (Script::Adjust, &["0777", ""]),
            2 => (Script::Make, &["0777", "", "1"]),
            3 => (Script::Link, &["x", "1", "token", "1"]),
            4 => (Script::Remove, &["1"]),
            _ => (Script::Unpack, &["token", "1", "755"]),
        };
        let arguments: Vec<&str> = std::iter::once(path).chain(rest.iter().copied()).collect();
        self.place.run(permit, script, &arguments, Arc::from([]), 1024).await.map(|_| Done::changed(()))
    }
}

#[test]
fn a_link_that_comes_in_between_is_not_followed() {
    let lab = lab();
    for (number, name) in
        [(0, "a"), (0, "none"), (1, "a"), (2, "none"), (2, "folder"), (3, "none"), (4, "a"), (5, "folder")]
    {
        let session = lab.session(Mode::Apply);
        let host = session.gate().inventory.host("localhost").unwrap().clone();
        let path = lab.at("own/app").join(name).to_str().unwrap().to_owned();
        let place = Place { effect: Swapped::NAME, host, path, sudo: Become::default() };
        match session.perform(None, &Swapped { place, number }) {
            Err(Halt::Failure(failure)) => {
                assert_eq!(failure.details["reason"], "meanwhile", "{number} {name}");
            }
            other => panic!("{number} {name}: {:?}", other.is_ok()),
        }
    }
    assert_eq!((lab.read("other/a").as_str(), lab.mode("other/a")), ("old\n", 0o644));
    assert_eq!(fs::read_dir(lab.at("other")).unwrap().count(), 2);
}
