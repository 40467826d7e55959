//! Writing entities, objects and values straight into the answer.
//!
//! One writer serves two readers. For the caller ([`Mode::Caller`]) it writes only what the entity's relations give,
//! masked where they give it masked, and notes why anything is null. For the gateway's own rules ([`Mode::Gateway`],
//! [`Mode::Rules`], [`Mode::Condition`]) it writes everything that was read for them, and leaves out what is not
//! available.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::element::Told;
use super::errors::{Cause, Journal, Segment};
use super::pick::{Picked, pick};
use super::read::{Filling, RowView};
use super::straight::Known;
use super::{derived, items, list};
use crate::base::code::{ErrorCode, ItemState};
use crate::base::json::{Json, JsonValue};
use crate::engine::authorize::Asking;
use crate::engine::frame::Failure;
use crate::engine::operation::{Selection, What};
use crate::model::access::hand::Unread;
use crate::model::binding::SourceId;
use crate::model::binding::conversion::Kind;
use crate::model::binding::mapping::Mapping;
use crate::model::contract::{Shape, Slot, SlotId};
use crate::model::mask;
use crate::model::snapshot::Snapshot;

/// What a field counts beside its bytes: reading, converting and journalling it takes as long as writing so many.
const FIELD_BYTES: usize = 32;

/// What a department keeps from a rule: not known to it.
pub(super) const UNREAD: Failure =
    Failure { state: ItemState::Undetermined, code: ErrorCode::InputMissing, source: None };

/// For whom is written.
#[derive(Clone, Copy)]
pub enum Mode<'a> {
    Caller {
        asking: &'a Asking,
        variables: &'a serde_json::Map<String, serde_json::Value>,
    },
    Gateway,
    /// The rules of a derived field, which may not read what departments keep from them.
    Rules(&'a Unread),
    /// A condition on the entity, which reads what this caller may compare, and decides on nothing that is not known.
    Condition(&'a Asking),
}

impl Mode<'_> {
    /// Whether all who hold a value are heard, and a value that they disagree about is not known.
    pub(super) fn hears_all(self) -> bool {
        matches!(self, Self::Rules(_) | Self::Condition(_))
    }

    /// Whether rules may not read a slot of an entity, or a condition be decided on it.
    pub(super) fn is_kept(self, view: &RowView<'_>, slot: SlotId) -> bool {
        match self {
            Self::Rules(unread) => unread.slots.contains(slot),
            Self::Condition(_) => {
                let section = view.snapshot.contract.slot(slot).class.is_none();
                !section && !view.rights.may_compare(slot)
            }
            Self::Caller { .. } | Self::Gateway => false,
        }
    }

    /// Whether they may not hear what this source, which holds it too, says of it.
    pub(super) fn is_kept_by(self, view: &RowView<'_>, slot: SlotId, source: SourceId) -> bool {
        let also = match self {
            Self::Rules(unread) => &unread.also,
            Self::Condition(_) => &view.rights.held.also,
            Self::Caller { .. } | Self::Gateway => return false,
        };
        also.get(&slot).is_some_and(|sources| sources.contains(&source))
    }
}

/// Writes JSON and keeps the journal of what is missing.
pub struct Writer<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) mode: Mode<'a>,
    pub(super) out: Vec<u8>,
    pub(super) journal: Journal,
    /// Bytes that may be written, fields counted as [`FIELD_BYTES`] more.
    max: usize,
    /// What was spent beside what stands in `out`.
    spent: usize,
    too_much: bool,
    /// Where values are masked, by names alone, if that is to be told.
    pub(super) masked: Option<BTreeSet<Vec<Arc<str>>>>,
    /// A list was cut to a period though some element's date does not say on which side of it it lies.
    pub(super) undated: bool,
    pub(super) known: Known,
}

/// What came of one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    pub state: ItemState,
    pub failure: Option<Failure>,
    pub truncated: bool,
    /// What it tells of some is left out.
    pub left_out: Option<LeftOut>,
}

/// Why a list tells only of some of those it could tell of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftOut {
    /// The caller stands in no relation to the others that gives it.
    Refused,
    /// Whether the caller stands in one could not be found out.
    Undecided(Failure),
}

impl Written {
    pub fn answered() -> Self {
        Self { state: ItemState::Answered, failure: None, truncated: false, left_out: None }
    }

    pub fn no_record() -> Self {
        Self { state: ItemState::NoRecord, failure: None, truncated: false, left_out: None }
    }

    pub fn refused() -> Self {
        Self { state: ItemState::Refused, failure: None, truncated: false, left_out: None }
    }

    pub fn failed(failure: Failure) -> Self {
        Self { state: failure.state, failure: Some(failure), truncated: false, left_out: None }
    }

    pub fn has_value(self) -> bool {
        matches!(self.state, ItemState::Answered | ItemState::Masked)
    }
}

/// Where an object's fields are read from.
pub(super) enum Inside<'i, 'a> {
    /// An entity, at its top or in one of its sections.
    Row(&'i RowView<'a>),
    /// One JSON value: an element of a list, an object of a record.
    /// What is picked of it is picked when it is first looked at.
    Element {
        view: &'i RowView<'a>,
        raw: JsonValue<'i>,
        mapping: &'i Mapping,
        picked: &'i OnceCell<Picked<'i>>,
        told: Told<'i>,
    },
}

impl<'a> Writer<'a> {
    pub fn new(snapshot: &'a Snapshot, mode: Mode<'a>) -> Self {
        Self {
            snapshot,
            mode,
            out: Vec::with_capacity(256),
            journal: Journal::default(),
            max: usize::MAX,
            spent: 0,
            too_much: false,
            masked: None,
            undated: false,
            known: Known::default(),
        }
    }

    /// As [`Self::new`], for at most `max` bytes: aliases and lists of lists multiply what a short document asks for.
    pub fn limited(snapshot: &'a Snapshot, mode: Mode<'a>, max: usize) -> Self {
        Self { max, out: Vec::with_capacity(8 * 1024), ..Self::new(snapshot, mode) }
    }

    /// Counts a field. False where there is too much already: what is written from then on is not sent.
    pub(super) fn afford(&mut self) -> bool {
        self.spent = self.spent.saturating_add(FIELD_BYTES);
        let left = self.max.checked_sub(self.out.len().saturating_add(self.spent));
        self.too_much |= left.is_none();
        !self.too_much
    }

    /// Counts work that writes nothing.
    pub(super) fn spend(&mut self, bytes: usize) {
        self.spent = self.spent.saturating_add(bytes);
    }

    /// Takes back what was written since `start`; the work stays counted.
    pub(super) fn discard(&mut self, start: usize) {
        self.spent = self.spent.saturating_add(self.out.len().saturating_sub(start));
        self.out.truncate(start);
    }

    /// Whether the limit was passed, so that what stands here is not whole.
    pub fn is_too_much(&self) -> bool {
        self.too_much
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    pub(super) fn is_caller(&self) -> bool {
        matches!(self.mode, Mode::Caller { .. })
    }

    pub fn first_failure(&self) -> Option<Failure> {
        self.journal.first_failure()
    }

    /// Whether this reader may have the slot of this entity.
    pub(super) fn permitted(&self, view: &RowView<'_>, slot: SlotId) -> bool {
        !self.is_caller() || view.rights.slots.contains(slot)
    }

    /// Whether this reader may have the slot as far as it tells of some of those it tells of.
    pub(super) fn in_part(&self, view: &RowView<'_>, slot: SlotId) -> bool {
        self.is_caller() && view.row.in_part(slot).is_some()
    }

    /// An entity's selected fields.
    pub fn entity_object(&mut self, view: &RowView<'_>, selections: &[Selection]) -> Written {
        self.object(&Inside::Row(view), selections)
    }

    /// `{…}` of the selected fields; the best of their states.
    pub(super) fn object(&mut self, inside: &Inside<'_, '_>, selections: &[Selection]) -> Written {
        let mut sum = Sum::default();
        self.out.push(b'{');
        let mut first = true;
        let mut straight = self.straight(inside, selections);
        for (at, selection) in selections.iter().enumerate() {
            if !self.afford() {
                break;
            }
            let before = self.out.len();
            if !first {
                self.out.push(b',');
            }
            self.out.push(b'"');
            self.out.extend_from_slice(selection.key.as_bytes());
            self.out.extend_from_slice(b"\":");
            if let Some(state) = straight.as_mut().and_then(|values| self.straightly(values, at, selection, inside)) {
                sum.add_state(state);
                first = false;
                continue;
            }
            self.journal.enter(Segment::Key(Arc::clone(&selection.key)));
            let written = self.field(inside, selection, selections);
            self.journal.leave();
            match written {
                // What rules cannot read is absent, not null.
                Some(written) if !self.is_caller() && written.failure.is_some() => {
                    self.out.truncate(before);
                    sum.add(written);
                    continue;
                }
                Some(written) => sum.add(written),
                None => {}
            }
            first = false;
        }
        self.out.push(b'}');
        sum.written()
    }

    /// One field; `None` for those that tell nothing of a department's (`__typename`, `items`).
    fn field(&mut self, inside: &Inside<'_, '_>, selection: &Selection, beside: &[Selection]) -> Option<Written> {
        match &selection.what {
            What::Typename(name) => {
                self.string(name);
                None
            }
            What::Slot(id) => {
                let slot = self.snapshot.contract.slot(*id);
                let view = inside.view();
                if matches!(slot.shape, Shape::ItemStates) {
                    if self.permitted(view, *id) {
                        items::write(self, view, selection, beside);
                    } else {
                        self.refuse(*id);
                        self.out.extend_from_slice(if slot.nullable { b"null" } else { b"[]" });
                    }
                    return None;
                }
                Some(self.slot(inside, slot, selection))
            }
            What::Meta(_) if matches!(self.mode, Mode::Condition(_)) => self.known_state(inside, selection, beside),
            _ => {
                self.null();
                None
            }
        }
    }

    /// One slot, permitted or not.
    pub(super) fn slot(&mut self, inside: &Inside<'_, '_>, slot: &Slot, selection: &Selection) -> Written {
        let section = matches!(slot.shape, Shape::Object) && slot.class.is_none();
        if !section && !self.permitted(inside.view(), slot.id) && !self.in_part(inside.view(), slot.id) {
            if let Some(failure) = undecided(self, inside.view(), slot.id) {
                return self.failed(failure);
            }
            self.refuse(slot.id);
            self.empty_or_null(slot, inside, selection);
            return Written::refused();
        }
        if self.mode.is_kept(inside.view(), slot.id) {
            return self.failed(UNREAD);
        }
        let start = self.out.len();
        let written = match inside {
            Inside::Row(view) => {
                let written = self.row_slot(view, slot, selection);
                self.agreed(view, slot, selection, start, written)
            }
            Inside::Element { view, raw, mapping, picked, told } => match mapping.entry(slot.id) {
                Some(entry) => {
                    let permitted = || mapping.wanted_terms(|slot| self.permitted(view, slot));
                    let picked = picked.get_or_init(|| pick(*raw, mapping, &permitted()));
                    self.element_entry(view, slot, entry, (*raw, mapping), picked, *told, selection)
                }
                None if self.is_section(slot) => self.section(inside, slot, selection),
                None => {
                    self.null();
                    Written::no_record()
                }
            },
        };
        if !written.has_value() || !self.is_caller() {
            return written;
        }
        // Also what is masked below already: it may show more than may be shown here.
        let written = self.masked(inside.view(), slot, start, written);
        if written.state == ItemState::Masked
            && matches!(slot.shape, Shape::Leaf(_) | Shape::LeafList(_))
            && let Some(masked) = &mut self.masked
        {
            masked.insert(self.journal.names());
        }
        written
    }

    fn masked(&mut self, view: &RowView<'_>, slot: &Slot, start: usize, written: Written) -> Written {
        let Some(mask) = view.rights.masks.get(&slot.id) else { return written };
        let plain = self.out.split_off(start);
        let text = String::from_utf8(plain).unwrap_or_default();
        match slot.shape {
            Shape::LeafList(_) => {
                self.out.push(b'[');
                let list = Json::read(text).unwrap_or_default();
                for (at, element) in list.root().elements().enumerate() {
                    if at > 0 {
                        self.out.push(b',');
                    }
                    mask::apply(*mask, element.raw(), &mut self.out);
                }
                self.out.push(b']');
            }
            _ => mask::apply(*mask, &text, &mut self.out),
        }
        Written { state: ItemState::Masked, ..written }
    }

    pub(super) fn row_slot(&mut self, view: &RowView<'_>, slot: &Slot, selection: &Selection) -> Written {
        if matches!(slot.shape, Shape::Entity(_) | Shape::EntityList(_)) {
            return list::entities(self, view, slot, selection);
        }
        match view.filling(slot.id) {
            Filling::Key => self.key(view, slot),
            Filling::Embedded(mapping, entry, source) => {
                if let Some(failure) = self.over_quota(view, source) {
                    return self.failed(failure);
                }
                let raw = view.row.embedded.as_ref().map_or_else(|| JsonValue::null(), |record| record.value());
                let wanted = mapping.wanted_terms(|wanted| wanted == slot.id);
                let picked = pick(raw, mapping, &wanted);
                self.element_entry(
                    view,
                    slot,
                    entry,
                    (raw, mapping),
                    &picked,
                    Told { source, part: None, remarks: &[] },
                    selection,
                )
            }
            Filling::Answer(fetched) => self.fetched(view, slot, &fetched, selection),
            Filling::Nobody => self.failed(Failure::NOBODY),
            Filling::Derived(rule) => derived::write(self, view, slot, rule, selection),
            Filling::Parts if self.is_section(slot) => self.section(&Inside::Row(view), slot, selection),
            Filling::Parts => {
                self.null();
                Written::no_record()
            }
        }
    }

    fn is_section(&self, slot: &Slot) -> bool {
        matches!(slot.shape, Shape::Object) && !self.snapshot.contract.is_abstract(slot.id)
    }

    /// An object that is nothing but its fields: null where it may be and none of them has a value.
    fn section(&mut self, inside: &Inside<'_, '_>, slot: &Slot, selection: &Selection) -> Written {
        let (start, mark) = (self.out.len(), self.journal.mark());
        let written = self.object(inside, &selection.children);
        if slot.nullable && self.is_caller() && !written.has_value() && written.state != ItemState::Refused {
            self.out.truncate(start);
            self.journal.fold(mark);
            self.null();
        }
        self.known_section(start, written)
    }

    pub(super) fn key(&mut self, view: &RowView<'_>, slot: &Slot) -> Written {
        let Some(key) = &view.row.key else {
            self.null();
            return Written::no_record();
        };
        if matches!(slot.shape, Shape::Leaf(Kind::Int)) && key.parse::<i32>().is_ok() {
            self.out.extend_from_slice(key.as_bytes());
        } else {
            self.string(key);
        }
        Written::answered()
    }

    fn empty_or_null(&mut self, slot: &Slot, inside: &Inside<'_, '_>, selection: &Selection) {
        // A non-null object keeps its shape: every field of it is refused too, and noted once, above.
        if matches!(slot.shape, Shape::Object) && !slot.nullable {
            let mark = self.journal.mark();
            self.object(inside, &selection.children);
            self.journal.forget(mark);
        } else {
            self.null();
        }
    }

    pub(super) fn refuse(&mut self, slot: SlotId) {
        self.journal.note(Cause::Refused(slot));
    }

    pub(super) fn null(&mut self) {
        self.out.extend_from_slice(b"null");
    }

    pub(super) fn string(&mut self, text: &str) {
        // Writing to a vector cannot fail.
        let _ = serde_json::to_writer(&mut self.out, text);
    }
}

impl<'a> Inside<'_, 'a> {
    pub(super) fn view(&self) -> &RowView<'a> {
        match self {
            Self::Row(view) | Self::Element { view, .. } => view,
        }
    }
}

/// Why it could not be found out whether a relation to those whom a slot tells of gives it.
fn undecided(writer: &Writer<'_>, view: &RowView<'_>, slot: SlotId) -> Option<Failure> {
    let key = writer.snapshot.subjects.key(slot)?;
    // Only what their own relations could give.
    let may = view.node.subjects.iter().any(|need| need.key == key && need.slots.contains(slot));
    view.row.subjects_by(key).filter(|_| may)?.undecided
}

/// The state of an object, from those of its fields: what there is to see counts first, then why there is not.
#[derive(Default)]
struct Sum {
    best: Option<Written>,
    truncated: bool,
    left_out: Option<LeftOut>,
}

impl Sum {
    fn add(&mut self, written: Written) {
        self.truncated |= written.truncated;
        self.left_out = self.left_out.or(written.left_out);
        if self.is_better(written.state) {
            self.best = Some(written);
        }
    }

    /// As [`Self::add`], of a field of which there is no more to say.
    fn add_state(&mut self, state: ItemState) {
        if self.is_better(state) {
            self.best = Some(Written { state, failure: None, truncated: false, left_out: None });
        }
    }

    fn is_better(&self, state: ItemState) -> bool {
        let rank = |state: ItemState| match state {
            ItemState::Answered => 7,
            ItemState::Masked => 6,
            ItemState::Conflict => 5,
            ItemState::Pending => 4,
            ItemState::Unavailable => 3,
            ItemState::Undetermined => 2,
            ItemState::NoRecord => 1,
            ItemState::Refused => 0,
        };
        self.best.is_none_or(|best| rank(state) > rank(best.state))
    }

    fn written(self) -> Written {
        Written { truncated: self.truncated, left_out: self.left_out, ..self.best.unwrap_or_else(Written::answered) }
    }
}
