//! Output as it is: terminal escapes shown safely, long lines, binary data, half lines.

use base64::Engine as _;
use nlrun::model::address::Address;
use nlrun::model::run::{RunId, Seq, Status};

use super::{call, of, store, verified};
use crate::support::project::Project;

fn project(body: &str) -> Project {
    Project::new().runbook("says", &format!("const NEEDS = [\"ssh.read\", \"ssh.exec\"];\n{body}"))
}

fn kept(project: &Project, stream: &str) -> Vec<u8> {
    let reader = store(project).reader().unwrap();
    let mut bytes = Vec::new();
    let last = reader.run(RunId(1)).unwrap().last_seq;
    let keep = |part: &[u8]| {
        bytes.extend_from_slice(part);
        true
    };
    reader.pour(RunId(1), (Seq(1), last), &Address::parse("1"), stream, keep).unwrap();
    bytes
}

#[test]
fn nothing_that_a_command_prints_reaches_the_terminal_as_an_escape() {
    let escapes = r"\033[2J\033]0;owned\007\033[31mred\r\010\177\302\233x\342\200\256gnp.exe";
    let body = format!(
        r#"let said = ssh_exec("localhost", "printf '{0}\n'; printf '{0}\n' >&2").out;
        print(said);
        warn(said);
        step "s" {{ try {{ ssh_exec("localhost", "printf '{0}\n' >&2; exit 1") }} catch (e) {{ check(false, e.message) }} }}
        fail(said);"#,
        escapes.replace('\\', "\\\\")
    );
    let project = project(&body);
    for arguments in [["run", "says", "--color=never"], ["run", "says", "-v"]] {
        let output = call(&project, arguments).ends(1);
        for text in [&output.stdout, &output.stderr] {
            for bad in ['\u{1b}', '\u{7}', '\u{8}', '\u{7f}', '\u{9b}', '\u{202e}', '\r'] {
                assert!(!text.contains(bad), "{bad:?} in\n{text:?}");
            }
        }
        assert!(output.stdout.contains("red"), "{}", output.stdout);
    }
    // In colour, only our own sequences.
    let output = call(&project, ["run", "says", "--color=always"]).ends(1);
    for bad in ["\u{1b}[2J", "\u{1b}]0", "\u{7}", "\u{9b}"] {
        assert!(!output.stdout.contains(bad) && !output.stderr.contains(bad), "{bad:?}");
    }
    // The log has what was said.
    assert!(kept(&project, "out").starts_with(b"\x1b[2J\x1b]0;owned\x07"));
}

#[test]
fn a_line_of_ten_megabytes_is_kept_whole() {
    let project = project(
        r#"let said = ssh_read("localhost", "head -c 10485760 /dev/zero | tr '\\0' x", #{ max_output: 20000000 });
        check(said.out.len() == 10485760, `got ${said.out.len()}`);"#,
    );
    call(&project, ["run", "says"]).success();
    let bytes = kept(&project, "out");
    assert!(bytes.len() == 10_485_760 && bytes.iter().all(|byte| *byte == b'x'));
    assert_eq!(verified(&store(&project), 1), Status::Done);
}

#[test]
fn more_than_the_script_may_read_is_never_a_part_that_looks_whole() {
    let project = project(
        r#"let said = ssh_read("localhost", "seq 1000", #{ max_output: 100 });
        print(said.out);"#,
    );
    let output = call(&project, ["run", "says"]).ends(1);
    assert!(output.stderr.contains("max_output"), "{}", output.stderr);
    assert_eq!(kept(&project, "out").len(), 3893);
}

#[test]
fn bytes_that_are_no_text_come_back_as_they_were() {
    let project = project(
        r#"ssh_read("localhost", "printf '\\377\\376\\000\\001half'; printf 'err without end' >&2", #{ ok: "any" });"#,
    );
    let lines = call(&project, ["run", "says", "--json"]).success().json_lines();
    let mut bytes = Vec::new();
    for line in of(&lines, "output").filter(|line| line["stream"] == "out") {
        let text = line["base64"].as_str().expect("no text");
        bytes.extend(base64::engine::general_purpose::STANDARD.decode(text).unwrap());
    }
    assert_eq!(bytes, b"\xff\xfe\0\x01half");
    assert_eq!(kept(&project, "out"), bytes);
    let plain = call(&project, ["run", "says", "-v"]).success();
    assert!(plain.stdout.contains("half") && plain.stdout.contains("err without end"), "{}", plain.stdout);
}

#[test]
fn half_a_line_before_the_end_is_not_lost() {
    let project = project(
        r#"try { ssh_exec("localhost", "echo whole; printf half; kill -9 $$") } catch (e) { print(e.message) }"#,
    );
    let output = call(&project, ["run", "says"]).success();
    assert!(output.stdout.contains("| whole") && output.stdout.contains("| half"), "{}", output.stdout);
    assert!(output.stdout.contains("KILL"), "{}", output.stdout);
    assert_eq!(kept(&project, "out"), b"whole\nhalf");
}

#[test]
fn a_reader_that_goes_away_does_not_break_the_run() {
    let project = project(
        r#"for i in 0..2000 { print(`line ${i}`) }
        ssh_exec("localhost", "echo end >> done");"#,
    );
    let mut child = project.spawn(["run", "says"]);
    drop(child.stdout.take());
    drop(child.stderr.take());
    super::finish(child);
    let store = store(&project);
    let status = store.reader().unwrap().run(RunId(1)).unwrap().summary.status;
    assert_eq!((status, super::ledger(&project).get("end")), (Status::Done, Some(&1)));
}
