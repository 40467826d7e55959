//! Databases, and what happens to them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, SqliteConnection};

use super::CANARY;

/// What happens to a database.
#[derive(Clone, Copy)]
pub enum Sql {
    Nothing,
    /// Its file is taken away; brought back, it is another one.
    Gone,
    /// Somebody writes, and does not end.
    Locked,
    /// Its file is none of a database.
    Junk,
    /// Its view is not there.
    NoView,
    /// Its view is this instead; `{held}` is what a good record holds.
    View(&'static str),
    /// The server ends the connection while it works.
    Terminated,
    /// The server has ended all connections before.
    TerminatedBefore,
}

const SQLITE: &str = "CREATE VIEW things AS SELECT 'x' AS id, 'held by sqlite' AS text, 7 AS count, '12.5' AS amount";
const POSTGRES: &str =
    "CREATE VIEW fault_things AS SELECT 'x' AS id, 'held by postgres' AS text, 7 AS count, '12.5' AS amount";

pub struct Sqlite {
    pub path: PathBuf,
    lock: Option<SqliteConnection>,
}

impl Sqlite {
    pub async fn new(folder: &Path) -> Self {
        let new = Self { path: folder.join("things.sqlite"), lock: None };
        new.fill(SQLITE).await;
        new
    }

    async fn opened(&self) -> SqliteConnection {
        // What the test itself does is not to be in the log.
        let options = SqliteConnectOptions::new().filename(&self.path).create_if_missing(true);
        options.disable_statement_logging().connect().await.unwrap()
    }

    async fn fill(&self, view: &str) {
        let mut connection = self.opened().await;
        for statement in ["DROP VIEW IF EXISTS things", view] {
            connection.execute(AssertSqlSafe(statement.to_owned())).await.unwrap();
        }
        connection.close().await.unwrap();
    }

    pub async fn suffer(&mut self, sql: Sql) {
        match sql {
            Sql::Gone => std::fs::remove_file(&self.path).unwrap(),
            Sql::Locked => {
                let mut connection = self.opened().await;
                connection.execute("BEGIN EXCLUSIVE").await.unwrap();
                self.lock = Some(connection);
            }
            Sql::Junk => std::fs::write(&self.path, CANARY.repeat(1_000)).unwrap(),
            Sql::NoView => self.fill("SELECT 1").await,
            Sql::View(view) => {
                let view = view.replace("{held}", "held by sqlite");
                self.fill(&format!("CREATE VIEW things AS {view}")).await;
            }
            Sql::Nothing | Sql::Terminated | Sql::TerminatedBefore => {}
        }
    }

    pub async fn recover(&mut self, sql: Sql) {
        if let Some(lock) = self.lock.take() {
            lock.close().await.unwrap();
        }
        if matches!(sql, Sql::Junk) {
            std::fs::remove_file(&self.path).unwrap();
        }
        self.fill(SQLITE).await;
    }
}

/// A server of somebody's own, where there is one.
pub struct Postgres {
    own: PgConnection,
}

impl Postgres {
    pub async fn new(url: &str) -> Self {
        let options: PgConnectOptions = url.parse().unwrap();
        let mut new = Self { own: options.disable_statement_logging().connect().await.unwrap() };
        new.fill(POSTGRES).await;
        new
    }

    async fn fill(&mut self, view: &str) {
        for statement in ["DROP VIEW IF EXISTS fault_things", view] {
            self.own.execute(AssertSqlSafe(statement.to_owned())).await.unwrap();
        }
    }

    async fn terminate(&mut self, which: &str) -> usize {
        let query = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'huxiang' \
             AND datname = current_database() AND pid <> pg_backend_pid() {which}"
        );
        self.own.fetch_all(AssertSqlSafe(query)).await.unwrap().len()
    }

    pub async fn suffer(&mut self, sql: Sql) {
        match sql {
            Sql::NoView => self.fill("SELECT 1").await,
            Sql::View(view) => {
                let view = view.replace("{held}", "held by postgres");
                self.fill(&format!("CREATE VIEW fault_things AS {view}")).await;
            }
            Sql::Terminated => {
                self.fill(
                    "CREATE VIEW fault_things AS SELECT 'x' AS id, 'late' AS text, 7 AS count, pg_sleep(5)::text AS amount",
                )
                .await;
            }
            Sql::TerminatedBefore => assert!(self.terminate("").await > 0, "there was a connection"),
            Sql::Nothing | Sql::Gone | Sql::Locked | Sql::Junk => {}
        }
    }

    /// While the request waits.
    pub async fn meanwhile(&mut self, sql: Sql) {
        while matches!(sql, Sql::Terminated)
            && self.terminate("AND state = 'active' AND query LIKE '%fault_things%'").await == 0
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn recover(&mut self) {
        self.fill(POSTGRES).await;
    }

    pub async fn end(mut self) {
        self.fill("SELECT 1").await;
    }
}
