//! Commands. Each file is one; all load the same files the gateway serves from.
//!
//! Exit codes: 0 fine; 1 something was found (faults, a break of the contract) or refused; 2 it could not be done; 3 of `scan`
//! alone: done, and not everything is known.

mod access;
mod audit;
mod check;
#[cfg(feature = "demo")]
mod demo;
mod diff;
mod documents;
mod gateway;
mod holder;
mod load;
mod plan;
mod revoke;
mod scan;
mod schema;
mod serve;
mod source;
mod text;
mod token;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand};

/// Huxiang (户像): one GraphQL endpoint over departmental APIs
#[derive(Debug, Parser)]
#[command(name = "huxiang", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until SIGTERM
    Serve(serve::ServeArgs),
    /// Start made-up departments and a gateway before them, and show a portrait as each role sees it
    #[cfg(feature = "demo")]
    Demo(demo::DemoArgs),
    /// Check all files and report every fault
    Check(check::CheckArgs),
    /// Show what a query would fetch for a role, without asking anybody
    Plan(plan::PlanArgs),
    /// Filter, sort and count over many at once, at a running gateway: shown, exported, gone on with
    Scan(Box<scan::ScanArgs>),
    /// Show which role is given which item
    Access(access::AccessArgs),
    /// Verify, export and prove audit records, as the auditor
    Audit(audit::AuditArgs),
    /// Check trusted documents, and put them into their folder
    Documents(documents::DocumentsArgs),
    /// Make a token of the demo issuer; revoke tokens, and list what was revoked
    Token(token::TokenArgs),
    /// Draft, check and try the binding of a source
    Source(source::SourceArgs),
    /// Print the published contract, what a change of it breaks, or the JSON Schema of a kind of file
    Schema(schema::SchemaArgs),
}

/// Where the files are.
#[derive(Debug, Args)]
struct RootArgs {
    /// The folder with schema/, resolvers/ and config/
    #[arg(long, default_value = ".", value_name = "DIR")]
    root: PathBuf,
    /// The folder of gateway.yaml, roles.yaml, rules/ and codes/, where it is not ROOT/config
    #[arg(long, value_name = "DIR")]
    config: Option<PathBuf>,
}

/// Why a command ends early: what to say and the exit code.
#[derive(Debug)]
struct Stop {
    message: String,
    code: u8,
}

impl Stop {
    /// It could not be done.
    fn failed(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 2 }
    }

    /// It was looked at and is not allowed.
    fn refused(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 1 }
    }
}

/// What a command prints on standard output, and its exit code.
type Done = Result<u8, Stop>;

/// Runs the command that the arguments name.
pub fn run() -> ExitCode {
    let done = match Cli::parse_from(arguments()).command {
        Command::Serve(args) => serve::run(&args),
        #[cfg(feature = "demo")]
        Command::Demo(args) => demo::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Plan(args) => plan::run(&args),
        Command::Scan(args) => scan::run(&args),
        Command::Access(args) => access::run(&args),
        Command::Audit(args) => audit::run(&args),
        Command::Documents(args) => documents::run(&args),
        Command::Token(args) => token::run(&args),
        Command::Source(args) => source::run(&args),
        Command::Schema(args) => schema::run(&args),
    };
    match done {
        Ok(code) => code.into(),
        Err(stop) => {
            text::note(stop.message.trim_end());
            stop.code.into()
        }
    }
}

/// As they were given, but for entities that `access explain` may be asked about by an option of their name.
fn arguments() -> Vec<std::ffi::OsString> {
    let given: Vec<std::ffi::OsString> = std::env::args_os().collect();
    let texts: Option<Vec<String>> = given.iter().map(|text| text.to_str().map(str::to_owned)).collect();
    let Some(mut texts) = texts.filter(|texts| texts.iter().skip(1).take(2).eq(&["access", "explain"])) else {
        return given;
    };
    let mut command = Cli::command();
    let explain = command.find_subcommand_mut("access").and_then(|access| access.find_subcommand("explain"));
    let mut known: Vec<String> = explain
        .into_iter()
        .flat_map(|explain| explain.get_arguments())
        .filter_map(|one| one.get_long())
        .map(str::to_owned)
        .collect();
    known.push("help".to_owned());
    let rest = texts.split_off(3);
    texts.into_iter().chain(access::explain::with_entities(rest, &known)).map(Into::into).collect()
}

/// The runtime of commands that wait for others.
fn runtime() -> Result<tokio::runtime::Runtime, Stop> {
    let _ = crate::base::open_files::raise_limit();
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Stop::failed(format!("error: the runtime cannot be started: {error}")))
}
