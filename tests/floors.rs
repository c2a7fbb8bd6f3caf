//! The floors of the house: each imports only from below (`engine/lib.rs` draws them), and the walls around the world.

use std::path::{Path, PathBuf};

/// Each floor, lowest first, with the modules on it. A module may use its own floor and those below.
const FLOORS: [&[&str]; 7] = [
    &["model"],
    &["cisco", "template", "x509"],
    &["store", "world", "lab"],
    &["gate"],
    &["bindings"],
    &["runner", "service"],
    &["cli", "server"],
];

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|modules| modules.contains(&module))
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

/// Returns every source file of the engine with the module that it belongs to, and its text without comments.
fn engine() -> Vec<(PathBuf, String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("engine");
    let mut found = Vec::new();
    sources(&root, &mut found);
    found.sort();
    assert!(found.len() > 50, "the engine has moved");
    found
        .into_iter()
        .map(|path| {
            let inside = path.strip_prefix(&root).unwrap();
            let module = inside.iter().next().unwrap().to_string_lossy().trim_end_matches(".rs").to_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            let code: Vec<&str> = text.lines().map(|line| line.split("//").next().unwrap()).collect();
            (path.clone(), module, code.join("\n"))
        })
        .collect()
}

/// Returns the top modules that a text names as `crate::module`.
fn used(code: &str) -> Vec<String> {
    let mut names = Vec::new();
    for part in code.split("crate::").skip(1) {
        let rest = part.trim_start_matches('{');
        let name: String = rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
        names.push(name);
    }
    names
}

#[test]
fn every_module_imports_only_from_below() {
    let mut wrong = Vec::new();
    for (path, module, code) in engine() {
        let Some(own) = floor(&module) else { continue };
        for name in used(&code) {
            if floor(&name).is_some_and(|other| other > own) {
                wrong.push(format!("{}: `crate::{name}` is above `{module}`", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_model_is_pure() {
    let mut wrong = Vec::new();
    for (path, module, code) in engine() {
        if !["model", "cisco", "template", "x509"].contains(&module.as_str()) {
            continue;
        }
        for word in [
            "tokio::",
            "TcpStream",
            "UdpSocket",
            "std::fs",
            "std::process",
            "std::env",
            "Timestamp::now",
            "rusqlite",
        ] {
            if code.contains(word) {
                wrong.push(format!("{}: {word}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nothing_but_the_gate_reaches_the_world() {
    // A permit is made by the gate only, and a world is put together for a gate by the service only.
    for (path, module, code) in engine() {
        if code.contains("Permit::new(") {
            assert_eq!(module, "gate", "{}", path.display());
        }
        if code.contains("World::new(") {
            assert!(["service", "gate"].contains(&module.as_str()), "{}", path.display());
        }
        let is_http = path.components().any(|part| part.as_os_str() == "http") && module == "world";
        assert!(is_http || !code.contains("reqwest"), "{}: reqwest", path.display());
        if module == "bindings" {
            for client in [
                "Hosts::new",
                "Secrets::new",
                "Http::default",
                "Command::new",
                "TcpStream",
                "world::ssh",
                "world::local",
            ] {
                assert!(!code.contains(client), "{}: {client}", path.display());
            }
        }
    }
}

#[test]
fn a_file_is_one_idea() {
    let mut long = Vec::new();
    for (path, _, _) in engine() {
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        if lines > 600 {
            long.push(format!("{} has {lines} lines", path.display()));
        }
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn nothing_is_left_unfinished() {
    // Written apart, so that this file does not find itself.
    let marks = [
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["unimple", "mented!"].concat(),
        ["to", "do!("].concat(),
    ];
    for (path, _, _) in engine() {
        let text = std::fs::read_to_string(&path).unwrap();
        for mark in &marks {
            assert!(!text.contains(mark.as_str()), "{}: {mark}", path.display());
        }
    }
}
