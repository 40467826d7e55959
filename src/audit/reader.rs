//! Reading the records, over all segments, beside the gateway that writes them.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use futures::{Stream, TryStreamExt, stream};
use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection, QueryBuilder, Row, Sqlite, SqliteConnection};

use super::index::{self, Candidates};
use super::key::{SubjectDigest, hex};
use super::record::{AuditRecord, Kind, timestamp};
use super::segment::{Segment, about, readable, segments};
use super::store::AuditError;

/// Entries of one page.
pub const PAGE_MAX: usize = 1_000;
/// Entries that a stream reads at once.
const CHUNK: i64 = 500;

/// The records could not be read. The text is for operators.
#[derive(Debug, Clone)]
pub struct ReadError(pub String);

impl std::fmt::Display for ReadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the audit store cannot be read: {}", self.0)
    }
}

impl std::error::Error for ReadError {}

impl From<sqlx::Error> for ReadError {
    fn from(error: sqlx::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<AuditError> for ReadError {
    fn from(error: AuditError) -> Self {
        Self(error.0)
    }
}

/// A record as it stands in the store.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its number: one more than that of the record before, over all segments.
    pub seq: i64,
    pub segment: u32,
    /// Of this record and, through it, of all before; hex.
    pub hash: String,
    pub record: AuditRecord,
}

/// Which records, newest first.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// Only those that touched this household or person: from [`super::SubjectKey::subject`].
    pub subject: Option<SubjectDigest>,
    /// Only those of these kinds; none: of all.
    pub kinds: Vec<Kind>,
    /// Not before.
    pub from: Option<Timestamp>,
    /// Before.
    pub to: Option<Timestamp>,
    /// Only those with a smaller number: the last of the page before.
    pub before: Option<i64>,
    /// How many at most, of [`PAGE_MAX`].
    pub first: usize,
}

#[derive(Debug, Clone, Default)]
pub struct Page {
    pub entries: Vec<Entry>,
    /// There are more: ask again with `before` as the last entry's number.
    pub has_more: bool,
}

/// Reads the store; needs no gateway, and does not disturb one. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Reader {
    store: Arc<Path>,
}

impl Reader {
    /// `store` is the configured file; its other segments are found beside it.
    pub fn new(store: &Path) -> Self {
        Self { store: store.into() }
    }

    /// The number of the oldest segment that is there.
    pub(super) fn first_segment(&self) -> Result<Option<u32>, AuditError> {
        let found = segments(&self.store).map_err(|error| AuditError(format!("{}: {error}", self.store.display())))?;
        Ok(found.first().map(|segment| segment.number))
    }

    /// One record by its number.
    pub async fn entry(&self, seq: i64) -> Result<Option<Entry>, ReadError> {
        let search = Search { before: Some(seq.saturating_add(1)), first: 1, ..Search::default() };
        Ok(self.search(&search).await?.entries.pop().filter(|entry| entry.seq == seq))
    }

    /// Records newest first, a page at a time.
    pub async fn search(&self, search: &Search) -> Result<Page, ReadError> {
        let wanted = search.first.min(PAGE_MAX);
        let mut page = Page::default();
        for segment in self.segments()?.into_iter().rev() {
            let missing = wanted + 1 - page.entries.len().min(wanted);
            page.entries.extend(newest(&segment, search, missing).await?);
            if page.entries.len() > wanted {
                page.entries.truncate(wanted);
                page.has_more = true;
                break;
            }
        }
        Ok(page)
    }

    /// Records with a greater number than `seq`, in their order; at most `first`.
    pub async fn after(&self, seq: i64, first: usize) -> Result<Vec<Entry>, ReadError> {
        let wanted = first.min(PAGE_MAX);
        let mut entries = Vec::new();
        for segment in self.segments()? {
            if entries.len() >= wanted {
                break;
            }
            let mut connection = readable(&segment.path).await?;
            let select = "SELECT seq, record, hash FROM audit WHERE seq > ? ORDER BY seq LIMIT ?";
            let missing = i64::try_from(wanted - entries.len()).unwrap_or(i64::MAX);
            let rows = sqlx::query(select).bind(seq).bind(missing).fetch_all(&mut connection).await?;
            connection.close().await?;
            for row in &rows {
                entries.push(entry(segment.number, row)?);
            }
        }
        Ok(entries)
    }

    /// All records of a time, `from` included and `to` not, oldest segment first and within it in the order of time.
    /// Reads on only as fast as the stream is taken from.
    pub fn between(
        &self,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<impl Stream<Item = Result<Entry, ReadError>> + Send + use<>, ReadError> {
        let walk = Walk { left: self.segments()?.into(), from: timestamp(from), to: timestamp(to), cursor: None };
        let chunks = stream::try_unfold(walk, |mut walk| async {
            let chunk = walk.next_chunk().await?;
            Ok::<_, ReadError>(chunk.map(|entries| (stream::iter(entries.into_iter().map(Ok)), walk)))
        });
        Ok(chunks.try_flatten())
    }

    fn segments(&self) -> Result<Vec<Segment>, ReadError> {
        segments(&self.store).map_err(|error| ReadError(format!("{}: {error}", self.store.display())))
    }
}

/// How far a stream has come.
struct Walk {
    left: VecDeque<Segment>,
    from: String,
    to: String,
    /// The segment that is read, and the time and number of the last entry read of it.
    cursor: Option<(Segment, String, i64)>,
}

impl Walk {
    /// The next entries; `None`: there are no more.
    async fn next_chunk(&mut self) -> Result<Option<Vec<Entry>>, ReadError> {
        loop {
            let (segment, time, seq) = match self.cursor.take() {
                Some(cursor) => cursor,
                None => match self.left.pop_front() {
                    Some(segment) => (segment, self.from.clone(), 0),
                    None => return Ok(None),
                },
            };
            let entries = chunk(&segment, &time, seq, &self.to).await?;
            let Some(last) = entries.last() else { continue };
            self.cursor = Some((segment, last.record.time.clone(), last.seq));
            return Ok(Some(entries));
        }
    }
}

async fn chunk(segment: &Segment, time: &str, seq: i64, to: &str) -> Result<Vec<Entry>, ReadError> {
    let mut connection = readable(&segment.path).await?;
    let select = "SELECT seq, record, hash FROM audit WHERE (time, seq) > (?, ?) AND time < ? \
                  ORDER BY time, seq LIMIT ?";
    let rows = sqlx::query(select).bind(time).bind(seq).bind(to).bind(CHUNK).fetch_all(&mut connection).await?;
    connection.close().await?;
    rows.iter().map(|row| entry(segment.number, row)).collect()
}

async fn newest(segment: &Segment, search: &Search, limit: usize) -> Result<Vec<Entry>, ReadError> {
    let mut connection = readable(&segment.path).await?;
    let first_seq = about(&mut connection).await?.first_seq;
    let newest: Option<String> = sqlx::query_scalar("SELECT max(time) FROM audit").fetch_one(&mut connection).await?;
    let ended = newest.zip(search.from).is_some_and(|(newest, from)| newest < timestamp(from));
    let rows = match search.before {
        _ if ended => Vec::new(),
        Some(before) if before <= first_seq => Vec::new(),
        _ => select(&mut connection, search, first_seq, limit).await?,
    };
    connection.close().await?;
    rows.iter().map(|row| entry(segment.number, row)).collect()
}

async fn select(
    connection: &mut SqliteConnection,
    search: &Search,
    first_seq: i64,
    limit: usize,
) -> Result<Vec<SqliteRow>, ReadError> {
    let Some(subject) = search.subject else { return Ok(among(connection, search, &Among::All, limit).await?) };
    // A run that is ended meanwhile is seen as it was throughout.
    let mut connection = connection.begin().await?;
    let indexed = index::indexed(&mut connection).await?.unwrap_or(first_seq - 1);
    let mut rows = among(&mut connection, search, &Among::After(indexed, subject), limit).await?;
    let mut candidates = Candidates::new(&subject, search.before.unwrap_or(i64::MAX));
    while rows.len() < limit
        && let Some(some) = candidates.next(&mut connection).await?
    {
        if !some.is_empty() {
            rows.extend(among(&mut connection, search, &Among::These(some, subject), limit - rows.len()).await?);
        }
    }
    Ok(rows)
}

/// Where a search looks.
enum Among {
    All,
    /// Records about a subject after this number.
    After(i64, SubjectDigest),
    /// Those of these numbers that are about it.
    These(Vec<i64>, SubjectDigest),
}

async fn among(
    connection: &mut SqliteConnection,
    search: &Search,
    among: &Among,
    limit: usize,
) -> Result<Vec<SqliteRow>, sqlx::Error> {
    let mut query = QueryBuilder::<Sqlite>::new("SELECT seq, record, hash FROM audit WHERE ");
    match among {
        Among::All => drop(query.push("TRUE")),
        Among::After(seq, subject) => is_about(query.push("seq > ").push_bind(*seq), subject),
        Among::These(these, subject) => {
            let these = serde_json::Value::from(these.as_slice()).to_string();
            query.push("seq IN (SELECT value FROM json_each(").push_bind(these).push("))");
            is_about(&mut query, subject);
        }
    }
    query.push(" AND seq < ").push_bind(search.before.unwrap_or(i64::MAX));
    if let Some(from) = search.from {
        query.push(" AND time >= ").push_bind(timestamp(from));
    }
    if let Some(to) = search.to {
        query.push(" AND time < ").push_bind(timestamp(to));
    }
    if !search.kinds.is_empty() {
        query.push(" AND kind IN (");
        let mut kinds = query.separated(", ");
        for kind in &search.kinds {
            kinds.push_bind(kind.as_str());
        }
        query.push(")");
    }
    query.push(" ORDER BY seq DESC LIMIT ").push_bind(i64::try_from(limit).unwrap_or(i64::MAX));
    query.build().fetch_all(connection).await
}

/// Whether the record's accesses name the subject. Elsewhere its digest may stand too, as that of whom somebody acted for.
fn is_about(query: &mut QueryBuilder<Sqlite>, subject: &SubjectDigest) {
    query.push(" AND CASE WHEN instr(record, ").push_bind(subject.to_string());
    query.push(
        ") > 0 THEN EXISTS (SELECT 1 FROM json_each(record, '$.access') AS access, \
         json_each(access.value, '$.subjects') AS subject WHERE subject.value = ",
    );
    query.push_bind(subject.to_string()).push(") ELSE FALSE END");
}

fn entry(segment: u32, row: &SqliteRow) -> Result<Entry, ReadError> {
    let (seq, json): (i64, &str) = (row.try_get("seq")?, row.try_get("record")?);
    let record =
        serde_json::from_str(json).map_err(|error| ReadError(format!("record {seq} is not readable: {error}")))?;
    Ok(Entry { seq, segment, hash: hex(row.try_get("hash")?), record })
}
