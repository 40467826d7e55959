//! The index of subjects, by which the records about one household or person are found.
//!
//! Records are indexed a run at a time, in the transaction that writes the run's last record, and their entries are
//! written in the order of their keys, at the table's end. Entered one by one as records come, they would lie on as many
//! pages as a record has subjects, each of them written with every commit. Records after the last run are found by their
//! text: there are never more of them than a run holds.
//!
//! Where runs end follows from the texts alone, so that every process that writes, and who verifies, comes to the same
//! rows. What changes that, or an entry, changes the version of the tables.

use std::collections::{BTreeMap, BTreeSet};

use futures::TryStreamExt;
use serde::Deserialize;
use sqlx::{AssertSqlSafe, Connection, Row, SqliteConnection};

use super::key::SubjectDigest;
use super::store::AuditError;

/// Records of a full run: which of them an entry means takes one byte.
const RECORDS_MAX: i64 = 256;
/// With so many entries a run is full too: they are held in memory until it is.
const ENTRIES_MAX: usize = 1 << 16;
/// A run has a row for each value of the first six bits of a digest, its entries in one text of bytes.
const BUCKET_BITS: u32 = 6;
const BUCKETS: usize = 1 << BUCKET_BITS;
/// Of a digest, those of the row included. Others may have the same: who searches looks at the record too.
const DIGEST_BITS: u32 = 30;
/// Runs that a search looks at in one statement.
const RUNS_AT_ONCE: i64 = 64;

/// The bits of the digest, and which record of the run it is. As big-endian bytes: the fourth is the row's, the last four
/// stand in it.
fn entry(subject: &SubjectDigest, nth: u8) -> u64 {
    subject.short() >> (u64::BITS - DIGEST_BITS) << u8::BITS | u64::from(nth)
}

/// The row of the run that begins with record `first`.
fn place(first: i64, bucket: i64) -> i64 {
    first << BUCKET_BITS | bucket
}

/// The records after the last run, as far as they have been looked at.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unindexed {
    /// The number of the first one.
    first: i64,
    /// Of the last that was taken in; `first - 1`: none was.
    last: i64,
    entries: Vec<u64>,
}

impl Unindexed {
    /// Those after number `indexed`, none of them taken in.
    pub fn after(indexed: i64) -> Self {
        Self { first: indexed.saturating_add(1), last: indexed, entries: Vec::new() }
    }

    fn is_full(&self) -> bool {
        self.last - self.first + 1 >= RECORDS_MAX || self.entries.len() >= ENTRIES_MAX
    }

    fn is_empty(&self) -> bool {
        self.last < self.first
    }

    /// Takes in the record after the last; `false`: it is not the next one.
    fn take_in(&mut self, seq: i64, subjects: &[SubjectDigest]) -> bool {
        let nth = seq.checked_sub(self.first).and_then(|nth| u8::try_from(nth).ok());
        let Some(nth) = nth.filter(|_| seq == self.last.saturating_add(1)) else { return false };
        self.last = seq;
        self.entries.extend(subjects.iter().map(|subject| entry(subject, nth)));
        true
    }

    /// Takes in what stands in the store, up to number `to`, until the run is full.
    async fn read(&mut self, connection: &mut SqliteConnection, to: i64) -> Result<(), AuditError> {
        let records = "SELECT seq, record FROM audit WHERE seq > ? AND seq <= ? ORDER BY seq";
        let mut rows = sqlx::query(records).bind(self.last).bind(to).fetch(connection);
        while !self.is_full()
            && let Some(row) = rows.try_next().await?
        {
            let (seq, record): (i64, &str) = (row.try_get("seq")?, row.try_get("record")?);
            if !subjects_of(record).is_some_and(|subjects| self.take_in(seq, &subjects)) {
                return Err(self.ends_here());
            }
        }
        Ok(())
    }

    /// Before more is written to a segment that ends with number `last`: takes in what others have written, or what was
    /// there before. Within the transaction that writes.
    pub async fn catch_up(&mut self, connection: &mut SqliteConnection, last: i64) -> Result<(), AuditError> {
        // Nobody ends a run of a segment that is open without a record of their own.
        if self.last == last {
            return Ok(());
        }
        let indexed = indexed(connection).await?.unwrap_or(self.first - 1);
        if self.first != indexed.saturating_add(1) || self.last > last {
            *self = Self::after(indexed);
        }
        loop {
            self.read(connection, last).await?;
            if !self.is_full() {
                return Ok(());
            }
            self.end_run(connection).await?;
        }
    }

    /// Takes in a record that is written in this transaction, and ends the run if it is full.
    pub async fn add(
        &mut self,
        connection: &mut SqliteConnection,
        seq: i64,
        subjects: &[SubjectDigest],
    ) -> Result<(), AuditError> {
        if !self.take_in(seq, subjects) {
            return Err(self.ends_here());
        }
        if self.is_full() { self.end_run(connection).await } else { Ok(()) }
    }

    /// Indexes what is left, before the segment is closed.
    pub async fn end(&mut self, connection: &mut SqliteConnection) -> Result<(), AuditError> {
        if self.is_empty() { Ok(()) } else { self.end_run(connection).await }
    }

    fn ends_here(&self) -> AuditError {
        AuditError(format!("subjects are not indexed beyond record {}; put the store back as it was", self.last))
    }

    async fn end_run(&mut self, connection: &mut SqliteConnection) -> Result<(), AuditError> {
        let rows = vec!["(?, ?)"; BUCKETS].join(", ");
        let insert = format!(
            "INSERT INTO run (first_seq, last_seq) VALUES (?, ?); INSERT INTO subject (place, entries) VALUES {rows}"
        );
        let mut query = sqlx::query(AssertSqlSafe(insert)).bind(self.first).bind(self.last);
        for (place, entries) in self.rows() {
            query = query.bind(place).bind(entries);
        }
        query.execute(connection).await?;
        *self = Self::after(self.last);
        Ok(())
    }

    /// As they stand in the table `subject`.
    fn rows(&mut self) -> Vec<(i64, Vec<u8>)> {
        self.entries.sort_unstable();
        self.entries.dedup();
        let mut rows: Vec<_> = (0..).take(BUCKETS).map(|bucket| (place(self.first, bucket), Vec::new())).collect();
        for entry in &self.entries {
            let [_, _, _, bucket, entry @ ..] = entry.to_be_bytes();
            if let Some((_, entries)) = rows.get_mut(usize::from(bucket)) {
                entries.extend_from_slice(&entry);
            }
        }
        rows
    }
}

/// The newest record that a run holds; `None`: there is no run.
pub(super) async fn indexed(connection: &mut SqliteConnection) -> Result<Option<i64>, sqlx::Error> {
    let newest = "SELECT last_seq FROM run ORDER BY first_seq DESC LIMIT 1";
    sqlx::query_scalar(newest).fetch_optional(connection).await
}

/// The subjects that a record's text names.
fn subjects_of(record: &str) -> Option<Vec<SubjectDigest>> {
    #[derive(Deserialize)]
    struct Record {
        access: Vec<Access>,
    }
    #[derive(Deserialize)]
    struct Access {
        #[serde(default)]
        subjects: Vec<SubjectDigest>,
    }
    let Record { access } = serde_json::from_str(record).ok()?;
    Some(access.into_iter().flat_map(|access| access.subjects).collect())
}

/// The indexed records that may be about one subject, newest first.
pub(super) struct Candidates {
    wanted: [u8; 8],
    /// The runs that begin before this number are still to be looked at.
    before: i64,
}

impl Candidates {
    pub fn new(subject: &SubjectDigest, before: i64) -> Self {
        Self { wanted: entry(subject, 0).to_be_bytes(), before }
    }

    /// The numbers of some more, if there are any in the next runs; `None`: there are no more runs.
    pub async fn next(&mut self, connection: &mut SqliteConnection) -> Result<Option<Vec<i64>>, sqlx::Error> {
        let [_, _, _, bucket, wanted @ .., _] = self.wanted;
        let runs = format!(
            "SELECT first_seq, entries FROM run JOIN subject ON place = ((first_seq << {BUCKET_BITS}) | ?) \
             WHERE first_seq < ? ORDER BY first_seq DESC LIMIT {RUNS_AT_ONCE}"
        );
        let runs = sqlx::query(AssertSqlSafe(runs)).bind(bucket).bind(self.before).fetch_all(connection).await?;
        let mut found = Vec::new();
        for run in &runs {
            self.before = run.try_get("first_seq")?;
            let (entries, _) = run.try_get::<&[u8], _>("entries")?.as_chunks::<4>();
            let from = entries.partition_point(|[digest @ .., _]| *digest < wanted);
            let same = entries.iter().skip(from).map_while(|[digest @ .., nth]| (*digest == wanted).then_some(*nth));
            found.extend(same.map(|nth| self.before.saturating_add(i64::from(nth))));
        }
        Ok((!runs.is_empty()).then_some(found))
    }
}

/// The first record, from number `first` (the segment's) to `last`, by whose text the index would be another one than it
/// is.
pub(super) async fn first_wrong(
    connection: &mut SqliteConnection,
    first: i64,
    last: i64,
) -> Result<Option<i64>, AuditError> {
    // What is written meanwhile does not come between the records and their index.
    let mut connection = connection.begin().await?;
    let stand = "SELECT closed IS NOT NULL, (SELECT max(seq) FROM audit) FROM segment";
    let (is_closed, newest): (bool, Option<i64>) = sqlx::query_as(stand).fetch_one(&mut *connection).await?;
    let is_last = newest.is_none_or(|newest| newest <= last);
    let (mut run, mut next) = (Unindexed::after(first - 1), i64::MIN >> BUCKET_BITS);
    loop {
        run.read(&mut connection, last).await?;
        let is_ended = run.is_full() || (is_closed && is_last && !run.is_empty());
        if !is_ended {
            break;
        }
        if let Some(wrong) = run.first_unlike(&mut connection, next).await? {
            return Ok(Some(wrong));
        }
        next = run.first + 1;
        run = Unindexed::after(run.last);
    }
    // Of records written since, nothing is said.
    if !is_last {
        return Ok(None);
    }
    let more =
        "SELECT EXISTS (SELECT 1 FROM run WHERE first_seq >= ?) OR EXISTS (SELECT 1 FROM subject WHERE place >= ?)";
    let more = sqlx::query_scalar(more).bind(next).bind(place(next, 0)).fetch_one(&mut *connection).await?;
    Ok(Some(run.first.min(last)).filter(|_| more))
}

impl Unindexed {
    /// The first record because of which the rows, those of runs that begin with number `from` or later up to this one's,
    /// are not those of this run alone.
    async fn first_unlike(&mut self, connection: &mut SqliteConnection, from: i64) -> Result<Option<i64>, AuditError> {
        let runs: Vec<(i64, i64)> =
            sqlx::query_as("SELECT first_seq, last_seq FROM run WHERE first_seq BETWEEN ? AND ? LIMIT 2")
                .bind(from)
                .bind(self.first)
                .fetch_all(&mut *connection)
                .await?;
        let mut wrong = (runs != [(self.first, self.last)]).then_some(self.first);
        let mut told: BTreeMap<i64, Vec<u8>> = self.rows().into_iter().collect();
        let rows = sqlx::query("SELECT place, entries FROM subject WHERE place >= ? AND place < ?");
        let mut rows = rows.bind(place(from, 0)).bind(place(self.first + 1, 0)).fetch(connection);
        while let Some(row) = rows.try_next().await? {
            let told = told.remove(&row.try_get("place")?);
            wrong = earlier(wrong, self.unlike(told.as_deref(), Some(row.try_get("entries")?)));
        }
        Ok(told.values().fold(wrong, |wrong, missing| earlier(wrong, self.unlike(Some(missing), None))))
    }

    /// The first record because of which a row is not what it should be.
    fn unlike(&self, told: Option<&[u8]>, held: Option<&[u8]>) -> Option<i64> {
        if told == held {
            return None;
        }
        let entries =
            |row: Option<&[u8]>| row.map_or_else(BTreeSet::new, |row| row.as_chunks::<4>().0.iter().copied().collect());
        let (told, held): (BTreeSet<[u8; 4]>, _) = (entries(told), entries(held));
        // The same in another order is searched in vain too.
        let nth = told.symmetric_difference(&held).map(|[.., nth]| i64::from(*nth)).min().unwrap_or(0);
        Some(self.last.min(self.first + nth))
    }
}

fn earlier(one: Option<i64>, other: Option<i64>) -> Option<i64> {
    one.into_iter().chain(other).min()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use sqlx::sqlite::SqliteConnectOptions;
    use sqlx::{ConnectOptions, Connection};

    use super::*;

    /// For whoever measures: `cargo test --release --lib end_of_a_run -- --ignored --nocapture`.
    #[ignore = "measures; prints figures"]
    #[tokio::test]
    async fn what_the_end_of_a_run_costs() {
        let file = std::env::temp_dir().join(format!("huxiang-audit-run-{}.sqlite", std::process::id()));
        let options = SqliteConnectOptions::new().filename(&file).create_if_missing(true).pragma("journal_mode", "WAL");
        let mut connection = options.connect().await.unwrap();
        let tables = "CREATE TABLE run (first_seq INTEGER PRIMARY KEY, last_seq INTEGER NOT NULL) STRICT; \
                      CREATE TABLE subject (place INTEGER PRIMARY KEY, entries BLOB NOT NULL) STRICT";
        sqlx::raw_sql(tables).execute(&mut connection).await.unwrap();
        let mut unindexed = Unindexed::after(0);
        for (run, subjects) in (0..8_u64).zip([5, 20, 110, 110, 110, 255, 255, 255]) {
            let digest = |n: u64| {
                let first = (n + run * 1_000_000).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                SubjectDigest::parse(&format!("{first:016x}{:048x}", 0)).unwrap()
            };
            let subjects: Vec<Vec<SubjectDigest>> =
                (0..256).map(|record| (0..subjects).map(|n| digest(record * 1_000 + n)).collect()).collect();
            for subjects in &subjects {
                assert!(unindexed.take_in(unindexed.last + 1, subjects));
            }
            let entries = unindexed.entries.len();
            let began = Instant::now();
            unindexed.rows();
            let sorted = began.elapsed();
            unindexed.end_run(&mut connection).await.unwrap();
            println!("{entries} entries: in order after {sorted:?}, written after {:?}", began.elapsed());
        }
        connection.close().await.unwrap();
        for end in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{end}", file.display()));
        }
    }
}
