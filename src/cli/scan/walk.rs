//! Page after page, to the end.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::ScanArgs;
use super::ask::Asker;
use super::bar::Watch;
use super::document::Asked;
use super::export::{Export, Noted};
use super::page::Page;
use super::tally::Tally;
use super::watermark::Watermark;
use crate::cli::Stop;

/// Rows of the first page: it shows soon whether it goes well.
const FIRST_PAGE: u64 = 10;
/// A page is to take no longer than this, so that there is something to see, and little to do again.
const PAGE_TIME: Duration = Duration::from_secs(3);
/// Keys of one request.
const KEYS_PER_REQUEST: usize = 200;
/// Rows that are kept to be shown.
pub const ROWS_SHOWN_MAX: u64 = 10_000;
/// Pages in a row that came no further, and what is waited for the next one; longer each time.
const STUCK_MAX: u32 = 5;
const STUCK_WAIT: Duration = Duration::from_secs(1);

/// Where rows go.
pub enum Sink {
    /// They are kept, to be shown.
    Kept {
        rows: Vec<Value>,
        cells: Vec<Vec<String>>,
        noted: Box<Noted>,
    },
    File(Box<Export>),
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// There is no more, or as many were found as were asked for.
    Done,
    /// It comes no further: the listing breaks off, or departments have no time.
    Stuck,
    Stopped,
}

impl Sink {
    pub fn noted(&self) -> &Noted {
        match self {
            Self::Kept { noted, .. } => noted,
            Self::File(export) => &export.noted,
        }
    }

    fn noted_mut(&mut self) -> &mut Noted {
        match self {
            Self::Kept { noted, .. } => noted,
            Self::File(export) => &mut export.noted,
        }
    }

    pub fn tally(&self) -> &Tally {
        &self.noted().tally
    }

    fn take(&mut self, page: &Page, asked: &Asked, watermark: &Watermark) -> Result<(), Stop> {
        match self {
            Self::Kept { rows, cells, .. } => {
                for row in &page.rows {
                    let mut of_row = asked.columns.cells(&row.node);
                    of_row.push(row.missing());
                    cells.push(of_row);
                    rows.push(row.as_json());
                }
                Ok(())
            }
            Self::File(export) => export.page(page, &asked.columns, watermark),
        }
    }

    fn note(&self) -> Result<(), Stop> {
        match self {
            Self::Kept { .. } => Ok(()),
            Self::File(export) => export.note(),
        }
    }
}

/// How many rows to ask for: as many as come in a few seconds.
struct Size {
    now: u64,
    max: u64,
}

impl Size {
    fn after(&mut self, took: Duration, filled: bool) {
        // The gateway ends a page that takes long by itself; what it decided behind a full one is decided again.
        if filled && took > PAGE_TIME {
            self.now = (self.now / 2).max(FIRST_PAGE.min(self.max));
        } else if filled && took < PAGE_TIME / 3 {
            self.now = self.now.saturating_mul(2).min(self.max);
        }
    }
}

/// Of these keys, those of one request.
pub fn together(keys: &[String]) -> &[String] {
    keys.get(..KEYS_PER_REQUEST).unwrap_or(keys)
}

/// Goes on from where the sink is, until the end.
pub async fn walk(
    args: &ScanArgs,
    asked: &Asked,
    asker: &Asker,
    watermark: &Watermark,
    sink: &mut Sink,
    watch: &mut Watch<'_>,
) -> Result<Ended, Stop> {
    let wanted = match (args.first, &sink) {
        (Some(first), _) => first,
        (None, Sink::Kept { .. }) => ROWS_SHOWN_MAX,
        (None, Sink::File(_)) => u64::MAX,
    };
    let keys = asked.among.as_ref().and_then(|keys| u64::try_from(keys.len()).ok());
    watch.begin(keys, sink.tally());
    let mut size = Size { now: FIRST_PAGE.min(args.page), max: args.page };
    let mut stuck = 0;
    while !sink.noted().done {
        let left = wanted.saturating_sub(sink.tally().rows);
        // What is sorted comes in one page.
        let first = if asked.pages { size.now.min(left) } else { args.first.unwrap_or(args.page) };
        let (key, after) = (sink.noted().key, sink.noted().after.clone());
        let keys = asked.among.as_deref().map(|keys| keys.get(key..).unwrap_or_default());
        let keys = keys.map(together);
        let variables = asked.page(first, after.as_deref(), keys);
        let began = Instant::now();
        let Some(answer) = asker.ask(&asked.text, &variables, &asked.root, watch).await? else {
            return Ok(Ended::Stopped);
        };
        let page = Page::of(answer, asked);
        size.after(began.elapsed(), u64::try_from(page.rows.len()).is_ok_and(|rows| rows >= first));
        sink.take(&page, asked, watermark)?;
        let elapsed = u64::try_from(watch.elapsed().as_millis()).unwrap_or(u64::MAX);
        let noted = sink.noted_mut();
        let before = noted.tally.evaluated;
        noted.tally.page(&page);
        noted.tally.elapsed_ms = elapsed;
        let has_come =
            noted.tally.evaluated > before || !page.rows.is_empty() || (page.next.is_some() && page.next != after);
        if asked.pages && page.has_next {
            // One that came nowhere has no place of its own.
            noted.after = page.next.or(after);
        } else if let Some(behind) = keys.map(|keys| key + keys.len()) {
            (noted.key, noted.after) = (behind, None);
            noted.done = asked.among.as_ref().is_none_or(|all| behind >= all.len());
        } else {
            noted.done = true;
            noted.tally.is_cut = page.has_next && args.first.is_none();
        }
        noted.done |= noted.tally.rows >= wanted;
        sink.note()?;
        watch.look(sink.tally());
        if has_come {
            stuck = 0;
            continue;
        }
        stuck += 1;
        if stuck > STUCK_MAX {
            return Ok(Ended::Stuck);
        }
        let wait = STUCK_WAIT.saturating_mul(1 << stuck.min(5));
        watch.say(&format!("came no further, asking again in {} s (try {stuck} of {STUCK_MAX})", wait.as_secs()));
        if watch.over(tokio::time::sleep(wait)).await.is_none() {
            return Ok(Ended::Stopped);
        }
    }
    Ok(Ended::Done)
}
