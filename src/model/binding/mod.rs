//! `resolvers/*.yaml`: which source answers for which contract fields, and how it is asked.
//!
//! [`mod@format`] is the file as written; [`compile`] holds it against the contract and makes [`Bindings`].

pub mod compile;
pub mod connection;
pub mod conversion;
pub mod fields;
pub mod format;
pub mod hand;
mod headers;
pub mod limits;
pub mod mapping;
pub mod platform;
pub mod published;
pub mod request;
mod types;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::contract::{Contract, EntityId, SlotId, index};
use super::rule::Expression;
use crate::base::fault::SourceText;
use connection::Connection;
use connection::sign::delegation::PassedOn;
use conversion::Conversion;
use hand::Hand;
use mapping::Mapping;
use request::CallTemplate;
use request::template::Text;

index!(/// A source of these bindings.
    SourceId);
index!(/// An endpoint of these bindings.
    EndpointId);

/// All bindings of a snapshot. Immutable.
#[derive(Debug, Default)]
pub struct Bindings {
    pub sources: Vec<Source>,
    pub endpoints: Vec<Endpoint>,
    /// By root query, in the contract's order.
    pub queries: Vec<Option<RootBinding>>,
    /// By slot: the endpoint that answers for it.
    pub providers: Vec<Option<EndpointId>>,
    /// By slot: endpoints that hold it too (`also`).
    pub also: Vec<Vec<EndpointId>>,
    /// By entity: the endpoint whose missing record means that the entity does not exist.
    pub establishes: Vec<Option<EndpointId>>,
    /// Slots that nobody fills yet, as the contract says that it may be (`@awaited`).
    pub awaited: BTreeSet<SlotId>,
}

/// One department's system, or many alike (`instances`).
#[derive(Debug)]
pub struct Source {
    pub id: Arc<str>,
    pub title: Arc<str>,
    /// Prefixes of division codes; empty: everywhere.
    pub territory: Vec<String>,
    pub authority: format::Authority,
    /// One, or one an instance.
    pub connections: Vec<Arc<Connection>>,
    pub instanced: bool,
    /// Its version in the registry; none: it is a file.
    pub version: Option<i64>,
    /// It is not asked: what it fills is not available.
    pub withdrawn: bool,
    /// Each division is one instance's; the list that says so.
    pub divided: Option<Arc<SourceText>>,
    /// What it keeps from roles.
    pub hand: Hand,
    /// What it is told of callers.
    pub passed_on: PassedOn,
}

/// One operation of a source.
#[derive(Debug)]
pub struct Endpoint {
    pub id: EndpointId,
    pub source: SourceId,
    pub name: Arc<str>,
    pub entity: EntityId,
    /// The slot whose value, or each of whose values, the source knows records by.
    pub key: SlotId,
    pub one: Option<Arc<CallTemplate>>,
    pub many: Option<Arc<CallTemplate>>,
    /// Further inputs of the templates.
    pub with: Vec<(Arc<str>, SlotId)>,
    pub requires: Option<Requirement>,
    pub mapping: Mapping,
    /// The day a record is of.
    pub valid_on: Option<ValidOn>,
    /// Only the named fields are asked of the source (GraphQL, SQL).
    pub selects_fields: bool,
}

/// Where a record says the day it is of.
#[derive(Debug)]
pub struct ValidOn {
    /// A term of the endpoint's mapping.
    pub at: usize,
    pub conversion: Conversion,
}

/// A condition over the entity without which the source is not asked.
#[derive(Debug)]
pub struct Requirement {
    pub text: Arc<str>,
    pub when: Expression,
    /// The slots it reads.
    pub inputs: Vec<SlotId>,
}

/// A root query that a source answers with entity keys.
#[derive(Debug)]
pub struct RootBinding {
    pub source: SourceId,
    pub name: Arc<str>,
    pub entity: EntityId,
    pub ask: Arc<CallTemplate>,
    /// The argument whose value says which instances are asked, where they divide the territory.
    pub division: Option<Arc<str>>,
    /// The key of what holds none; else the mapping reads it.
    pub key: Option<Text>,
    /// Reads the key (its first entry, if the records hold it) and the fields that the records hold already.
    pub mapping: Mapping,
}

impl Source {
    /// The instances that cover any of a division, on the day; of no division, all that count on it.
    pub fn covering_any(&self, division: Option<&str>, day: jiff::civil::Date) -> Vec<usize> {
        let covers = |connection: &Connection| {
            let cover = connection.instance.as_ref().and_then(|instance| instance.cover.as_ref());
            cover.is_some_and(|cover| cover.counts_on(day) && division.is_none_or(|division| cover.touches(division)))
        };
        let all = self.connections.iter().enumerate();
        all.filter(|(_, connection)| covers(connection)).map(|(at, _)| at).collect()
    }

    /// The instance that covers a division; without one, any that counts on the day.
    pub fn covering(&self, division: Option<&str>, day: jiff::civil::Date) -> Option<usize> {
        self.connections.iter().position(|connection| {
            let cover = connection.instance.as_ref().and_then(|instance| instance.cover.as_ref());
            cover.is_some_and(|cover| cover.counts_on(day) && division.is_none_or(|division| cover.holds(division)))
        })
    }
}

impl Endpoint {
    /// The template for a number of keys, and how many of them go into one call.
    pub fn template(&self, keys: usize) -> Option<(&Arc<CallTemplate>, usize)> {
        match (&self.one, &self.many) {
            (Some(one), _) if keys <= 1 => Some((one, 1)),
            (_, Some(many)) => Some((many, many.batch_max().max(1))),
            (Some(one), None) => Some((one, 1)),
            (None, None) => None,
        }
    }
}

impl Bindings {
    pub fn source(&self, id: SourceId) -> &Source {
        #[expect(clippy::indexing_slicing, reason = "a SourceId is an index into this very vector")]
        &self.sources[id.index()]
    }

    pub fn endpoint(&self, id: EndpointId) -> &Endpoint {
        #[expect(clippy::indexing_slicing, reason = "an EndpointId is an index into this very vector")]
        &self.endpoints[id.index()]
    }

    pub fn provider(&self, slot: SlotId) -> Option<EndpointId> {
        self.providers.get(slot.index()).copied().flatten()
    }

    /// The slot that an endpoint's territory is held against before it is asked. The source that says where an entity
    /// is cannot be held against it: its own records decide.
    pub fn territory_slot(&self, contract: &Contract, endpoint: &Endpoint) -> Option<SlotId> {
        let slot = contract.entity(endpoint.entity).territory?;
        let source = self.source(endpoint.source);
        let covers_everything = source.territory.is_empty() && source.divided.is_none();
        let bound = std::iter::once(slot).chain(contract.above(slot)).find_map(|slot| self.provider(slot));
        let says_it_itself = bound.is_some_and(|provider| self.endpoint(provider).source == endpoint.source);
        (!covers_everything && !says_it_itself).then_some(slot)
    }

    pub fn also(&self, slot: SlotId) -> &[EndpointId] {
        self.also.get(slot.index()).map_or(&[], Vec::as_slice)
    }

    /// As [`Self::also`], of a slot inside a list that another endpoint holds too: those that read it there.
    pub fn held_by<'a>(&'a self, contract: &'a Contract, slot: SlotId) -> impl Iterator<Item = EndpointId> + 'a {
        let whole = std::iter::once(slot).chain(contract.above(slot)).flat_map(|whole| self.also(whole));
        whole.copied().filter(move |endpoint| self.endpoint(*endpoint).mapping.reads(slot))
    }
}
