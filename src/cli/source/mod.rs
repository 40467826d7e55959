//! `huxiang source`: what an integrator does with one source.

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
}

pub fn run(args: &SourceArgs) -> Done {
    match &args.command {
        Command::Import(args) => import::run(args),
    }
}
