//! What can be checked only once all bindings are read: that everything is bound, and nothing waits for itself.

use std::sync::Arc;

use super::Compiler;
use crate::base::fault::{Place, SourceText};
use crate::model::binding::mapping::{Mapping, Read};
use crate::model::binding::{Endpoint, EndpointId};
use crate::model::contract::{RootKind, Shape, SlotId};

impl Compiler<'_> {
    /// Leaves and lists that no source and no rule fills, and queries that no source answers.
    pub(super) fn nobody(&mut self, whole: &Arc<SourceText>) {
        let contract = self.against.contract;
        for slot in &contract.slots {
            let section = slot.shape == Shape::Object && !contract.is_abstract(slot.id);
            let structural = section || slot.shape == Shape::ItemStates || contract.entity(slot.entity).key == slot.id;
            // What is not filled where it stands as a whole is told of there.
            let above = contract.above(slot.id).any(|above| self.filled(above) || contract.is_abstract(above));
            if structural || above || self.filled(slot.id) || self.embedded(slot.id) {
                continue;
            }
            if slot.awaited {
                self.bindings.awaited.insert(slot.id);
            } else {
                self.faults.add(
                    whole,
                    Place::default(),
                    format!("no source answers for `{}`", contract.full_path(slot.id)),
                    "bind it in a file of this folder, take it out of the contract, or mark it there as @awaited",
                );
            }
        }
        let unbound: Vec<&str> = contract
            .queries
            .iter()
            .zip(&self.bindings.queries)
            .filter(|(field, binding)| {
                binding.is_none() && !field.awaited && !matches!(field.kind, RootKind::ByKey { .. })
            })
            .map(|(field, _)| &*field.name)
            .collect();
        for name in unbound {
            self.faults.add(
                whole,
                Place::default(),
                format!("no source answers the query `{name}`"),
                "add it under `queries:` of the source that can list or look up its entities, or make it nullable and mark it as \
                 @awaited",
            );
        }
    }

    fn filled(&self, slot: SlotId) -> bool {
        self.bindings.provider(slot).is_some()
            || self.named.contains(&slot)
            || self.against.derived.is_some_and(|derived| derived.contains(&slot))
    }

    /// A slot of an entity that is only ever read where another record describes the entity.
    fn embedded(&self, slot: SlotId) -> bool {
        let inside = |mapping: &Mapping| {
            mapping.entry(slot).is_some()
                || mapping
                    .entries
                    .iter()
                    .any(|entry| matches!(&entry.read, Read::Objects { inside, .. } if inside.entry(slot).is_some()))
        };
        self.bindings.endpoints.iter().any(|endpoint| inside(&endpoint.mapping))
            || self.bindings.queries.iter().flatten().any(|query| inside(&query.mapping))
    }

    /// Endpoints whose inputs come, in the end, from themselves.
    pub(super) fn circles(&mut self, whole: &Arc<SourceText>) {
        for start in &self.bindings.endpoints {
            let mut next = self.needs(start);
            let mut seen = Vec::new();
            while let Some(endpoint) = next.pop() {
                if endpoint == start.id {
                    let source = &self.bindings.source(start.source).id;
                    self.faults.add(
                        whole,
                        Place::default(),
                        format!("the inputs of {source}.{} come, in the end, from itself", start.name),
                        "give it another key, or let another source answer for the input",
                    );
                    break;
                }
                if !seen.contains(&endpoint) {
                    seen.push(endpoint);
                    next.extend(self.needs(self.bindings.endpoint(endpoint)));
                }
            }
        }
    }

    fn needs(&self, endpoint: &Endpoint) -> Vec<EndpointId> {
        let key = self.against.contract.entity(endpoint.entity).key;
        let bound = |slot: SlotId| {
            std::iter::once(slot).chain(self.against.contract.above(slot)).find_map(|slot| self.bindings.provider(slot))
        };
        let territory = self.bindings.territory_slot(self.against.contract, endpoint);
        endpoint.inputs().chain(territory).filter(|slot| *slot != key).filter_map(bound).collect()
    }
}
