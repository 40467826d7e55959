//! Checklists: every rule is told with its verdict, each by what it reads alone, so that one silent department leaves the
//! others' verdicts as they are. What a rule compared is told to who may see it; that a source was heard, to whoever may
//! see the verdict.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::derived::{input, project, readable, undecided};
use super::errors::{Cause, Segment};
use super::facts::{Facts, Missing};
use super::fetched::Fetched;
use super::read::{Filling, RowView};
use super::write::{Mode, Writer, Written};
use crate::base::code::{ErrorCode, ItemState};
use crate::engine::authorize::Asking;
use crate::engine::frame::Failure;
use crate::engine::operation::{Selection, What};
use crate::engine::plan::DerivedNeed;
use crate::model::access::hand::Unread;
use crate::model::binding::SourceId;
use crate::model::contract::{Shape, SlotId};
use crate::model::rule::{CheckRule, Checklist, Threshold};

/// For the caller: the whole list.
pub(super) fn write(
    writer: &mut Writer<'_>,
    view: &RowView<'_>,
    checklist: &Checklist,
    need: &DerivedNeed,
    asking: &Asking,
    selection: &Selection,
) -> Written {
    let everything = Unread::default();
    let unread = view.rights.held.unread(need.slot).map_or(&everything, |unread| unread);
    writer.out.push(b'[');
    for (at, (rule, reads)) in checklist.rules.iter().zip(&need.by_rule).enumerate() {
        if !writer.afford() {
            break;
        }
        if at > 0 {
            writer.out.push(b',');
        }
        let facts = Facts::read(view, reads, Mode::Rules(unread));
        let line = line(view, rule, reads, &facts, asking, unread);
        project(writer, &line, &selection.children);
    }
    writer.out.push(b']');
    Written::answered()
}

/// For a condition: which rule came to which verdict. One that is not known is absent, with all reasons; what else a line
/// tells is no fact.
pub(super) fn decided(
    writer: &mut Writer<'_>,
    view: &RowView<'_>,
    checklist: &Checklist,
    need: &DerivedNeed,
    asking: &Asking,
    selection: &Selection,
) -> Written {
    let everything = Unread::default();
    let unread = view.rights.held.unread(need.slot).map_or(&everything, |unread| unread);
    let lines: Vec<Value> = (checklist.rules.iter().zip(&need.by_rule).enumerate())
        .map(|(at, (rule, reads))| {
            let facts = Facts::read(view, reads, Mode::Rules(unread));
            let verdict = Checklist::verdict(rule.when.evaluate(&facts.value, &asking.principal, asking.today));
            let mut line = serde_json::Map::new();
            for child in &selection.children {
                let What::Slot(slot) = child.what else { continue };
                match (&*view.snapshot.contract.slot(slot).name, verdict) {
                    ("id", _) => drop(line.insert(child.key.to_string(), json!(rule.id))),
                    ("verdict", Some(verdict)) => drop(line.insert(child.key.to_string(), json!(verdict))),
                    ("verdict", None) => note(writer, at, &child.key, reasons(rule, &facts)),
                    _ => {}
                }
            }
            Value::Object(line)
        })
        .collect();
    let _ = serde_json::to_writer(&mut writer.out, &lines);
    Written::answered()
}

/// Why a line's verdict is not known, where that line stands.
fn note(writer: &mut Writer<'_>, at: usize, key: &Arc<str>, reasons: Vec<Failure>) {
    writer.journal.enter(Segment::Index(at));
    writer.journal.enter(Segment::Key(Arc::clone(key)));
    reasons.into_iter().for_each(|failure| writer.journal.note(Cause::Failed(failure)));
    writer.journal.leave();
    writer.journal.leave();
}

/// At least one: a date known in part is no failure of anybody's.
fn reasons(rule: &CheckRule, facts: &Facts) -> Vec<Failure> {
    let found = facts.reasons(rule.when.inputs());
    if found.is_empty() {
        return vec![undecided(None)];
    }
    found.into_iter().map(|failure| undecided(Some(failure))).collect()
}

fn line(
    view: &RowView<'_>,
    rule: &CheckRule,
    reads: &[Selection],
    facts: &Facts,
    asking: &Asking,
    unread: &Unread,
) -> Value {
    let verdict = Checklist::verdict(rule.when.evaluate(&facts.value, &asking.principal, asking.today));
    let failure = verdict.is_none().then(|| reasons(rule, facts).first().copied()).flatten();
    let readable = rule.when.inputs().iter().all(|path| readable(view, path, unread));
    let inputs: Option<Vec<Value>> = readable.then(|| {
        let inputs = rule.when.inputs().iter();
        inputs.map(|path| json!({ "path": path.join("."), "value": input(&facts.value, path) })).collect()
    });
    let thresholds: Vec<Value> = rule.when.thresholds().iter().map(|one| threshold(one, asking)).collect();
    json!({
        "id": rule.id,
        "zh": rule.zh,
        "en": rule.en,
        "rule": rule.when.text(),
        "verdict": verdict,
        "state": failure.map_or(ItemState::Answered, |failure| failure.state).as_str(),
        "code": failure.map(|failure| failure.code.as_str()),
        "thresholds": thresholds,
        "sources": Heard::of(view, reads, facts, readable).told(view),
        "inputs": inputs,
    })
}

fn threshold(one: &Threshold, asking: &Asking) -> Value {
    let now = one.on(asking.today);
    json!({
        "id": one.name,
        "zh": one.zh,
        "en": one.en,
        "unit": one.unit,
        "value": now.map(|now| now.value.to_string()),
        "since": now.map(|now| now.since.to_string()),
        "document": now.and_then(|now| now.document.clone()),
    })
}

/// A source, and where it has several, one of its instances.
type Asked = (SourceId, Option<usize>);

/// What came of asking it: that it holds a record is not told, only that it was heard.
#[derive(Debug, Default)]
struct Outcome {
    failure: Option<Failure>,
    valid_on: Option<String>,
}

/// The sources that a rule rests on.
struct Heard<'f> {
    outcomes: BTreeMap<Asked, Outcome>,
    missing: &'f [Missing],
    /// The day of a record tells that there is one.
    dated: bool,
}

impl<'f> Heard<'f> {
    fn of<'v>(view: &RowView<'v>, reads: &[Selection], facts: &'f Facts, dated: bool) -> Self {
        let mut heard = Self { outcomes: BTreeMap::new(), missing: &facts.missing, dated };
        heard.add_all(view, Some(view), reads, &mut Vec::new());
        heard
    }

    /// `own`: of the entity itself; what fills entities below is known by its binding, and how it fared by what is missing.
    fn add_all<'v>(
        &mut self,
        view: &RowView<'v>,
        own: Option<&RowView<'v>>,
        reads: &[Selection],
        path: &mut Vec<Arc<str>>,
    ) {
        for read in reads {
            let What::Slot(slot) = read.what else { continue };
            path.push(Arc::clone(&read.key));
            self.add(view, own, slot, path);
            let is_entity = matches!(view.snapshot.contract.slot(slot).shape, Shape::Entity(_) | Shape::EntityList(_));
            self.add_all(view, own.filter(|_| !is_entity), &read.children, path);
            path.pop();
        }
    }

    fn add<'v>(&mut self, view: &RowView<'v>, own: Option<&RowView<'v>>, slot: SlotId, path: &[Arc<str>]) {
        let bindings = &view.snapshot.bindings;
        let Some(own) = own else {
            let provider = bindings.provider(slot).map(|endpoint| bindings.endpoint(endpoint).source);
            if let Some(source) = provider {
                self.note(source, None, self.missed(source, path), None);
            }
            return;
        };
        match own.filling(slot) {
            Filling::Answer(fetched) => self.answer(own, &fetched, path),
            Filling::Embedded(.., source) => self.note(source, None, self.missed(source, path), None),
            Filling::Key | Filling::Derived(_) | Filling::Parts | Filling::Nobody => {}
        }
        for endpoint in bindings.also(slot).iter().map(|id| bindings.endpoint(*id)) {
            let Some(entry) = endpoint.mapping.entry(slot) else { continue };
            let fetched = own.fetched(endpoint, slot, entry);
            if fetched.fetch.is_some() {
                self.answer(own, &fetched, path);
            }
        }
    }

    /// What a fetch for the entity itself came to.
    fn answer<'v>(&mut self, view: &RowView<'v>, fetched: &Fetched<'v>, path: &[Arc<str>]) {
        let source = fetched.endpoint.source;
        let missed = self.missed(source, path);
        let parts = match fetched.parts() {
            Ok(parts) => parts,
            Err(failure) => return self.note(source, None, Some(failure), None),
        };
        let valid_on = self.dated.then(|| fetched.valid_on(view)).flatten();
        let connections = &view.snapshot.bindings.source(source).connections;
        if parts.is_empty() {
            self.note(source, None, missed, None);
        }
        for part in parts {
            let instance =
                connections.get(part.instance).and_then(|known| known.instance.as_ref()).map(|_| part.instance);
            let failure = part.outcome.as_ref().err().copied();
            // Of several instances, each answers for itself alone.
            let failure = failure.or(missed.filter(|_| instance.is_none()));
            self.note(source, instance, failure, valid_on.clone());
        }
    }

    /// Why nothing is known of a source's part in what stands at a path: by its own fault, or since what it is asked with,
    /// or what it stands in, is not known.
    fn missed(&self, source: SourceId, path: &[Arc<str>]) -> Option<Failure> {
        let along = |missing: &&Missing| missing.path.iter().zip(path).all(|(a, b)| a == b);
        let mut concerning = self.missing.iter().filter(along);
        let own = concerning.clone().find(|missing| missing.failure.source == Some(source));
        let mut above =
            || concerning.find(|missing| missing.path.len() < path.len() || missing.failure.source.is_none());
        match own {
            Some(own) => Some(own.failure),
            None => above().map(|missing| match missing.failure.source {
                None => missing.failure,
                Some(_) => Failure::undetermined(ErrorCode::InputMissing, source),
            }),
        }
    }

    fn note(&mut self, source: SourceId, instance: Option<usize>, failure: Option<Failure>, day: Option<String>) {
        let outcome = self.outcomes.entry((source, instance)).or_default();
        outcome.failure = outcome.failure.or(failure);
        outcome.valid_on = outcome.valid_on.take().max(day);
    }

    fn told(self, view: &RowView<'_>) -> Vec<Value> {
        let bindings = &view.snapshot.bindings;
        let told = |((id, instance), outcome): (Asked, Outcome)| {
            let source = bindings.source(id);
            let connection = instance.and_then(|instance| source.connections.get(instance));
            let instance = connection.and_then(|connection| connection.instance.as_ref());
            json!({
                "source": &*source.id,
                "instance": instance.map(|instance| &*instance.id),
                "sourceTitle": instance.map_or(&*source.title, |instance| &*instance.title),
                "state": outcome.failure.map_or(ItemState::Answered, |failure| failure.state).as_str(),
                "code": outcome.failure.map(|failure| failure.code.as_str()),
                "validOn": outcome.valid_on,
            })
        };
        self.outcomes.into_iter().map(told).collect()
    }
}
