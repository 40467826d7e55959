//! What one audit record says.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::tz::Offset;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::key::{SubjectDigest, SubjectKey};
use crate::base::code::ErrorCode;
use crate::identify::Identity;
use crate::model::config::watch::Recorded;

/// What a record tells of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Kind {
    /// A request and its answer.
    #[default]
    Request,
    /// A write, before it is forwarded.
    Intent,
    /// How the write ended whose intent is `of`, or the stream that `of` opened; or that what the request's record `of` tells
    /// of was not sent, or went on after its caller was told that it took too long.
    Outcome,
    /// One frame of a stream that `of` opened, which tells of the first.
    Frame,
    /// An approval was asked for, given, refused or withdrawn.
    Approval,
    /// A break-glass access was reviewed.
    BreakGlassReview,
    /// A token or a principal's tokens were revoked.
    Revocation,
    /// Something else was done through the admin API or the command line.
    Admin,
    /// Records were taken out of the store to be read elsewhere.
    Export,
    /// Segments past their time were removed.
    Retention,
    /// Unusual reading was found; `of` is the record with which it was.
    Alert,
    /// The alert `of` was acknowledged.
    Acknowledgement,
    /// A portal's code was exchanged for a token, or got none.
    Login,
    /// Requests of one address that were refused before the contract was looked at: how many, by HTTP status.
    Refusals,
    /// A binding was submitted to the registry, decided on, published or withdrawn.
    Registry,
    /// A version of the contract, the bindings, the rules and the roles came into force: its digest.
    Configuration,
}

impl Kind {
    /// As it stands in the records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request => "REQUEST",
            Self::Intent => "INTENT",
            Self::Outcome => "OUTCOME",
            Self::Frame => "FRAME",
            Self::Approval => "APPROVAL",
            Self::BreakGlassReview => "BREAK_GLASS_REVIEW",
            Self::Revocation => "REVOCATION",
            Self::Admin => "ADMIN",
            Self::Export => "EXPORT",
            Self::Retention => "RETENTION",
            Self::Alert => "ALERT",
            Self::Acknowledgement => "ACKNOWLEDGEMENT",
            Self::Login => "LOGIN",
            Self::Refusals => "REFUSALS",
            Self::Configuration => "CONFIGURATION",
            Self::Registry => "REGISTRY",
        }
    }
}

/// One request or event, from the audit's side. Serialised as one JSON document; its shape is `v`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AuditRecord {
    /// Version of this shape.
    pub v: u32,
    pub kind: Kind,
    /// The record that this one goes on from: a write's intent, a stream's opening, a request that was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<i64>,
    /// When the request came, +08:00, milliseconds.
    pub time: String,
    pub request_id: String,
    /// `None`: no token was shown.
    pub who: Option<Who>,
    /// All of the token's.
    pub roles: Vec<String>,
    /// Of the roles those that counted for this request; `None`: the record does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counting: Option<Vec<String>>,
    pub networks: Vec<String>,
    pub address: String,
    /// One that is not declared here stands as a keyed digest.
    pub purpose: Option<String>,
    /// One that is not of a form which a grant of the roles asks for stands as a keyed digest.
    pub case: Option<String>,
    /// The operation's name in the document, if it has one.
    pub operation: Option<String>,
    /// From [`super::SubjectKey::document`]: a document may hold ids.
    pub document: Option<String>,
    /// The trusted document it was taken from, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document_id: Option<String>,
    /// The operation's variables by name, each as [`super::SubjectKey::argument`] gives it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub arguments: BTreeMap<String, String>,
    /// What was touched; subjects with equal access stand together.
    pub access: Vec<Access>,
    pub sources: Vec<SourceCall>,
    pub outcome: Outcome,
    /// The error codes of the answer, each once.
    pub errors: BTreeSet<ErrorCode>,
    pub duration_ms: u64,
    /// Of the bytes that were sent, from [`super::SubjectKey::answer`]: what was shown can be proven without having
    /// been kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// What an event was about, by names of the caller's choice. Never a household's value; ids only as keyed digests.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, Value>,
    /// The principal's claims, of which the store records what is configured: others may name a household.
    #[serde(skip)]
    pub claims: Map<String, Value>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    pub id: String,
    pub issuer: String,
    /// Who asked in their name, by their token: other gateways, the nearest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub via: Vec<String>,
    /// For which organisation they work, by the claim that `audit.organisation` names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organisation: Option<String>,
    /// For which divisions, by the claim that `audit.divisions` names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub divisions: Vec<String>,
}

/// What was done with the same fields of one or more households or persons. Fields are slots or item numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Access {
    /// Entity type.
    pub entity: String,
    pub subjects: BTreeSet<SubjectDigest>,
    /// The relations under which the caller had it.
    pub relations: BTreeSet<String>,
    /// Those for whom the caller acted in them, as subjects.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub on_behalf_of: BTreeSet<SubjectDigest>,
    /// Permitted, asked for, and answered by their source (that it holds nothing is an answer).
    pub read: BTreeSet<String>,
    /// As `read`, and shown masked.
    pub masked: BTreeSet<String>,
    pub refused: BTreeSet<String>,
    /// Permitted and asked for, and not answered by their source.
    pub unanswered: BTreeSet<String>,
    /// Hidden inputs: fetched to find keys or relations, never shown.
    pub used: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SourceCall {
    pub source: String,
    pub calls: u32,
    /// How they ended: `OK` or an error code, and how many so.
    pub outcomes: BTreeMap<String, u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Outcome {
    /// Everything asked for was answered.
    Answered,
    /// Some fields were refused or unavailable.
    Partial,
    /// Nothing was: the request itself was not accepted.
    Rejected,
}

impl Outcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "ANSWERED",
            Self::Partial => "PARTIAL",
            Self::Rejected => "REJECTED",
        }
    }
}

impl AuditRecord {
    /// A record of a request that came just now, with nothing touched yet.
    pub fn new(request_id: &str, identity: &Identity) -> Self {
        let who = identity.principal.as_ref();
        Self {
            who: who.map(|principal| Who {
                id: principal.id.clone(),
                issuer: principal.issuer.clone(),
                via: principal.actors.clone(),
                ..Who::default()
            }),
            roles: identity.roles().into_iter().map(str::to_owned).collect(),
            networks: identity.networks.clone(),
            address: identity.address.to_string(),
            purpose: identity.purpose.clone(),
            case: identity.case.clone(),
            claims: who.map(|principal| principal.claims.clone()).unwrap_or_default(),
            ..Self::gateway(Kind::Request, request_id)
        }
    }

    /// The roles in which the request was made: those that counted, or all of the token's where the record does not
    /// say which did.
    pub fn acting(&self) -> &[String] {
        self.counting.as_deref().unwrap_or(&self.roles)
    }

    /// A record of what the gateway did by itself, asked by nobody, from nowhere.
    pub fn gateway(kind: Kind, request_id: &str) -> Self {
        Self {
            v: 1,
            kind,
            of: None,
            time: timestamp(Timestamp::now()),
            request_id: request_id.to_owned(),
            who: None,
            roles: Vec::new(),
            counting: None,
            networks: Vec::new(),
            address: String::new(),
            purpose: None,
            case: None,
            operation: None,
            document: None,
            document_id: None,
            arguments: BTreeMap::new(),
            access: Vec::new(),
            sources: Vec::new(),
            outcome: Outcome::Answered,
            errors: BTreeSet::new(),
            duration_ms: 0,
            answer: None,
            details: BTreeMap::new(),
            claims: Map::new(),
        }
    }

    /// Takes over the claims that are recorded.
    pub(super) fn record_claims(&mut self, recorded: &Recorded) {
        let Some(who) = &mut self.who else { return };
        let claim = |name: &Option<String>| name.as_ref().and_then(|name| self.claims.get(name));
        who.organisation = claim(&recorded.organisation).and_then(Value::as_str).map(str::to_owned);
        let divisions = claim(&recorded.divisions).and_then(Value::as_array);
        who.divisions = divisions.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    }

    /// Keeps of purpose and case only what has been agreed on here: a declared purpose, and a case number in the form
    /// that a grant of the caller's roles asks for. Of others a digest stays.
    pub(super) fn record_declared(&mut self, recorded: &Recorded, subjects: &SubjectKey) {
        if let Some(purpose) = self.purpose.as_mut().filter(|purpose| !recorded.purposes.contains(purpose.as_str())) {
            *purpose = subjects.stranger("purpose", purpose);
        }
        let roles = &self.roles;
        let is_agreed = |case: &str| {
            recorded.cases.iter().any(|(role, form)| roles.iter().any(|name| **name == **role) && form.is_match(case))
        };
        if let Some(case) = self.case.as_mut().filter(|case| !is_agreed(case)) {
            *case = subjects.stranger("case", case);
        }
    }

    /// A record of something done that is no query: an approval, a revocation, a look into the records.
    pub fn event(kind: Kind, request_id: &str, identity: &Identity, operation: &str) -> Self {
        Self { kind, operation: Some(operation.to_owned()), ..Self::new(request_id, identity) }
    }

    /// With one more detail (see [`Self::details`]).
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    /// Adds what was done with one household or person (`access.subjects` is filled in from `subject`).
    pub fn add(&mut self, subject: SubjectDigest, access: Access) {
        self.add_all(vec![subject], access);
    }

    /// As [`Self::add`], of many with whom the same was done.
    pub fn add_all(&mut self, subjects: Vec<SubjectDigest>, access: Access) {
        // What differs most often first.
        let same = |other: &&mut Access| {
            let other = &**other;
            (&other.entity, &other.on_behalf_of, &other.relations)
                == (&access.entity, &access.on_behalf_of, &access.relations)
                && (&other.unanswered, &other.refused, &other.used)
                    == (&access.unanswered, &access.refused, &access.used)
                && (&other.masked, &other.read) == (&access.masked, &access.read)
        };
        match self.access.iter_mut().find(same) {
            Some(group) => group.subjects.extend(subjects),
            None => self.access.push(Access { subjects: subjects.into_iter().collect(), ..access }),
        }
    }

    /// Counts one call of a source; `failed` says how it ended.
    pub fn called(&mut self, source: &str, failed: Option<ErrorCode>) {
        let outcome = failed.map_or("OK", ErrorCode::as_str).to_owned();
        // What a quota did not allow was not called.
        let made = u32::from(failed != Some(ErrorCode::QuotaExceeded));
        match self.sources.iter_mut().find(|call| call.source == source) {
            Some(call) => {
                call.calls = call.calls.saturating_add(made);
                let count = call.outcomes.entry(outcome).or_default();
                *count = count.saturating_add(1);
            }
            None => {
                let outcomes = BTreeMap::from([(outcome, 1)]);
                self.sources.push(SourceCall { source: source.to_owned(), calls: made, outcomes });
            }
        }
    }
}

/// ISO 8601 with milliseconds at +08:00, the only offset of the gateway's times.
pub fn timestamp(at: Timestamp) -> String {
    let at = Offset::constant(8).to_datetime(at);
    let (date, time) = (at.date(), at.time());
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}+08:00",
        date.year(),
        date.month(),
        date.day(),
        time.hour(),
        time.minute(),
        time.second(),
        time.millisecond()
    )
}
