//! The binary: hands the command line to `cli` and returns its exit code.

fn main() -> std::process::ExitCode {
    stagedoor::cli::args::main()
}
