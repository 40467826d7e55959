//! Derived fields: the rules decide on what was read for them; the answer tells only the rules whose inputs the caller
//! may have.

use std::sync::Arc;

use serde_json::{Value, json};

use super::errors::{Cause, Segment};
use super::facts::Facts;
use super::read::RowView;
use super::write::{Mode, UNREAD, Writer, Written};
use crate::base::code::{ErrorCode, ItemState};
use crate::engine::authorize::Asking;
use crate::engine::frame::Failure;
use crate::engine::operation::{Selection, What};
use crate::model::access::hand::Unread;
use crate::model::contract::{Contract, EntityId, Shape, Slot, SlotId};
use crate::model::rule::{Derived, LadderRule};

pub(super) fn write(
    writer: &mut Writer<'_>,
    view: &RowView<'_>,
    slot: &Slot,
    rule: usize,
    selection: &Selection,
) -> Written {
    let snapshot = writer.snapshot;
    let need = view.node.derived.iter().find(|need| need.slot == slot.id);
    let known = snapshot.rules.derived.get(rule).zip(need);
    let everything = Unread::default();
    let unread = view.rights.held.unread(slot.id).map_or(&everything, |unread| unread);
    let (asking, (rule, need)) = match (writer.mode, known) {
        (Mode::Caller { asking, .. }, Some(known)) => (asking, known),
        (Mode::Condition(asking), Some((Derived::Checklist(checklist), need))) => {
            return super::checklist::decided(writer, view, checklist, need, asking, selection);
        }
        (Mode::Condition(asking), Some((rule, need))) => {
            let facts = Facts::read(view, &need.reads, Mode::Rules(unread));
            return decided(writer, rule, &facts, asking, selection);
        }
        // Not read for it: that is not to say that there is nothing.
        (Mode::Condition(_), None) => return writer.failed(UNREAD),
        // Rules do not read what rules fill: that is not to say that there is nothing.
        _ => return writer.failed(UNREAD),
    };
    if let Derived::Checklist(checklist) = rule {
        return super::checklist::write(writer, view, checklist, need, asking, selection);
    }
    let (facts, missing) = view.rule_facts(&need.reads, Mode::Rules(unread));
    let ladder = match rule {
        Derived::Ladder(ladder) => ladder,
        Derived::Checklist(_) => return writer.failed(UNREAD),
        Derived::Value(value) => {
            return match value.value.evaluate(&facts, &asking.principal, asking.today) {
                None => writer.failed(undecided(missing)),
                Some(value) => come_to(writer, &value),
            };
        }
    };
    let decision = ladder.decide(&facts, &asking.principal, asking.today);
    let Some(level) = &decision.level else {
        return writer.failed(undecided(missing));
    };
    let readable = |rule: &LadderRule| rule.when.inputs().iter().all(|path| readable(view, path, unread));
    let fired: Vec<Value> =
        decision.fired.iter().filter(|rule| readable(rule)).map(|rule| told(rule, &facts)).collect();
    let undetermined: Vec<&str> =
        decision.undetermined.iter().filter(|rule| readable(rule)).map(|rule| rule.id.as_str()).collect();
    let value = json!({ "level": level, "complete": decision.complete, "rules": fired, "undetermined": undetermined });
    project(writer, view, &value, &selection.children);
    Written::answered()
}

/// For a condition: a value, or the levels that a ladder may come to (`Ladder::bounds`), and all reasons why they are
/// more than one. How a ladder comes to its level is no fact.
fn decided(writer: &mut Writer<'_>, rule: &Derived, facts: &Facts, asking: &Asking, selection: &Selection) -> Written {
    let open = |writer: &mut Writer<'_>, inputs: &[Vec<String>]| {
        let reasons = facts.reasons(inputs);
        // A date known in part is no failure of anybody's.
        let unknown = reasons.is_empty().then(|| undecided(None));
        for failure in reasons.into_iter().map(|failure| undecided(Some(failure))).chain(unknown) {
            writer.journal.note(Cause::Failed(failure));
        }
    };
    let ladder = match rule {
        Derived::Ladder(ladder) => ladder,
        Derived::Checklist(_) => return writer.failed(UNREAD),
        Derived::Value(value) => {
            return match value.value.evaluate(&facts.value, &asking.principal, asking.today) {
                None => {
                    open(writer, value.value.inputs());
                    writer.null();
                    Written::failed(undecided(facts.reasons(value.value.inputs()).into_iter().next()))
                }
                Some(value) => come_to(writer, &value),
            };
        }
    };
    let levels = ladder.bounds(&facts.value, &asking.principal, asking.today);
    let contract = &writer.snapshot.contract;
    let is_level = |child: &&Selection| matches!(child.what, What::Slot(id) if &*contract.slot(id).name == "level");
    let Some(level) = selection.children.iter().find(is_level) else { return writer.failed(UNREAD) };
    writer.out.push(b'{');
    writer.string(&level.key);
    writer.out.push(b':');
    let _ = serde_json::to_writer(&mut writer.out, &levels.possible);
    writer.out.push(b'}');
    writer.journal.enter(Segment::Key(Arc::clone(&level.key)));
    levels.open.iter().for_each(|rule| open(writer, rule.when.inputs()));
    writer.journal.leave();
    Written::answered()
}

/// What an expression came to; null is nothing.
fn come_to(writer: &mut Writer<'_>, value: &Value) -> Written {
    if value.is_null() {
        writer.null();
        return Written::no_record();
    }
    let _ = serde_json::to_writer(&mut writer.out, value);
    Written::answered()
}

/// Why rules could not decide: what they read is not known, or departments disagree about it.
pub(super) fn undecided(missing: Option<Failure>) -> Failure {
    let unknown = Failure { state: ItemState::Undetermined, code: ErrorCode::InputMissing, source: None };
    let missing = missing.unwrap_or(unknown);
    let state = if missing.state == ItemState::Conflict { missing.state } else { ItemState::Undetermined };
    Failure { state, ..missing }
}

fn told(rule: &LadderRule, facts: &Value) -> Value {
    let inputs: Vec<Value> =
        rule.when.inputs().iter().map(|path| json!({ "path": path.join("."), "value": input(facts, path) })).collect();
    json!({ "id": rule.id, "level": rule.level, "zh": rule.zh, "en": rule.en, "inputs": inputs })
}

/// The value at a path, as text; of what lies in a list, how many there are.
pub(super) fn input(facts: &Value, path: &[String]) -> Option<String> {
    let mut value = facts;
    for name in path {
        match value {
            Value::Array(list) => return Some(list.len().to_string()),
            other => value = other.get(name)?,
        }
    }
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Array(list) => Some(list.len().to_string()),
        other => Some(other.to_string()),
    }
}

/// Whether the caller may have, unmasked, everything on a rule's path, through entities too.
pub(super) fn readable(view: &RowView<'_>, path: &[String], unread: &Unread) -> bool {
    let contract = &view.snapshot.contract;
    match slots_of(contract, view.node.entity, path) {
        Some(slots) => slots.iter().all(|slot| {
            let section = contract.slot(*slot).class.is_none();
            let rights = view.rights;
            // Rules that may read withheld codes tell more than the caller has.
            let in_part = rights.held.codes.contains_key(slot) && !unread.codes.contains_key(slot);
            (section || rights.slots.contains(*slot)) && !rights.masks.contains_key(slot) && !in_part
        }),
        None => false,
    }
}

fn slots_of(contract: &Contract, mut entity: EntityId, path: &[String]) -> Option<Vec<SlotId>> {
    let mut slots = Vec::with_capacity(path.len());
    let mut parent = None;
    for name in path {
        let slot = contract.child(entity, parent, name)?;
        slots.push(slot);
        parent = Some(slot);
        if let Shape::Entity(below) | Shape::EntityList(below) = contract.slot(slot).shape {
            entity = below;
            parent = None;
        }
    }
    Some(slots)
}

/// A value the gateway made, as far as it is selected and the caller may have it: what is in it has rights of its own, and
/// what is given masked is not told, since no mask knows what rules made.
pub(super) fn project(writer: &mut Writer<'_>, view: &RowView<'_>, value: &Value, selections: &[Selection]) {
    match value {
        Value::Array(list) => {
            writer.out.push(b'[');
            for (at, element) in list.iter().enumerate() {
                if !writer.afford() {
                    break;
                }
                if at > 0 {
                    writer.out.push(b',');
                }
                writer.journal.enter(Segment::Index(at));
                project(writer, view, element, selections);
                writer.journal.leave();
            }
            writer.out.push(b']');
        }
        Value::Object(members) => {
            writer.out.push(b'{');
            for (at, selection) in selections.iter().enumerate() {
                if at > 0 {
                    writer.out.push(b',');
                }
                writer.string(&selection.key);
                writer.out.push(b':');
                match &selection.what {
                    What::Typename(name) => writer.string(name),
                    What::Slot(slot) => {
                        writer.journal.enter(Segment::Key(Arc::clone(&selection.key)));
                        if writer.permitted(view, *slot) && !view.rights.masks.contains_key(slot) {
                            let name = &writer.snapshot.contract.slot(*slot).name;
                            project(writer, view, members.get(&**name).unwrap_or(&Value::Null), &selection.children);
                        } else {
                            writer.refuse(*slot);
                            writer.null();
                        }
                        writer.journal.leave();
                    }
                    _ => writer.null(),
                }
            }
            writer.out.push(b'}');
        }
        other => {
            let _ = serde_json::to_writer(&mut writer.out, other);
        }
    }
}
