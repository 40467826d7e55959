//! Second persons: approvals before a look, reviews after an emergency.
//!
//! An **approval** lets one requester look at one record, for one role, purpose and case, a few times, for a while. A
//! second person gives it, who names the record too: the store knows records only as keyed HMACs. An **emergency**
//! (break-glass) needs nobody beforehand; it is kept with its reason, and until somebody else has reviewed it in time
//! the same person gets no other one.
//!
//! What changes here is in the audit chain before it is in the store: where the two disagree after a crash, nothing
//! was given.

mod emergency;
mod given;
mod rows;
mod store;

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use jiff::Timestamp;
use sqlx::SqliteConnection;
use tokio::sync::Mutex;

use crate::audit::{AuditRecord, AuditStore, Kind, Outcome, SubjectKey};
use crate::base::clock::Clock;
use crate::base::code::ErrorCode;
use crate::engine::authorize::Asking;
use crate::engine::error::RequestError;
use crate::identify::Identity;
use crate::model::access::Access;
use crate::model::config::GatewayConfig;

pub use emergency::{Emergency, Opened, Review};
pub(crate) use given::used_up;
pub use given::{Approval, State, Wanted};

/// The store of approvals and emergencies, an SQLite file of its own. Share one.
pub struct Approvals {
    path: PathBuf,
    subjects: SubjectKey,
    audit: AuditStore,
    clock: Clock,
    /// The purposes and the tokens' issuers that are declared: what callers write is held against them.
    purposes: BTreeSet<String>,
    issuers: BTreeSet<String>,
    /// Taken out while it is used: work that is dropped half-way closes it, and so undoes what it began.
    connection: Mutex<Option<SqliteConnection>>,
}

impl fmt::Debug for Approvals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Approvals").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Who does something, in which request.
#[derive(Debug, Clone, Copy)]
pub struct Act<'a> {
    pub access: &'a Access,
    pub identity: &'a Identity,
    pub request_id: &'a str,
}

/// Somebody with a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    pub id: String,
    pub issuer: String,
}

impl Person {
    pub(crate) fn of(identity: &Identity) -> Result<Self, RequestError> {
        let known = identity.principal.as_ref().ok_or_else(|| {
            RequestError::new(ErrorCode::Unauthenticated, "this needs a token: it is noted who did it".to_owned())
        })?;
        Ok(Self { id: known.id.clone(), issuer: known.issuer.clone() })
    }

    /// Ids alone: the same id of two issuers may well be one person.
    pub(crate) fn may_be(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Act<'_> {
    /// The names of the caller's roles that count here and now.
    fn roles(&self, now: Timestamp) -> Vec<String> {
        // What documents a role runs has nothing to do with what its people decide.
        let asking = Asking { trusted: true, ..Asking::new(self.identity, now) };
        self.access.counting(asking.presented()).map(|role| role.name.to_string()).collect()
    }

    fn event(&self, kind: Kind, operation: &str) -> AuditRecord {
        AuditRecord::event(kind, self.request_id, self.identity, operation)
    }
}

impl Approvals {
    /// The store that a gateway with this configuration has; nothing is opened yet.
    pub fn new(config: &GatewayConfig, subjects: SubjectKey, audit: AuditStore, clock: Clock) -> Self {
        let purposes = config.purposes.keys().cloned().collect();
        let issuers = config.issuers.iter().map(|issuer| issuer.issuer.clone()).collect();
        let path = config.approvals_store();
        Self { path, subjects, audit, clock, purposes, issuers, connection: Mutex::new(None) }
    }

    /// Opens or makes the file, so that what is wrong with it is told at the start. The text is for operators.
    pub async fn open(&self) -> Result<(), String> {
        let opened = store::connect(&self.path).await.map_err(|error| self.explained(&error))?;
        *self.connection.lock().await = Some(opened);
        Ok(())
    }

    fn explained(&self, error: &sqlx::Error) -> String {
        format!("the store of approvals {} cannot be used: {error}", self.path.display())
    }

    fn failed(&self, error: &sqlx::Error) -> RequestError {
        tracing::error!(error = self.explained(error), "approvals and emergencies are refused");
        let message = "approvals and emergencies cannot be kept now, so none counts; try again later";
        RequestError::new(ErrorCode::Internal, message.to_owned())
    }

    /// Ends a change: in the audit chain first, then in the store; or, where it was refused, in the chain alone.
    async fn settle<T>(
        &self,
        work: store::Work<'_>,
        record: AuditRecord,
        done: Result<T, RequestError>,
    ) -> Result<T, RequestError> {
        let unwritten = |error: crate::audit::AuditError| {
            tracing::error!(%error, "the audit record of an approval could not be written: it does not count");
            let message = "the audit record could not be written, so nothing is done; try again later";
            RequestError::new(ErrorCode::AuditUnavailable, message.to_owned())
        };
        match done {
            Ok(value) => {
                self.audit.append(record).await.map_err(unwritten)?;
                work.commit().await.map_err(|error| self.failed(&error))?;
                Ok(value)
            }
            Err(error) => {
                let mut record = record;
                record.outcome = Outcome::Rejected;
                record.errors.insert(error.code);
                work.undo().await;
                self.audit.append(record).await.map_err(unwritten)?;
                Err(error)
            }
        }
    }
}

fn refused(message: impl Into<String>) -> RequestError {
    RequestError::new(ErrorCode::Forbidden, message.into())
}

fn malformed(message: impl Into<String>) -> RequestError {
    RequestError::new(ErrorCode::BadRequest, message.into())
}
