//! The `nlrun` command.

fn main() -> std::process::ExitCode {
    nlrun::cli::main()
}
