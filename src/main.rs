//! The command line, nothing else: [`huxiang::cli`] has the commands.

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    huxiang::cli::run()
}
