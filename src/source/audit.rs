//! The gateway's own audit records as a source: who read what of an entity, and why, newest first.
//!
//! What is not to be shown is left out here, before anything is counted or cut: a hidden look leaves no trace.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tokio::time::timeout_at;

use super::connector::Call;
use super::failure::Failure;
use super::json::Rewritten;
use super::records::PageEnd;
use super::{Fetched, Period, Record};
use crate::audit::{self, AuditRecord, PAGE_MAX, Reader, Search, SubjectDigest, SubjectKey};
use crate::base::clock::Clock;
use crate::base::code::ErrorCode;
use crate::model::binding::request::AuditAsk;
use crate::model::config::watch::{AccessLogConfig, Hidden};
use crate::model::snapshot::Snapshot;

/// The records, and what their names are called.
#[derive(Debug)]
pub struct AccessLog {
    reader: Reader,
    subjects: SubjectKey,
    config: AccessLogConfig,
    roles: HashMap<Arc<str>, Arc<str>>,
    organisations: HashMap<Arc<str>, Arc<str>>,
    /// By entity type and name in the records.
    fields: HashMap<(Arc<str>, Arc<str>), Field>,
    clock: Clock,
    /// Of one period: one more than any list of the contract shows, so that it can be told that there are more.
    looks_max: usize,
}

/// What a name in the records stands for.
#[derive(Debug)]
struct Field {
    item: Option<Arc<str>>,
    title: Option<Arc<str>>,
    /// It tells of single other entities, and stands with each of those instead.
    elsewhere: bool,
}

/// One look, as bindings read it.
#[derive(Debug, Serialize)]
struct Look<'l> {
    at: &'l str,
    roles: Vec<&'l str>,
    organisation: Option<&'l str>,
    principal: Option<&'l str>,
    purpose: Option<&'l str>,
    case: Option<&'l str>,
    fields: Vec<LookedAt<'l>>,
}

#[derive(Debug, Serialize)]
struct LookedAt<'l> {
    /// The item's number; null for fields that are of no item.
    no: Option<&'l str>,
    /// As it stands in the records: an item's number or a path.
    name: &'l str,
    title: Option<&'l str>,
    masked: bool,
}

impl AccessLog {
    /// `clock`: how old a look is.
    pub fn new(snapshot: &Snapshot, clock: Clock) -> Self {
        let named = |source: &crate::model::binding::Source| (Arc::clone(&source.id), Arc::clone(&source.title));
        let firsts = snapshot.contract.slots.iter().filter_map(|slot| slot.list.as_ref()).map(|list| list.first_max);
        Self {
            reader: Reader::new(&snapshot.config.audit.store),
            subjects: SubjectKey::new(Arc::clone(&snapshot.config.audit.key)),
            config: snapshot.config.access_log.clone(),
            roles: snapshot.access.roles.iter().map(|role| (Arc::clone(&role.name), Arc::clone(&role.title))).collect(),
            organisations: snapshot.bindings.sources.iter().map(named).collect(),
            fields: fields(snapshot),
            clock,
            looks_max: firsts.max().unwrap_or_default().saturating_add(1),
        }
    }

    /// The newest looks of a period at one subject, by the records' numbers; at most `looks_max`.
    async fn looks(
        &self,
        entity: &Arc<str>,
        subject: SubjectDigest,
        period: &Period,
        now: Timestamp,
        found: &mut BTreeMap<i64, AuditRecord>,
    ) -> Result<(), audit::ReadError> {
        let mut search =
            Search { subject: Some(subject), from: period.from, to: period.to, first: PAGE_MAX, ..Search::default() };
        let mut count = 0;
        loop {
            let page = self.reader.search(&search).await?;
            for entry in page.entries {
                search.before = Some(entry.seq);
                if count < self.looks_max && self.shows(entity, &entry.record, subject, now) {
                    count += 1;
                    found.insert(entry.seq, entry.record);
                }
            }
            if !page.has_more || count >= self.looks_max {
                return Ok(());
            }
        }
    }

    /// Whether something of the subject was read, and the look is neither too young nor hidden.
    fn shows(&self, entity: &Arc<str>, record: &AuditRecord, subject: SubjectDigest, now: Timestamp) -> bool {
        let mut accesses = record.access.iter().filter(|access| access.subjects.contains(&subject));
        let read =
            accesses.any(|access| access.read.iter().chain(&access.masked).any(|name| self.is_here(entity, name)));
        let Ok(at) = record.time.parse::<Timestamp>() else { return false };
        let age = now.duration_since(at);
        let young = age < SignedDuration::from_hours(i64::from(self.config.delay_hours));
        let hides = |hidden: &&Hidden| {
            let by_role = hidden.roles.is_empty() || record.acting().iter().any(|role| hidden.roles.contains(role));
            let by_purpose = hidden.purposes.is_empty()
                || record.purpose.as_ref().is_some_and(|purpose| hidden.purposes.contains(purpose));
            let still = |days: u32| age < SignedDuration::from_hours(i64::from(days).saturating_mul(24));
            by_role && by_purpose && hidden.until_days.is_none_or(still)
        };
        read && !young && self.config.hidden.iter().find(hides).is_none()
    }

    /// Whether a name of the records stands with this entity.
    fn is_here(&self, entity: &Arc<str>, name: &str) -> bool {
        self.field(entity, name).is_none_or(|field| !field.elsewhere)
    }

    fn field(&self, entity: &Arc<str>, name: &str) -> Option<&Field> {
        self.fields.get(&(Arc::clone(entity), name.into()))
    }

    fn look<'l>(&'l self, entity: &Arc<str>, subject: SubjectDigest, record: &'l AuditRecord) -> Look<'l> {
        let title =
            |titles: &'l HashMap<Arc<str>, Arc<str>>, name: &'l str| titles.get(name).map_or(name, |title| title);
        let who = record.who.as_ref();
        let mut fields: Vec<LookedAt<'l>> = Vec::new();
        for access in record.access.iter().filter(|access| access.subjects.contains(&subject)) {
            for (names, masked) in [(&access.read, false), (&access.masked, true)] {
                let here = names.iter().filter(|name| self.is_here(entity, name));
                fields.extend(here.map(|name| self.looked_at(entity, name, masked)));
            }
        }
        fields.sort_by(|a, b| (order(a.name), a.name, a.masked).cmp(&(order(b.name), b.name, b.masked)));
        fields.dedup_by(|a, b| a.name == b.name && a.masked == b.masked);
        Look {
            at: &record.time,
            roles: record.acting().iter().map(|role| title(&self.roles, role)).collect(),
            organisation: who.and_then(|who| who.organisation.as_deref()).map(|id| title(&self.organisations, id)),
            principal: who.map(|who| who.id.as_str()).filter(|_| self.config.show_principal),
            purpose: record.purpose.as_deref().filter(|purpose| !audit::is_digest(purpose)),
            case: record.case.as_deref().filter(|case| !audit::is_digest(case)),
            fields,
        }
    }

    fn looked_at<'l>(&'l self, entity: &Arc<str>, name: &'l str, masked: bool) -> LookedAt<'l> {
        // An item of another entity, in which this one was told of.
        let other = || self.fields.iter().find(|((_, known), field)| **known == *name && field.item.is_some());
        let field = self.field(entity, name).or_else(|| other().map(|(_, field)| field));
        let no = field.and_then(|field| field.item.as_deref());
        LookedAt { no, name, title: field.and_then(|field| field.title.as_deref()), masked }
    }
}

/// Items by their numbers, everything else by its path behind them.
fn order(name: &str) -> (bool, u32) {
    name.parse().map_or((true, 0), |number| (false, number))
}

/// What the names of the records stand for: an item's number for all fields of the item, the path for others.
fn fields(snapshot: &Snapshot) -> HashMap<(Arc<str>, Arc<str>), Field> {
    let contract = &snapshot.contract;
    let mut fields = HashMap::new();
    for slot in contract.slots.iter().filter(|slot| !slot.hidden) {
        let entity = Arc::clone(&contract.entity(slot.entity).name);
        let elsewhere = snapshot.subjects.of_each(slot.id).is_some();
        let (name, field) = match slot.item.map(|item| contract.item(item)) {
            Some(item) => {
                let field = Field { item: Some(Arc::clone(&item.no)), title: Some(Arc::clone(&item.zh)), elsewhere };
                (Arc::clone(&item.no), field)
            }
            None => (Arc::clone(&slot.path), Field { item: None, title: contract.description(slot.id), elsewhere }),
        };
        // An item stands elsewhere only if all of it does.
        let known = fields.entry((entity, name)).or_insert(field);
        known.elsewhere &= elsewhere;
    }
    fields
}

/// All looks at the keys of one call; there are no pages.
pub(crate) async fn page(
    call: &Call<'_>,
    log: Option<&AccessLog>,
    ask: &AuditAsk,
    out: &mut Fetched,
) -> Result<PageEnd, Failure> {
    let log = log.ok_or_else(|| Failure::new(ErrorCode::Internal, "there are no audit records behind this source"))?;
    let permit = call.enter().await?;
    call.count();
    let read = timeout_at(call.deadline, run(call, log, ask, out)).await;
    drop(permit);
    read.unwrap_or_else(|_| Err(Failure::timeout()))
}

async fn run(call: &Call<'_>, log: &AccessLog, ask: &AuditAsk, out: &mut Fetched) -> Result<PageEnd, Failure> {
    let whole = [Period::default()];
    let periods: &[Period] = match call.fetch.context.periods.as_ref() {
        [] => &whole,
        periods => periods,
    };
    let (now, max) = (log.clock.now(), call.connection().limits.answer_bytes_max);
    let mut written = Rewritten::with_capacity(0);
    for (at, key) in (0..).zip(call.fetch.keys) {
        let subject = log.subjects.subject(&ask.entity, key);
        let mut found = BTreeMap::new();
        for period in periods {
            log.looks(&ask.entity, subject, period, now, &mut found).await.map_err(unreadable)?;
        }
        for record in found.values().rev() {
            let look = log.look(&ask.entity, subject, record);
            let look = serde_json::to_string(&look).map_err(|_| Failure::bad("a record cannot be told"))?;
            written.next(at).push_str(&look);
            if written.len() > max {
                return Err(Failure::bad(format!("the answer is larger than {max} bytes (limits.answer_bytes_max)")));
            }
        }
    }
    let (json, found) = written.read()?;
    out.bytes += json.text().len();
    let count = found.len();
    out.records.extend(found.into_iter().map(|(key, json)| Record { key, json }));
    Ok(PageEnd { count, ..PageEnd::default() })
}

fn unreadable(error: audit::ReadError) -> Failure {
    Failure::new(ErrorCode::SourceUnreachable, error.to_string())
}
