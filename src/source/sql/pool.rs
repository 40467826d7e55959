//! Connections to a database: opened when a call finds none, and kept for the next one only while nothing says that they
//! are broken.
//!
//! Not sqlx's own pool: that goes on trying where nothing listens, waits without end for a connection that was given up in the
//! middle of an answer, and logs what servers say.

mod kept;

use std::sync::Arc;
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgDatabaseError, PgSeverity};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout, timeout_at};

use crate::base::code::ErrorCode;
use crate::base::places::Place;
use crate::source::failure::Failure;
use crate::source::guard::Lane;
use kept::{Kept, One};

/// A connection that does not say that it is there for so long is not.
const PING_MAX: Duration = Duration::from_millis(500);
/// How long after its time a statement may take to end, until its connection is given up.
const ENDING_MAX: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Sqlite {
    options: SqliteConnectOptions,
}

/// A connection for one call: an open file is read on when it has been replaced or taken away.
#[derive(Debug)]
pub(super) struct Opened {
    connection: Option<SqliteConnection>,
    place: Option<Place<Lane>>,
}

impl Sqlite {
    pub fn new(options: SqliteConnectOptions) -> Self {
        Self { options }
    }

    /// Opening may hang with its thread, where the file lies on another machine: its place is free when that has ended, also
    /// where nobody waits for it any more.
    pub(super) async fn open(&self, place: Option<Place<Lane>>) -> Result<Opened, Failure> {
        let options = self.options.clone();
        let opening = tokio::spawn(async move {
            let connection = options.connect().await.map_err(unreachable)?;
            Ok(Opened { connection: Some(connection), place })
        });
        opening.await.map_err(|_| closed())?
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
    /// At most as many as there are places.
    kept: Arc<Kept>,
}

/// A connection that a call has. Where it is dropped without more, a statement may be under way: it is kept, and its place is
/// free, when the server has ended that.
#[derive(Debug)]
pub(super) struct Lent {
    /// Until it is given back or cut.
    one: Option<(One, Option<Place<Lane>>)>,
    kept: Arc<Kept>,
    deadline: Instant,
}

impl Postgres {
    pub fn new(options: PgConnectOptions) -> Self {
        Self { options, kept: Arc::default() }
    }

    /// The server ends statements on it at the deadline: it is told that by the same round trip that tells whether the
    /// connection is there, or by the one that opens it.
    pub(super) async fn lend(&self, place: Option<Place<Lane>>, deadline: Instant) -> Result<Lent, Failure> {
        let one = match self.kept(deadline).await {
            Some(one) => one,
            None => {
                let options = self.options.clone().options([("statement_timeout", left_ms(deadline))]);
                One::new(options.connect().await.map_err(unreachable)?)
            }
        };
        Ok(Lent { one: Some((one, place)), kept: Arc::clone(&self.kept), deadline })
    }

    /// One that is there. Where one is not, the others are not tried: they were ended together.
    async fn kept(&self, deadline: Instant) -> Option<One> {
        let mut one = self.kept.take()?;
        // With a parameter, so that the server's statistics count it as one statement.
        let limited = sqlx::query("SELECT set_config('statement_timeout', $1, false)").bind(left_ms(deadline));
        match timeout(PING_MAX, limited.execute(&mut one.connection)).await {
            Ok(Ok(_)) => Some(one),
            // Under the time of the call before, which was short.
            Ok(Err(error)) if is_of_statement(&error) => None,
            Ok(Err(_)) => {
                self.kept.clear();
                None
            }
            // It is slow: that says nothing of the others.
            Err(_) => None,
        }
    }
}

/// At least one: none would be no limit.
fn left_ms(deadline: Instant) -> String {
    deadline.saturating_duration_since(Instant::now()).as_millis().max(1).to_string()
}

impl Lent {
    pub fn connection(&mut self) -> Result<&mut PgConnection, Failure> {
        self.one.as_mut().map(|(one, _)| &mut one.connection).ok_or_else(closed)
    }

    /// After an answer that was read to its end, or a statement's own error.
    pub fn give_back(mut self) {
        if let Some((one, place)) = self.one.take() {
            self.kept.put(one);
            drop(place);
        }
    }

    /// Closes it: it is broken, or more would come than is wanted. The server ends the statement when it cannot send.
    pub fn cut(mut self) {
        self.one = None;
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let (Some((mut one, place)), Ok(runtime)) = (self.one.take(), Handle::try_current()) else { return };
        let (kept, until) = (Arc::clone(&self.kept), self.deadline + ENDING_MAX);
        runtime.spawn(async move {
            if timeout_at(until, ended(&mut one.connection)).await == Ok(true) {
                kept.put(one);
            }
            drop(place);
        });
    }
}

/// Reads on until nothing is under way; whether the connection is good then.
async fn ended(connection: &mut PgConnection) -> bool {
    // The first may tell how the statement ended.
    for _ in 0..2 {
        match connection.ping().await {
            Ok(()) => return true,
            Err(error) if is_of_statement(&error) => {}
            Err(_) => return false,
        }
    }
    false
}

/// Whether a statement failed, and the connection it was sent on did not: where a value or a name is wrong, a right is missing, or
/// its time was over. After anything else a new connection is the better choice.
pub(super) fn is_of_statement(error: &sqlx::Error) -> bool {
    let error = error.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>());
    error.is_some_and(|error| {
        let code = error.code();
        let is_known = code == "57014" || ["22", "23", "42"].iter().any(|class| code.starts_with(class));
        is_known && error.severity() == PgSeverity::Error
    })
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
