//! The whole response: data, one error a source or missing grant, and what was called.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::connection::{Page, connection, made, members, nodes, tells_undetermined};
use super::errors::{Cause, Segment};
use super::fetched::Wanted;
use super::read::RowView;
use super::write::{LeftOut, Mode, Writer, Written};
use crate::base::code::{ErrorCode, ItemState};
use crate::engine::authorize::Asking;
use crate::engine::error::RequestError;
use crate::engine::frame::{Failure, Frame, Row, RowAnswer};
use crate::engine::frame::{RootAnswer, RootRows};
use crate::engine::operation::{Selection, What};
use crate::engine::plan::{Node, Plan, Stage};
use crate::model::contract::SlotId;
use crate::model::contract::scan::{PROGRESS, SHOWN};
use crate::model::snapshot::Snapshot;

/// Paths that one error names at most; `count` says how many there are.
const PATHS_MAX: usize = 20;

/// The response and what the audit needs to know of it.
#[derive(Debug)]
pub struct Response {
    /// Complete JSON.
    pub body: Vec<u8>,
    /// Codes of the errors, each once.
    pub codes: Vec<ErrorCode>,
    /// There is more than one answer may hold: it is refused as a whole, and `body` is empty.
    pub too_much: Option<RequestError>,
}

impl Response {
    /// Instead of an answer that would be too much.
    pub fn too_much(message: String) -> Self {
        let error = RequestError::new(ErrorCode::LimitExceeded, message);
        Self { body: Vec::new(), codes: vec![error.code], too_much: Some(error) }
    }
}

/// What a frame of a stream tells beside what was found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FrameTold {
    /// As the contract has it (`ScanProgress`).
    pub progress: Value,
    /// What was found is shown in it.
    pub shows: bool,
}

/// What a response is written from.
pub struct Parts<'a> {
    pub snapshot: &'a Snapshot,
    pub plan: &'a Plan,
    pub asking: &'a Asking,
    pub variables: &'a Map<String, Value>,
    pub roots: &'a [Option<RootAnswer>],
    /// `__schema` and `__type`, by response key.
    pub introspection: &'a Map<String, Value>,
    pub request_id: &'a str,
    /// More members of `extensions`.
    pub extensions: &'a Map<String, Value>,
    /// Ids of the sources that were called.
    pub called: &'a [Arc<str>],
    /// Of a frame of a stream: how far it has come.
    pub frame: Option<&'a FrameTold>,
    /// Of this answer, at most.
    pub bytes_max: usize,
    /// The asker wants to be told which values are masked, and every path of an error: another gateway, which would show
    /// them as its own.
    pub whole: bool,
}

/// Writes the response.
pub fn write(parts: &Parts<'_>) -> Response {
    let mode = Mode::Caller { asking: parts.asking, variables: parts.variables };
    let mut writer = Writer::limited(parts.snapshot, mode, parts.bytes_max);
    writer.masked = parts.whole.then(BTreeSet::new);
    let mut refusals: Vec<(Vec<Segment>, String)> = Vec::new();
    let data = b"{\"data\":";
    writer.out.extend_from_slice(data);
    writer.out.push(b'{');
    let mut whole = true;
    for (at, (selection, root)) in parts.plan.operation.roots.iter().zip(parts.roots).enumerate() {
        if at > 0 {
            writer.out.push(b',');
        }
        writer.string(&selection.key);
        writer.out.push(b':');
        writer.journal.enter(Segment::Key(Arc::clone(&selection.key)));
        let start = writer.out.len();
        match (&selection.what, root) {
            (What::Typename(name), _) => writer.string(name),
            (What::Introspection, _) => {
                let value = parts.introspection.get(&*selection.key).unwrap_or(&Value::Null);
                let _ = serde_json::to_writer(&mut writer.out, value);
            }
            (_, Some(root)) => {
                if let Some(message) = &root.refused {
                    refusals.push((vec![Segment::Key(Arc::clone(&selection.key))], message.clone()));
                    writer.null();
                } else if let (Some(told), Some(frame)) = (parts.frame, &parts.plan.operation.frame) {
                    write_frame(&mut writer, parts, (told, frame), selection, root);
                } else {
                    write_root(&mut writer, parts, selection, root, false);
                }
            }
            (_, None) => writer.null(),
        }
        writer.journal.leave();
        whole &= may_be_null(parts.snapshot, selection) || writer.out.get(start..) != Some(b"null");
    }
    writer.out.push(b'}');
    if writer.is_too_much() {
        return Response::too_much(format!(
            "the answer would take more than {} bytes; ask for less at once",
            parts.bytes_max
        ));
    }
    if !whole {
        // A null where the contract allows none goes up as far as it may: here, to the whole (GraphQL 6.4.4).
        writer.out.truncate(data.len());
        writer.null();
    }
    let errors = errors(&writer, parts, &refusals);
    let mut codes: Vec<ErrorCode> = errors.iter().map(|(code, _)| *code).collect();
    codes.sort();
    codes.dedup();
    if !errors.is_empty() {
        writer.out.extend_from_slice(b",\"errors\":");
        let list: Vec<&Value> = errors.iter().map(|(_, error)| error).collect();
        let _ = serde_json::to_writer(&mut writer.out, &list);
    }
    writer.out.extend_from_slice(b",\"extensions\":");
    let mut extensions = parts.extensions.clone();
    let called: Vec<&str> = parts.called.iter().map(|id| &**id).collect();
    extensions.insert("requestId".to_owned(), json!(parts.request_id));
    extensions.insert("sourcesCalled".to_owned(), json!(called));
    if let Some(masked) = &writer.masked {
        let masked: Vec<Vec<&str>> = masked.iter().map(|names| names.iter().map(|name| &**name).collect()).collect();
        extensions.insert("masked".to_owned(), json!(masked));
    }
    let _ = serde_json::to_writer(&mut writer.out, &extensions);
    writer.out.push(b'}');
    Response { body: writer.into_bytes(), codes, too_much: None }
}

fn may_be_null(snapshot: &Snapshot, selection: &Selection) -> bool {
    match selection.what {
        What::Query(at) => snapshot.contract.queries.get(at).is_none_or(|query| query.nullable),
        _ => true,
    }
}

/// A frame of a stream: what was found stands in it as it would stand in the answer to a query.
fn write_frame(
    writer: &mut Writer<'_>,
    parts: &Parts<'_>,
    (told, frame): (&FrameTold, &Selection),
    found: &Selection,
    root: &RootAnswer,
) {
    members(writer, frame, |writer, field| match &field.what {
        What::Meta(name) if **name == *PROGRESS => made(writer, Some(&told.progress), field),
        What::Meta(name) if told.shows && SHOWN.contains(&&**name) => {
            let selection = Selection { children: field.children.clone(), ..found.clone() };
            write_root(writer, parts, &selection, root, tells_undetermined(frame, PROGRESS));
        }
        What::Typename(name) => writer.string(name),
        _ => writer.null(),
    });
}

/// `is_told`: the answer tells elsewhere how many are undetermined.
fn write_root(writer: &mut Writer<'_>, parts: &Parts<'_>, selection: &Selection, root: &RootAnswer, is_told: bool) {
    if let Some(failure) = root.failure {
        writer.journal.note(Cause::Failed(failure));
        writer.null();
        return;
    }
    if let RootRows::Made(value) = &root.rows {
        return made(writer, Some(value), selection);
    }
    let node = parts.plan.node(root.frame.node);
    if node.gives_nothing() {
        // The caller's own grants say so, whoever it is asked of: no more is told by naming those that would do.
        for slot in node.refused.iter() {
            writer.refuse(slot);
        }
    }
    let answers: Vec<Option<&[RowAnswer]>> = root.frame.answers.iter().map(|rows| Some(rows.as_slice())).collect();
    let wanted = Wanted::default();
    let view = |(at, row)| {
        let mut view = RowView::new(parts.snapshot, parts.plan, node, row, at, &answers, Stage::Answer);
        view.frame = Some(&root.frame);
        view.wanted = Some(&wanted);
        view
    };
    let rows = root.frame.rows.iter().enumerate();
    let views: Vec<RowView<'_>> = match root.rows {
        RootRows::One(at) => rows.skip(at).take(1).map(view).collect(),
        RootRows::List | RootRows::Page { .. } | RootRows::Made(_) => rows.map(view).collect(),
    };
    match &root.rows {
        RootRows::One(at) => match views.first().filter(|view| is_there(&root.frame, view)) {
            Some(view) => {
                writer.entity_object(view, &selection.children);
            }
            None => {
                absent(writer, node, root.frame.rows.get(*at));
                writer.null();
            }
        },
        RootRows::List => nodes(writer, &views, selection),
        RootRows::Page { cursors, end, has_next, has_previous, told } => {
            let (has_next, has_previous) = (*has_next, *has_previous);
            let page = Page {
                views: &views,
                cursors,
                end: end.as_ref(),
                has_next,
                has_previous,
                told: told.as_deref(),
                is_told,
            };
            connection(writer, &page, selection);
        }
        RootRows::Made(_) => {}
    }
}

/// Why an entity is not answered: an absent one and an unrelated one look alike.
fn absent(writer: &mut Writer<'_>, node: &Node, row: Option<&Row>) {
    if node.gives_nothing() && !node.refused.is_empty() {
        return;
    }
    let undecided = row.and_then(|row| row.undecided);
    writer.journal.note(undecided.map_or(Cause::NotFound, Cause::Failed));
}

/// Whether the caller may know that the entity exists: it stands in a relation, and the entity is established.
pub fn is_there(frame: &Frame, view: &RowView<'_>) -> bool {
    let related = view.row.is_related();
    related
        && view
            .node
            .fetches
            .iter()
            .enumerate()
            .filter(|(_, fetch)| fetch.establishes)
            .all(|(at, _)| established(frame.answer(at, view.at)))
}

/// An established entity has a record, or its source did not say.
fn established(answer: &RowAnswer) -> bool {
    match answer {
        RowAnswer::Parts(parts) => {
            parts.iter().any(|part| part.outcome.as_ref().map_or(true, |records| !records.is_empty()))
        }
        _ => true,
    }
}

/// Notes with one cause, one source or one missing grant: one error.
#[derive(Default)]
struct Group<'j> {
    paths: Vec<Value>,
    /// The place noted last: several parts of one object that is null are one place.
    last: Option<&'j [Segment]>,
    count: usize,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum GroupKey {
    NotFound,
    First(usize),
    Refused(String),
    LeftOut(String),
    Failed(Failure),
}

fn errors(writer: &Writer<'_>, parts: &Parts<'_>, refusals: &[(Vec<Segment>, String)]) -> Vec<(ErrorCode, Value)> {
    let mut groups: BTreeMap<GroupKey, Group<'_>> = BTreeMap::new();
    let mut grants: BTreeMap<SlotId, String> = BTreeMap::new();
    let mut grant = |slot: SlotId| {
        grants.entry(slot).or_insert_with(|| parts.asking.denied(parts.snapshot, slot).to_string()).clone()
    };
    for (cause, path) in writer.journal.notes() {
        let key = match cause {
            Cause::NotFound => GroupKey::NotFound,
            Cause::First(most) => GroupKey::First(*most),
            Cause::Refused(slot) => GroupKey::Refused(grant(*slot)),
            Cause::LeftOut(slot) => GroupKey::LeftOut(grant(*slot)),
            Cause::Failed(failure) => GroupKey::Failed(*failure),
        };
        let group = groups.entry(key).or_default();
        if group.last.replace(path) == Some(path) {
            continue;
        }
        group.count += 1;
        if parts.whole || group.paths.len() < PATHS_MAX {
            group.paths.push(json_path(path));
        }
    }
    let mut errors: Vec<(ErrorCode, Value)> = refusals
        .iter()
        .map(|(path, message)| {
            let path = json_path(path);
            (ErrorCode::ValidationFailed, json!({ "message": message, "path": path, "extensions": { "code": ErrorCode::ValidationFailed, "requestId": parts.request_id } }))
        })
        .collect();
    errors.extend(groups.into_iter().map(|(key, group)| error(parts, &key, &group)));
    errors
}

fn error(parts: &Parts<'_>, key: &GroupKey, group: &Group<'_>) -> (ErrorCode, Value) {
    let (code, message, mut extensions) = match key {
        GroupKey::NotFound => {
            (ErrorCode::Forbidden, "there is no such record, or none of your grants reaches it".to_owned(), json!({}))
        }
        GroupKey::First(most) => (ErrorCode::ValidationFailed, format!("`first` is between 0 and {most}"), json!({})),
        GroupKey::Refused(grant) => {
            (ErrorCode::Forbidden, format!("not permitted: {grant}"), json!({ "grant": grant }))
        }
        GroupKey::LeftOut(grant) => (ErrorCode::Forbidden, left_out(grant), json!({ "grant": grant })),
        GroupKey::Failed(failure) => {
            let source = failure.source.map(|source| parts.snapshot.bindings.source(source));
            let title = source.map_or("", |source| &source.title);
            let extensions = source.map_or_else(
                || json!({}),
                |source| json!({ "source": &*source.id, "sourceTitle": &*source.title, "state": failure.state }),
            );
            (failure.code, message(*failure, title), extensions)
        }
    };
    let first = group.paths.first().cloned().unwrap_or(Value::Null);
    if let Value::Object(members) = &mut extensions {
        members.insert("code".to_owned(), json!(code));
        members.insert("paths".to_owned(), Value::Array(group.paths.clone()));
        members.insert("count".to_owned(), json!(group.count));
        members.insert("requestId".to_owned(), json!(parts.request_id));
    }
    (code, json!({ "message": message, "path": first, "extensions": extensions }))
}

/// What callers are told of a failure: what happened and what to do, never what the source said.
pub fn message(failure: Failure, title: &str) -> String {
    let source = if title.is_empty() { "the source" } else { title };
    match failure.code {
        ErrorCode::SourceTimeout => format!("{source} did not answer in time; ask again later"),
        ErrorCode::SourceUnreachable => format!("{source} cannot be reached; ask again later"),
        ErrorCode::SourceError => format!(
            "{source} answered with an error; ask again later, and tell the operator the request id if it stays"
        ),
        ErrorCode::SourceBadAnswer => {
            format!("{source} answered what its binding does not expect; tell the operator the request id")
        }
        ErrorCode::SourceBusy => format!("{source} is asked more than it allows; ask again later"),
        ErrorCode::SourceSuspended => {
            format!("{source} failed too often just now and is not asked for a while; ask again in some seconds")
        }
        ErrorCode::SourcePending => format!("{source} works on it; ask again in a while"),
        ErrorCode::ValueInvalid => {
            format!("{source} gave a value that does not fit the field; tell the operator the request id")
        }
        ErrorCode::NoSource => "no source answers for it yet; ask again when one does".to_owned(),
        ErrorCode::SourceWithdrawn => format!("{source} is out of service; ask again when it is back"),
        ErrorCode::Forbidden => format!("not permitted: {source} gives it to none of your roles, as it knows them"),
        ErrorCode::OutsideTerritory => format!("{source} does not cover this division"),
        ErrorCode::InputMissing if failure.state == ItemState::Unavailable => {
            format!("{source} did not give what other departments are asked with; ask again later")
        }
        ErrorCode::InputMissing => format!("what {source} has to be asked with is not there or not known"),
        ErrorCode::Conflict => {
            "two departments hold a fact that this is decided by, and disagree; ask for `claims` of the \
                                items to see what each says"
                .to_owned()
        }
        ErrorCode::QuotaExceeded => {
            format!("{source} allows your role only so much of it, and that is used up for now; ask for less, or later")
        }
        ErrorCode::LimitExceeded => {
            "the request needs more calls, or pages of a list, than one request may have; ask for less at once"
                .to_owned()
        }
        ErrorCode::DeadlineExceeded => "the request took longer than it may; ask for less at once".to_owned(),
        _ => format!("{source} has no value here"),
    }
}

/// Whether those left out have anything to tell is not said.
fn left_out(grant: &str) -> String {
    format!("only what is told of those you may know of is here; for the others: {grant}")
}

/// Why a field has no value, for `items`.
pub(super) fn reason(writer: &Writer<'_>, view: &RowView<'_>, slot: SlotId, written: Written) -> Option<String> {
    let Mode::Caller { asking, .. } = writer.mode else { return None };
    match (written.state, written.failure) {
        (ItemState::Refused, Some(failure)) => Some(message(failure, title(view, failure))),
        (ItemState::Refused, _) if view.rights.slots.contains(slot) => {
            Some("what was selected of it is not permitted; other parts of it are".to_owned())
        }
        (ItemState::Refused, _) => Some(asking.denied(view.snapshot, slot).to_string()),
        (_, Some(failure)) if !written.has_value() => Some(message(failure, title(view, failure))),
        _ => match written.left_out? {
            LeftOut::Refused => Some(left_out(&asking.denied(view.snapshot, slot).to_string())),
            LeftOut::Undecided(failure) => Some(message(failure, title(view, failure))),
        },
    }
}

fn title<'v>(view: &RowView<'v>, failure: Failure) -> &'v str {
    failure.source.map_or("", |source| &view.snapshot.bindings.source(source).title)
}

fn json_path(path: &[Segment]) -> Value {
    path.iter()
        .map(|segment| match segment {
            Segment::Key(key) => Value::String(key.to_string()),
            Segment::Index(at) => json!(at),
        })
        .collect()
}

/// Rows of a frame and of all frames below it.
pub fn each_row<'f>(frame: &'f Frame, visit: &mut impl FnMut(&'f Frame, usize, &'f Row)) {
    for (at, row) in frame.rows.iter().enumerate() {
        visit(frame, at, row);
    }
    for child in frame.children.iter().flatten() {
        each_row(&child.frame, visit);
    }
    frame.subjects.iter().for_each(|subjects| each_row(subjects, visit));
}
