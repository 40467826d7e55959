//! A connection and its client, made anew when a file of secrets that they are made of changes.
//!
//! Calls under way end with what they began with. What cannot be used (a certificate whose key is not there yet) is not used
//! at once: for a moment the last counts, as with a file that is missing for one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::connector::{Shared, Way};
use super::failure::Failure;
use super::secret::Secrets;
use crate::base::code::ErrorCode;
use crate::model::binding::connection::Connection;
use crate::model::binding::connection::sign::Secret;

/// Longer than between two looks at a file.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// What calls are made with.
#[derive(Debug)]
pub(crate) struct Ready {
    pub connection: Connection,
    pub way: Way,
}

#[derive(Debug)]
pub(crate) struct Made {
    ready: ArcSwap<Ready>,
    /// None: nothing of it stands in files.
    files: Option<Files>,
}

#[derive(Debug)]
struct Files {
    shared: Shared,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What the files held when it was made; empty: not looked at yet.
    texts: Vec<Secret>,
    /// What they held when that was of no use, since when, and why.
    useless: Option<(Vec<Secret>, Instant, String)>,
}

impl Made {
    pub fn new(connection: &Connection, shared: &Shared) -> Result<Self, String> {
        let files = Files { shared: shared.clone(), state: Mutex::default() };
        let made = Self::of(connection, shared.way(connection)?);
        Ok(Self { files: (!connection.mounted.is_empty()).then_some(files), ..made })
    }

    pub fn of(connection: &Connection, way: Way) -> Self {
        Self { ready: ArcSwap::from_pointee(Ready { connection: connection.clone(), way }), files: None }
    }

    /// With what the files hold now.
    pub fn now(&self, connection: &Connection, secrets: &Secrets) -> Result<Arc<Ready>, Failure> {
        let Some(files) = &self.files else { return Ok(self.ready.load_full()) };
        let texts: Vec<Secret> =
            connection.mounted.iter().map(|(_, origin)| secrets.read(origin)).collect::<Result<_, _>>()?;
        let mut state = files.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.texts == texts {
            state.useless = None;
            return Ok(self.ready.load_full());
        }
        let known = state.useless.take().filter(|(tried, _, _)| *tried == texts);
        let (since, why) = match known {
            Some((_, since, why)) => (since, why),
            None => match files.make(connection, &texts) {
                Ok(ready) => {
                    self.ready.store(Arc::new(ready));
                    state.texts = texts;
                    return Ok(self.ready.load_full());
                }
                Err(why) => (Instant::now(), why),
            },
        };
        state.useless = Some((texts, since, why.clone()));
        if since.elapsed() < PATIENCE {
            Ok(self.ready.load_full())
        } else {
            Err(Failure::new(ErrorCode::Internal, why))
        }
    }
}

impl Files {
    fn make(&self, connection: &Connection, texts: &[Secret]) -> Result<Ready, String> {
        let connection = connection.with(texts)?;
        let way = self.shared.way(&connection)?;
        Ok(Ready { connection, way })
    }
}
