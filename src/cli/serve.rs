//! `huxiang serve`: the gateway, until SIGTERM.

use clap::Args;

use super::load::{self, Environment};
use super::{Done, RootArgs};

#[derive(Debug, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    root: RootArgs,
    /// Log as JSON, one object a line
    #[arg(long)]
    log_json: bool,
}

pub fn run(args: &ServeArgs) -> Done {
    log("info", args.log_json);
    let folders = load::folders(&args.root);
    let environment = Environment::strict();
    let snapshot = load::load(&folders, &|name| environment.get(name)).map_err(|faults| load::refused(&faults))?;
    super::runtime()?.block_on(serving(snapshot))
}

/// Tracing to standard error; `HUXIANG_LOG` says what (as in `info,huxiang::source=debug`).
pub fn log(default: &str, json: bool) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("HUXIANG_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second call (in tests) changes nothing.
    let _ = if json { subscriber.json().try_init() } else { subscriber.with_ansi(false).try_init() };
}

async fn serving(_snapshot: crate::model::snapshot::Snapshot) -> Done {
    Err(super::Stop::failed("error: the engine is not there yet"))
}
