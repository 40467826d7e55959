//! `huxiang audit export`.

use clap::{Args, ValueEnum};
use futures::TryStreamExt;
use jiff::civil::{Date, DateTime};
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::super::{Done, Stop, text};
use super::{Auditor, AuditorArgs};
use crate::audit::{Entry, Kind, PAGE_MAX, ReadError, Reader, Search, SubjectDigest};

#[derive(Debug, Args)]
pub struct ExportArgs {
    #[command(flatten)]
    auditor: AuditorArgs,
    /// From this day or time on (2026-01-31, 2026-01-31T08:00; +08:00)
    #[arg(long, value_name = "TIME", value_parser = from)]
    from: Timestamp,
    /// To this day, itself included, or before this time
    #[arg(long, value_name = "TIME", value_parser = to)]
    to: Timestamp,
    /// Only what touched this one: its entity type in the contract and its id, or its digest as it stands in the records
    #[arg(long, value_name = "ENTITY:ID")]
    subject: Option<String>,
    #[arg(long, value_enum, default_value = "jsonl")]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One whole record a line
    Jsonl,
    /// What most questions are about, a record a line
    Csv,
}

const COLUMNS: [&str; 16] = [
    "seq",
    "time",
    "kind",
    "request_id",
    "who",
    "issuer",
    "roles",
    "networks",
    "address",
    "purpose",
    "case",
    "operation",
    "outcome",
    "errors",
    "subjects",
    "hash",
];

pub async fn run(args: &ExportArgs) -> Done {
    let auditor = Auditor::check(&args.auditor).await?;
    let subject = args.subject.as_deref().map(|subject| digest(&auditor, subject)).transpose()?;
    let details = [
        ("from", json!(crate::audit::timestamp(args.from))),
        ("to", json!(crate::audit::timestamp(args.to))),
        ("subject", json!(subject)),
    ];
    auditor.record(Kind::Export, "audit export", &details).await?;
    let failed = |error: ReadError| Stop::failed(format!("error: {error}"));
    let reader = Reader::new(&auditor.config.store);
    if args.format == Format::Csv {
        text::out(&format!("{}\n", COLUMNS.join(",")));
    }
    match subject {
        Some(subject) => of_subject(&reader, args, subject).await.map_err(failed)?,
        None => {
            let entries = reader.between(args.from, args.to).map_err(failed)?;
            let entries = entries.inspect_ok(|entry| print(args.format, entry));
            entries.try_for_each(|_| std::future::ready(Ok(()))).await.map_err(failed)?;
        }
    }
    Ok(0)
}

/// Newest first, a page at a time.
async fn of_subject(reader: &Reader, args: &ExportArgs, subject: SubjectDigest) -> Result<(), ReadError> {
    let (from, to) = (Some(args.from), Some(args.to));
    let mut search = Search { subject: Some(subject), from, to, first: PAGE_MAX, ..Search::default() };
    loop {
        let page = reader.search(&search).await?;
        page.entries.iter().for_each(|entry| print(args.format, entry));
        match page.entries.last() {
            Some(last) if page.has_more => search.before = Some(last.seq),
            _ => return Ok(()),
        }
    }
}

fn digest(auditor: &Auditor, subject: &str) -> Result<SubjectDigest, Stop> {
    match subject.split_once(':') {
        Some((entity, id)) => Ok(auditor.key()?.subject(entity, id)),
        None => SubjectDigest::parse(subject)
            .ok_or_else(|| Stop::failed("error: write `--subject ENTITY:ID`, the entity as the contract names it")),
    }
}

fn print(format: Format, entry: &Entry) {
    match format {
        Format::Jsonl => {
            let line = json!({
                "seq": entry.seq, "segment": entry.segment, "hash": entry.hash, "record": entry.record,
            });
            text::out(&format!("{line}\n"));
        }
        Format::Csv => text::out(&csv(entry)),
    }
}

fn csv(entry: &Entry) -> String {
    let record = &entry.record;
    let who = record.who.as_ref();
    let errors: Vec<&str> = record.errors.iter().map(|code| code.as_str()).collect();
    let subjects: usize = record.access.iter().map(|access| access.subjects.len()).sum();
    let outcome = json!(record.outcome);
    let fields = [
        entry.seq.to_string(),
        record.time.clone(),
        record.kind.as_str().to_owned(),
        record.request_id.clone(),
        who.map(|who| who.id.clone()).unwrap_or_default(),
        who.map(|who| who.issuer.clone()).unwrap_or_default(),
        record.roles.join(" "),
        record.networks.join(" "),
        record.address.clone(),
        record.purpose.clone().unwrap_or_default(),
        record.case.clone().unwrap_or_default(),
        record.operation.clone().unwrap_or_default(),
        outcome.as_str().unwrap_or_default().to_owned(),
        errors.join(" "),
        subjects.to_string(),
        entry.hash.clone(),
    ];
    let fields: Vec<String> = fields.iter().map(|field| text::csv_cell(field)).collect();
    format!("{}\n", fields.join(","))
}

fn from(text: &str) -> Result<Timestamp, String> {
    moment(text, 0)
}

fn to(text: &str) -> Result<Timestamp, String> {
    moment(text, 1)
}

/// A time, or the beginning of a day, so many days later.
fn moment(text: &str, days: i64) -> Result<Timestamp, String> {
    let zone = TimeZone::fixed(Offset::constant(8));
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let wrong = || format!("`{text}` is no day or time; write `2026-01-31` or `2026-01-31T08:00`");
    if text.contains('T') {
        let time = text.parse::<DateTime>().map_err(|_| wrong())?;
        return time.to_zoned(zone).map(|time| time.timestamp()).map_err(|_| wrong());
    }
    let day = text.parse::<Date>().map_err(|_| wrong())?;
    let start = day.to_zoned(zone).map_err(|_| wrong())?.timestamp();
    start.checked_add(SignedDuration::from_hours(24 * days)).map_err(|_| wrong())
}
