//! `huxiang scan`: many at once, asked of a running gateway page after page, shown, exported, counted.
//!
//! A client like any other: it has its caller's token and no more rights than that. What it shows or writes is the
//! caller's; the gateway keeps nothing of it.

mod ask;
mod bar;
mod columns;
mod contract;
mod document;
mod export;
mod page;
mod read;
mod stats;
mod tally;
mod walk;
mod watermark;

use std::path::{Path, PathBuf};
use std::pin::pin;

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::gateway::GatewayArgs;
use super::serve::stop_signal;
use super::{Done, Stop, text};
use ask::Asker;
use bar::Watch;
use contract::Queries;
use document::Asked;
use export::{Export, Format};
use stats::Statistic;
use tally::Tally;
use walk::{Ended, ROWS_SHOWN_MAX, Sink};
use watermark::{Watermark, digest};

/// Something is undetermined, or not shown: what was found is not all that there may be.
const NOT_WHOLE: u8 = 3;
/// Columns of a cell on a terminal.
const CELL_COLUMNS: usize = 40;

const EXIT_CODES: &str = "Exit codes: 0 as far as was asked for, and all is known; 3 some are undetermined, or not all of what was \
    asked for could be shown; 1 an error, or it was stopped (an export goes on with --resume).";

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct ScanArgs {
    #[command(flatten)]
    gateway: GatewayArgs,
    /// What it is asked for: one of the gateway's purposes
    #[arg(long, value_name = "PURPOSE")]
    purpose: Option<String>,
    /// The number of the case it is asked for
    #[arg(long, value_name = "NUMBER")]
    case: Option<String>,
    /// The approval by a second person, where the role needs one
    #[arg(long, value_name = "ID")]
    approval: Option<String>,
    /// The query that is scanned; without it, the contract's first
    #[arg(long, value_name = "NAME", conflicts_with = "document")]
    query: Option<String>,
    /// Where: the code of a division, whatever its level
    #[arg(long, value_name = "CODE")]
    division: Option<String>,
    /// The condition as JSON, or @FILE; without it, all
    #[arg(long = "where", value_name = "JSON", conflicts_with = "document")]
    condition: Option<String>,
    /// Which of them: those of which the condition holds, or those of which it is not known
    #[arg(long, value_enum, ignore_case = true, conflicts_with_all = ["document", "stats"])]
    verdict: Option<Verdict>,
    /// Sorted by a field, `FIELD:desc` for the greatest first; the first --first of them
    #[arg(long, value_name = "FIELD", conflicts_with_all = ["document", "stats", "resume"])]
    order_by: Vec<String>,
    /// Only those of these keys, one a line; `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["document", "stats", "order_by"])]
    among: Option<PathBuf>,
    /// What is shown of each: a selection such as 'id owner { name }'
    #[arg(long, value_name = "SELECTION", conflicts_with_all = ["document", "stats"])]
    show: Option<String>,
    /// A GraphQL document to ask in place of --query, --where and --show: one query with `nodes`, whose pages are gone through
    #[arg(long, value_name = "FILE", conflicts_with = "stats")]
    document: Option<PathBuf>,
    /// The document's variables as JSON, or @FILE; --division is its variable `division`
    #[arg(long, value_name = "JSON", requires = "document")]
    variables: Option<String>,
    /// Stop at so many rows
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "stats")]
    first: Option<u64>,
    /// Rows of one request at most; fewer are asked for where they take long
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=1000))]
    page: u64,
    /// Write the rows to a new CSV file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["jsonl", "stats", "json", "plan"])]
    csv: Option<PathBuf>,
    /// Write the rows to a new file, one JSON object a line
    #[arg(long, value_name = "FILE", conflicts_with_all = ["stats", "json", "plan"])]
    jsonl: Option<PathBuf>,
    /// Go on with an export that broke off; everything else as it was then
    #[arg(long, conflicts_with = "stats")]
    resume: bool,
    /// Show who would be asked for what, and ask nobody but the list for how many there are, where it tells
    #[arg(long, conflicts_with = "stats")]
    plan: bool,
    /// Statistics in place of rows
    #[arg(long)]
    stats: bool,
    /// With --stats: by which field; `FIELD:6` for so many digits of a division's code, `FIELD:YEAR` or `FIELD:MONTH` of a date
    #[arg(long, value_name = "FIELD", requires = "stats")]
    group_by: Vec<String>,
    /// With --stats: how many (also where nothing else is measured)
    #[arg(long, requires = "stats")]
    count: bool,
    /// With --stats: the sum of a field
    #[arg(long, value_name = "FIELD", requires = "stats")]
    sum: Vec<String>,
    /// With --stats: the average of a field
    #[arg(long, value_name = "FIELD", requires = "stats")]
    average: Vec<String>,
    /// With --stats: the least value of a field
    #[arg(long, value_name = "FIELD", requires = "stats")]
    min: Vec<String>,
    /// With --stats: the greatest value of a field
    #[arg(long, value_name = "FIELD", requires = "stats")]
    max: Vec<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
    /// No progress on standard error
    #[arg(long)]
    quiet: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Verdict {
    Matched,
    Undetermined,
}

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Self::Matched => "MATCHED",
            Self::Undetermined => "UNDETERMINED",
        }
    }
}

pub fn run(args: &ScanArgs) -> Done {
    let done = super::runtime()?.block_on(scan(args));
    // 2 stays with what is wrong with the command line itself.
    done.map_err(|stop| Stop { code: 1, ..stop })
}

impl ScanArgs {
    fn division(&self) -> Result<&str, Stop> {
        let hint = "--division CODE, of a village or any larger division";
        let missing = || Stop::refused(format!("error: it is not said where\n  = hint: {hint}"));
        self.division.as_deref().ok_or_else(missing)
    }

    fn measures(&self) -> Value {
        let mut measures: Vec<Value> = Vec::new();
        let others = [("sum", &self.sum), ("average", &self.average), ("min", &self.min), ("max", &self.max)];
        if self.count || others.iter().all(|(_, fields)| fields.is_empty()) {
            measures.push(json!({ "count": true }));
        }
        for (measure, fields) in others {
            let of = |field: &String| Value::Object(Map::from_iter([(measure.to_owned(), json!(field))]));
            measures.extend(fields.iter().map(of));
        }
        measures.into()
    }

    /// Where rows are written to, and how.
    fn file(&self) -> Result<Option<(&Path, Format)>, Stop> {
        match (&self.csv, &self.jsonl) {
            (Some(path), _) => Ok(Some((path, Format::Csv))),
            (_, Some(path)) => Ok(Some((path, Format::JsonLines))),
            _ if self.resume => {
                Err(Stop::refused("error: --resume goes on with an export: --csv FILE or --jsonl FILE"))
            }
            _ => Ok(None),
        }
    }

    /// What an export goes on with only if it is the same: a digest of each, by option.
    fn fingerprint(&self, asked: &Asked, watermark: &Watermark, format: Format) -> Vec<(String, String)> {
        let all = [
            ("query, selection or document", json!(asked.text)),
            ("division, condition or variable", read::canonical(&Value::Object(asked.variables.clone()))),
            ("--among", json!(asked.among)),
            ("--first", json!(self.first)),
            ("kind of file", json!(format == Format::Csv)),
            ("caller", json!([watermark.subject, watermark.issuer])),
            ("--purpose", json!(self.purpose)),
            ("--case", json!(self.case)),
        ];
        all.into_iter().map(|(name, value)| (name.to_owned(), digest(&value.to_string()))).collect()
    }
}

async fn scan(args: &ScanArgs) -> Done {
    let file = args.file()?;
    let token = args.gateway.token()?;
    let asker = Asker::new(args, &token)?;
    let stop = pin!(stop_signal()?);
    let mut watch = Watch::new(stop, args.quiet);
    if args.stats {
        return counted(args, &asker, &mut watch).await;
    }
    let Some(asked) = asked(args, &asker, &mut watch).await? else { return Ok(stopped(&Tally::default())) };
    if args.plan {
        return planned(args, &asked, &asker, &mut watch).await;
    }
    let mut watermark = Watermark::new(args, &token, &asked);
    let mut sink = match file {
        None => Sink::Kept { rows: Vec::new(), cells: Vec::new(), noted: Box::default() },
        Some((path, format)) => {
            let same = args.fingerprint(&asked, &watermark, format);
            Sink::File(Box::new(match args.resume {
                true => Export::resume(path, format, &same, &mut watermark)?,
                false => Export::create(path, format, same, &asked.columns, &watermark)?,
            }))
        }
    };
    let walked = walk::walk(args, &asked, &asker, &watermark, &mut sink, &mut watch).await;
    watch.clear();
    match (walked, sink) {
        (Err(stop), Sink::File(export)) if export.is_void() => {
            export.discard();
            Err(stop)
        }
        (Ok(Ended::Stopped), Sink::File(export)) if export.is_void() => {
            let code = stopped(&export.noted.tally);
            export.discard();
            Ok(code)
        }
        (Err(stop), Sink::File(export)) => {
            Err(Stop { message: format!("{}\n{}", stop.message.trim_end(), kept(&export.noted.tally)), ..stop })
        }
        (Err(stop), Sink::Kept { .. }) => Err(stop),
        (Ok(Ended::Stopped), Sink::Kept { noted, .. }) => Ok(stopped(&noted.tally)),
        (Ok(ended @ (Ended::Stopped | Ended::Stuck)), Sink::File(export)) => {
            let tally = &export.noted.tally;
            let what = if ended == Ended::Stopped { "stopped" } else { "comes no further" };
            Err(Stop::refused(format!("{what}: {}\n{}{}", tally.line(), tally.gaps(), kept(tally))))
        }
        (Ok(ended), Sink::Kept { rows, cells, noted }) => {
            let code = shown(args, &asked, &watermark, (&rows, &cells), &noted.tally);
            Ok(if ended == Ended::Stuck { NOT_WHOLE } else { code })
        }
        (Ok(Ended::Done), Sink::File(export)) => {
            let tally = export.noted.tally.clone();
            export.close(&watermark)?;
            text::note(&format!("{} rows written", tally.rows));
            Ok(told(&tally))
        }
    }
}

fn stopped(tally: &Tally) -> u8 {
    text::note(&format!("stopped: {}", tally.line()));
    1
}

/// What is said of an export that is not at its end.
fn kept(tally: &Tally) -> String {
    format!("{} rows are written; the same command with --resume goes on from there", tally.rows)
}

/// What is asked. `None`: it was stopped.
async fn asked(args: &ScanArgs, asker: &Asker, watch: &mut Watch<'_>) -> Result<Option<Asked>, Stop> {
    if let Some(path) = &args.document {
        return Asked::of_document(args, &read::file(path)?).map(Some);
    }
    let Some(queries) = Queries::of(asker, watch).await? else { return Ok(None) };
    let query = queries.scan(args.query.as_deref())?;
    let show = match &args.show {
        Some(show) => Some(show.clone()),
        None => Queries::always(query, asker, watch).await?,
    };
    show.map(|show| Asked::of_options(args, query, &show)).transpose()
}

/// `--plan`: no department is asked to decide.
async fn planned(args: &ScanArgs, asked: &Asked, asker: &Asker, watch: &mut Watch<'_>) -> Done {
    let among = asked.among.as_deref().map(walk::together);
    let variables = asked.page(0, None, among);
    let Some(answer) = asker.ask(&asked.text, &variables, &asked.root, watch).await? else {
        return Ok(stopped(&Tally::default()));
    };
    let mut tally = Tally::default();
    tally.page(&page::Page::of(answer, asked));
    match args.json {
        true => text::out(&format!("{}\n", tally.as_json().get("plan").unwrap_or(&Value::Null))),
        false => {
            text::out(&tally.plan(true));
            text::out(&format!("{}\n", tally.estimated()));
        }
    }
    Ok(0)
}

async fn counted(args: &ScanArgs, asker: &Asker, watch: &mut Watch<'_>) -> Done {
    let Some(queries) = Queries::of(asker, watch).await? else { return Ok(stopped(&Tally::default())) };
    let statistic = Statistic::of(args, queries.stats(args.query.as_deref())?)?;
    let counted = statistic.count(asker, watch).await;
    watch.clear();
    let Some(counted) = counted? else { return Ok(stopped(&Tally::default())) };
    text::out(&if args.json { format!("{}\n", counted.as_json()) } else { counted.table() });
    let code = told(&counted.tally);
    Ok(if counted.done { code } else { NOT_WHOLE })
}

/// Rows on standard output; the exit code.
fn shown(
    args: &ScanArgs,
    asked: &Asked,
    watermark: &Watermark,
    (rows, cells): (&[Value], &[Vec<String>]),
    tally: &Tally,
) -> u8 {
    if args.json {
        text::out(&format!("{}\n", export::as_json(rows, tally, watermark)));
    } else if !rows.is_empty() {
        let mut header = asked.columns.names();
        if cells.iter().any(|row| row.last().is_some_and(|missing| !missing.is_empty())) {
            header.push("missing".to_owned());
        }
        let header: Vec<&str> = header.iter().map(String::as_str).collect();
        let short = |row: &Vec<String>| -> Vec<String> {
            row.iter().take(header.len()).map(|cell| text::shorten(cell, CELL_COLUMNS)).collect()
        };
        let table: Vec<Vec<String>> = cells.iter().map(short).collect();
        text::out(&text::table(&header, &table));
        text::out(&format!("{}\n", watermark::NOTICE));
    }
    let code = told(tally);
    if args.first.is_none() && tally.rows >= ROWS_SHOWN_MAX {
        text::note(&format!("only the first {ROWS_SHOWN_MAX} are shown: --csv FILE or --jsonl FILE writes them all"));
        return NOT_WHOLE;
    }
    code
}

/// What it came to, on standard error; the exit code.
fn told(tally: &Tally) -> u8 {
    text::note(&tally.line());
    let gaps = tally.gaps();
    if !gaps.is_empty() {
        text::note(gaps.trim_end());
    }
    if !tally.stages.is_empty() {
        text::note(tally.plan(false).trim_end());
    }
    if tally.is_known() { 0 } else { NOT_WHOLE }
}
