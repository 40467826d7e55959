//! Connections to a database: opened when a call finds none, and kept for the next one only while nothing says that they
//! are broken.
//!
//! Not sqlx's own pool: that goes on trying where nothing listens, waits without end for a connection that was given up in the
//! middle of an answer, and logs what servers say.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};

use crate::base::code::ErrorCode;
use crate::source::failure::Failure;

/// A connection that was not used for so long is not used again: a firewall may have forgotten it.
const IDLE_MAX: Duration = Duration::from_secs(300);
/// One that does not say that it is there for so long is not.
const PING_MAX: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(crate) struct Sqlite {
    options: SqliteConnectOptions,
    places: Arc<Semaphore>,
}

/// A connection for one call: an open file is read on when it has been replaced or taken away.
#[derive(Debug)]
pub(super) struct Opened {
    connection: Option<SqliteConnection>,
    place: Option<OwnedSemaphorePermit>,
}

impl Sqlite {
    pub fn new(options: SqliteConnectOptions, connections_max: usize) -> Self {
        Self { options, places: Arc::new(Semaphore::new(connections_max)) }
    }

    pub(super) async fn open(&self) -> Result<Opened, Failure> {
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| closed())?;
        let connection = self.options.connect().await.map_err(unreachable)?;
        Ok(Opened { connection: Some(connection), place: Some(place) })
    }
}

impl Opened {
    pub fn connection(&mut self) -> Result<&mut SqliteConnection, Failure> {
        self.connection.as_mut().ok_or_else(closed)
    }
}

impl Drop for Opened {
    /// Its place is free when its thread has ended: a statement may be under way.
    fn drop(&mut self) {
        let (Some(connection), Ok(runtime)) = (self.connection.take(), Handle::try_current()) else { return };
        let place = self.place.take();
        runtime.spawn(async move {
            let _ = connection.close().await;
            drop(place);
        });
    }
}

#[derive(Debug)]
pub(crate) struct Postgres {
    options: PgConnectOptions,
    places: Semaphore,
    /// At most as many as there are places; the one used last is at the end.
    idle: Mutex<Vec<(PgConnection, Instant)>>,
}

/// A connection that a call has; it ends with the call, unless it is given back.
#[derive(Debug)]
pub(super) struct Lent<'p> {
    pub connection: PgConnection,
    pool: &'p Postgres,
    _place: SemaphorePermit<'p>,
}

impl Postgres {
    pub fn new(options: PgConnectOptions, connections_max: usize) -> Self {
        Self { options, places: Semaphore::new(connections_max), idle: Mutex::default() }
    }

    pub(super) async fn lend(&self) -> Result<Lent<'_>, Failure> {
        let place = self.places.acquire().await.map_err(|_| closed())?;
        let connection = match self.kept().await {
            Some(connection) => connection,
            None => self.options.connect().await.map_err(unreachable)?,
        };
        Ok(Lent { connection, pool: self, _place: place })
    }

    /// One that is there. Where one is not, the others are not tried: they were ended together.
    async fn kept(&self) -> Option<PgConnection> {
        let (mut connection, since) = self.lock().pop()?;
        if since.elapsed() >= IDLE_MAX {
            self.lock().clear();
            return None;
        }
        match timeout(PING_MAX, connection.ping()).await {
            Ok(Ok(())) => Some(connection),
            Ok(Err(_)) => {
                self.lock().clear();
                None
            }
            // It is slow: that says nothing of the others.
            Err(_) => None,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(PgConnection, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lent<'_> {
    /// After an answer that was read to its end.
    pub fn give_back(self) {
        self.pool.lock().push((self.connection, Instant::now()));
    }
}

fn closed() -> Failure {
    Failure::new(ErrorCode::Internal, "there are no connections to the database any more")
}

/// What servers and drivers say may hold values; codes do not.
fn unreachable(error: sqlx::Error) -> Failure {
    let why = match &error {
        sqlx::Error::Database(error) => {
            format!("the database cannot be opened (code {})", error.code().unwrap_or_default())
        }
        sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            "the database cannot be reached: nothing listens at its address and port".to_owned()
        }
        _ => "the database cannot be reached".to_owned(),
    };
    Failure::down(ErrorCode::SourceUnreachable, why)
}
