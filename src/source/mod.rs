//! Calls to sources: adapters turn what a department speaks into UTF-8 JSON, guards keep to what it can bear.

mod audit;
mod blank;
mod charset;
mod cipher;
mod connector;
mod delegation;
mod exchange;
mod failure;
mod graphql;
mod guard;
mod json;
mod link;
mod made;
mod reach;
mod records;
mod rest;
mod secret;
mod session;
mod share;
mod sign;
mod soap;
mod sql;
mod tally;
mod ticket;
mod walk;
mod wire;
mod xml;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::base::code::ErrorCode;
use crate::base::json::Held;
use crate::base::pointer::Pointer;
use crate::model::binding::request::CallTemplate;
use crate::trace::Trace;
pub use audit::AccessLog;
pub use blank::Blanks;
pub use connector::{Connector, Shared};
pub use exchange::{Exchange, Exchanges};
use failure::Failure;
pub(crate) use failure::{Hindrance, Settings, reason};
pub use guard::breaker::{BreakerPhase, BreakerState};
pub use share::{Offer, Together};
pub(crate) use sql::encrypted;
pub use tally::{BOUNDS_US, Counted, LastFailure, Latency};

/// What every call passes on.
#[derive(Debug, Clone, Default)]
pub struct CallContext {
    /// W3C Trace Context, passed on as it is.
    pub traceparent: Option<String>,
    /// Where the spans of its requests are.
    pub trace: Trace,
    pub request_id: String,
    /// Told to sources with `authority: caller`.
    pub caller: Option<Caller>,
    /// Who asks: waiting calls of different principals are served in turn. None: nobody that is known.
    pub principal: Option<Arc<str>>,
    /// Who asks, and all that decides what may be had: tickets are kept for the same asker alone. None: they are not kept.
    pub asker: Option<Arc<str>>,
    /// What the request cuts its lists of audit records to; none: all of them.
    pub periods: Arc<[Period]>,
    /// Of a call that several wait for: these.
    pub waiters: Option<Arc<Waiters>>,
}

/// Those who wait for one call.
#[derive(Debug, Default)]
pub struct Waiters {
    /// One of them waited until its deadline: the call, given up, counts as one without an answer.
    late: AtomicBool,
    /// When the last of them is gone.
    latest: Mutex<Option<Instant>>,
    /// The call waits for its session with the source, not for its turn.
    logs_in: AtomicBool,
}

/// As long as a call waits for its session.
#[derive(Debug)]
struct LogsIn<'w>(&'w Waiters);

impl Drop for LogsIn<'_> {
    fn drop(&mut self) {
        self.0.logs_in.store(false, Ordering::Relaxed);
    }
}

impl CallContext {
    /// Until when a turn is of use to anybody who waits for the call, which has until `deadline`.
    fn turn_until(&self, deadline: Instant) -> Instant {
        let latest = self.waiters.as_ref().and_then(|waiters| waiters.latest());
        latest.map_or(deadline, |latest| latest.min(deadline))
    }
}

impl Waiters {
    fn add(&self, deadline: Instant) {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        *latest = (*latest).max(Some(deadline));
    }

    fn logs_in(&self) -> LogsIn<'_> {
        self.logs_in.store(true, Ordering::Relaxed);
        LogsIn(self)
    }

    /// Why a call has no answer that was waited for until the deadline. Where nothing was sent, it is not the source that did not
    /// answer.
    fn too_late(&self, requests: u32) -> Failure {
        match requests {
            0 if self.logs_in.load(Ordering::Relaxed) => Failure::no_session(),
            0 => Failure::new(ErrorCode::SourceBusy, "the wait for its turn passed the deadline"),
            _ => Failure::timeout(),
        }
    }

    fn latest(&self) -> Option<Instant> {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A time, from its beginning and before its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Period {
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
}

/// In whose name a source is asked.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// Empty for a visitor.
    pub principal: String,
    /// Those of the caller's roles that count for this request.
    pub roles: Vec<String>,
    /// Who asks here in the caller's name, the nearest first.
    pub actors: Vec<String>,
    /// As configured under `principal.claims`.
    pub claims: Map<String, Value>,
    pub purpose: Option<String>,
    pub case: Option<String>,
}

/// One read of a source.
#[derive(Debug, Clone)]
pub struct Fetch<'a> {
    pub template: &'a CallTemplate,
    /// At most [`CallTemplate::batch_max`]; none for listings.
    pub keys: &'a [Arc<str>],
    /// Values of `{name}` and `{arg.name}`, by the names [`CallTemplate::needs_inputs`] gives.
    pub inputs: &'a [(Arc<str>, String)],
    /// For GraphQL and SQL: pointers inside a record; of a list's element: list pointer, then element pointer.
    pub wanted: &'a [Pointer],
    /// The request's own; each call also keeps the source's `timeout_ms`.
    pub deadline: tokio::time::Instant,
    pub context: &'a CallContext,
    /// None: pages are followed to their end, or to the binding's `pages_max`. Some: exactly this page.
    pub page: Option<PageAt>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PageAt {
    First,
    /// A page's number, or how many records lie before it: whichever the source counts.
    Number(u32),
    Cursor(String),
    /// An address of the source's own host.
    Link(String),
}

/// What a read brought. No record for a key: no [`Record`] with its index.
#[derive(Debug, Clone, Default)]
pub struct Fetched {
    /// Of the JSON that records were read from.
    pub bytes: usize,
    /// In the order of the answer.
    pub records: Vec<Record>,
    /// There are further pages (one page was asked for, or `pages_max` came first).
    pub next: Option<PageAt>,
    /// How many the listing has in all, where its binding says where that is told and a whole number stands there.
    pub total: Option<usize>,
    /// Indexes of keys the source answered with an error while it answered others (GraphQL): not "no record".
    pub failed: Vec<u32>,
    /// Indexes of keys of which the source says that what is asked of them is not permitted, or that there is nobody.
    pub refused: Vec<u32>,
    /// What the source says of fields of its records.
    pub remarks: Vec<Remark>,
    /// There were records of keys that were not asked for, or not written so.
    pub strangers: bool,
    /// Requests sent, tries included.
    pub calls: u32,
}

/// What the source says of a field of its records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// `None`: of all keys of the call.
    pub key: Option<u32>,
    /// Inside the record; places in lists left out.
    pub path: Box<[Box<str>]>,
    pub what: Said,
}

/// Why a field is not there, or not in full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// An error kept it.
    Failed,
    Refused,
    /// What is there is a part of the value.
    Masked,
}

#[derive(Debug, Clone)]
pub struct Record {
    /// Index into [`Fetch::keys`]; 0 where one key (or none) was asked for.
    pub key: u32,
    /// Never `null`.
    pub json: Held,
}

/// Why a read failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceError {
    pub code: ErrorCode,
    /// For operators; holds no household's value.
    pub detail: String,
    pub calls: u32,
    /// The endpoint is not there for now: its fallback may be asked.
    pub down: bool,
    /// What the source itself says of it. It may name anybody: it is shown to who tries a binding by hand, and to nobody else.
    pub said: Option<String>,
}
