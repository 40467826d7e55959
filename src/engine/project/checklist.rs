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

/// Bytes that a line is reckoned with beside what it writes: its facts are read for it alone.
const LINE_BYTES: usize = 1024;

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
        writer.spend(LINE_BYTES);
        if !writer.afford() {
            break;
        }
        if at > 0 {
            writer.out.push(b',');
        }
        let line = Line { view, rule, reads, facts: Facts::read(view, reads, Mode::Rules(unread)), asking, unread };
        writer.journal.enter(Segment::Index(at));
        project(writer, view, &line.told(&selection.children), &selection.children);
        writer.journal.leave();
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
            let line = Line { view, rule, reads, facts: Facts::read(view, reads, Mode::Rules(unread)), asking, unread };
            let mut facts = serde_json::Map::new();
            for child in &selection.children {
                let What::Slot(slot) = child.what else { continue };
                if writer.mode.is_kept(view, slot) {
                    continue;
                }
                match (&*view.snapshot.contract.slot(slot).name, line.verdict()) {
                    ("id", _) => drop(facts.insert(child.key.to_string(), json!(rule.id))),
                    ("verdict", Some(verdict)) => drop(facts.insert(child.key.to_string(), json!(verdict))),
                    ("verdict", None) => note(writer, at, &child.key, line.reasons()),
                    _ => {}
                }
            }
            Value::Object(facts)
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

/// One rule, with what it reads of an entity.
struct Line<'l, 'v> {
    view: &'l RowView<'v>,
    rule: &'l CheckRule,
    reads: &'l [Selection],
    facts: Facts,
    asking: &'l Asking,
    unread: &'l Unread,
}

impl Line<'_, '_> {
    /// `None`: not known. `Some(None)`: departments hold nothing that the rule could be decided on.
    fn verdict(&self) -> Option<Option<&'static str>> {
        let holds = self.rule.when.decide(&self.facts.value, &self.asking.principal, self.asking.today);
        holds.map(|holds| holds.map(Checklist::verdict))
    }

    /// At least one: a date known in part is no failure of anybody's.
    fn reasons(&self) -> Vec<Failure> {
        let found = self.facts.reasons(self.rule.when.inputs());
        if found.is_empty() {
            return vec![undecided(None)];
        }
        found.into_iter().map(|failure| undecided(Some(failure))).collect()
    }

    /// Whether the caller may see all that was compared.
    fn is_readable(&self) -> bool {
        self.rule.when.inputs().iter().all(|path| readable(self.view, path, self.unread))
    }

    /// Of what takes work, only what is selected.
    fn told(&self, selected: &[Selection]) -> Value {
        let rule = self.rule;
        let contract = &self.view.snapshot.contract;
        let is_asked = |name: &str| {
            selected.iter().any(|field| matches!(field.what, What::Slot(slot) if *contract.slot(slot).name == *name))
        };
        let verdict = self.verdict();
        let failure = verdict.is_none().then(|| self.reasons().first().copied()).flatten();
        let state = match verdict {
            Some(Some(_)) => ItemState::Answered,
            Some(None) => ItemState::NoRecord,
            None => failure.map_or(ItemState::Undetermined, |failure| failure.state),
        };
        let inputs = (is_asked("inputs") && self.is_readable()).then(|| -> Vec<Value> {
            let inputs = rule.when.inputs().iter();
            inputs.map(|path| json!({ "path": path.join("."), "value": input(&self.facts.value, path) })).collect()
        });
        let sources = is_asked("sources").then(|| Heard::of(self, verdict.is_some()).told(self.view));
        let thresholds: Vec<Value> = rule.when.thresholds().iter().map(|one| threshold(one, self.asking)).collect();
        json!({
            "id": rule.id,
            "zh": rule.zh,
            "en": rule.en,
            "rule": rule.when.text(),
            "verdict": verdict.flatten(),
            "state": state.as_str(),
            "code": failure.map(|failure| failure.code.as_str()),
            "thresholds": thresholds,
            "sources": sources,
            "inputs": inputs,
        })
    }
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
    /// The day of a record tells that there is one, and which instance is silent may tell what the others say.
    readable: bool,
    /// Then what could not be read inside a record changed nothing, and would tell that there is one.
    is_known: bool,
    unread: &'f Unread,
}

/// Where the fields are that a rule reads.
#[derive(Clone, Copy)]
enum Of<'l, 'v> {
    /// Of the entity itself.
    Own(&'l RowView<'v>),
    /// Of entities below: what fills those is known by its binding, and how it fared by what is missing. `false`: there are
    /// none, and nobody was asked about them.
    Below(bool),
}

impl<'f> Heard<'f> {
    fn of(line: &'f Line<'_, '_>, is_known: bool) -> Self {
        let (missing, readable, unread) = (&line.facts.missing[..], line.is_readable(), line.unread);
        let mut heard = Self { outcomes: BTreeMap::new(), missing, readable, is_known, unread };
        heard.add_all(line.view, Of::Own(line.view), line.reads, &mut Vec::new());
        heard
    }

    fn add_all<'v>(&mut self, view: &RowView<'v>, of: Of<'_, 'v>, reads: &[Selection], path: &mut Vec<Arc<str>>) {
        for read in reads {
            let What::Slot(slot) = read.what else { continue };
            path.push(Arc::clone(&read.key));
            self.add(view, of, slot, path);
            let below = match (&view.snapshot.contract.slot(slot).shape, of) {
                (Shape::Entity(_) | Shape::EntityList(_), Of::Own(view)) => Of::Below(names_any(view, slot)),
                _ => of,
            };
            self.add_all(view, below, &read.children, path);
            path.pop();
        }
    }

    fn add<'v>(&mut self, view: &RowView<'v>, of: Of<'_, 'v>, slot: SlotId, path: &[Arc<str>]) {
        let bindings = &view.snapshot.bindings;
        let own = match of {
            Of::Own(own) => own,
            Of::Below(are_there) => {
                let provider = bindings.provider(slot).map(|endpoint| bindings.endpoint(endpoint).source);
                if let Some(source) = provider {
                    let nobody = (!are_there).then(|| Failure::undetermined(ErrorCode::InputMissing, source));
                    self.note(source, None, self.missed(source, path).or(nobody), None);
                }
                return;
            }
        };
        match own.filling(slot) {
            Filling::Answer(fetched) => self.answer(own, &fetched, path),
            Filling::Embedded(.., source) => self.note(source, None, self.missed(source, path), None),
            Filling::Key | Filling::Derived(_) | Filling::Parts | Filling::Nobody => {}
        }
        for endpoint in bindings.also(slot).iter().map(|id| bindings.endpoint(*id)) {
            let Some(entry) = endpoint.mapping.entry(slot) else { continue };
            let fetched = own.fetched(endpoint, slot, entry);
            let is_heard = !Mode::Rules(self.unread).is_kept_by(own, slot, endpoint.source);
            if fetched.fetch.is_some() && is_heard {
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
            Err(failure) => {
                if let Some(other) = failure.source.filter(|other| *other != source) {
                    self.note(other, None, Some(failure), None);
                }
                return self.note(source, None, Some(failure), None);
            }
        };
        if parts.is_empty() {
            // There was nothing to ask with.
            let nobody = Failure::undetermined(ErrorCode::InputMissing, source);
            self.note(source, None, missed.or(Some(nobody)), None);
        }
        let connections = &view.snapshot.bindings.source(source).connections;
        let fails = parts.iter().any(|part| part.outcome.is_err());
        for part in parts {
            let instance =
                connections.get(part.instance).and_then(|known| known.instance.as_ref()).map(|_| part.instance);
            let failure = part.outcome.as_ref().err().copied();
            // Of several instances, each answers for itself; what failed where all of them answered is the source's.
            let failure = failure.or(missed.filter(|_| instance.is_none()));
            let is_dated = self.readable && failure.is_none() && parts.len() == 1;
            let valid_on = is_dated.then(|| fetched.valid_on(view)).flatten();
            self.note(source, instance.filter(|_| self.readable), failure, valid_on);
        }
        if let Some(missed) = missed.filter(|_| !fails && !parts.is_empty()) {
            self.note(source, None, Some(missed), None);
        }
    }

    /// Why nothing is known of a source's part in what stands at a path: by its own fault, or since what it is asked with,
    /// or what it stands in, is not known.
    fn missed(&self, source: SourceId, path: &[Arc<str>]) -> Option<Failure> {
        let along = |missing: &&Missing| missing.path.iter().zip(path).all(|(a, b)| a == b);
        let counts = |missing: &&Missing| !self.is_known || missing.failure.code != ErrorCode::ValueInvalid;
        let mut concerning = self.missing.iter().filter(along).filter(counts);
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

/// Whether a slot of entities has any, as far as that is known here.
fn names_any(view: &RowView<'_>, slot: SlotId) -> bool {
    let at = view.node.children.iter().position(|child| child.slot == slot);
    let below = view.frame.zip(at).and_then(|(frame, at)| frame.children.get(at)?.as_ref());
    below.and_then(|below| below.ranges.get(view.at)).is_none_or(|range| !range.is_empty())
}
