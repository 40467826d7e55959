//! What a relation can give at all: fields of its own entity, of those that take its relations, and what is told of it
//! elsewhere ([`Subjects`]).
//!
//! [`Subjects`]: crate::model::subject::Subjects

use super::compile::Compiler;
use super::{Idle, RelationId, SlotSet};
use crate::base::fault::Place;
use crate::model::contract::{EntityId, SlotId};
use crate::model::yaml::{self, Spanned};

impl Compiler<'_> {
    /// A field that is named must be within the relation's reach.
    pub(super) fn check_reach(&mut self, relation: RelationId, field: &Spanned<String>, named: &[SlotId]) {
        let Some((name, on)) = self.access.relation(relation).map(|found| (found.name.clone(), found.on)) else {
            return;
        };
        if named.iter().all(|slot| self.reaches(on, *slot)) {
            return;
        }
        let on = self.contract.entity(on).name.clone();
        self.fault(
            yaml::place_of(field),
            format!(
                "the relation `{name}`, to a {on}, cannot give `{}`, which does not tell of a single {on}",
                field.value
            ),
            "grant it by a relation to the entity it is a field of; see docs/access.md, Single persons",
        );
    }

    /// Of what classes give, what the relation cannot is left out, and handed back.
    pub(super) fn within_reach(&self, relation: RelationId, slots: &mut SlotSet) -> SlotSet {
        let Some(on) = self.access.relation(relation).map(|relation| relation.on) else { return SlotSet::new() };
        let within = |slot: SlotId| self.contract.slot(slot).class.is_none() || self.reaches(on, slot);
        let (given, beyond): (Vec<SlotId>, Vec<SlotId>) =
            slots.iter().partition(|slot| within(*slot) && self.contract.above(*slot).all(within));
        *slots = given.into_iter().collect();
        beyond.into_iter().collect()
    }

    /// Notes a name that stands for fields none of which the relation can give: a warning of `huxiang check`.
    pub(super) fn idle(
        &mut self,
        relation: RelationId,
        key: &'static str,
        name: &str,
        place: Place,
        mut named: impl Iterator<Item = SlotId>,
    ) {
        let Some(on) = self.access.relation(relation).map(|relation| relation.on) else { return };
        let Some(slot) = named.next() else { return };
        if !self.reaches(on, slot) && named.all(|slot| !self.reaches(on, slot)) {
            self.access.idle.push(Idle { place, key, name: name.to_owned(), relation, slot });
        }
    }

    fn reaches(&self, on: EntityId, slot: SlotId) -> bool {
        self.subjects.is_none_or(|subjects| subjects.reaches(self.contract, on, slot))
    }
}
