//! The command line: words and rendering; nothing is decided here.

pub mod diagnostic;

/// Runs the command line and returns the exit code.
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
