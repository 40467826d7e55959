//! The SQLite file: one connection, one change at a time, durable when it is committed.

use std::path::Path;
use std::time::Duration;

use rustls::crypto::aws_lc_rs::default_provider;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Executor, SqliteConnection};
use tokio::sync::MutexGuard;

use super::Approvals;
use crate::base::code::ErrorCode;
use crate::base::private_file;
use crate::engine::error::RequestError;

const TABLES: &str = "\
    CREATE TABLE IF NOT EXISTS approval (\
        id TEXT PRIMARY KEY, state TEXT NOT NULL, entity TEXT NOT NULL, subject TEXT NOT NULL, \
        requester TEXT NOT NULL, requester_issuer TEXT NOT NULL, role TEXT NOT NULL, purpose TEXT, case_number TEXT, \
        reason TEXT NOT NULL, asked_at INTEGER NOT NULL, minutes INTEGER NOT NULL, uses INTEGER NOT NULL, \
        used INTEGER NOT NULL, decider TEXT, decider_issuer TEXT, decider_role TEXT, decided_at INTEGER, \
        ends_at INTEGER NOT NULL) STRICT;\
    CREATE INDEX IF NOT EXISTS approval_requester ON approval (requester, requester_issuer);\
    CREATE INDEX IF NOT EXISTS approval_ends ON approval (ends_at);\
    CREATE TABLE IF NOT EXISTS emergency (\
        id TEXT PRIMARY KEY, person TEXT NOT NULL, person_issuer TEXT NOT NULL, purpose TEXT, case_number TEXT, \
        reason TEXT NOT NULL, opened_at INTEGER NOT NULL, last_at INTEGER NOT NULL, looks INTEGER NOT NULL, \
        request_id TEXT NOT NULL, due_at INTEGER NOT NULL, review_by TEXT NOT NULL, reviewer TEXT, \
        reviewer_issuer TEXT, reviewed_at INTEGER, verdict TEXT, note TEXT) STRICT;\
    CREATE INDEX IF NOT EXISTS emergency_person ON emergency (person, person_issuer);";

/// A change under way. Dropped, it is undone.
pub(super) struct Work<'a> {
    home: MutexGuard<'a, Option<SqliteConnection>>,
    connection: SqliteConnection,
}

impl Work<'_> {
    pub fn db(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }

    pub async fn commit(mut self) -> Result<(), sqlx::Error> {
        self.connection.execute("COMMIT").await?;
        *self.home = Some(self.connection);
        Ok(())
    }

    pub async fn undo(mut self) {
        // Where this fails the connection is closed, which undoes it too.
        if self.connection.execute("ROLLBACK").await.is_ok() {
            *self.home = Some(self.connection);
        }
    }
}

impl Approvals {
    /// Begins a change that no other, of this process or another one, can come between.
    pub(super) async fn begin(&self) -> Result<Work<'_>, RequestError> {
        let mut home = self.connection.lock().await;
        let begun = async {
            let mut connection = match home.take() {
                Some(connection) => connection,
                None => connect(&self.path).await?,
            };
            connection.execute("BEGIN IMMEDIATE").await?;
            Ok(connection)
        };
        let connection = begun.await.map_err(|error: sqlx::Error| self.failed(&error))?;
        Ok(Work { home, connection })
    }
}

pub(super) async fn connect(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
    private_file::create(path)?;
    let mut connection = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(3))
        .disable_statement_logging()
        .connect()
        .await?;
    for table in TABLES.split_inclusive(';') {
        connection.execute(table).await?;
    }
    Ok(connection)
}

/// 32 random hex digits: nobody guesses another's approval.
pub(super) fn new_id() -> Result<String, RequestError> {
    let mut bytes = [0_u8; 16];
    let internal = || RequestError::new(ErrorCode::Internal, "the system gives no random numbers".to_owned());
    default_provider().secure_random.fill(&mut bytes).map_err(|_| internal())?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
