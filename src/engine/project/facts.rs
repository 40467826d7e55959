//! What is known of an entity, for a condition that nothing may be guessed for, and why the rest is not.
//!
//! It is told nothing that the caller could not read in full: slots that an entity's rights do not give unmasked are
//! not known, what departments withhold is left out, and entities that the caller stands in no relation to are not
//! there. Else it reads as the rules of a derived field do ([`Mode::Rules`]), and three things that those do without:
//! - A section tells each of its fields that is known, be it null, also where another one's department is silent.
//! - What rules fill is there too: a single value as it is, and of a ladder all the levels that it may come to.
//! - The state of a field is there where it is asked for, under [`state_member`].

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::errors::{Cause, Journal, Segment};
use super::read::RowView;
use super::write::{Inside, Mode, UNREAD, Writer, Written};
use crate::base::code::ItemState;
use crate::engine::authorize::Asking;
use crate::engine::frame::{Failure, Row};
use crate::engine::operation::{Selection, What};
use crate::model::contract::Shape;
use crate::model::rule::filter::state_member;

/// What is known of one entity.
#[derive(Debug, PartialEq)]
pub struct Facts {
    /// In the contract's JSON. What is not known is absent.
    pub value: Value,
    /// Each once, sorted. What is known in part is here too. Of a list of very many broken elements not every path is
    /// told (the journal is bounded), and some always is.
    pub missing: Vec<Missing>,
}

/// A field that is not known, or not in full.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Missing {
    /// From the entity; through lists without the places of elements, as [`crate::model::rule::Expression::inputs`] has
    /// it. Of an object or a list that failed as a whole, its own path.
    pub path: Vec<Arc<str>>,
    pub failure: Failure,
}

impl Facts {
    pub(super) fn read(view: &RowView<'_>, reads: &[Selection], mode: Mode<'_>) -> Self {
        let mut writer = Writer::new(view.snapshot, mode);
        writer.entity_object(view, reads);
        let missing = missing(&writer.journal);
        // What is not JSON is no object, of which nothing is known.
        Self { value: serde_json::from_slice(&writer.into_bytes()).unwrap_or(Value::Null), missing }
    }

    /// Why what an expression reads is not known, where it is not: the reasons for its inputs, for what they stand in
    /// and for what stands in them. Each once; none, where all of it is known.
    pub fn reasons(&self, inputs: &[Vec<String>]) -> BTreeSet<Failure> {
        self.concerning(inputs).map(|missing| missing.failure).collect()
    }

    /// As [`Self::reasons`], with the fields.
    pub fn concerning<'f>(&'f self, inputs: &'f [Vec<String>]) -> impl Iterator<Item = &'f Missing> {
        let along = |path: &[Arc<str>], input: &[String]| path.iter().zip(input).all(|(a, b)| **a == **b);
        self.missing.iter().filter(move |missing| inputs.iter().any(|input| along(&missing.path, input)))
    }
}

impl RowView<'_> {
    /// What is known of what a condition reads, and every reason for what is not. The state of a field is asked for by
    /// [`reads_state`]. Whether the caller may compare what is read of this very entity is asked before: here, what
    /// may not be compared is merely not known.
    pub fn facts_of(&self, reads: &[Selection], asking: &Asking) -> Facts {
        Facts::read(self, reads, Mode::Condition(asking))
    }
}

/// The selection of a field's state, to stand beside the field's own: of an object or a list, the field is read as a
/// whole.
pub fn reads_state(of: &Selection) -> Selection {
    let (key, what) = (state_member(&of.key).into(), What::Meta("state".into()));
    Selection { key, what, arguments: Vec::new(), children: Vec::new() }
}

/// Every reason in a journal, whichever element of a list it is about.
fn missing(journal: &Journal) -> Vec<Missing> {
    let name = |segment: &Segment| match segment {
        Segment::Key(name) => Some(Arc::clone(name)),
        Segment::Index(_) => None,
    };
    let notes = journal.notes().iter().filter_map(|(cause, path)| match cause {
        Cause::Failed(failure) => Some(Missing { path: path.iter().filter_map(name).collect(), failure: *failure }),
        _ => None,
    });
    notes.collect::<BTreeSet<_>>().into_iter().collect()
}

impl Writer<'_> {
    /// Whether an entity under another one is there for this reader: for the caller, and so for a condition, where the
    /// caller stands in any relation to it. `Err`: a condition cannot know, since that could not be found out.
    pub(super) fn finds(&self, below: &Row) -> Result<bool, Failure> {
        match self.mode {
            Mode::Gateway | Mode::Rules(_) => Ok(true),
            Mode::Condition(_) if !below.is_related() => below.undecided.map_or(Ok(false), Err),
            Mode::Caller { .. } | Mode::Condition(_) => Ok(below.is_related()),
        }
    }

    /// Of a section some field of which is not known: it is there with the others. One of which nothing is known is
    /// not.
    pub(super) fn known_section(&self, start: usize, written: Written) -> Written {
        let is_empty = self.out.get(start..) == Some(b"{}");
        match written.failure {
            Some(_) if matches!(self.mode, Mode::Condition(_)) && !is_empty => Written::no_record(),
            _ => written,
        }
    }

    /// The state of a field beside it, where it is known: departments disagree, or all of it is there, or nothing is.
    /// Of a field that is known in part, what is not known may be what departments disagree about.
    pub(super) fn known_state(
        &mut self,
        inside: &Inside<'_, '_>,
        state: &Selection,
        beside: &[Selection],
    ) -> Option<Written> {
        let of = beside.iter().find(|field| *state.key == *state_member(&field.key));
        let Some((of, What::Slot(id))) = of.map(|of| (of, &of.what)) else {
            return Some(Written::failed(UNREAD));
        };
        let slot = self.snapshot.contract.slot(*id);
        let start = self.out.len();
        // Its own: what is missing is told where the field itself is written.
        let journal = std::mem::take(&mut self.journal);
        let written = self.slot(inside, slot, of);
        let mut missing = missing(&std::mem::replace(&mut self.journal, journal));
        self.discard(start);
        // Of other entities, that they are there; what is in them, their keys too, may be somebody else's to compare.
        if matches!(slot.shape, Shape::Entity(_) | Shape::EntityList(_)) {
            missing.retain(|missing| missing.path.last() == Some(&of.key));
        }
        let silent = match inside {
            Inside::Row(view) => self.silent(view, *id),
            Inside::Element { .. } => None,
        };
        let conflict = missing.iter().any(|missing| missing.failure.state == ItemState::Conflict);
        let known = match written.state {
            _ if conflict => ItemState::Conflict,
            _ if silent.is_some() => {
                let failure = silent.unwrap_or(UNREAD);
                // It is the field that it is told of.
                self.journal.leave();
                self.journal.enter(Segment::Key(Arc::clone(&of.key)));
                self.journal.note(Cause::Failed(failure));
                self.journal.leave();
                self.journal.enter(Segment::Key(Arc::clone(&state.key)));
                return Some(Written::failed(failure));
            }
            _ if !missing.is_empty() => return Some(Written::failed(written.failure.unwrap_or(UNREAD))),
            ItemState::NoRecord => ItemState::NoRecord,
            _ => ItemState::Answered,
        };
        self.string(known.as_str());
        None
    }
}

#[cfg(test)]
mod tests;
