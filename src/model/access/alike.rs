//! What an entity that is not there must have in common with one that the caller has nothing to do with: the number of
//! calls. Where the relations of many entities are decided at once, or one is asked by many keys, only endpoints that take
//! many keys in one call keep it from telling how many there are.

use std::collections::BTreeSet;

use super::{Access, CompiledRelation};
use crate::base::fault::Faults;
use crate::model::binding::{Bindings, Endpoint, EndpointId};
use crate::model::contract::{Contract, EntityId, Shape, SlotId};

/// A relation that a grant goes by may be decided for any entity with one call an endpoint: else a fault.
pub fn check(access: &Access, contract: &Contract, bindings: &Bindings, faults: &mut Faults) {
    let used: BTreeSet<_> = access.grants.iter().map(|grant| grant.relation).collect();
    for relation in used.iter().filter_map(|relation| access.relation(*relation)).filter(|relation| !relation.approved)
    {
        let key = &contract.slot(contract.entity(relation.on).key).name;
        if relation.rule.when.is_of_the_tokens_own(key) {
            continue;
        }
        for endpoint in reads(relation, contract, bindings) {
            if endpoint.many.is_some() || !is_asked_by_many(endpoint, relation.on, contract) {
                continue;
            }
            let on = &contract.entity(relation.on).name;
            let source = &bindings.source(endpoint.source).id;
            let message = format!(
                "the relation `{}` reads of the endpoint `{}` of `{source}`, which is asked with one key at a time: how \
                 many calls are made would tell whether there is such an entity",
                relation.name, endpoint.name
            );
            let hint = format!(
                "give the endpoint `many`, or let the rule hold only where the token names the {on}: \
                 `{}.{key} == principal.… && …`",
                crate::model::rule::variable_name(on)
            );
            let (file, place) = &relation.rule.at;
            faults.add(file, *place, message, hint);
        }
    }
}

/// The endpoints that a relation's rule reads of, and those that are read to ask them.
fn reads<'b>(relation: &CompiledRelation, contract: &Contract, bindings: &'b Bindings) -> Vec<&'b Endpoint> {
    let mut next: Vec<SlotId> = relation.inputs.iter().flat_map(|path| slots_of(contract, relation.on, path)).collect();
    let mut found: BTreeSet<EndpointId> = BTreeSet::new();
    while let Some(slot) = next.pop() {
        let provider = std::iter::once(slot).chain(contract.above(slot)).find_map(|slot| bindings.provider(slot));
        let Some(provider) = provider.filter(|provider| found.insert(*provider)) else { continue };
        let endpoint = bindings.endpoint(provider);
        next.push(endpoint.key);
        next.extend(endpoint.with.iter().map(|(_, slot)| *slot));
        next.extend(endpoint.requires.iter().flat_map(|requires| &requires.inputs));
        next.extend(bindings.territory_slot(contract, endpoint));
    }
    found.into_iter().map(|endpoint| bindings.endpoint(endpoint)).collect()
}

fn slots_of(contract: &Contract, entity: EntityId, path: &[String]) -> Vec<SlotId> {
    let mut slots = Vec::with_capacity(path.len());
    for name in path {
        let Some(slot) = contract.child(entity, slots.last().copied(), name) else { break };
        slots.push(slot);
    }
    slots
}

/// Whether one look may ask it by several keys: those of a list, or those of entities that fields of another tell of.
fn is_asked_by_many(endpoint: &Endpoint, on: EntityId, contract: &Contract) -> bool {
    let by_list = matches!(contract.slot(endpoint.key).shape, Shape::LeafList(_));
    by_list || contract.slots.iter().any(|slot| slot.subjects == Some(on))
}
