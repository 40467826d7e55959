//! How much was read, by whom, in a period: counted over the records, without any household in the answer.

use std::collections::{BTreeMap, HashSet};

use futures::TryStreamExt;
use jiff::Timestamp;

use super::look::Look;
use crate::audit::{AuditRecord, ReadError, Reader};
use crate::model::config::watch::AlertsConfig;

/// Rows of one answer.
const ROWS_MAX: usize = 2_000;
/// Entities told apart, in all rows together.
const COUNTED_MAX: usize = 2_000_000;

/// What the rows are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    Principal,
    Organisation,
    /// Of the one who looked.
    Division,
    /// In which the look was made: of the token's, those that counted.
    Role,
    Day,
}

/// What is counted.
#[derive(Debug, Clone)]
pub struct Asked {
    pub from: Timestamp,
    pub to: Timestamp,
    pub by: By,
    /// Only looks of those all of whose divisions lie in these; `None`: of all.
    pub within: Option<Vec<String>>,
}

/// One row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    /// `None`: of those who work for no organisation and no division, all together: their ids would name households.
    pub key: Option<String>,
    /// Of principals: for which organisation they work.
    pub organisation: Option<String>,
    /// Requests.
    pub looks: u64,
    /// Different entities of which something was shown.
    pub entities: usize,
    /// Requests of which something was refused.
    pub refused: u64,
    /// Different entities to which the caller stood in no relation.
    pub unrelated: usize,
    /// Requests at night that showed something.
    pub at_night: u64,
}

#[derive(Debug)]
pub enum StatisticsError {
    Read(ReadError),
    /// More rows or entities than are counted at once.
    TooMuch,
}

impl From<ReadError> for StatisticsError {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

/// The rows, those with the most looks first.
pub async fn statistics(reader: &Reader, config: &AlertsConfig, asked: &Asked) -> Result<Vec<Row>, StatisticsError> {
    let mut counted = Counted::default();
    let mut entries = std::pin::pin!(reader.between(asked.from, asked.to)?);
    while let Some(entry) = entries.try_next().await? {
        counted.take(&entry.record, config, asked)?;
    }
    Ok(counted.rows())
}

#[derive(Default)]
struct Counted {
    /// By key and organisation.
    rows: BTreeMap<(Option<String>, Option<String>), Sum>,
    entities: usize,
}

/// A row that is still counted.
#[derive(Default)]
struct Sum {
    row: Row,
    seen: HashSet<u64>,
    unrelated: HashSet<u64>,
}

impl Counted {
    fn take(&mut self, record: &AuditRecord, config: &AlertsConfig, asked: &Asked) -> Result<(), StatisticsError> {
        let Some(look) = Look::of(record, config) else { return Ok(()) };
        let inside = |divisions: &Vec<String>| {
            let own = &look.who.divisions;
            !own.is_empty() && own.iter().all(|code| divisions.iter().any(|prefix| code.starts_with(prefix.as_str())))
        };
        if !asked.within.as_ref().is_none_or(inside) {
            return Ok(());
        }
        for key in keys(record, &look, asked.by) {
            let organisation = look.who.organisation.clone().filter(|_| asked.by == By::Principal && key.is_some());
            let Sum { row, seen, unrelated } = self.rows.entry((key, organisation)).or_default();
            row.looks += 1;
            row.refused += u64::from(look.refused);
            row.at_night += u64::from(look.at_night && !look.seen.is_empty());
            let before = seen.len() + unrelated.len();
            seen.extend(look.seen.iter().map(|seen| seen.subject));
            unrelated.extend(look.unrelated.iter().map(|seen| seen.subject));
            self.entities += seen.len() + unrelated.len() - before;
        }
        if self.rows.len() > ROWS_MAX || self.entities > COUNTED_MAX {
            return Err(StatisticsError::TooMuch);
        }
        Ok(())
    }

    fn rows(self) -> Vec<Row> {
        let mut rows: Vec<Row> = self
            .rows
            .into_iter()
            .map(|((key, organisation), Sum { row, seen, unrelated })| Row {
                key,
                organisation,
                entities: seen.len(),
                unrelated: unrelated.len(),
                ..row
            })
            .collect();
        rows.sort_by(|a, b| (b.looks, &a.key).cmp(&(a.looks, &b.key)));
        rows
    }
}

/// The rows that a look belongs to.
fn keys(record: &AuditRecord, look: &Look<'_>, by: By) -> Vec<Option<String>> {
    let who = look.who;
    let works = who.organisation.is_some() || !who.divisions.is_empty();
    match by {
        By::Principal => vec![works.then(|| who.id.clone())],
        By::Organisation => vec![who.organisation.clone()],
        By::Division if who.divisions.is_empty() => vec![None],
        By::Division => who.divisions.iter().cloned().map(Some).collect(),
        By::Role => record.acting().iter().cloned().map(Some).collect(),
        By::Day => vec![record.time.get(..10).map(str::to_owned)],
    }
}
