//! Wrong parameters and wrong YAML: exit 64, and the message names the parameter or the line.

use super::call;
use crate::support::project::Project;

const PARAMETERS: &str = r#"
const PARAMS = #{
    node:  #{ type: "host", group: "web", required: true, doc: "where" },
    many:  #{ type: "hosts", default: "web" },
    team:  #{ type: "group", default: "web" },
    times: #{ type: "int", default: 3 },
    ratio: #{ type: "number", default: 0.5 },
    force: false,
    level: #{ type: "choice", choices: ["low", "high"], default: "low" },
    name:  #{ type: "string", pattern: "[a-z]+", default: "abc" },
    wait:  #{ type: "duration", default: "5s" },
    data:  #{ type: "json", default: #{} },
};
print(`${params.node} ${params.times} ${params.level} ${params.name}`);
"#;

#[test]
fn a_wrong_parameter_is_named_with_what_would_be_right() {
    let table: [(&[&str], &[&str]); 15] = [
        (&[], &["node"]),
        (&["node=h9"], &["node", "h9"]),
        (&["node=other"], &["node", "other", "web"]),
        (&["node=h1", "times=many"], &["times", "many"]),
        (&["node=h1", "times=1.5"], &["times", "1.5"]),
        (&["node=h1", "times=99999999999999999999"], &["times"]),
        (&["node=h1", "force=perhaps"], &["force", "perhaps"]),
        (&["node=h1", "level=middle"], &["level", "middle", "low"]),
        (&["node=h1", "name=ABC"], &["name", "[a-z]+"]),
        (&["node=h1", "name=abc1"], &["name", "[a-z]+"]),
        (&["node=h1", "wait=soon"], &["wait", "soon"]),
        (&["node=h1", "team=nobody"], &["team", "nobody"]),
        (&["node=h1", "many=h9"], &["many", "h9"]),
        (&["node=h1", "data={broken"], &["data"]),
        (&["node=h1", "tiems=2"], &["tiems", "times"]),
    ];
    let project = Project::new().inventory(super::HOSTS).runbook("wants", PARAMETERS);
    for (set, words) in table {
        let mut arguments = vec!["run", "wants"];
        for pair in set {
            arguments.extend(["--set", pair]);
        }
        let output = call(&project, &arguments).ends(64);
        for word in words {
            assert!(output.stderr.contains(word), "{set:?} does not say `{word}`:\n{}", output.stderr);
        }
        assert!(!project.database().exists(), "{set:?} made a run");
    }
    call(&project, ["run", "wants", "--set", "node=h1", "--set", "times=7"]).success();
}

#[test]
fn several_wrong_parameters_are_told_at_once() {
    let project = Project::new().inventory(super::HOSTS).runbook("wants", PARAMETERS);
    let output = call(&project, ["run", "wants", "--set", "times=x", "--set", "level=y"]).ends(64);
    for name in ["node", "times", "level"] {
        assert!(output.stderr.contains(name), "{}", output.stderr);
    }
}

#[test]
fn a_broken_inventory_is_told_with_file_and_line() {
    let mut laughs = String::from(
        "hosts:\n  a: {vars: {x0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]}}\nvars:\n",
    );
    for level in 1..12 {
        let before = level - 1;
        let items = vec![format!("*a{before}"); 10].join(", ");
        laughs += &format!("  x{level}: &a{level} [{items}]\n");
    }
    let table: [(&str, &str); 8] = [
        ("hosts:\n  a: {}\n  a: {}\n", "hosts.yaml:3"),
        ("hosts:\n  a: {port: 1, port: 2}\n", "hosts.yaml:2"),
        ("hosts:\n\ta: {}\n", "hosts.yaml:2"),
        ("hosts:\n  a: {prot: 22}\n", "hosts.yaml:2"),
        ("hsots:\n  a: {}\n", "hosts.yaml:1"),
        ("hosts:\n  a: {port: ssh}\n", "hosts.yaml:2"),
        ("hosts:\n  a: {}\ngroups:\n  g: {hosts: [b*]}\n", "hosts.yaml"),
        (&laughs, "hosts.yaml"),
    ];
    for (text, place) in table {
        let project = Project::new().inventory(text).runbook("nothing", "print(1);");
        let output = call(&project, ["run", "nothing"]);
        let text: String = text.chars().take(100).collect();
        assert_eq!(output.code, 64, "{text}\n{}{}", output.stdout, output.stderr);
        assert!(output.stderr.contains(place), "{text}\n{}", output.stderr);
    }
}

#[test]
fn a_broken_project_file_is_told_with_its_line() {
    for (text, place) in [
        ("state: .nlrun\nstat: x\n", "nlrun.yaml:2"),
        ("state: a\nstate: b\n", "nlrun.yaml:2"),
        ("state:\n\tdir: x\n", "nlrun.yaml:2"),
        ("state: {dir: x, max_size: 5 bananas}\n", "nlrun.yaml:1:27: `5 bananas` is not a size"),
        ("state: {dir: x, size: 5}\n", "nlrun.yaml:1:17: unknown key `size`"),
        ("state: [x]\n", "nlrun.yaml:1:"),
        ("retention: {age: soon}\n", "nlrun.yaml:1:18: `soon` is not a length of time"),
        ("retention: {size: [1]}\n", "nlrun.yaml:1:"),
    ] {
        let project = Project::new().file("nlrun.yaml", text).runbook("nothing", "print(1);");
        let output = call(&project, ["run", "nothing"]).ends(64);
        assert!(output.stderr.contains(place), "{text}\n{}", output.stderr);
        assert!(!output.stderr.contains("enum"), "{text}\n{}", output.stderr);
    }
}

#[test]
fn a_file_of_parameters_is_checked_like_the_words() {
    let project = Project::new().inventory(super::HOSTS).runbook("wants", PARAMETERS);
    for (text, word) in [
        ("node: h1\ntimes: [1]\n", "times"),
        ("node: h1\nnode: h2\n", "node"),
        ("{\"node\": \"h1\", \"force\": 3}", "force"),
        ("- node\n", "given.yaml"),
    ] {
        project.write("given.yaml", text);
        let output = call(&project, ["run", "wants", "--params", "given.yaml"]).ends(64);
        assert!(output.stderr.contains(word), "{text}\n{}", output.stderr);
    }
    project.write("given.yaml", "node: h1\ntimes: 5\n");
    call(&project, ["run", "wants", "--params", "given.yaml"]).success();
}
