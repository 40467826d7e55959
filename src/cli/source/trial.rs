//! `huxiang source try`: one live call for each endpoint that the given keys suffice for, through the gateway's own code.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::super::load::{self, Environment};
use super::super::{Done, Stop, runtime, text};
use super::as_role::Viewer;
use super::attempt::{self, Given, Tried};
use super::{check, names, record, show};
use crate::base::fault::{self, Faults};
use crate::engine::project::trace::Outcome;
use crate::model::binding::format::SourceFile;
use crate::model::config::egress::EgressConfig;
use crate::model::snapshot::Parts;
use crate::model::yaml;
use crate::source::{Blanks, Caller};

#[derive(Debug, Args)]
pub struct TryArgs {
    /// The binding: a file of the root's resolvers/, or one that is not there yet
    file: PathBuf,
    /// What is asked with: the key, or NAME=VALUE for a field, an input or a query's argument; may be given more than once
    #[arg(long, value_name = "[NAME=]VALUE")]
    key: Vec<String>,
    /// The folder with schema/ and config/, where it is not the one above the file's
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Only this endpoint or query
    #[arg(long, value_name = "NAME")]
    endpoint: Option<String>,
    /// The instance that is asked; without it, the first
    #[arg(long, value_name = "ID")]
    instance: Option<String>,
    /// In whose name sources with `authority: caller` are asked
    #[arg(long, value_name = "ID", default_value = "source-try")]
    principal: String,
    /// The purpose that such sources are told, and that a caller with --role declares
    #[arg(long)]
    pub(super) purpose: Option<String>,
    /// The case that such sources are told, and that a caller with --role declares
    #[arg(long)]
    pub(super) case: Option<String>,
    /// Show beside each field what a caller with this role of config/roles.yaml would see of it
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
    /// With --role: a claim of the caller's token; lists are separated by commas
    #[arg(long, value_name = "NAME=VALUE", requires = "role")]
    pub(super) claim: Vec<String>,
    /// With --role: the network the caller comes from; the first that the role counts in, where it is not given
    #[arg(long, requires = "role")]
    pub(super) network: Option<String>,
    /// Print the exchange and what was read of it as JSON
    #[arg(long)]
    json: bool,
    /// Keep the exchange, with all values replaced by made-up ones, as a scenario that `source test` runs
    #[arg(long, value_name = "OUT.md")]
    record: Option<PathBuf>,
}

pub fn run(args: &TryArgs) -> Done {
    let folders = check::folders(&args.file, args.root.as_deref())?;
    let environment = Environment::with_placeholders(&folders);
    let mut faults = Faults::default();
    let text = fault::read(&args.file, &mut faults).ok_or_else(|| load::refused(&faults))?;
    let parts = Parts::load(&folders, &|name| environment.get(name), &mut faults);
    let all = faults.len();
    check::own_only(&mut faults, &text, &folders, parts.is_none());
    attempt::refused(&faults)?;
    let file = yaml::read::<SourceFile>(&text, &mut faults);
    let (Some(parts), Some(file)) = (parts, file) else { return Err(load::refused(&faults)) };
    let (id, source) = attempt::source_of(&parts, &file.source.value)
        .ok_or_else(|| Stop::failed("error: the binding could not be compiled"))?;
    let connection = attempt::connection(source, args.instance.as_deref())?;
    let viewer = match &args.role {
        Some(_) if all > faults.len() => {
            let message = "error: what a role sees hangs on all files, and others than this one have faults\n  \
                           = hint: `huxiang check` tells them; without --role the source is asked all the same";
            return Err(Stop::failed(message));
        }
        Some(role) => Some(Viewer::new(&parts, id, args, role)?),
        None => None,
    };
    let names = names::named(&file, &args.file, &text.text, &folders, connection);
    let missing: Vec<String> = environment.missing().into_iter().filter(|name| names.contains(name)).collect();
    if !missing.is_empty() {
        return Err(Stop::failed(load::not_set(&missing)));
    }
    if args.record.is_some() && !file.ciphers.is_empty() {
        let message = "error: a source with `ciphers` cannot be recorded: made-up values would have to be encrypted with its key\n\
                       try it without --record";
        return Err(Stop::failed(message));
    }
    let given: Vec<Given> = args.key.iter().map(|key| Given::parse(key)).collect();
    let (attempts, lacking) = attempt::choose(&parts, id, &given, args.endpoint.as_deref())?;
    if attempts.is_empty() {
        let message = format!(
            "error: nothing can be asked with what was given; what would be needed:\n  {}",
            lacking.join("\n  ")
        );
        return Err(Stop::failed(message));
    }
    let (purpose, case) = (args.purpose.clone(), args.case.clone());
    let caller = Caller { principal: args.principal.clone(), purpose, case, ..Caller::default() };
    let unbounded = EgressConfig::default();
    let egress = parts.config.as_ref().map_or(&unbounded, |config| &config.egress);
    text::note(
        "What follows are a department's own values: for this terminal alone. Nothing of them is kept or logged.",
    );
    let runtime = runtime()?;
    let (mut reports, mut scenarios, mut unfit) = (Vec::new(), Vec::new(), false);
    let secrets = secrets(&names, egress);
    for attempt in &attempts {
        let mut tried = runtime.block_on(attempt::ask(attempt, &parts, connection, &caller, egress))?;
        unfit |= show::unfit(&tried);
        let seen = viewer.as_ref().map(|viewer| viewer.seen(attempt, &tried));
        if args.record.is_some() {
            scenarios.push(runtime.block_on(record::scenario(attempt, &tried, &parts, connection))?);
        }
        blank(&mut tried, &secrets);
        if args.json {
            reports.push(show::as_json(attempt, &tried, seen.as_ref()));
        } else {
            text::out(&secrets.text(&show::as_text(attempt, &tried, seen.as_ref(), &secrets)));
            text::out("\n");
        }
    }
    if args.json {
        text::out(&secrets.text(&format!("{:#}\n", json!({"tried": reports, "not_tried": lacking}))));
    } else if !lacking.is_empty() {
        text::out(&format!("Not tried, for want of a key:\n  {}\n", lacking.join("\n  ")));
    }
    if let Some(path) = &args.record {
        record::write(path, &file, &scenarios)?;
        text::note(&format!("{} is written, with made-up values; run it with `huxiang source test`", path.display()));
    }
    Ok(u8::from(unfit))
}

/// What the variables and files of secrets that the source hangs on hold, but for addresses.
fn secrets(names: &[String], egress: &EgressConfig) -> Blanks {
    let values = names.iter().filter_map(|name| match name.strip_prefix("file:") {
        Some(file) => std::fs::read_to_string(egress.secret_file(file)?).ok(),
        None => std::env::var(name).ok(),
    });
    let values: Vec<String> = values.filter(|value| !value.contains("://")).collect();
    Blanks::new(values.iter().map(String::as_str))
}

/// Without the secrets, wherever they are sent or come back: before anything is laid out or cut, after which they would not be
/// found.
fn blank(tried: &mut Tried, secrets: &Blanks) {
    let blank = |text: &mut String| *text = secrets.text(text);
    for exchange in &mut tried.exchanges {
        let headers = exchange.headers.iter_mut().chain(&mut exchange.answer_headers).map(|(_, value)| value);
        headers.chain([&mut exchange.url, &mut exchange.body, &mut exchange.answer]).for_each(blank);
    }
    for field in tried.records.iter_mut().flat_map(|(_, fields)| fields) {
        field.raw.iter_mut().for_each(blank);
        if let Outcome::Value(text) | Outcome::Unrecognized(text) | Outcome::Unfit(text) = &mut field.outcome {
            blank(text);
        }
    }
    tried.unread.iter_mut().for_each(|(_, example)| blank_value(example, secrets));
    if let Err(error) = &mut tried.answer {
        error.said.iter_mut().for_each(blank);
    }
}

fn blank_value(value: &mut Value, secrets: &Blanks) {
    match value {
        Value::String(text) => *text = secrets.text(text),
        Value::Array(values) => values.iter_mut().for_each(|value| blank_value(value, secrets)),
        Value::Object(members) => members.values_mut().for_each(|value| blank_value(value, secrets)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
