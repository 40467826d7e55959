//! Tokens that count no more before they expire: revoked by their id, by whose they are, or by the key that signed them.
//!
//! The list is an SQLite file of the gateway's own; every process on it reads it again as soon as another has changed
//! it. What cannot be read is not taken for empty: then no token counts.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use serde::Serialize;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteRow, SqliteSynchronous};
use sqlx::{ConnectOptions, Row, SqliteConnection};
use tokio::sync::Mutex;

use super::token::now;
use crate::base::private_file;

/// Entries of the list. When it is full, nothing more is revoked, and that is told.
const ENTRIES_MAX: usize = 100_000;
/// Bytes of one text of an entry.
const TEXT_BYTES_MAX: usize = 512;
/// Other processes' changes are seen within this time.
const POLL: Duration = Duration::from_millis(500);
/// A list that could not be read for so long counts no more.
const STALE_MAX: Duration = Duration::from_secs(5);

const TABLE: &str = "CREATE TABLE IF NOT EXISTS revocation (\
    kind TEXT NOT NULL, issuer TEXT NOT NULL, value TEXT NOT NULL, \
    before INTEGER NOT NULL, until INTEGER, at INTEGER NOT NULL, \
    by_issuer TEXT NOT NULL, by_id TEXT NOT NULL, reason TEXT NOT NULL, \
    PRIMARY KEY (kind, issuer, value)) STRICT";

/// What is revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RevokedKind {
    /// One token, by its `jti`.
    Token,
    /// All tokens of a principal that were issued until a moment.
    Principal,
    /// All tokens signed by a key of the issuer's, by its id (`kid`).
    Key,
}

impl RevokedKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Token => "TOKEN",
            Self::Principal => "PRINCIPAL",
            Self::Key => "KEY",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Token, Self::Principal, Self::Key].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// One entry of the list. Times are seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Revocation {
    pub kind: RevokedKind,
    pub issuer: String,
    /// The `jti`, the principal's id or the `kid`.
    pub value: String,
    /// Of a principal: tokens issued until then. Of the others: when it was revoked.
    pub before: u64,
    /// When the entry can be dropped, because no such token can be good any more; `None`: never.
    pub until: Option<u64>,
    pub at: u64,
    /// Who revoked it.
    pub by_issuer: String,
    pub by_id: String,
    pub reason: String,
}

/// The list cannot be read or written. The text is for operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RevocationError {
    Store(String),
    Full,
    /// A text of the entry is empty or too long.
    Text(&'static str),
    /// The issuer is not one of the configuration's.
    Issuer,
    /// The moment lies ahead.
    Future,
}

impl std::fmt::Display for RevocationError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Store(why) => write!(f, "the revocation list cannot be used: {why}"),
            Self::Full => {
                write!(f, "the revocation list holds {ENTRIES_MAX} entries and is full; revoke a key instead")
            }
            Self::Text(what) => {
                write!(f, "the {what} must have 1 to {TEXT_BYTES_MAX} bytes, without control characters")
            }
            Self::Issuer => f.write_str("the configuration has no such issuer; issuers stand in config/gateway.yaml"),
            Self::Future => {
                f.write_str("tokens of a moment that lies ahead cannot be revoked; name one that has passed")
            }
        }
    }
}

impl std::error::Error for RevocationError {}

impl From<sqlx::Error> for RevocationError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.to_string())
    }
}

/// What the list looks at of a token.
pub(super) struct Facts<'a> {
    pub issuer: &'a str,
    pub token_id: Option<&'a str>,
    pub principal: &'a str,
    pub issued: u64,
    pub key_id: Option<&'a str>,
}

/// The list in memory, by issuer.
#[derive(Debug, Default)]
struct Table {
    issuers: HashMap<String, OfIssuer>,
}

#[derive(Debug, Default)]
struct OfIssuer {
    tokens: HashSet<String>,
    principals: HashMap<String, u64>,
    keys: HashSet<String>,
}

impl Table {
    fn add(&mut self, entry: Revocation) {
        let known = self.issuers.entry(entry.issuer).or_default();
        match entry.kind {
            RevokedKind::Token => drop(known.tokens.insert(entry.value)),
            RevokedKind::Principal => drop(known.principals.insert(entry.value, entry.before)),
            RevokedKind::Key => drop(known.keys.insert(entry.value)),
        }
    }

    fn holds(&self, token: &Facts<'_>) -> bool {
        let Some(known) = self.issuers.get(token.issuer) else { return false };
        token.token_id.is_some_and(|id| known.tokens.contains(id))
            || token.key_id.is_some_and(|id| known.keys.contains(id))
            || known.principals.get(token.principal).is_some_and(|before| token.issued <= *before)
    }
}

/// The revocation list of one file. Share one a process.
#[derive(Debug)]
pub struct Revocations {
    path: PathBuf,
    current: RwLock<Current>,
    /// The connection that reads and writes; made anew after a fault.
    store: Mutex<Option<Store>>,
}

#[derive(Debug)]
struct Current {
    table: Arc<Table>,
    /// When it was last seen to be the file's.
    checked: Instant,
}

#[derive(Debug)]
struct Store {
    connection: SqliteConnection,
    file: FileIdentity,
    /// SQLite's counter of other connections' changes, as of the last reading; `None`: not read yet.
    version: Option<i64>,
}

impl Revocations {
    /// Opens or makes the file (readable by its owner alone) and reads it.
    pub async fn open(path: &Path) -> Result<Self, RevocationError> {
        private_file::create(path).map_err(|error| RevocationError::Store(format!("{}: {error}", path.display())))?;
        let current = Current { table: Arc::default(), checked: Instant::now() };
        let opened = Self { path: path.to_owned(), current: RwLock::new(current), store: Mutex::default() };
        opened.look().await?;
        Ok(opened)
    }

    /// Whether a token is revoked; an error where that is not known.
    pub(super) fn is_revoked(&self, token: &Facts<'_>) -> Result<bool, Unknown> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        if current.checked.elapsed() > STALE_MAX { Err(Unknown) } else { Ok(current.table.holds(token)) }
    }

    /// Follows the file for ever; run it as a task of its own.
    pub async fn keep_fresh(&self) {
        let mut healthy = true;
        loop {
            tokio::time::sleep(POLL).await;
            let looked = self.look().await;
            if let Err(error) = &looked
                && healthy
            {
                tracing::error!(%error, "tokens are refused until the revocation list can be read again");
            }
            healthy = looked.is_ok();
        }
    }

    /// Reads the file again if another process has changed it.
    pub async fn look(&self) -> Result<(), RevocationError> {
        let mut store = self.store.lock().await;
        let result = match self.connected(&mut store).await {
            Ok(opened) => self.read(opened, false).await,
            Err(error) => Err(error),
        };
        if result.is_err() {
            *store = None;
        }
        result
    }

    /// Adds an entry; when this returns, it is on disk, and counts in this process. One that is there already only
    /// grows.
    pub(super) async fn add(&self, entry: &Revocation) -> Result<(), RevocationError> {
        for (what, text) in [
            ("issuer", &entry.issuer),
            ("value", &entry.value),
            ("reason", &entry.reason),
            ("id of who revokes", &entry.by_id),
        ] {
            if text.is_empty() || text.len() > TEXT_BYTES_MAX || text.chars().any(char::is_control) {
                return Err(RevocationError::Text(what));
            }
        }
        let mut store = self.store.lock().await;
        let written = match self.connected(&mut store).await {
            Ok(opened) => match insert(&mut opened.connection, entry).await {
                Ok(()) => self.read(opened, true).await,
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        };
        if matches!(written, Err(RevocationError::Store(_))) {
            *store = None;
        }
        written
    }

    /// All entries that still count, the newest first.
    pub async fn list(&self) -> Result<Vec<Revocation>, RevocationError> {
        let mut store = self.store.lock().await;
        let opened = self.connected(&mut store).await?;
        let mut entries = entries(&mut opened.connection).await?;
        entries.sort_by(|a, b| (b.at, &b.value).cmp(&(a.at, &a.value)));
        Ok(entries)
    }

    async fn connected<'s>(&self, store: &'s mut Option<Store>) -> Result<&'s mut Store, RevocationError> {
        let there = FileIdentity::of(&self.path);
        // A list that was moved away or deleted is not an empty one.
        let Some(there) = there else {
            return Err(RevocationError::Store(format!("{} is not there any more", self.path.display())));
        };
        if store.as_ref().is_none_or(|store| store.file != there) {
            *store = Some(Store { connection: connect(&self.path).await?, file: there, version: None });
        }
        store.as_mut().ok_or_else(|| RevocationError::Store("it is not open".to_owned()))
    }

    async fn read(&self, store: &mut Store, anyhow: bool) -> Result<(), RevocationError> {
        let version: i64 = sqlx::query("PRAGMA data_version").fetch_one(&mut store.connection).await?.try_get(0)?;
        let table = if anyhow || store.version != Some(version) {
            let mut table = Table::default();
            for entry in entries(&mut store.connection).await? {
                table.add(entry);
            }
            Some(Arc::new(table))
        } else {
            None
        };
        store.version = Some(version);
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        current.checked = Instant::now();
        if let Some(table) = table {
            current.table = table;
        }
        Ok(())
    }
}

/// Whether a token is revoked is not known now.
#[derive(Debug)]
pub(super) struct Unknown;

async fn insert(connection: &mut SqliteConnection, entry: &Revocation) -> Result<(), RevocationError> {
    use sqlx::Connection as _;
    let integer = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::query("DELETE FROM revocation WHERE until < ?").bind(integer(now())).execute(&mut *transaction).await?;
    let count: i64 = sqlx::query("SELECT count(*) FROM revocation").fetch_one(&mut *transaction).await?.try_get(0)?;
    if usize::try_from(count).unwrap_or(usize::MAX) >= ENTRIES_MAX {
        return Err(RevocationError::Full);
    }
    // An entry never shrinks: it counts until the later moment, and for ever where either says so.
    let upsert = "INSERT INTO revocation (kind, issuer, value, before, until, at, by_issuer, by_id, reason) \
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (kind, issuer, value) DO UPDATE SET \
        before = max(before, excluded.before), until = max(until, excluded.until), \
        at = excluded.at, by_issuer = excluded.by_issuer, by_id = excluded.by_id, reason = excluded.reason";
    sqlx::query(upsert)
        .bind(entry.kind.as_str())
        .bind(&entry.issuer)
        .bind(&entry.value)
        .bind(integer(entry.before))
        .bind(entry.until.map(integer))
        .bind(integer(entry.at))
        .bind(&entry.by_issuer)
        .bind(&entry.by_id)
        .bind(&entry.reason)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(())
}

async fn entries(connection: &mut SqliteConnection) -> Result<Vec<Revocation>, RevocationError> {
    // More than this many cannot be there; a file that holds more is not one of ours.
    let limit = i64::try_from(ENTRIES_MAX).unwrap_or(i64::MAX).saturating_add(1);
    let now = i64::try_from(now()).unwrap_or(i64::MAX);
    let select = "SELECT kind, issuer, value, before, until, at, by_issuer, by_id, reason FROM revocation \
        WHERE until IS NULL OR until >= ? LIMIT ?";
    let rows = sqlx::query(select).bind(now).bind(limit).fetch_all(connection).await?;
    if rows.len() > ENTRIES_MAX {
        return Err(RevocationError::Store("it holds more entries than it can".to_owned()));
    }
    rows.iter().map(entry).collect()
}

fn entry(row: &SqliteRow) -> Result<Revocation, RevocationError> {
    let seconds = |name: &str| row.try_get::<i64, _>(name).map(|value| u64::try_from(value).unwrap_or(0));
    let kind: String = row.try_get("kind")?;
    // An entry that is not understood must not be passed over.
    let kind = RevokedKind::parse(&kind)
        .ok_or_else(|| RevocationError::Store("it holds an entry of a kind that is not known here".to_owned()))?;
    let until: Option<i64> = row.try_get("until")?;
    Ok(Revocation {
        kind,
        issuer: row.try_get("issuer")?,
        value: row.try_get("value")?,
        before: seconds("before")?,
        until: until.map(|value| u64::try_from(value).unwrap_or(0)),
        at: seconds("at")?,
        by_issuer: row.try_get("by_issuer")?,
        by_id: row.try_get("by_id")?,
        reason: row.try_get("reason")?,
    })
}

async fn connect(path: &Path) -> Result<SqliteConnection, RevocationError> {
    let mut connection = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(2))
        .disable_statement_logging()
        .connect()
        .await?;
    sqlx::query(TABLE).execute(&mut connection).await?;
    Ok(connection)
}

/// SQLite goes on with a file that was moved away or replaced; such a list would be another's.
#[derive(Debug, PartialEq, Eq)]
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
