//! What became of a row's fields: what the sources that were asked for it said of each.

use crate::engine::frame::{Remark, Row, RowAnswer};
use crate::engine::plan::{FetchNode, Node, Stage};
use crate::engine::project::fetched::Fetched;
use crate::engine::project::read::{Filling, RowView};
use crate::model::access::SlotSet;
use crate::model::binding::Bindings;
use crate::model::binding::mapping::{Mapping, Read};
use crate::model::contract::{Shape, SlotId};

/// What became of one row: which sources answered for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct RowFate {
    pub fetches: Vec<FetchFate>,
    /// Hidden inputs that were read of it.
    pub used: SlotSet,
    pub remarked: Remarked,
    pub is_embedded: bool,
    /// The entity was shown to the caller at all.
    pub is_there: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum FetchFate {
    NotAsked,
    /// Asked without an answer, or there was nothing to ask with.
    Unanswered,
    Answered,
}

impl FetchFate {
    pub fn of(answer: &RowAnswer) -> Self {
        match answer {
            RowAnswer::NotAsked => Self::NotAsked,
            RowAnswer::NoKey | RowAnswer::Missing(_) => Self::Unanswered,
            RowAnswer::Parts(parts) if parts.iter().any(|part| part.outcome.is_ok()) => Self::Answered,
            RowAnswer::Parts(_) => Self::Unanswered,
        }
    }
}

/// Whether the slot's source said anything of it; `None`: nothing is to be said of a section, which holds nothing of its own.
pub(super) fn is_answered(view: &RowView<'_>, fate: &RowFate, slot: SlotId) -> Option<bool> {
    if fate.remarked.silent.contains(slot) {
        return Some(false);
    }
    let answered = |fetched: &Fetched<'_>| FetchFate::of(fetched.answer) == FetchFate::Answered;
    Some(match view.filling(slot) {
        Filling::Key => true,
        Filling::Nobody => false,
        Filling::Embedded(..) => fate.is_embedded,
        Filling::Answer(fetched) => answered(&fetched),
        // By rules: known, where any of what they read is.
        Filling::Derived(_) => is_derived(view, fate, slot),
        // A part of an object that is read as a whole, or a section.
        Filling::Parts => {
            let whole = view.snapshot.contract.above(slot).filter_map(|above| match view.filling(above) {
                Filling::Answer(Fetched { endpoint, entry, .. }) => {
                    Some(answered(&view.fetched(endpoint, slot, entry)))
                }
                Filling::Embedded(..) => Some(fate.is_embedded),
                Filling::Derived(_) => Some(is_derived(view, fate, above)),
                Filling::Key | Filling::Parts | Filling::Nobody => None,
            });
            let (contract, of) = (&view.snapshot.contract, view.snapshot.contract.slot(slot));
            let is_section = || of.shape == Shape::Object && !of.is_type && !contract.is_abstract(slot);
            return whole.reduce(|one, other| one || other).or_else(|| (!is_section()).then_some(false));
        }
    })
}

/// What sources that answered say of slots.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Remarked {
    /// They left them out because of an error.
    pub silent: SlotSet,
    /// They show them in part.
    pub masked: SlotSet,
}

pub(super) fn remarked(bindings: &Bindings, node: &Node, answers: &[Vec<RowAnswer>], at: usize) -> Remarked {
    let mut all = Remarked::default();
    for (fetch, rows) in node.fetches.iter().zip(answers) {
        let Some(RowAnswer::Parts(parts)) = rows.get(at) else { continue };
        let mapping = &bindings.endpoint(fetch.endpoint).mapping;
        for part in parts.iter().filter(|part| !part.remarks.is_empty()) {
            all.add(mapping, &part.remarks);
        }
    }
    all
}

impl Remarked {
    /// Goes as deep as the mapping nests, which its loader bounds.
    fn add(&mut self, mapping: &Mapping, remarks: &[Remark]) {
        for entry in &mapping.entries {
            let place = entry.read.term().and_then(|term| mapping.terms.get(term)).map_or(&[][..], |at| at.segments());
            if Remark::failure(remarks, place).is_some() {
                self.silent.insert(entry.slot);
            }
            if Remark::is_masked(remarks, place) {
                self.masked.insert(entry.slot);
            }
            if let Read::Object { inside, .. } | Read::Objects { inside, .. } = &entry.read {
                let inner = Remark::inside(remarks, place);
                if !inner.is_empty() {
                    self.add(inside, &inner);
                }
            }
        }
    }
}

fn is_derived(view: &RowView<'_>, fate: &RowFate, slot: SlotId) -> bool {
    let fetches = view.node.fetches.iter().zip(&fate.fetches);
    let mut reading = fetches.filter(|(fetch, _)| fetch.hidden.derived.contains_key(&slot)).peekable();
    reading.peek().is_none() || reading.any(|(_, fate)| *fate == FetchFate::Answered)
}

/// Hidden inputs that were read of a row: of the fetches that answered, what was read at the gate or by fetches that came
/// after, and what rules may read of it.
pub(super) fn used(bindings: &Bindings, node: &Node, row: &Row, fates: &[FetchFate]) -> SlotSet {
    let mut used = SlotSet::new();
    for (at, (fetch, _)) in
        node.fetches.iter().zip(fates).enumerate().filter(|(_, (_, fate))| **fate == FetchFate::Answered)
    {
        let asked_after =
            |(later, fate): (&FetchNode, &FetchFate)| later.after.contains(&at) && *fate != FetchFate::NotAsked;
        if fetch.stage == Stage::Relation || node.fetches.iter().zip(fates).any(asked_after) {
            used.union(&fetch.hidden.inputs);
        }
        let source = bindings.endpoint(fetch.endpoint).source;
        // A fetch of the gate may give rules what they read, too.
        if !row.over_quota.contains(&source) {
            used.union(&fetch.hidden.by_rules(&row.rights, row.read_from_above.as_deref(), source));
        }
    }
    used
}
