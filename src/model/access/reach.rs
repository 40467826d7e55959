//! What a relation can give at all: fields of its own entity, of those that take its relations, and what is told of it
//! elsewhere ([`Subjects`]).
//!
//! [`Subjects`]: crate::model::subject::Subjects

use super::compile::Compiler;
use super::{RelationId, SlotSet};
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

    /// Of what classes give, what the relation cannot is left out.
    pub(super) fn within_reach(&self, relation: RelationId, slots: &mut SlotSet) {
        let Some(on) = self.access.relation(relation).map(|relation| relation.on) else { return };
        let within = |slot: SlotId| self.contract.slot(slot).class.is_none() || self.reaches(on, slot);
        *slots = slots.iter().filter(|slot| within(*slot) && self.contract.above(*slot).all(within)).collect();
    }

    fn reaches(&self, on: EntityId, slot: SlotId) -> bool {
        self.subjects.is_none_or(|subjects| subjects.reaches(self.contract, on, slot))
    }
}
