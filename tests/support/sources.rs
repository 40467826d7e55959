//! What depends on which source, read off the bindings: independent of plan and execution.

use std::collections::BTreeSet;

use huxiang::model::binding::mapping::{Mapping, Over, Read};
use huxiang::model::binding::{Endpoint, SourceId};
use huxiang::model::contract::SlotId;
use huxiang::model::snapshot::Snapshot;

/// Where the value of a slot comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The entity's key, known without asking.
    Key,
    /// A source's answer; and the sources without which it cannot be asked.
    Source { own: SourceId, inputs: BTreeSet<SourceId>, by_instance: bool },
    /// Rules.
    Derived,
    /// Its parts, each from its own source.
    Parts,
}

/// The origin of a slot; `embedded` is what the record that named the entity tells of it.
pub fn origin(snapshot: &Snapshot, slot: SlotId, embedded: Option<&(Origin, &Mapping)>) -> Origin {
    let contract = &snapshot.contract;
    if contract.entity(contract.slot(slot).entity).key == slot {
        return Origin::Key;
    }
    if let Some((origin, mapping)) = embedded
        && mapping.entry(slot).is_some()
    {
        return origin.clone();
    }
    if let Some(id) = snapshot.bindings.provider(slot) {
        let endpoint = snapshot.bindings.endpoint(id);
        let by_instance = matches!(
            endpoint.mapping.entry(slot).map(|entry| &entry.read),
            Some(Read::Objects { over: Over::Instances, .. })
        );
        return Origin::Source { own: endpoint.source, inputs: inputs(snapshot, endpoint), by_instance };
    }
    if snapshot.derived_of(slot).is_some() { Origin::Derived } else { Origin::Parts }
}

/// The sources that an endpoint needs something of before it can be asked.
pub fn inputs(snapshot: &Snapshot, endpoint: &Endpoint) -> BTreeSet<SourceId> {
    let mut slots = vec![endpoint.key];
    slots.extend(endpoint.with.iter().map(|(_, slot)| *slot));
    slots.extend(endpoint.requires.iter().flat_map(|requires| requires.inputs.iter().copied()));
    slots.extend(snapshot.bindings.territory_slot(&snapshot.contract, endpoint));
    let mut found = BTreeSet::new();
    for slot in slots {
        let filled = std::iter::once(slot)
            .chain(snapshot.contract.above(slot))
            .map(|slot| origin(snapshot, slot, None))
            .find(|origin| *origin != Origin::Parts);
        if let Some(Origin::Source { own, inputs, .. }) = filled {
            found.insert(own);
            found.extend(inputs);
        }
    }
    found
}
