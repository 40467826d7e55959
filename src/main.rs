//! The command line, nothing else: [`huxiang::cli`] has the commands.

fn main() -> std::process::ExitCode {
    huxiang::cli::run()
}
