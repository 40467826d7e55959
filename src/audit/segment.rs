//! The files of the audit store. Records are in segments, each an SQLite file; a new segment begins with the hash that
//! the one before ended with. Segment 1 is the configured file itself (`audit.sqlite`), later ones carry their number
//! (`audit.000002.sqlite`). Only the newest is written to.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Row, SqliteConnection};

use super::index::Unindexed;
use super::key::hex;
use super::record::timestamp;
use super::store::AuditError;
use crate::model::config::ChainHash;

/// How long a writer waits for another that holds the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(3);

/// Version of the tables below (`PRAGMA user_version`).
const TABLES_VERSION: i64 = 3;

const TABLES: &str = "\
    CREATE TABLE IF NOT EXISTS segment (id INTEGER PRIMARY KEY CHECK (id = 1), store TEXT NOT NULL, \
        number INTEGER NOT NULL, first_seq INTEGER NOT NULL, prev BLOB NOT NULL, hash TEXT NOT NULL, \
        opened TEXT NOT NULL, last_seq INTEGER, last_hash BLOB, closed TEXT) STRICT;\
    CREATE TABLE IF NOT EXISTS audit (seq INTEGER PRIMARY KEY, time TEXT NOT NULL, kind TEXT NOT NULL, \
        request_id TEXT NOT NULL, record TEXT NOT NULL, algorithm TEXT NOT NULL, prev BLOB NOT NULL, \
        hash BLOB NOT NULL) STRICT;\
    CREATE INDEX IF NOT EXISTS audit_time ON audit (time);\
    CREATE INDEX IF NOT EXISTS audit_event ON audit (kind, seq) WHERE kind <> 'REQUEST';\
    CREATE TABLE IF NOT EXISTS run (first_seq INTEGER PRIMARY KEY, last_seq INTEGER NOT NULL) STRICT;\
    CREATE TABLE IF NOT EXISTS subject (place INTEGER PRIMARY KEY, entries BLOB NOT NULL) STRICT;\
    PRAGMA user_version = 3;";

/// One file of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    pub number: u32,
    pub path: PathBuf,
}

/// What a segment says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct About {
    /// The store's id: made with its first segment, the same in all.
    pub store: String,
    pub number: u32,
    pub first_seq: i64,
    /// The hash that the segment before ended with; empty in the first.
    pub prev: Vec<u8>,
    pub algorithm: ChainHash,
    pub opened: String,
    /// Where it ended, once a newer one has been begun.
    pub closed: Option<Closed>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Closed {
    pub last_seq: i64,
    pub last_hash: Vec<u8>,
    pub time: String,
}

/// The file of segment `number`.
pub(super) fn path_of(store: &Path, number: u32) -> PathBuf {
    if number <= 1 {
        return store.to_path_buf();
    }
    let stem = store.file_stem().unwrap_or_default().to_string_lossy();
    let name = match store.extension() {
        Some(extension) => format!("{stem}.{number:06}.{}", extension.to_string_lossy()),
        None => format!("{stem}.{number:06}"),
    };
    store.with_file_name(name)
}

/// The segments that are there, oldest first.
pub(super) fn segments(store: &Path) -> std::io::Result<Vec<Segment>> {
    let folder = store.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let stem = store.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let digits = name.strip_prefix(&stem).and_then(|rest| rest.strip_prefix('.')).and_then(|rest| rest.get(..6));
        let number = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()));
        let number = number.and_then(|digits| digits.parse().ok()).filter(|number| *number > 1);
        found.extend(number.map(|number| Segment { number, path: path_of(store, number) }));
    }
    // Also found by their -wal and -shm files.
    found.retain(|segment| segment.path.exists());
    if store.exists() {
        found.push(Segment { number: 1, path: store.to_path_buf() });
    }
    found.sort_by_key(|segment| segment.number);
    found.dedup();
    Ok(found)
}

/// A segment open for writing, and the file it was opened on.
pub(super) struct Opened {
    pub connection: SqliteConnection,
    pub path: PathBuf,
    pub about: About,
    pub unindexed: Unindexed,
    /// Of one page of the file.
    pub page_bytes: u64,
    identity: FileIdentity,
}

impl Opened {
    /// SQLite goes on writing into a file that was moved away or deleted; such records would be lost unseen.
    pub fn is_in_place(&self) -> bool {
        FileIdentity::of(&self.path).is_some_and(|now| now == self.identity)
    }

    /// Lets go of a file that is not in its place any more.
    pub async fn moved(self) -> AuditError {
        let _ = self.connection.close().await;
        AuditError(format!("{} was moved, deleted or replaced; put it back", self.path.display()))
    }
}

#[derive(PartialEq, Eq)]
struct FileIdentity(u64, u64);

impl FileIdentity {
    #[cfg(unix)]
    fn of(path: &Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file).map(|found| Self(found.dev(), found.ino()))
    }

    #[cfg(not(unix))]
    fn of(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file).map(|_| Self(0, 0))
    }
}

/// Opens the segment that is written to: the newest, or a new one where the newest was closed, is hashed by another
/// algorithm, or is not there at all.
pub(super) async fn open_newest(store: &Path, algorithm: ChainHash) -> Result<Opened, AuditError> {
    match newest(store).await? {
        Some(newest) => open_segment(store, newest, algorithm).await,
        None => begin(store, About::first(new_store_id()?, algorithm)).await,
    }
}

/// As [`open_newest`] for a store that was open before: where no file of it is there, none is made. It may be put back
/// at any moment, and SQLite, closing a file in its place, would take the log of the one that came back with it.
pub(super) async fn open_again(store: &Path, algorithm: ChainHash) -> Result<Opened, AuditError> {
    match newest(store).await? {
        Some(newest) => open_segment(store, newest, algorithm).await,
        None => Err(AuditError(format!("{} is not there any more; put it back", store.display()))),
    }
}

/// The newest file in which a segment was begun; a crash may have left a later one in which none was.
async fn newest(store: &Path) -> Result<Option<Segment>, AuditError> {
    let mut found = segments(store).map_err(|error| AuditError(format!("{}: {error}", store.display())))?;
    if let Some(newest) = found.last()
        && is_empty(&newest.path).await?
    {
        found.pop();
    }
    Ok(found.pop())
}

async fn open_segment(store: &Path, newest: Segment, algorithm: ChainHash) -> Result<Opened, AuditError> {
    let mut opened = connect(&newest.path).await?;
    if opened.about.number != newest.number {
        return Err(AuditError(format!(
            "{} says it is segment {}; give the file back the name it had",
            newest.path.display(),
            opened.about.number
        )));
    }
    if opened.about.closed.is_none() && opened.about.algorithm == algorithm {
        return Ok(opened);
    }
    close(&mut opened).await?;
    begin_after(store, opened, algorithm).await
}

/// Ends a segment: nothing is written to it any more. Closing it twice changes nothing.
pub(super) async fn close(opened: &mut Opened) -> Result<(), AuditError> {
    let mut transaction = opened.connection.begin_with("BEGIN IMMEDIATE").await?;
    let last = "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1";
    let (seq, hash) = match sqlx::query(last).fetch_optional(&mut *transaction).await? {
        Some(row) => (row.try_get("seq")?, row.try_get("hash")?),
        None => (opened.about.first_seq - 1, opened.about.prev.clone()),
    };
    let mut unindexed = Unindexed::after(opened.about.first_seq - 1);
    unindexed.catch_up(&mut transaction, seq).await?;
    unindexed.end(&mut transaction).await?;
    let closing = "UPDATE segment SET last_seq = ?, last_hash = ?, closed = ? WHERE closed IS NULL";
    let now = timestamp(Timestamp::now());
    sqlx::query(closing).bind(seq).bind(hash).bind(now).execute(&mut *transaction).await?;
    transaction.commit().await?;
    opened.about = about(&mut opened.connection).await?;
    Ok(())
}

/// Begins the segment after a closed one.
pub(super) async fn begin_after(store: &Path, mut old: Opened, algorithm: ChainHash) -> Result<Opened, AuditError> {
    let about = old.about.clone();
    let Some(closed) = about.closed else {
        return Err(AuditError(format!("{} is not closed", old.path.display())));
    };
    // One plain file from now on, to be copied as it is. Where somebody is reading it, it stays as it was.
    let _ = sqlx::query("PRAGMA journal_mode = DELETE").execute(&mut old.connection).await;
    let _ = old.connection.close().await;
    begin(
        store,
        About {
            number: about.number + 1,
            first_seq: closed.last_seq + 1,
            prev: closed.last_hash,
            algorithm,
            opened: timestamp(Timestamp::now()),
            closed: None,
            store: about.store,
        },
    )
    .await
}

async fn begin(store: &Path, about: About) -> Result<Opened, AuditError> {
    let path = path_of(store, about.number);
    create(&path).map_err(|error| AuditError(format!("{}: {error}", path.display())))?;
    let mut connection = writable(&path).await?;
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::raw_sql(TABLES).execute(&mut *transaction).await?;
    let insert = "INSERT OR IGNORE INTO segment (id, store, number, first_seq, prev, hash, opened) \
                  VALUES (1, ?, ?, ?, ?, ?, ?)";
    sqlx::query(insert)
        .bind(&about.store)
        .bind(about.number)
        .bind(about.first_seq)
        .bind(&about.prev)
        .bind(about.algorithm.as_str())
        .bind(&about.opened)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    connection.close().await?;
    connect(&path).await
}

async fn is_empty(path: &Path) -> Result<bool, AuditError> {
    let mut connection = writable(path).await?;
    let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_master").fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok(tables == 0)
}

async fn connect(path: &Path) -> Result<Opened, AuditError> {
    let mut connection = writable(path).await?;
    let about = about(&mut connection).await?;
    let page_bytes: i64 = sqlx::query_scalar("PRAGMA page_size").fetch_one(&mut connection).await?;
    let page_bytes = u64::try_from(page_bytes).unwrap_or(0);
    let identity = FileIdentity::of(path).ok_or_else(|| AuditError(format!("{} is no file", path.display())))?;
    let unindexed = Unindexed::after(about.first_seq - 1);
    Ok(Opened { connection, path: path.to_path_buf(), about, unindexed, page_bytes, identity })
}

async fn writable(path: &Path) -> Result<SqliteConnection, AuditError> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT)
        .disable_statement_logging();
    Ok(options.connect().await?)
}

/// Opens a segment to look at it.
pub(super) async fn readable(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
    let options = SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(BUSY_TIMEOUT);
    let mut connection = options.clone().disable_statement_logging().connect().await?;
    // In a folder that cannot be written to, a file in WAL mode is read as one that nobody writes to.
    if sqlx::query("SELECT 1 FROM sqlite_master").execute(&mut connection).await.is_err() {
        connection = options.immutable(true).disable_statement_logging().connect().await?;
    }
    Ok(connection)
}

/// What the file says of itself. The error says what to do with a file that is no segment.
pub(super) async fn about(connection: &mut SqliteConnection) -> Result<About, AuditError> {
    let version: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *connection).await?;
    if version != TABLES_VERSION {
        let said = "the file is of another version, or no audit store; move it away, and keep it, to begin a new one";
        return Err(AuditError(said.to_owned()));
    }
    let row = sqlx::query("SELECT * FROM segment").fetch_one(connection).await?;
    let algorithm: String = row.try_get("hash")?;
    let algorithm = ChainHash::named(&algorithm)
        .ok_or_else(|| AuditError(format!("the segment is hashed by `{algorithm}`, which is not known here")))?;
    let closed: Option<String> = row.try_get("closed")?;
    let closed = match closed {
        Some(time) => Some(Closed { last_seq: row.try_get("last_seq")?, last_hash: row.try_get("last_hash")?, time }),
        None => None,
    };
    Ok(About {
        store: row.try_get("store")?,
        number: row.try_get("number")?,
        first_seq: row.try_get("first_seq")?,
        prev: row.try_get("prev")?,
        algorithm,
        opened: row.try_get("opened")?,
        closed,
    })
}

impl About {
    fn first(store: String, algorithm: ChainHash) -> Self {
        let opened = timestamp(Timestamp::now());
        Self { store, number: 1, first_seq: 1, prev: Vec::new(), algorithm, opened, closed: None }
    }
}

fn new_store_id() -> Result<String, AuditError> {
    let mut id = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut id).map_err(|_| AuditError("no random numbers for the store's id".to_owned()))?;
    Ok(hex(&id))
}

/// Makes the file if it is not there, for its owner alone, and its name durable.
fn create(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.sync_all()?;
    sync_folder(path)
}

/// Makes durable that a file stands in its folder, or stands there no more.
pub(super) fn sync_folder(path: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        std::fs::File::open(folder)?.sync_all()?;
    }
    Ok(())
}
