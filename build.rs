//! Lays the functions that every run needs side by side in the program.
//!
//! A kernel maps a program by the page and its neighbours, so functions that are strewn among sixteen MiB of others bring most of
//! those into every run's memory. `engine/hot.txt` (made by `bench/hot.py`) names the ones that short runs call; the linker puts them
//! first. A name that is there no more changes nothing.

#![expect(
    clippy::disallowed_methods,
    reason = "a build script: cargo speaks to it by its environment and its files"
)]

use std::fmt::Write as _;
use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=engine/hot.txt");
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    // In a debug build nobody looks at memory, and the script costs a linker some seconds.
    let is_wanted = variable("PROFILE") == "release"
        && variable("CARGO_CFG_TARGET_OS") == "linux"
        && variable("CARGO_CFG_TARGET_ENV") == "gnu";
    if !is_wanted {
        return;
    }
    let names = std::fs::read_to_string("engine/hot.txt").expect("engine/hot.txt is part of the source");
    let mut script = "SECTIONS {\n  .text.hot : {\n".to_owned();
    for name in names.lines().filter(|line| !line.starts_with('#')) {
        // What has the hash of its type at its end is that one function, what has none is any of its name.
        let ending = if name.starts_with("_ZN") && !name.ends_with('E') { "17h*" } else { "" };
        let _ = writeln!(script, "    *(.text.{name}{ending})");
    }
    script.push_str("  }\n} INSERT BEFORE .text;\n");
    let path = Path::new(&variable("OUT_DIR")).join("hot.ld");
    std::fs::write(&path, script).expect("cargo's folder for build scripts can be written to");
    println!("cargo::rustc-link-arg-bin=nlrun=-Wl,-T,{}", path.display());
}
