//! The statements of one commit. A statement is a way to the connection's thread and back, which costs more than a row:
//! so there are few, each of as many rows as there are.

use std::collections::BTreeMap;
use std::sync::Arc;

use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments, AssertSqlSafe, Row, SqliteConnection};

use super::segment::About;
use super::store::{AuditError, Waiting};
use crate::model::config::ChainHash;

/// Rows of one statement.
const ROWS_MAX: usize = 256;

/// IMMEDIATE: the last row is read under the write lock, so that two gateways on one file keep one chain.
const BEGIN: &str = "BEGIN IMMEDIATE; PRAGMA page_count; SELECT closed IS NOT NULL AS closed, last.seq AS seq, \
                     last.hash AS hash FROM segment LEFT JOIN (SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1) AS last";

/// How a segment stands, under the write lock.
pub(super) struct Stand {
    pub is_closed: bool,
    pub pages: u64,
    /// The newest record's number and hash; in an empty segment, those that the one before ended with.
    pub seq: i64,
    pub hash: Vec<u8>,
}

/// Begins a transaction. It ends with [`Statements::commit`], [`rollback`] or the connection.
pub(super) async fn begin(connection: &mut SqliteConnection, about: &About) -> Result<Stand, AuditError> {
    let rows = sqlx::query(BEGIN).fetch_all(connection).await?;
    let [pages, stand] = rows.as_slice() else {
        return Err(AuditError("the segment does not say how it stands".to_owned()));
    };
    let pages: i64 = pages.try_get(0)?;
    let seq: Option<i64> = stand.try_get("seq")?;
    let (seq, hash) = match seq {
        Some(seq) => (seq, stand.try_get("hash")?),
        None => (about.first_seq - 1, about.prev.clone()),
    };
    Ok(Stand { is_closed: stand.try_get("closed")?, pages: u64::try_from(pages).unwrap_or(0), seq, hash })
}

pub(super) async fn rollback(connection: &mut SqliteConnection) -> Result<(), AuditError> {
    sqlx::query("ROLLBACK").execute(connection).await?;
    Ok(())
}

/// A record in its place.
pub(super) struct Linked<'w> {
    pub waiting: &'w Waiting,
    pub seq: i64,
    pub prev: Vec<u8>,
    pub hash: Vec<u8>,
}

/// The texts of the statements; each is prepared once by a connection.
#[derive(Default)]
pub(super) struct Statements {
    texts: BTreeMap<(&'static str, Room), Arc<str>>,
}

/// How many rows a statement has room for, in powers of two: what is not filled stays NULL, and is left out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Room {
    records: usize,
    ends: bool,
}

impl Statements {
    /// Writes the records, hashed by the segment's algorithm, and ends the transaction.
    pub async fn commit(
        &mut self,
        connection: &mut SqliteConnection,
        algorithm: ChainHash,
        records: &[Linked<'_>],
    ) -> Result<(), AuditError> {
        let mut records = records.chunks(ROWS_MAX);
        loop {
            let some = records.next().unwrap_or_default();
            let ends = records.len() == 0;
            let room = Room { records: room_for(some.len()), ends };
            let values = values(room, some).map_err(|error| AuditError(error.to_string()))?;
            sqlx::query_with(AssertSqlSafe(self.text(algorithm, room)), values).execute(&mut *connection).await?;
            if ends {
                return Ok(());
            }
        }
    }

    fn text(&mut self, algorithm: ChainHash, room: Room) -> Arc<str> {
        let known = self.texts.entry((algorithm.as_str(), room));
        Arc::clone(known.or_insert_with(|| text(room, algorithm).into()))
    }
}

fn room_for(rows: usize) -> usize {
    if rows == 0 { 0 } else { rows.next_power_of_two() }
}

fn text(room: Room, algorithm: ChainHash) -> String {
    let mut text = String::new();
    if room.records > 0 {
        text += &format!(
            "INSERT INTO audit (seq, time, kind, request_id, record, algorithm, prev, hash) \
             SELECT column1, column2, column3, column4, column5, '{}', column6, column7 \
             FROM (VALUES {}) WHERE column1 IS NOT NULL;",
            algorithm.as_str(),
            vec!["(?, ?, ?, ?, ?, ?, ?)"; room.records].join(", ")
        );
    }
    if room.ends {
        text += "COMMIT;";
    }
    text
}

fn values(room: Room, records: &[Linked<'_>]) -> Result<SqliteArguments, sqlx::error::BoxDynError> {
    let mut values = SqliteArguments::default();
    values.reserve(room.records * 7, 0);
    for Linked { waiting, seq, prev, hash } in records {
        values.add(seq)?;
        values.add(&waiting.time)?;
        values.add(waiting.kind)?;
        values.add(&waiting.request_id)?;
        values.add(&waiting.json)?;
        values.add(prev)?;
        values.add(hash)?;
    }
    for _ in records.len() * 7..room.records * 7 {
        values.add(None::<i64>)?;
    }
    Ok(values)
}
