//! Single entities that a row's fields tell of: how the caller stands to each, and what that gives of the fields.

use std::collections::HashMap;
use std::sync::Arc;

use super::Execution;
use super::node::Related;
use super::rows::{Seeds, nobody, seed};
use crate::engine::frame::{Failure, Row, RowAnswer, RowSubjects};
use crate::engine::plan::{Stage, SubjectNeed};
use crate::engine::project::read::{RowView, Texts};
use crate::model::access::{RelationId, RowRights, SlotSet};
use crate::model::contract::SlotId;

/// The entities of one row.
struct Named {
    row: usize,
    keys: Texts,
    /// Where the first of them stands among the entities of all rows.
    first: usize,
    failure: Option<Failure>,
}

impl Execution<'_> {
    /// Relates the entities whose keys stand in a slot of the rows, and gives the rows what follows from it. The
    /// entities are handed back for the audit: their relations were asked.
    pub(super) async fn subjects(&self, need: &SubjectNeed, related: &mut Related) -> Option<Related> {
        let told = self.plan.node(need.node).shown.clone();
        let (seeds, named) = self.named(need.key, related, &told);
        if named.is_empty() {
            return None;
        }
        // Who is nobody's stands after them, where there is one.
        let somebody: usize = named.iter().map(|named| named.keys.len()).sum();
        let mut subjects = self.relate(need.node, seeds).await;
        let of_nobody = subjects.rows.get(somebody).and_then(|row| row.undecided);
        subjects.truncate(somebody);
        let own: Vec<RelationId> = self.own_relations(need, &told);
        for named in &named {
            let of_row = subjects.rows.get(named.first..named.first + named.keys.len()).unwrap_or_default();
            let Some(row) = related.rows.get_mut(named.row) else { continue };
            let undecided = of_row.iter().find_map(|subject| subject.undecided);
            let undecided = named.failure.or(undecided).or(of_nobody.filter(|_| of_row.is_empty()));
            row.undecided = row.undecided.or(undecided);
            row.rights = Arc::new(of_all(&row.rights, of_row, &told, &own));
            let rights: HashMap<_, _> =
                named.keys.iter().cloned().zip(of_row.iter().map(|subject| Arc::clone(&subject.rights))).collect();
            let of_some = self.of_some(row, of_row, &told);
            let more = RowSubjects { key: need.key, rights, of_some, undecided };
            row.subjects = row.subjects_and(more);
        }
        Some(subjects)
    }

    /// The entities of the rows of which not everything is given already, and whose they are. Where a row names none,
    /// one that is not there stands in: not to be there must cost what it costs to be nothing to the caller.
    fn named(&self, key: SlotId, related: &Related, told: &SlotSet) -> (Seeds, Vec<Named>) {
        let node = self.plan.node(related.node);
        let known: Vec<Option<&[RowAnswer]>> = related.answers.iter().map(Option::as_deref).collect();
        let (mut seeds, mut named) = (Seeds::default(), Vec::new());
        let mut inherited = Vec::new();
        for (at, row) in related.rows.iter().enumerate() {
            if told.iter().all(|slot| row.rights.slots.contains(slot) && !row.rights.masks.contains_key(&slot)) {
                continue;
            }
            let view = RowView::new(self.snapshot, self.plan, node, row, at, &known, Stage::Relation);
            let (mut keys, failure) = match view.texts(key) {
                Ok(keys) => (keys, None),
                Err(failure) => (Texts::new(), Some(failure).filter(Failure::is_sources)),
            };
            keys.sort();
            keys.dedup();
            if !self.calls.take_entities(keys.len()) {
                keys.clear();
            }
            let first = seeds.rows.len();
            seeds.rows.extend(keys.iter().map(|key| seed(Some(Arc::clone(key)), None)));
            inherited.extend(keys.iter().map(|_| Arc::clone(&row.rights)));
            named.push(Named { row: at, keys, first, failure });
        }
        if named.iter().any(|named| named.keys.is_empty()) {
            seeds.rows.push(nobody());
            inherited.push(Arc::default());
        }
        seeds.inherited = Some(inherited);
        (seeds, named)
    }

    /// Relations to such entities that give any of what is told.
    fn own_relations(&self, need: &SubjectNeed, told: &SlotSet) -> Vec<RelationId> {
        let entity = self.plan.node(need.node).entity;
        let own = |relation: &RelationId| {
            self.snapshot.access.relation(*relation).is_some_and(|relation| relation.on == entity)
        };
        self.rights.relations_for(told).filter(own).collect()
    }

    /// What is given of some of them, one by one, and not of the row as a whole.
    fn of_some(&self, row: &Row, subjects: &[Row], told: &SlotSet) -> SlotSet {
        let one_by_one = told.intersection(self.snapshot.subjects.one_by_one());
        let given = |slot: &SlotId| {
            !row.rights.slots.contains(*slot) && subjects.iter().any(|subject| subject.rights.slots.contains(*slot))
        };
        one_by_one.iter().filter(given).collect()
    }
}

/// The row's rights, with what may be had of all of its entities: that tells no more than each alone.
fn of_all(row: &RowRights, subjects: &[Row], told: &SlotSet, own: &[RelationId]) -> RowRights {
    let mut rights = row.clone();
    let relations = subjects.iter().flat_map(|subject| &subject.rights.relations);
    rights.through = relations.filter(|relation| own.contains(relation)).copied().collect();
    rights.through.sort_unstable();
    rights.through.dedup();
    for slot in told.iter().filter(|_| !subjects.is_empty()) {
        // What a department keeps back of one of them it keeps back of the whole.
        let whole = |subject: &Row| subject.rights.slots.contains(slot) && !subject.rights.held.keeps(slot);
        if !subjects.iter().all(whole) {
            continue;
        }
        let mut masks = subjects.iter().filter_map(|subject| subject.rights.masks.get(&slot));
        let first = masks.next().copied();
        match first.map(|first| masks.try_fold(first, |one, other| one.narrower(*other))) {
            None => {
                rights.masks.remove(&slot);
            }
            // Masked in one way for some of them: so for all. In two ways: neither is surely the narrower.
            Some(Some(mask)) => {
                if !rights.slots.contains(slot) {
                    rights.masks.insert(slot, mask);
                }
            }
            Some(None) => continue,
        }
        rights.slots.insert(slot);
    }
    rights
}
