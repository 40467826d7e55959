//! `huxiang source`: what an integrator does with one source.

mod check;
mod import;

use clap::{Args, Subcommand};

use super::Done;

#[derive(Debug, Args)]
pub struct SourceArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Draft a binding, and the contract types it could fill, from an OpenAPI document (2.0, 3.0, 3.1; JSON or YAML)
    Import(import::ImportArgs),
    /// Check one binding: every fault, and warnings of what will hurt in service
    Check(check::CheckArgs),
}

pub fn run(args: &SourceArgs) -> Done {
    match &args.command {
        Command::Import(args) => import::run(args),
        Command::Check(args) => check::run(args),
    }
}
