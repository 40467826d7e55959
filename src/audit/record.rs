//! What one audit record says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};
use serde::Serialize;
use sha2::Sha256;

use crate::base::code::ErrorCode;
use crate::identify::Identity;

/// One request, from the audit's side. Serialised as one JSON document; its shape is `v`.
#[derive(Debug, Clone, Serialize)]
pub struct AuditRecord {
    /// Version of this shape.
    pub v: u32,
    /// When the request came, +08:00, milliseconds.
    pub time: String,
    pub request_id: String,
    /// `None`: no token was shown.
    pub who: Option<Who>,
    pub roles: Vec<String>,
    pub networks: Vec<String>,
    pub address: String,
    pub purpose: Option<String>,
    pub case: Option<String>,
    /// The operation's name in the document, if it has one.
    pub operation: Option<String>,
    /// SHA-256 of the document, hex. Variables are not in it.
    pub document: Option<String>,
    /// What was touched; subjects with equal access stand together.
    pub access: Vec<Access>,
    pub sources: Vec<SourceCall>,
    pub outcome: Outcome,
    /// The error codes of the answer, each once.
    pub errors: BTreeSet<ErrorCode>,
    pub duration_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Who {
    pub id: String,
    pub issuer: String,
}

/// What was done with the same fields of one or more households or persons. Fields are slots or item numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Access {
    /// Entity type.
    pub entity: String,
    /// From [`SubjectKey::subject`].
    pub subjects: BTreeSet<String>,
    /// The relations under which the caller had it.
    pub relations: BTreeSet<String>,
    pub read: BTreeSet<String>,
    pub masked: BTreeSet<String>,
    pub refused: BTreeSet<String>,
    /// Hidden inputs: fetched to find keys or relations, never shown.
    pub used: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct SourceCall {
    pub source: String,
    pub calls: u32,
    /// How they ended: `OK` or an error code, and how many so.
    pub outcomes: BTreeMap<String, u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Outcome {
    /// Everything asked for was answered.
    Answered,
    /// Some fields were refused or unavailable.
    Partial,
    /// Nothing was: the request itself was not accepted.
    Rejected,
}

impl AuditRecord {
    /// A record of a request that came just now, with nothing touched yet.
    pub fn new(request_id: &str, identity: &Identity) -> Self {
        let who = identity.principal.as_ref();
        Self {
            v: 1,
            time: timestamp(Timestamp::now()),
            request_id: request_id.to_owned(),
            who: who.map(|principal| Who { id: principal.id.clone(), issuer: principal.issuer.clone() }),
            roles: identity.roles().into_iter().map(str::to_owned).collect(),
            networks: identity.networks.clone(),
            address: identity.address.to_string(),
            purpose: identity.purpose.clone(),
            case: identity.case.clone(),
            operation: None,
            document: None,
            access: Vec::new(),
            sources: Vec::new(),
            outcome: Outcome::Answered,
            errors: BTreeSet::new(),
            duration_ms: 0,
        }
    }

    /// Adds what was done with one household or person (`access.subjects` is filled in from `subject`).
    pub fn add(&mut self, subject: String, access: Access) {
        let same = |other: &&mut Access| {
            let other = &**other;
            (&other.entity, &other.relations, &other.read) == (&access.entity, &access.relations, &access.read)
                && (&other.masked, &other.refused, &other.used) == (&access.masked, &access.refused, &access.used)
        };
        match self.access.iter_mut().find(same) {
            Some(group) => {
                group.subjects.insert(subject);
            }
            None => self.access.push(Access { subjects: BTreeSet::from([subject]), ..access }),
        }
    }

    /// Counts one call of a source; `failed` says how it ended.
    pub fn called(&mut self, source: &str, failed: Option<ErrorCode>) {
        let outcome = failed.map_or("OK", ErrorCode::as_str).to_owned();
        match self.sources.iter_mut().find(|call| call.source == source) {
            Some(call) => {
                call.calls = call.calls.saturating_add(1);
                let count = call.outcomes.entry(outcome).or_default();
                *count = count.saturating_add(1);
            }
            None => {
                let outcomes = BTreeMap::from([(outcome, 1)]);
                self.sources.push(SourceCall { source: source.to_owned(), calls: 1, outcomes });
            }
        }
    }
}

/// ISO 8601 with milliseconds at +08:00, the only offset of the gateway's times.
pub fn timestamp(at: Timestamp) -> String {
    let zone = TimeZone::fixed(Offset::constant(8));
    at.to_zoned(zone).strftime("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string()
}

/// The key that stands between a subject in the records and its id.
#[derive(Clone)]
pub struct SubjectKey(Arc<[u8]>);

impl SubjectKey {
    pub fn new(key: Arc<[u8]>) -> Self {
        Self(key)
    }

    /// HMAC-SHA256 of entity type and id, hex. The same id gives the same text, so that one household's readers
    /// can be found by whoever has the key.
    pub fn subject(&self, entity: &str, id: &str) -> String {
        // An HMAC takes a key of any length; without one the subject would be guessable, so it is left empty.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return String::new() };
        mac.update(entity.as_bytes());
        mac.update(b"\0");
        mac.update(id.as_bytes());
        hex(&mac.finalize().into_bytes())
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}
