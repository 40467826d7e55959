//! What a list costs the department, and what has to be waited for in a row.

use std::collections::HashMap;

use super::Adviser;
use crate::model::binding::{Endpoint, EndpointId};
use crate::model::contract::{EntityId, RootField, RootKind, Shape, Slot, SlotId};

/// Entities of the list that calls are counted for.
const LIST: usize = 100;
/// Calls for such a list from which on it is worth a word.
const CALLS_MIN: usize = 20;
/// Calls in a row from which on it is worth a word.
const ROW_MIN: usize = 3;

/// Calls before another, each with the slot that it is made for.
type Row = Vec<(EndpointId, SlotId)>;

impl Adviser<'_> {
    /// Endpoints that are asked key by key where the contract has lists of their entity.
    pub(super) fn one_by_one(&mut self, endpoint: &Endpoint) {
        let contract = &self.parts.contract;
        let Some(list) = self.list_of(endpoint.entity) else { return };
        let batch = endpoint.many.as_ref().map_or(1, |many| many.batch_max()).max(1);
        let source = self.parts.bindings.source(self.source);
        // Where instances divide the territory, each entity is asked of one.
        let instances = if source.divided.is_some() { 1 } else { source.connections.len().max(1) };
        let calls = LIST.div_ceil(batch) * instances;
        if batch > LIST / CALLS_MIN || self.is_held_by(&list, endpoint) {
            return;
        }
        let entity = &contract.entity(endpoint.entity).name;
        let key = contract.slot(endpoint.key);
        let several = matches!(key.shape, Shape::LeafList(_));
        let at_least = if several { "at least " } else { "" };
        let mut message = format!("a list of {LIST} at `{list}` costs {at_least}{calls} calls of `{}`", endpoint.name);
        if several {
            message.push_str(&format!(", one for each of a {entity}'s `{}`", key.path));
        }
        if instances > 1 {
            message.push_str(&format!(", {instances} instances together"));
        }
        if let Some((per_second, told)) = self.rate() {
            let seconds = calls / instances / per_second;
            if let Some(request_ms) = self.request_ms().filter(|ms| u64::try_from(seconds).unwrap_or(0) * 1_000 > *ms) {
                message
                    .push_str(&format!("; at {told} they take {seconds} s, and a request ends after {request_ms} ms"));
            }
        }
        let hint = if endpoint.many.is_some() {
            "ask the department for larger batches, and raise `batch_max`"
        } else {
            "where the department takes several keys at once, add `many`; else ask it for that, or cap what it bears with \
             `limits.in_flight_max` and `limits.per_second_max`"
        };
        self.warn(self.at(endpoint), message, hint);
    }

    /// Whether the records of a root query hold all that an endpoint fills, so that it is not asked for them.
    fn is_held_by(&self, query: &str, endpoint: &Endpoint) -> bool {
        let key = self.parts.contract.entity(endpoint.entity).key;
        let listing = self.parts.bindings.queries.iter().flatten().find(|bound| *bound.name == *query);
        listing.is_some_and(|listing| {
            let mut filled = endpoint.mapping.entries.iter().filter(|entry| entry.slot != key);
            filled.all(|entry| listing.mapping.entry(entry.slot).is_some())
        })
    }

    /// A list of the contract that leads to many entities of a type: a root query, or a field.
    fn list_of(&self, entity: EntityId) -> Option<String> {
        let contract = &self.parts.contract;
        if let Some(query) = self.listing(entity) {
            return Some(query.to_owned());
        }
        let path = |slot: &Slot| match self.listing(slot.entity) {
            Some(query) => format!("{query}.{}", slot.path),
            None => contract.full_path(slot.id),
        };
        let list = contract.slots.iter().find(|slot| slot.shape == Shape::EntityList(entity));
        let of_listed = |slot: &&Slot| slot.shape == Shape::Entity(entity) && self.listing(slot.entity).is_some();
        list.or_else(|| contract.slots.iter().find(of_listed)).map(path)
    }

    /// The root query that lists entities of a type.
    fn listing(&self, entity: EntityId) -> Option<&str> {
        let listed = |field: &&RootField| matches!(field.kind, RootKind::List | RootKind::Connection);
        self.parts.contract.queries.iter().filter(listed).find(|field| field.entity == entity).map(|field| &*field.name)
    }

    /// Endpoints whose key comes of one that waits for another.
    pub(super) fn in_a_row(&mut self, endpoint: &Endpoint) {
        let row = self.before(endpoint, &mut HashMap::new());
        if row.len() + 1 < ROW_MIN {
            return;
        }
        let bindings = &self.parts.bindings;
        let name = |endpoint: &Endpoint| format!("{}.{}", bindings.source(endpoint.source).id, endpoint.name);
        let mut steps: Vec<String> = row
            .iter()
            .rev()
            .map(|(id, slot)| {
                let slot = self.parts.contract.full_path(*slot);
                format!("`{}` for `{slot}`", name(bindings.endpoint(*id)))
            })
            .collect();
        steps.push(format!("`{}`", name(endpoint)));
        let together: u64 = row.iter().map(|(id, _)| self.timeout_ms(bindings.endpoint(*id))).sum();
        let together = together + self.timeout_ms(endpoint);
        let mut message = format!("{} calls in a row: {}", steps.len(), steps.join(", then "));
        if let Some(request_ms) = self.request_ms().filter(|ms| together > *ms) {
            message.push_str(&format!(
                "; their deadlines are {together} ms together, and a request ends after {request_ms} ms"
            ));
        }
        let hint = "ask by a key that is known earlier, or shorten the deadlines of those before it";
        self.warn(self.at(endpoint), message, hint);
    }

    /// The longest row of calls that one waits for: its last first, each with the slot that it is made for.
    fn before(&self, endpoint: &Endpoint, known: &mut HashMap<EndpointId, Row>) -> Row {
        if let Some(row) = known.get(&endpoint.id) {
            return row.clone();
        }
        // Where inputs come of themselves, which is a fault, the way ends.
        known.insert(endpoint.id, Row::new());
        let (contract, bindings) = (&self.parts.contract, &self.parts.bindings);
        let key = contract.entity(endpoint.entity).key;
        let territory = bindings.territory_slot(contract, endpoint);
        let mut longest = Row::new();
        for slot in endpoint.inputs().chain(territory).filter(|slot| *slot != key) {
            let mut places = std::iter::once(slot).chain(contract.above(slot));
            let Some(provider) = places.find_map(|slot| bindings.provider(slot)) else { continue };
            let mut row = vec![(provider, slot)];
            row.extend(self.before(bindings.endpoint(provider), known));
            if row.len() > longest.len() {
                longest = row;
            }
        }
        known.insert(endpoint.id, longest.clone());
        longest
    }

    /// Deadlines that no request can wait for.
    pub(super) fn deadline(&mut self, endpoint: &Endpoint) {
        let call_ms = self.timeout_ms(endpoint);
        let Some(request_ms) = self.request_ms().filter(|request_ms| call_ms > *request_ms) else { return };
        let message = format!("`{}` may take {call_ms} ms, and a request ends after {request_ms} ms", endpoint.name);
        let hint = "shorten `timeout_ms`, or let the operator lengthen `limits.request_timeout_ms` of gateway.yaml";
        self.warn(self.at(endpoint), message, hint);
    }

    fn timeout_ms(&self, endpoint: &Endpoint) -> u64 {
        let own = endpoint.one.iter().chain(&endpoint.many).find_map(|template| template.timeout());
        let of_source = || {
            let source = self.parts.bindings.source(endpoint.source);
            source.connections.first().map(|connection| connection.limits.timeout_ms)
        };
        own.and_then(|own| u64::try_from(own.as_millis()).ok()).or_else(of_source).unwrap_or(0)
    }

    /// Calls a second that this gateway may make, and how that is told: with others beside it (`egress.replicas`), its part.
    fn rate(&self) -> Option<(usize, String)> {
        let limits = &self.file.limits;
        let connection = self.parts.bindings.source(self.source).connections.first();
        let own = connection.map_or(limits.per_second_max, |connection| connection.limits.per_second_max)?;
        let told = match limits.per_second_max {
            Some(all) if all == own => format!("`per_second_max: {all}`"),
            Some(all) => format!("{own} a second, this gateway's part of `per_second_max: {all}`,"),
            None => format!("{own} a second, what this gateway may ask of the platform,"),
        };
        Some((usize::try_from(own).ok().filter(|own| *own > 0)?, told))
    }

    fn request_ms(&self) -> Option<u64> {
        self.parts.config.as_ref().map(|config| config.limits.request_timeout_ms)
    }
}
