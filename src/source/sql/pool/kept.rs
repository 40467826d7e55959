//! Connections that no call has. What is not used is closed after a while, and what is old is renewed: a firewall forgets
//! connections, a password changes, another server takes over.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use tokio::time::{Instant, sleep_until, timeout};

const TIMES: Times = Times { idle_max: Duration::from_secs(120), age_max: Duration::from_secs(1_800) };
/// For a word of leave, after which the connection is dropped.
const CLOSING_MAX: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    idle_max: Duration,
    age_max: Duration,
}

/// A connection, and when it was opened.
#[derive(Debug)]
pub(super) struct One {
    pub connection: PgConnection,
    opened: Instant,
}

impl One {
    pub fn new(connection: PgConnection) -> Self {
        Self { connection, opened: Instant::now() }
    }
}

#[derive(Debug)]
pub(super) struct Kept {
    times: Times,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    /// With when each is to be closed; the one used last is at the end.
    idle: Vec<(One, Instant)>,
    /// A task looks after them.
    watched: bool,
}

impl Default for Kept {
    fn default() -> Self {
        Self::of(TIMES)
    }
}

impl Kept {
    pub fn of(times: Times) -> Self {
        Self { times, held: Mutex::default() }
    }

    /// The one used last. The others are closed when nobody takes them.
    pub fn take(&self) -> Option<One> {
        let mut held = self.lock();
        let (one, until) = held.idle.pop()?;
        (until > Instant::now()).then_some(one)
    }

    pub fn put(self: &Arc<Self>, one: One) {
        let until = (Instant::now() + self.times.idle_max).min(one.opened + self.times.age_max);
        let mut held = self.lock();
        held.idle.push((one, until));
        if !held.watched {
            held.watched = true;
            tokio::spawn(watch(Arc::downgrade(self)));
        }
    }

    pub fn clear(&self) {
        self.lock().idle.clear();
    }

    /// Those whose time is over, and when the next one's is; none: there are none any more.
    fn over(&self) -> (Vec<One>, Option<Instant>) {
        let mut held = self.lock();
        let now = Instant::now();
        let over: Vec<One> = held.idle.extract_if(.., |(_, until)| *until <= now).map(|(one, _)| one).collect();
        let next = held.idle.iter().map(|(_, until)| *until).min();
        held.watched = next.is_some();
        (over, next)
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        // Only ever changed whole.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes what nobody takes, as long as there is any and the source is there.
async fn watch(kept: Weak<Kept>) {
    loop {
        let Some((over, next)) = kept.upgrade().map(|kept| kept.over()) else { return };
        for one in over {
            let _ = timeout(CLOSING_MAX, one.connection.close()).await;
        }
        match next {
            Some(next) => sleep_until(next).await,
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn open(server: &mut PgConnection, name: &str) -> i64 {
        let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1";
        sqlx::query_scalar(count).bind(name).fetch_one(server).await.unwrap()
    }

    #[tokio::test]
    async fn what_is_idle_or_old_is_closed() {
        let Ok(url) = std::env::var("HUXIANG_TEST_POSTGRES") else {
            println!("skipped: set HUXIANG_TEST_POSTGRES to the address of an empty database");
            return;
        };
        let mut server = PgConnection::connect(&url).await.unwrap();
        let (short, long) = (Duration::from_millis(300), Duration::from_secs(60));
        for (name, idle_max, age_max) in [("kept-idle", short, long), ("kept-old", long, short)] {
            let kept = Arc::new(Kept::of(Times { idle_max, age_max }));
            let connect = async || {
                let url = format!("{url}?application_name={name}");
                One::new(PgConnection::connect(&url).await.unwrap())
            };
            for one in [connect().await, connect().await] {
                kept.put(one);
            }
            let one = kept.take().unwrap();
            assert_eq!(open(&mut server, name).await, 2, "{name}");
            tokio::time::sleep(short * 2).await;
            assert_eq!(open(&mut server, name).await, 1, "{name}: who uses one keeps it");
            assert!(kept.take().is_none());
            // It is watched again.
            kept.put(one);
            assert_eq!(kept.take().is_some(), name == "kept-idle");
            kept.put(connect().await);
            tokio::time::sleep(short * 2).await;
            assert_eq!(open(&mut server, name).await, 0, "{name}");
        }
    }
}
