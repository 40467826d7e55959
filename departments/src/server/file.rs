//! The housing department's database: a SQLite file for a bounded set of villages, in a directory of its own.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

/// A directory that goes with this value.
pub(super) struct Directory(PathBuf);

impl Directory {
    pub(super) fn make() -> io::Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("huxiang-demo-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file that only its owner may read and gives its path.
    pub(super) fn write(&self, name: &str, text: &str) -> io::Result<String> {
        let path = self.0.join(name);
        std::fs::write(&path, text)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        }
        Ok(path.display().to_string())
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs the statements into a new file, all or none.
pub(super) async fn write_database(path: &Path, statements: impl Iterator<Item = String>) -> io::Result<()> {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    // The statements are the data: a demo's log at debug level would hold every household.
    let mut connection = options.disable_statement_logging().connect().await.map_err(io::Error::other)?;
    let around = |statement: &str| std::iter::once(statement.to_owned());
    for statement in around("BEGIN").chain(statements).chain(around("COMMIT")) {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await.map_err(io::Error::other)?;
    }
    connection.close().await.map_err(io::Error::other)
}
