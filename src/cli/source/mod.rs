//! `huxiang source`: what an integrator does with one source.

mod as_role;
mod attempt;
mod check;
mod describe;
mod import;
mod made_up;
mod names;
mod record;
mod registry;
mod replay;
mod show;
mod status;
mod trial;

use clap::{Args, Subcommand};

use super::Done;

#[derive(Debug, Args)]
pub struct SourceArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Draft a binding, and the contract types it could fill, from an OpenAPI document, a GraphQL schema or server, or a WSDL
    Import(import::ImportArgs),
    /// Check one binding: every fault, and warnings of what will hurt in service
    Check(check::CheckArgs),
    /// Submit a binding to a gateway's registry, as the department's steward
    Submit(registry::SubmitArgs),
    /// Show a source's versions in the registry and what became of them; without a source, what is there
    Versions(registry::VersionsArgs),
    /// Show what a version would change of what is in force
    Review(registry::ReviewArgs),
    /// Approve a version that somebody else submitted, as the head of the department
    Approve(registry::VersionStepArgs),
    /// Reject a version that somebody else submitted, as the head of the department
    Reject(registry::VersionStepArgs),
    /// Put an approved version into service, or take the source back to an older one, as an operator
    Publish(registry::VersionStepArgs),
    /// Take a source out of service at once, as an operator or the head of the department
    Withdraw(registry::SourceStepArgs),
    /// Let go of a withdrawn source, as an operator
    Remove(registry::SourceStepArgs),
    /// Show how sources do, as a running gateway sees them, as an operator; exit code 1 where answers no longer match a binding
    Status(status::StatusArgs),
    /// Ask a source live, and show the exchange and what was read of it; values go to this terminal alone
    Try(Box<trial::TryArgs>),
    /// Run recorded exchanges (`try --record`) without the department's system
    Test(replay::TestArgs),
}

pub fn run(args: &SourceArgs) -> Done {
    match &args.command {
        Command::Import(args) => import::run(args),
        Command::Check(args) => check::run(args),
        Command::Submit(args) => registry::submit(args),
        Command::Versions(args) => registry::versions(args),
        Command::Review(args) => registry::review(args),
        Command::Approve(args) => registry::decide(args, true),
        Command::Reject(args) => registry::decide(args, false),
        Command::Publish(args) => registry::publish(args),
        Command::Withdraw(args) => registry::withdraw(args),
        Command::Remove(args) => registry::remove(args),
        Command::Status(args) => status::run(args),
        Command::Try(args) => trial::run(args),
        Command::Test(args) => replay::run(args),
    }
}
