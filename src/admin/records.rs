//! For auditors: the records themselves, and the state of their chain. Nothing here changes anything.

use async_graphql::types::Json;
use async_graphql::{Context, InputObject, Object, Result, SimpleObject};
use serde_json::Value;

use super::inputs::{bad, first, from, to};
use super::session::{Only, Session, auditor, refused, session};
use crate::audit::{Entry, Kind, PAGE_MAX, ReadError, Search, SubjectKey};
use crate::base::code::ErrorCode;
use crate::model::config::admin::Part;

const FIRST_DEFAULT: usize = 50;
const FIRST_MAX: usize = 200;
/// Records looked at for one page; what is found in them may be less than a page.
const PAGES_MAX: usize = 10;

#[derive(Default)]
pub struct RecordQuery;

/// Which records; all conditions hold together.
#[derive(InputObject, Default)]
struct RecordFilter {
    /// A day, or a time with its offset.
    from: Option<String>,
    /// A day, which is included, or a time with its offset.
    to: Option<String>,
    /// Kinds, such as `REQUEST` or `ALERT`.
    kinds: Option<Vec<String>>,
    /// Who asked.
    principal: Option<String>,
    purpose: Option<String>,
    case: Option<String>,
    request_id: Option<String>,
    /// Whose data: an entity by its type and key. The key is digested before anything is looked for.
    subject: Option<Subject>,
}

#[derive(InputObject)]
struct Subject {
    entity: String,
    key: String,
}

/// Records, newest first.
#[derive(SimpleObject)]
struct RecordPage {
    records: Vec<Record>,
    /// Ask again with this as `before`; null: there are no more.
    next: Option<i64>,
}

#[derive(SimpleObject)]
struct Record {
    /// Its number in the chain.
    seq: i64,
    segment: u32,
    /// The chain's hash at this record.
    hash: String,
    time: String,
    kind: &'static str,
    /// The whole record.
    record: Json<Value>,
}

/// The chain as the gateway writes it.
#[derive(SimpleObject)]
struct AuditState {
    /// The number of the newest record.
    seq: i64,
    segment: u32,
    /// The chain's hash there.
    hash: String,
    algorithm: &'static str,
    /// The last record could be written.
    writable: bool,
}

#[Object]
impl RecordQuery {
    /// Audit records, newest first.
    #[graphql(guard = "Only(&[Part::Auditor])", visible = "auditor")]
    async fn audit_records(
        &self,
        context: &Context<'_>,
        #[graphql(default)] filter: RecordFilter,
        before: Option<i64>,
        #[graphql(name = "first")] wanted: Option<usize>,
    ) -> Result<RecordPage> {
        let session = session(context)?;
        let first = first(wanted, FIRST_DEFAULT, FIRST_MAX)?;
        let subject = filter.subject.as_ref().map(|of| session.gateway.subjects().subject(&of.entity, &of.key));
        if let Some(subject) = subject {
            session.detail("subject", &subject.to_string());
        }
        filter.note(session);
        let kinds = kinds(&filter)?;
        kinds.iter().for_each(|kind| session.detail("kinds", kind.as_str()));
        let mut search = Search {
            subject,
            kinds,
            from: filter.from.as_deref().map(from).transpose()?,
            to: filter.to.as_deref().map(to).transpose()?,
            before,
            first: if filter.is_by_text() { PAGE_MAX } else { first },
        };
        let reader = session.gateway.audit().reader();
        let mut page = RecordPage { records: Vec::new(), next: None };
        for _ in 0..PAGES_MAX {
            let found = reader.search(&search).await.map_err(|error| unreadable(&session.request_id, &error))?;
            for entry in found.entries {
                if page.records.len() == first {
                    page.next = search.before;
                    return Ok(page);
                }
                search.before = Some(entry.seq);
                if filter.fits(&entry, session.gateway.subjects()) {
                    page.records.push(record(entry)?);
                }
            }
            page.next = search.before.filter(|_| found.has_more);
            if !found.has_more || page.records.len() == first {
                break;
            }
        }
        Ok(page)
    }

    /// The chain as it is written now. Whether it holds is proven from outside: `huxiang audit verify`.
    #[graphql(guard = "Only(&[Part::Auditor])", visible = "auditor")]
    async fn audit_state(&self, context: &Context<'_>) -> Result<AuditState> {
        let store = session(context)?.gateway.audit();
        let head = store.head().borrow().clone();
        Ok(AuditState {
            seq: head.seq,
            segment: head.segment,
            hash: head.hash.iter().map(|byte| format!("{byte:02x}")).collect(),
            algorithm: head.algorithm.as_str(),
            writable: store.is_healthy(),
        })
    }
}

impl RecordFilter {
    /// Notes for the audit what is asked for; the subject, which has a digest of its own, has been noted.
    fn note(&self, session: &Session) {
        let subjects = session.gateway.subjects();
        let texts = [
            ("from", &self.from),
            ("to", &self.to),
            ("principal", &self.principal),
            ("purpose", &self.purpose),
            ("case", &self.case),
            ("requestId", &self.request_id),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                session.detail(name, &subjects.argument(name, text));
            }
        }
    }

    /// Whether it asks for what the store has no index of.
    fn is_by_text(&self) -> bool {
        self.principal.is_some() || self.purpose.is_some() || self.case.is_some() || self.request_id.is_some()
    }

    fn fits(&self, entry: &Entry, subjects: &SubjectKey) -> bool {
        let record = &entry.record;
        let is =
            |wanted: &Option<String>, found: Option<&str>| wanted.as_deref().is_none_or(|wanted| found == Some(wanted));
        // What nobody here agreed on stands as its digest.
        let is_declared = |what: &str, wanted: &Option<String>, found: Option<&str>| {
            is(wanted, found) || wanted.as_deref().is_some_and(|text| found == Some(&*subjects.stranger(what, text)))
        };
        is(&self.principal, record.who.as_ref().map(|who| who.id.as_str()))
            && is_declared("purpose", &self.purpose, record.purpose.as_deref())
            && is_declared("case", &self.case, record.case.as_deref())
            && is(&self.request_id, Some(&record.request_id))
    }
}

fn kinds(filter: &RecordFilter) -> Result<Vec<Kind>> {
    let named = |name: &String| {
        serde_json::from_value(Value::String(name.clone())).map_err(|_| bad("there is no such kind of record"))
    };
    filter.kinds.iter().flatten().map(named).collect()
}

fn record(entry: Entry) -> Result<Record> {
    let json =
        serde_json::to_value(&entry.record).map_err(|_| refused(ErrorCode::Internal, "a record cannot be told"))?;
    Ok(Record {
        seq: entry.seq,
        segment: entry.segment,
        hash: entry.hash,
        time: entry.record.time,
        kind: entry.record.kind.as_str(),
        record: Json(json),
    })
}

fn unreadable(request_id: &str, error: &ReadError) -> async_graphql::Error {
    tracing::error!(request = %request_id, %error, "audit records cannot be read");
    refused(ErrorCode::Internal, "the audit records cannot be read; tell the operator the request id")
}
