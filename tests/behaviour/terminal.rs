//! The live view on a real terminal: colours, the moving line, questions, Ctrl-C.

use std::fmt::Write as _;

use nlrun::model::run::Status;

use super::{HOSTS, ledger, store, verified};
use crate::support::project::{Project, until};
use crate::support::terminal::Terminal;

/// What a person types to end a run.
const CTRL_C: &str = "\u{3}";

/// A step and a fan-out, both of which wait until the test says that they may go on.
const RUNBOOK: &str = r#"
const NEEDS = ["ssh.exec"];
defer(|| ssh_exec("h1", "echo cleaned >> done"));
step "warm up the cellar" {
    ssh_exec("localhost", "echo begun >> done; until test -e warm; do sleep 0.01; done");
    print("warmed up");
}
each(hosts("h1,h2"), |h| ssh_exec(h, "until test -e go; do sleep 0.01; done"));
"#;

fn project(text: &str) -> Project {
    Project::new().inventory(HOSTS).runbook("shows", text)
}

/// The colours and styles that were asked for: `1`, `32` and the like.
fn colours(raw: &str) -> Vec<&str> {
    raw.split("\u{1b}[")
        .skip(1)
        .filter_map(|part| part.split_once(|letter: char| letter.is_ascii_alphabetic() || letter == '?'))
        .filter(|(number, _)| raw.contains(&format!("\u{1b}[{number}m")))
        .map(|(number, _)| number)
        .collect()
}

#[test]
fn the_moving_line_names_the_step_and_the_hosts_and_goes_away() {
    let project = project(RUNBOOK);
    let terminal = Terminal::start(&project, &["run", "shows"]);
    terminal.shows("step warm up the cellar");
    terminal.shows(" warm up the cellar · ssh.exec localhost");
    assert!(terminal.screen().moving().unwrap().contains("warm up the cellar"), "{:?}", terminal.screen());
    project.write("warm", "");
    terminal.shows("waiting for h1, h2");
    project.write("go", "");
    let (raw, screen) = terminal.ends(0);
    assert!(screen.is_tidy(), "{screen:?}");
    let mut lines = String::new();
    for line in screen.lines() {
        writeln!(lines, "{line}").unwrap();
    }
    for words in
        ["warmed up", "changed     ssh.exec h1", "changed     ssh.exec h2", "hosts: 2 changed", "run 1 done"]
    {
        assert!(lines.contains(words), "{words}\n{lines}");
    }
    // Bold for the step, yellow for what changed, green for the end.
    for colour in ["1", "33", "32"] {
        assert!(colours(&raw).contains(&colour), "{colour}\n{raw:?}");
    }
}

#[test]
fn ctrl_c_ends_the_run_with_its_clean_up_and_leaves_the_terminal_tidy() {
    let project = project(RUNBOOK);
    let mut terminal = Terminal::start(&project, &["run", "shows"]);
    terminal.shows(" warm up the cellar · ssh.exec localhost");
    until("the command runs", || ledger(&project).contains_key("begun"));
    terminal.types(CTRL_C);
    let (_, screen) = terminal.ends(5);
    assert!(screen.is_tidy(), "{screen:?}");
    assert!(screen.has("cancelled by Ctrl-C") && screen.has("run 1 cancelled"), "{screen:?}");
    assert_eq!(ledger(&project).into_keys().collect::<Vec<_>>(), ["begun", "cleaned"]);
    assert_eq!(verified(&store(&project), 1), Status::Cancelled);
}

#[test]
fn without_colours_everything_else_is_there() {
    let project = project(RUNBOOK).variable("NO_COLOR", "1");
    for name in ["warm", "go"] {
        project.write(name, "");
    }
    let (raw, screen) = Terminal::start(&project, &["run", "shows"]).ends(0);
    assert_eq!(colours(&raw), Vec::<&str>::new(), "{raw:?}");
    assert!(screen.is_tidy() && screen.has("run 1 done"), "{screen:?}");
}

/// Asks by `approve`, or because of a capability that the runbook does not name; then there is something to wait for.
fn asking() -> [(Project, &'static str); 2] {
    let wait = "ssh_exec(\"h1\", \"echo acted >> done; until test -e go; do sleep 0.01; done\");";
    [
        (
            project(&format!("const NEEDS = [\"ssh.exec\"];\napprove(\"Go on with h1?\");\n{wait}")),
            "Go on with h1?",
        ),
        (project(wait), "`ssh.exec:h1`. Allow it for this run?"),
    ]
}

#[test]
fn a_question_stands_alone_until_it_is_answered_and_the_run_goes_on() {
    for (project, question) in asking() {
        let mut terminal = Terminal::start(&project, &["run", "shows"]);
        terminal.shows(question);
        terminal.shows("[y/N]");
        let screen = terminal.screen();
        let last = screen.lines().into_iter().rfind(|line| !line.is_empty()).unwrap();
        assert!(last.starts_with("? ") && last.ends_with("[y/N]"), "{screen:?}");
        assert!(ledger(&project).is_empty());
        terminal.types("y\n");
        terminal.shows(" ssh.exec h1");
        let screen = terminal.screen();
        let at = |words: &str| screen.lines().iter().position(|line| line.contains(words)).unwrap();
        assert!(at(question) < at(&screen.moving().unwrap()), "{screen:?}");
        project.write("go", "");
        let (_, screen) = terminal.ends(0);
        assert!(screen.is_tidy() && screen.has(question), "{screen:?}");
        assert_eq!(ledger(&project)["acted"], 1);
    }
}

#[test]
fn a_no_stops_the_run() {
    for (project, question) in asking() {
        let mut terminal = Terminal::start(&project, &["run", "shows"]);
        terminal.shows(question);
        terminal.types("\n");
        let (_, screen) = terminal.ends(3);
        assert!(screen.is_tidy() && screen.has("run 1 stopped"), "{screen:?}");
        assert!(ledger(&project).is_empty());
    }
}

#[test]
fn a_run_that_waits_for_an_answer_ends_when_it_is_told_to_or_takes_too_long() {
    for how in ["Ctrl-C", "another process", "time-out"] {
        for (project, question) in asking() {
            let text = project.read("runbooks/shows.rhai");
            let limits = "const LIMITS = #{ timeout: \"2s\" };\n";
            if how == "time-out" {
                project.write("runbooks/shows.rhai", &format!("{limits}{text}"));
            }
            let mut terminal = Terminal::start(&project, &["run", "shows"]);
            terminal.shows(question);
            match how {
                "Ctrl-C" => terminal.types(CTRL_C),
                "another process" => {
                    super::call(&project, ["cancel", "1"]).success();
                }
                _ => {}
            }
            let (_, screen) = terminal.ends(5);
            assert!(screen.is_tidy() && !screen.has("--allow"), "{how}\n{screen:?}");
            assert!(ledger(&project).is_empty());
        }
    }
}

#[test]
fn a_question_shows_no_secret_that_came_into_a_target() {
    let text = "secret(\"pin\");\nlet name = ssh_read(\"localhost\", \"cat told\").out.trim();\n\
                file_put(\"localhost\", `/${name}`, \"x\");";
    let project = project(text).variable("NLRUN_SECRET_PIN", "4711-hidden").file("told", "4711-hidden\n");
    let words = ["run", "shows", "--allow", "secret.read", "--allow", "ssh.read"];
    let mut terminal = Terminal::start(&project, &words);
    terminal.shows("«secret:pin»");
    terminal.types("\n");
    let (raw, _) = terminal.ends(3);
    assert!(!raw.contains("4711"), "{raw}");
}
