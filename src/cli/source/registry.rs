//! Versions of a source in a gateway's registry: submitted, looked at, decided on, put into service, taken out of it.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::gateway::GatewayArgs;
use crate::cli::text::{self, Paint};
use crate::cli::{Done, Stop};

const VERSION: &str = "number state note submittedBy { id } submittedAt decidedBy { id } decidedAt decision";

#[derive(Debug, Args)]
pub struct SubmitArgs {
    /// The binding
    file: PathBuf,
    #[command(flatten)]
    step: StepArgs,
}

/// Which source, and in what words it is noted.
#[derive(Debug, Args)]
pub struct SourceStepArgs {
    /// The source's id
    source: String,
    #[command(flatten)]
    step: StepArgs,
}

#[derive(Debug, Args)]
pub struct VersionStepArgs {
    /// The source's id
    source: String,
    /// The version's number
    number: i64,
    #[command(flatten)]
    step: StepArgs,
}

#[derive(Debug, Args)]
struct StepArgs {
    /// Why, in a few words; it is kept
    #[arg(long)]
    note: String,
    #[command(flatten)]
    gateway: GatewayArgs,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct VersionsArgs {
    /// The source's id; without it, the sources of the registry
    source: Option<String>,
    #[command(flatten)]
    gateway: GatewayArgs,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct ReviewArgs {
    /// The source's id
    source: String,
    /// The version's number; without it, what withdrawing the source would change
    number: Option<i64>,
    #[command(flatten)]
    gateway: GatewayArgs,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub fn submit(args: &SubmitArgs) -> Done {
    let read = std::fs::read_to_string(&args.file);
    let text = read.map_err(|error| Stop::failed(format!("error: {}: {error}", args.file.display())))?;
    let query = format!(
        "mutation($text: String!, $note: String!) {{ submitSource(text: $text, note: $note) \
         {{ version {{ source {VERSION} }} faults {{ line column message hint }} rendered }} }}"
    );
    let answer = args.step.gateway.ask(&query, json!({ "text": text, "note": args.step.note }))?;
    let submission = at(&answer, "submitSource");
    if args.step.json {
        text::out(&format!("{submission}\n"));
    }
    let Some(version) = submission.get("version").filter(|version| !version.is_null()) else {
        if !args.step.json {
            text::note(string(submission, "rendered").trim_end());
        }
        return Ok(1);
    };
    if !args.step.json {
        let (source, number) = (string(version, "source"), at(version, "number"));
        text::out(&format!(
            "{source} {number} is submitted; the head of the department decides on it:\n  \
             huxiang source approve {source} {number} --note …\n"
        ));
    }
    Ok(0)
}

pub fn decide(args: &VersionStepArgs, approve: bool) -> Done {
    let query = format!(
        "mutation($source: String!, $number: Int!, $approve: Boolean!, $note: String!) \
         {{ decideSource(source: $source, number: $number, approve: $approve, note: $note) {{ source {VERSION} }} }}"
    );
    let variables = json!({ "source": args.source, "number": args.number, "approve": approve, "note": args.step.note });
    let answer = args.step.gateway.ask(&query, variables)?;
    let (source, number) = (&args.source, args.number);
    args.step.told(
        at(&answer, "decideSource"),
        &match approve {
            true => format!(
                "{source} {number} is approved; an operator puts it into service:\n  \
             huxiang source publish {source} {number} --note …\n"
            ),
            false => format!("{source} {number} is rejected\n"),
        },
    );
    Ok(0)
}

pub fn publish(args: &VersionStepArgs) -> Done {
    let number = format!(", number: {}", args.number);
    take(&args.step, "publishSource", &args.source, &number, &format!("{} {} is published", args.source, args.number))
}

pub fn withdraw(args: &SourceStepArgs) -> Done {
    take(&args.step, "withdrawSource", &args.source, "", &format!("{} is withdrawn", args.source))
}

pub fn remove(args: &SourceStepArgs) -> Done {
    take(&args.step, "removeSource", &args.source, "", &format!("{} is removed", args.source))
}

fn take(step: &StepArgs, field: &str, source: &str, further: &str, told: &str) -> Done {
    let query = format!(
        "mutation($source: String!, $note: String!) \
         {{ {field}(source: $source{further}, note: $note) {{ revision source number state inForce at by {{ id }} }} }}"
    );
    let answer = step.gateway.ask(&query, json!({ "source": source, "note": step.note }))?;
    let publication = at(&answer, field);
    let now =
        if at(publication, "inForce") == true { "in force" } else { "not in force here yet: see `huxiang check`" };
    step.told(publication, &format!("{told}: revision {}, {now}\n", at(publication, "revision")));
    Ok(0)
}

pub fn versions(args: &VersionsArgs) -> Done {
    let Some(source) = &args.source else { return sources(args) };
    let query = format!(
        "query($source: String!) {{ sourceVersions(source: $source) {{ {VERSION} }} \
         sourcePublications(source: $source) {{ revision number state at by {{ id }} note inForce }} }}"
    );
    let answer = args.gateway.ask(&query, json!({ "source": source }))?;
    if args.json {
        text::out(&format!("{answer}\n"));
        return Ok(0);
    }
    let row = |version: &Value| {
        let decided = at(at(version, "decidedBy"), "id").as_str().unwrap_or("–").to_owned();
        vec![
            at(version, "number").to_string(),
            string(version, "state").to_lowercase(),
            string(at(version, "submittedBy"), "id"),
            string(version, "submittedAt"),
            decided,
            string(version, "note"),
        ]
    };
    let header = ["version", "state", "submitted by", "at", "decided by", "note"];
    text::out(&text::table(&header, &list(at(&answer, "sourceVersions")).iter().map(row).collect::<Vec<_>>()));
    let row = |publication: &Value| {
        vec![
            at(publication, "revision").to_string(),
            at(publication, "number").to_string(),
            string(publication, "state").to_lowercase(),
            string(at(publication, "by"), "id"),
            string(publication, "at"),
            string(publication, "note"),
        ]
    };
    let header = ["revision", "version", "step", "by", "at", "note"];
    text::out("\n");
    text::out(&text::table(&header, &list(at(&answer, "sourcePublications")).iter().map(row).collect::<Vec<_>>()));
    Ok(0)
}

fn sources(args: &VersionsArgs) -> Done {
    let query = "{ registeredSources { id newest publication { number state at inForce } } }";
    let answer = args.gateway.ask(query, json!({}))?;
    if args.json {
        text::out(&format!("{answer}\n"));
        return Ok(0);
    }
    let row = |source: &Value| {
        let publication = source.get("publication").filter(|publication| !publication.is_null());
        let told = |name: &str| publication.map_or("–".to_owned(), |publication| string(publication, name));
        let number = publication.map_or("–".to_owned(), |publication| at(publication, "number").to_string());
        vec![string(source, "id"), at(source, "newest").to_string(), number, told("state").to_lowercase(), told("at")]
    };
    let header = ["source", "newest", "in service", "state", "since"];
    text::out(&text::table(&header, &list(at(&answer, "registeredSources")).iter().map(row).collect::<Vec<_>>()));
    Ok(0)
}

pub fn review(args: &ReviewArgs) -> Done {
    let query = "query($source: String!, $number: Int) { sourceReview(source: $source, number: $number) \
        { diff gained lost moved breaks { documentId operation fields } } }";
    let answer = args.gateway.ask(query, json!({ "source": args.source, "number": args.number }))?;
    let review = at(&answer, "sourceReview");
    if args.json {
        text::out(&format!("{review}\n"));
        return Ok(0);
    }
    let paint = Paint::stdout();
    for line in string(review, "diff").lines() {
        let shown = match line.as_bytes().first() {
            Some(b'+') => paint.green(line),
            Some(b'-') => paint.red(line),
            _ => line.to_owned(),
        };
        text::out(&format!("{shown}\n"));
    }
    for (name, title) in [
        ("gained", "Filled, and nobody filled it before"),
        ("moved", "Filled by another source than now"),
        ("lost", "Filled by nobody any more"),
    ] {
        section(
            paint,
            title,
            &list(at(review, name)).iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>(),
        );
    }
    let broken = |one: &Value| {
        let name = at(one, "operation").as_str().unwrap_or("(an operation without a name)");
        let from = at(one, "documentId").as_str().map_or(String::new(), |id| format!(", trusted document {id}"));
        let fields: Vec<&str> = list(at(one, "fields")).iter().filter_map(Value::as_str).collect();
        format!("{name}{from}: {}", fields.join(", "))
    };
    section(paint, "Operations that get less", &list(at(review, "breaks")).iter().map(broken).collect::<Vec<_>>());
    Ok(0)
}

fn section(paint: Paint, title: &str, lines: &[String]) {
    if !lines.is_empty() {
        text::out(&format!("\n{}\n", paint.bold(title)));
        lines.iter().for_each(|line| text::out(&format!("  {line}\n")));
    }
}

impl StepArgs {
    fn told(&self, answer: &Value, words: &str) {
        text::out(&if self.json { format!("{answer}\n") } else { words.to_owned() });
    }
}

/// A member; null where there is none.
fn at<'v>(value: &'v Value, name: &str) -> &'v Value {
    value.get(name).unwrap_or(&Value::Null)
}

fn string(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}
