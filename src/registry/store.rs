//! The tables, in SQLite or PostgreSQL: versions of bindings, and what was published when.
//!
//! Nothing is ever changed but a version's decision: what is published now is the newest row of each source. A
//! publication's number is the revision it makes of the one it was checked against, so that of two that were checked
//! against the same one, only one is made.

use std::path::Path;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};

use super::version::{Decision, Publication, State, Version};
use crate::approval::Person;
use crate::base::private_file;
use crate::model::config::RegistryStore;
use crate::model::config::egress::EgressConfig;
use crate::source::encrypted;

const CONNECTIONS_MAX: u32 = 4;
const WAIT_MAX: Duration = Duration::from_secs(5);
/// Two gateways may submit for the same source at once.
const TRIES: usize = 5;

const TABLES: [&str; 2] = [
    "CREATE TABLE IF NOT EXISTS source_version (\
        source TEXT NOT NULL, number BIGINT NOT NULL, text TEXT NOT NULL, note TEXT NOT NULL, \
        submitted_by TEXT NOT NULL, submitted_issuer TEXT NOT NULL, submitted_at BIGINT NOT NULL, \
        approved BIGINT, decided_by TEXT, decided_issuer TEXT, decided_at BIGINT, decision TEXT, \
        PRIMARY KEY (source, number))",
    "CREATE TABLE IF NOT EXISTS source_publication (\
        revision BIGINT NOT NULL PRIMARY KEY, source TEXT NOT NULL, number BIGINT NOT NULL, state TEXT NOT NULL, \
        by_id TEXT NOT NULL, by_issuer TEXT NOT NULL, at BIGINT NOT NULL, note TEXT NOT NULL)",
];

const VERSION: &str = "SELECT source, number, text, note, submitted_by, submitted_issuer, submitted_at, \
    approved, decided_by, decided_issuer, decided_at, decision FROM source_version";

/// What is in force of each source: the newest publication, with the text of its version.
const IN_FORCE: &str = "SELECT p.revision, p.source, p.number, p.state, p.by_id, p.by_issuer, p.at, p.note, v.text \
    FROM source_publication p LEFT JOIN source_version v ON v.source = p.source AND v.number = p.number \
    WHERE p.revision = (SELECT MAX(q.revision) FROM source_publication q WHERE q.source = p.source) ORDER BY p.source";

const PUBLICATIONS: &str = "SELECT revision, source, number, state, by_id, by_issuer, at, note FROM source_publication \
    WHERE source = $1 ORDER BY revision DESC LIMIT $2";

type VersionRow = (
    String,
    i64,
    String,
    String,
    String,
    String,
    i64,
    Option<i64>,
    Option<String>,
    Option<String>,
    Option<i64>,
    Option<String>,
);
type PublicationRow = (i64, String, i64, String, String, String, i64, String);
type InForceRow = (i64, String, i64, String, String, String, i64, String, Option<String>);

/// A store, connected.
#[derive(Debug)]
pub(super) enum Store {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// Runs the same statement on either: both take `$1`, and both bind and read these types.
macro_rules! on {
    ($store:expr, $pool:ident => $run:expr) => {
        match $store {
            Store::Sqlite($pool) => $run,
            Store::Postgres($pool) => $run,
        }
    };
}

/// A change under way. Dropped, it is undone.
pub(super) enum Work {
    Sqlite(sqlx::Transaction<'static, sqlx::Sqlite>),
    Postgres(sqlx::Transaction<'static, sqlx::Postgres>),
}

impl Work {
    pub async fn commit(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(work) => work.commit().await,
            Self::Postgres(work) => work.commit().await,
        }
    }
}

impl Store {
    /// Connects, and makes the tables where they are not there.
    pub async fn open(at: &RegistryStore, egress: &EgressConfig) -> Result<Self, String> {
        let store = match at {
            RegistryStore::File(path) => Self::Sqlite(sqlite(path).await.map_err(|error| error.to_string())?),
            RegistryStore::Postgres(url) => Self::Postgres(postgres(url, egress).await?),
        };
        for table in TABLES {
            on!(&store, pool => sqlx::query(table).execute(pool).await.map(drop)).map_err(|error| error.to_string())?;
        }
        Ok(store)
    }

    /// 0: nothing was ever published.
    pub async fn revision(&self) -> Result<i64, sqlx::Error> {
        const NEWEST: &str = "SELECT CAST(COALESCE(MAX(revision), 0) AS BIGINT) FROM source_publication";
        let (revision,): (i64,) = on!(self, pool => sqlx::query_as(NEWEST).fetch_one(pool).await)?;
        Ok(revision)
    }

    /// The newest publication of each source, and the text of its version.
    pub async fn in_force(&self) -> Result<Vec<(Publication, Option<String>)>, sqlx::Error> {
        let rows: Vec<InForceRow> = on!(self, pool => sqlx::query_as(IN_FORCE).fetch_all(pool).await)?;
        let read = |(revision, source, number, state, id, issuer, at, note, text): InForceRow| {
            (publication((revision, source, number, state, id, issuer, at, note)), text)
        };
        Ok(rows.into_iter().map(read).collect())
    }

    pub async fn publications(&self, source: &str, first: i64) -> Result<Vec<Publication>, sqlx::Error> {
        let rows: Vec<PublicationRow> =
            on!(self, pool => sqlx::query_as(PUBLICATIONS).bind(source).bind(first).fetch_all(pool).await)?;
        Ok(rows.into_iter().map(publication).collect())
    }

    pub async fn version(&self, source: &str, number: i64) -> Result<Option<Version>, sqlx::Error> {
        let statement = sqlx::AssertSqlSafe(format!("{VERSION} WHERE source = $1 AND number = $2"));
        let row: Option<VersionRow> =
            on!(self, pool => sqlx::query_as(statement).bind(source).bind(number).fetch_optional(pool).await)?;
        Ok(row.map(version))
    }

    /// Newest first.
    pub async fn versions(&self, source: &str, before: i64, first: i64) -> Result<Vec<Version>, sqlx::Error> {
        let statement =
            sqlx::AssertSqlSafe(format!("{VERSION} WHERE source = $1 AND number < $2 ORDER BY number DESC LIMIT $3"));
        let rows: Vec<VersionRow> = on!(self, pool => {
            sqlx::query_as(statement).bind(source).bind(before).bind(first).fetch_all(pool).await
        })?;
        Ok(rows.into_iter().map(version).collect())
    }

    /// How many versions of a source nobody has decided on.
    pub async fn undecided(&self, source: &str) -> Result<i64, sqlx::Error> {
        const UNDECIDED: &str = "SELECT COUNT(*) FROM source_version WHERE source = $1 AND approved IS NULL";
        on!(self, pool => sqlx::query_scalar(UNDECIDED).bind(source).fetch_one(pool).await)
    }

    /// Every source that ever had a version, with its newest number.
    pub async fn sources(&self) -> Result<Vec<(String, i64)>, sqlx::Error> {
        const SOURCES: &str =
            "SELECT source, CAST(MAX(number) AS BIGINT) FROM source_version GROUP BY source ORDER BY source";
        on!(self, pool => sqlx::query_as(SOURCES).fetch_all(pool).await)
    }

    /// Adds the next version of a source; its number, and the change to commit.
    pub async fn submit(
        &self,
        source: &str,
        text: &str,
        note: &str,
        by: &Person,
        at: i64,
    ) -> Result<(i64, Work), sqlx::Error> {
        const ADD: &str = "INSERT INTO source_version (source, number, text, note, submitted_by, submitted_issuer, \
            submitted_at) SELECT $1, COALESCE(MAX(number), 0) + 1, $2, $3, $4, $5, $6 FROM source_version WHERE source = $1 \
            RETURNING number";
        let mut tries = 0;
        loop {
            let added: Result<(i64, Work), sqlx::Error> = match self {
                Self::Sqlite(pool) => {
                    let mut work = pool.begin_with("BEGIN IMMEDIATE").await?;
                    let added = sqlx::query_scalar(ADD).bind(source).bind(text).bind(note);
                    let added = added.bind(&by.id).bind(&by.issuer).bind(at).fetch_one(&mut *work).await;
                    added.map(|number| (number, Work::Sqlite(work)))
                }
                Self::Postgres(pool) => {
                    let mut work = pool.begin().await?;
                    let added = sqlx::query_scalar(ADD).bind(source).bind(text).bind(note);
                    let added = added.bind(&by.id).bind(&by.issuer).bind(at).fetch_one(&mut *work).await;
                    added.map(|number| (number, Work::Postgres(work)))
                }
            };
            tries += 1;
            match added {
                Err(error) if is_taken(&error) && tries < TRIES => {}
                other => return other,
            }
        }
    }

    /// Notes a decision; `None`: there is none to make any more.
    pub async fn decide(
        &self,
        source: &str,
        number: i64,
        approved: bool,
        decision: &Decision,
    ) -> Result<Option<Work>, sqlx::Error> {
        const DECIDE: &str = "UPDATE source_version SET approved = $3, decided_by = $4, decided_issuer = $5, \
            decided_at = $6, decision = $7 WHERE source = $1 AND number = $2 AND approved IS NULL";
        let (by, approved) = (&decision.by, i64::from(approved));
        Ok(match self {
            Self::Sqlite(pool) => {
                let mut work = pool.begin_with("BEGIN IMMEDIATE").await?;
                let done = sqlx::query(DECIDE).bind(source).bind(number).bind(approved).bind(&by.id).bind(&by.issuer);
                let done = done.bind(decision.at).bind(&decision.note).execute(&mut *work).await?;
                (done.rows_affected() == 1).then_some(Work::Sqlite(work))
            }
            Self::Postgres(pool) => {
                let mut work = pool.begin().await?;
                let done = sqlx::query(DECIDE).bind(source).bind(number).bind(approved).bind(&by.id).bind(&by.issuer);
                let done = done.bind(decision.at).bind(&decision.note).execute(&mut *work).await?;
                (done.rows_affected() == 1).then_some(Work::Postgres(work))
            }
        })
    }

    /// Adds a publication; `None`: another one was made of the same revision.
    pub async fn publish(&self, new: &Publication) -> Result<Option<Work>, sqlx::Error> {
        const ADD: &str = "INSERT INTO source_publication (revision, source, number, state, by_id, by_issuer, at, note) \
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
        let added = match self {
            Self::Sqlite(pool) => {
                let mut work = pool.begin_with("BEGIN IMMEDIATE").await?;
                let add =
                    sqlx::query(ADD).bind(new.revision).bind(&new.source).bind(new.number).bind(new.state.as_str());
                let add = add.bind(&new.by.id).bind(&new.by.issuer).bind(new.at).bind(&new.note);
                add.execute(&mut *work).await.map(|_| Work::Sqlite(work))
            }
            Self::Postgres(pool) => {
                let mut work = pool.begin().await?;
                let add =
                    sqlx::query(ADD).bind(new.revision).bind(&new.source).bind(new.number).bind(new.state.as_str());
                let add = add.bind(&new.by.id).bind(&new.by.issuer).bind(new.at).bind(&new.note);
                add.execute(&mut *work).await.map(|_| Work::Postgres(work))
            }
        };
        match added {
            Ok(work) => Ok(Some(work)),
            Err(error) if is_taken(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn is_taken(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}

async fn sqlite(path: &Path) -> Result<SqlitePool, sqlx::Error> {
    private_file::create(path)?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(WAIT_MAX);
    SqlitePoolOptions::new().max_connections(CONNECTIONS_MAX).acquire_timeout(WAIT_MAX).connect_with(options).await
}

async fn postgres(url: &str, egress: &EgressConfig) -> Result<PgPool, String> {
    let options: PgConnectOptions =
        url.parse().map_err(|_| "`registry.store` is not the address of a PostgreSQL database".to_owned())?;
    if options.get_socket().is_none() && !options.get_host().starts_with('/') {
        egress.check(options.get_host(), options.get_port()).map_err(|refused| refused.to_string())?;
    }
    let options = encrypted(options, &Default::default()).application_name("huxiang");
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS_MAX).acquire_timeout(WAIT_MAX);
    pool.connect_with(options).await.map_err(|error| error.to_string())
}

fn publication((revision, source, number, state, id, issuer, at, note): PublicationRow) -> Publication {
    Publication { revision, source, number, state: State::read(&state), by: Person { id, issuer }, at, note }
}

fn version(row: VersionRow) -> Version {
    let (source, number, text, note, id, issuer, submitted_at, approved, by, by_issuer, at, decision) = row;
    let decision = match (by, by_issuer, at, decision) {
        (Some(id), Some(issuer), Some(at), Some(note)) => Some(Decision { by: Person { id, issuer }, at, note }),
        _ => None,
    };
    // What says of itself that it was approved, and not by whom, was not.
    let approved = decision.as_ref().and(approved).map(|approved| approved == 1);
    Version { source, number, text, note, submitted_by: Person { id, issuer }, submitted_at, approved, decision }
}
