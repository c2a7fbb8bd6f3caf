//! The language as runbooks meet it, and hostile scripts.

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rhai::{Dynamic, Engine, EvalAltResult, EvalContext, Position, Scope};

use super::{STACK_SIZE, Steps, compile, engine};
use crate::runner::guard::{Ended, Guard};

type Log = Arc<Mutex<Vec<String>>>;

struct Recorder(Log);

impl Steps for Recorder {
    fn begin(&self, _: &mut EvalContext, name: &str, at: Position) -> Result<(), Box<EvalAltResult>> {
        self.0.lock().push(format!("begin {name} {at:?}"));
        Ok(())
    }
    fn end(
        &self,
        _: &mut EvalContext,
        name: &str,
        _: Position,
        outcome: &Result<Dynamic, Box<EvalAltResult>>,
    ) -> Result<(), Box<EvalAltResult>> {
        let how = match outcome {
            Ok(value) => value.to_string(),
            Err(error) => match error.as_ref() {
                EvalAltResult::Return(value, _) => format!("return {value}"),
                EvalAltResult::LoopBreak(true, ..) => "break".into(),
                other => other.to_string(),
            },
        };
        self.0.lock().push(format!("end {name} {how}"));
        Ok(())
    }
}

fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    text.split(' ').nth(1)?.parse::<u64>().ok().map(|pages| pages * 4096)
}

fn test_engine(timeout: Duration, budget: u64, memory: u64) -> (Engine, Log, Arc<Guard>) {
    let log = Log::default();
    let guard = Guard::new(Some(timeout), budget, memory, Box::new(resident));
    (engine(Arc::clone(&guard), Arc::new(Recorder(Arc::clone(&log)))), log, guard)
}

/// Runs on a stack as large as a run's; the default of a test thread is 2 MiB.
fn run(script: &str) -> (Result<Dynamic, Box<EvalAltResult>>, Vec<String>) {
    run_limited(script, Duration::from_secs(20), 1_000_000_000, 1 << 30)
}

fn run_limited(
    script: &str,
    timeout: Duration,
    budget: u64,
    memory: u64,
) -> (Result<Dynamic, Box<EvalAltResult>>, Vec<String>) {
    let script = script.to_owned();
    let thread = std::thread::Builder::new().stack_size(STACK_SIZE).spawn(move || {
        let (engine, log, _) = test_engine(timeout, budget, memory);
        let result = match compile(&engine, "test.rhai", &script, &Scope::new()) {
            Ok(ast) => engine.eval_ast::<Dynamic>(&ast),
            Err(error) => Err(error.into()),
        };
        (result, log.lock().clone())
    });
    thread.expect("a thread").join().expect("no panic")
}

fn value(script: &str) -> String {
    match run(script).0 {
        Ok(value) => value.to_string(),
        Err(error) => format!("error: {error}"),
    }
}

#[test]
fn steps_give_values_and_let_control_flow_pass() {
    let (result, log) = run("let x = step \"a\" { 1 + 2 };\nstep `b${x}` { x += 1; }\nx");
    assert_eq!(result.expect("a value").to_string(), "4");
    assert_eq!(log, ["begin a 1:14", "end a 3", "begin b3 2:6", "end b3 "]);
    let (result, log) = run("fn f() { step \"a\" { return 7; } 8 } f()");
    assert_eq!((result.expect("a value").to_string(), &log[1]), ("7".into(), &"end a return 7".to_owned()));
    let (result, log) = run("let n = 0; loop { step \"a\" { n += 1; if n == 3 { break; } } } n");
    assert_eq!(
        (result.expect("a value").to_string(), log.last()),
        ("3".into(), Some(&"end a break".to_owned()))
    );
    let (result, log) = run("let r = 1; try { step \"a\" { throw \"bad\"; } } catch (e) { r = e; } r");
    assert_eq!((result.expect("caught").to_string(), log.len()), ("bad".into(), 2));
    assert!(value("step 5 { }").starts_with("error"));
    assert!(
        value("let n = 5; step n { }").contains("a step wants a string as name, got"),
        "{}",
        value("let n = 5; step n { }")
    );
}

#[test]
fn step_is_an_ordinary_name_elsewhere() {
    let cases = [
        ("let m = #{ step: 1 }; m.step += 1; m.step", "2"),
        ("let step = 5; step + 1", "6"),
        ("let step = 5; step += 1; step", "6"),
        ("fn step(n) { n + 1 } step(1)", "2"),
        ("let step = 1; step in [1]", "true"),
        ("let f = |step| step + 1; f.call(1)", "2"),
        ("let name = \"x\"; step name { 3 }", "3"),
        ("let a = \"step\"; `${a} step`", "step step"),
        ("/* é */ step \"a\" { 1 }", "1"),
    ];
    for (script, expected) in cases {
        assert_eq!(value(script), expected, "{script}");
    }
}

#[test]
fn reserved_words_are_names_and_text_functions_are_pure() {
    let cases = [
        ("let m = #{ default: 1, package: 2, new: 3 }; m.default + m.package + m.new", "6"),
        ("let match = 1; match", "1"),
        ("let a = \" x \"; a.trim() + \"|\" + a", "x| x "),
        ("\"aba\".replace(\"a\", \"c\")", "cbc"),
        ("\"aba\".replace(\"\", \"c\")", "aba"),
        ("const A = \"ab\"; A.make_upper()", "AB"),
        ("\"ab\".pad(4, '.')", "ab.."),
        ("\"ab\".pad(5, \"xyz\")", "abxyz"),
        ("\"abc\".truncate(2)", "ab"),
        ("\"abc\".remove(\"b\")", "ac"),
        ("let a = [3, 1]; a.sort(); a", "[1, 3]"),
        ("parse_json(\"{\\\"a\\\": [1]}\").a", "[1]"),
        ("let m = #{ a: 1 }; m.get(\"b\") ?? 5", "5"),
    ];
    for (script, expected) in cases {
        assert_eq!(value(script), expected, "{script}");
    }
    assert!(value("let m = #{ a: 1 }; m.b").contains('b'));
}

#[test]
fn what_waits_exits_or_evaluates_is_not_there() {
    for script in [
        "sleep(1)",
        "sleep(1.0)",
        "exit()",
        "exit(1)",
        "timestamp()",
        "eval(\"1\")",
        "\"1\".eval()",
        "Fn(\"eval\").call(\"1\")",
        "call(Fn(\"eval\"), \"1\")",
        "let e = \"ev\" + \"al\"; Fn(e).call(\"1 + 1\")",
        "import \"x\" as y;",
        "parse_json(\"{\")",
        "x",
        "fn f() { y } f()",
    ] {
        let shown = value(script);
        assert!(shown.starts_with("error"), "{script}: {shown}");
    }
}

#[test]
fn hostile_scripts_end() {
    let scripts = [
        "loop { }",
        "loop { try { loop { } } catch { } }",
        "loop { try { throw 1; } catch { } }",
        "while true { try { let a = []; a.pad(2000000, 0); } catch { } }",
        "let s = \"xxxxxxxxxxxxxxxx\"; loop { s += s; }",
        "let s = \"x\"; loop { s = s + s; }",
        "let s = \"x\"; loop { s = `${s}${s}`; }",
        "let a = [1]; loop { a += a; }",
        "let a = [1]; loop { a.push(a); }",
        "let a = []; loop { a.append(a + [1]); }",
        "let m = #{ }; let n = 0; loop { m[`${n}`] = m; n += 1; }",
        "fn f(n) { f(n + 1) } f(0)",
        "fn f(n) { [f(n + 1), [f(n + 1)]] } f(0)",
        "let f = |f, n| f.call(f, n + 1); f.call(f, 0)",
        "let a = []; a.pad(1000000000000, 0); a",
        "blob(1000000000000, 0)",
        "\"x\".pad(1000000000000, '.')",
        "let s = \"x\".pad(10000000, '.'); s.replace(\".\", s)",
        "let l = []; loop { l.push(\"x\".pad(1000000, '.')); }",
        "let b = blob(1000000, 1); loop { b += b; }",
        "for i in 0..9223372036854775807 { }",
        "let a = []; for i in 0..1000 { a.push(0); } for x in a { for y in a { for z in a { for w in a { } } } }",
        "fn g(s, n) { if n == 0 { loop { } } let t = s + \"x\"; g(t, n - 1) } g(\"x\".pad(16000000, '.'), 60)",
        "(0..9223372036854775807).to_array()",
        "let x = 0; do { x += 1; } while true",
        "let v = 1; switch v { 1 => loop { }, _ => 2 }",
    ];
    for script in scripts {
        let begun = Instant::now();
        let (result, _) = run_limited(script, Duration::from_millis(400), 20_000_000, 600 << 20);
        assert!(result.is_err(), "{script}: {result:?}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{script} took {:?}", begun.elapsed());
    }
}

#[test]
fn parser_bombs_are_refused() {
    let many = 10_000;
    let scripts = [
        format!("{}1{}", "(".repeat(many), ")".repeat(many)),
        format!("{}{}", "[".repeat(many), "]".repeat(many)),
        "{".repeat(many) + &"}".repeat(many),
        "#{a:".repeat(many),
        format!("let x = {}true;", "!".repeat(many)),
        format!("let x = {}1;", "-".repeat(many)),
        format!("let x = {}1;", "- ".repeat(many)),
        format!("{}{}", "if true { ".repeat(many), "}".repeat(many)),
        format!("let a = 1; {}", "if a == 1 { } else ".repeat(many) + "{ }"),
        "|a| ".repeat(many) + "1",
        "`${".repeat(many),
        "let x = 1; x".to_owned() + &"[0]".repeat(many),
        "let x = 1; x".to_owned() + &".a".repeat(many),
        "let x = 1; x".to_owned() + &".f()".repeat(many),
        "let x = 1; x".to_owned() + &" ?? x".repeat(many),
        "let x = 1; x".to_owned() + &" ** x".repeat(many),
        "step \"a\" {".repeat(many),
        "let x = step \"a\" {".repeat(many),
        "/*".repeat(many),
        "f(".repeat(many),
        "switch 1 { _ => ".repeat(many),
        "while true {".repeat(many),
        "try {".repeat(many),
        "fn f() {".repeat(many),
    ];
    for script in scripts {
        let begun = Instant::now();
        let (result, _) = run(&script);
        let shown: String = script.chars().take(30).collect();
        assert!(begun.elapsed() < Duration::from_secs(10), "{shown}");
        assert!(result.is_err() || script.starts_with("/*") || script.contains('+'), "{shown}: {result:?}");
    }
}

#[test]
fn long_scripts_are_no_bombs() {
    let sums = "let x = 1; x".to_owned() + &" + x".repeat(100);
    assert_eq!(value(&sums), "101");
    let ands = "let x = true; x".to_owned() + &" && x".repeat(100);
    assert_eq!(value(&ands), "true");
    let statements = "let x = 0; ".to_owned() + &"x += 1; ".repeat(20_000) + "x";
    assert_eq!(value(&statements), "20000");
}

#[test]
fn cancel_cannot_be_caught() {
    let (tell, told) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let (engine, _, guard) = test_engine(Duration::from_secs(30), u64::MAX, u64::MAX);
        tell.send(guard).expect("a listener");
        let script = "loop { try { loop { } } catch { } }";
        let ast = compile(&engine, "t", script, &Scope::new()).expect("compiles");
        engine.eval_ast::<Dynamic>(&ast)
    });
    told.recv().expect("a guard").cancel();
    match *thread.join().expect("no panic").expect_err("cancelled") {
        EvalAltResult::ErrorTerminated(token, _) => assert_eq!(token.cast::<Ended>(), Ended::Cancelled),
        other => panic!("{other}"),
    }
}

#[test]
fn steps_follow_each_other_without_semicolons() {
    let script = "step \"a\" { 1 }\nstep \"b\" { if true { step \"c\" { 2 } step \"d\" { 3 } } }\nlet x = step \"e\" { 4 };\nx";
    let (value, log) = run(script);
    assert_eq!(value.unwrap().as_int(), Ok(4));
    let begun: Vec<&str> = log.iter().filter_map(|line| line.strip_prefix("begin ")?.get(..1)).collect();
    assert_eq!(begun.join(" "), "a b c d e");
}
