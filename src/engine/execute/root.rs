//! Root queries: one entity by its key, a lookup, a list; [`super::listing`] has the pages of connections.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::Execution;
use super::call::Call;
use super::cursor::At;
use super::listing::only_related;
use super::node::{Related, is_asked};
use super::rows::{Seeds, nobody, seed};
use crate::base::code::ErrorCode;
use crate::engine::frame::{Failure, Frame, RootAnswer, RootRows, Row};
use crate::engine::operation::{Selection, What};
use crate::engine::plan::NodeId;
use crate::engine::project::read::{Named, named};
use crate::model::access::SlotSet;
use crate::model::binding::RootBinding;
use crate::model::binding::request::template::Values;
use crate::model::contract::{Contract, EntityId, RootField, RootKind};
use crate::source::{Connector, PageAt};

/// How a caller stands to one entity, and what was read to find out.
#[derive(Default)]
pub struct Stood {
    pub holds: bool,
    /// Where it does not hold: what could not be had.
    pub undecided: Option<Failure>,
    /// For whom the caller would act.
    pub on_behalf_of: Vec<(EntityId, Arc<str>)>,
    /// What was read unseen, of whom.
    pub used: Vec<(EntityId, Arc<str>, SlotSet)>,
}

/// What a read of a listing brought.
pub(super) struct Listed {
    pub named: Vec<Named>,
    /// What lies behind; none: nothing.
    pub next: Option<At>,
    /// How many the listing has in all, where its source tells that of all of it.
    pub total: Option<usize>,
}

/// The same of one connection.
struct Read {
    named: Vec<Named>,
    next: Option<PageAt>,
    total: Option<usize>,
}

impl Execution<'_> {
    /// The root selections of one node, by their place in the operation: several only where each names an entity by
    /// its key.
    pub(super) async fn roots(&self, node: NodeId) -> Vec<(usize, RootAnswer)> {
        let of_node = |(_, root): &(usize, &Option<NodeId>)| **root == Some(node);
        let places: Vec<usize> = self.plan.roots.iter().enumerate().filter(of_node).map(|(at, _)| at).collect();
        let selections: Vec<(usize, &Selection)> =
            places.iter().filter_map(|at| Some((*at, self.plan.operation.roots.get(*at)?))).collect();
        match selections.as_slice() {
            [(at, selection)] => vec![(*at, self.root(selection, node).await)],
            _ => self.by_keys(&selections, node).await,
        }
    }

    /// Whether the caller stands in any of the relations that the rights know, to one entity. Fetches what relations
    /// read and nothing else.
    pub async fn standing(&self, node: NodeId, key: &str) -> Stood {
        let related = self.relate(node, Seeds { rows: vec![seed(Some(key.into()), None)], inherited: None }).await;
        let mut stood = Stood::default();
        if let Some(row) = related.rows.first() {
            stood.holds = !row.rights.relations.is_empty();
            stood.undecided = row.undecided;
            stood.on_behalf_of.extend(row.on_behalf_of.iter().cloned());
        }
        self.used(&related, &mut stood.used);
        stood
    }

    /// What was read at the gate, by entity.
    fn used(&self, related: &Related, into: &mut Vec<(EntityId, Arc<str>, SlotSet)>) {
        let node = self.plan.node(related.node);
        for (at, row) in related.rows.iter().enumerate() {
            let Some(key) = &row.key else { continue };
            let mut used = SlotSet::new();
            for (fetch, answers) in node.fetches.iter().zip(&related.answers) {
                if is_asked(answers.as_ref().and_then(|answers| answers.get(at))) {
                    used.union(&fetch.hidden.inputs);
                }
            }
            if used.iter().next().is_some() {
                into.push((node.entity, Arc::clone(key), used));
            }
        }
        let via = related.via.iter().map(|(_, via)| &*via.related);
        via.chain(&related.subjects).for_each(|below| self.used(below, into));
    }

    async fn by_keys(&self, selections: &[(usize, &Selection)], node: NodeId) -> Vec<(usize, RootAnswer)> {
        let row = |(_, selection): &(usize, &Selection)| {
            let key = key_of(&self.snapshot.contract, selection, self.variables);
            seed(Some(key.unwrap_or_default().into()), None)
        };
        let frame = if self.plan.node(node).gives_nothing() {
            self.nothing(node, None).frame
        } else {
            let rows = selections.iter().map(row).collect();
            let mut related = self.relate(node, Seeds { rows, inherited: None }).await;
            for (row, (_, selection)) in related.rows.iter_mut().zip(selections) {
                self.only_if_comparable(row, selection);
            }
            Arc::new(self.complete(related).await)
        };
        let answer =
            |row| RootAnswer { frame: Arc::clone(&frame), rows: RootRows::One(row), failure: None, refused: None };
        selections.iter().enumerate().map(|(row, (at, _))| (*at, answer(row))).collect()
    }

    async fn root(&self, selection: &Selection, node: NodeId) -> RootAnswer {
        let query = match selection.what {
            What::Query(at) => self
                .snapshot
                .contract
                .queries
                .get(at)
                .map(|query| (query, self.snapshot.bindings.queries.get(at).and_then(Option::as_ref))),
            _ => None,
        };
        let Some((query, binding)) = query else { return self.nothing(node, None) };
        if self.plan.node(node).gives_nothing() {
            return RootAnswer { rows: RootRows::none(&query.kind), ..self.nothing(node, None) };
        }
        match (&query.kind, binding) {
            (RootKind::ByKey { .. }, _) => {
                let answers = self.by_keys(&[(0, selection)], node).await;
                answers.into_iter().next().map_or_else(|| self.nothing(node, None), |(_, answer)| answer)
            }
            (RootKind::Lookup, Some(binding)) => self.lookup(selection, node, query, binding).await,
            (RootKind::List, Some(binding)) => match self.listed(selection, query, binding, None).await {
                // The source has more pages than the binding allows: half a list is not a list.
                Ok(Listed { next: Some(_), .. }) => {
                    self.nothing(node, Some(Failure::unavailable(ErrorCode::LimitExceeded, binding.source)))
                }
                Ok(Listed { named, next: None, .. }) => {
                    let rows = named.into_iter().map(|named| seed(named.key, named.record)).collect();
                    let mut related = self.relate(node, Seeds { rows, inherited: None }).await;
                    related.rows.iter_mut().for_each(|row| self.only_if_comparable(row, selection));
                    let frame = self.complete(only_related(related, usize::MAX).0).await;
                    RootAnswer { frame: Arc::new(frame), rows: RootRows::List, failure: None, refused: None }
                }
                Err(failure) => self.nothing(node, Some(failure)),
            },
            (RootKind::Connection, Some(binding)) => self.connection(selection, node, query, binding).await,
            (_, None) => self.nothing(node, Some(Failure::NOBODY)),
        }
    }

    /// An entity that was found by what the caller may not read of it, in full, is none: else finding it would tell the
    /// value. It has gone through the gate and costs what one costs that the caller has nothing to do with.
    pub(super) fn only_if_comparable(&self, row: &mut Row, selection: &Selection) {
        let What::Query(at) = selection.what else { return };
        let finds = self.snapshot.contract.queries.get(at).into_iter().flat_map(|query| &query.finds_by);
        let mut given = finds.filter(|finds| !selection.argument(&finds.argument, self.variables).is_null());
        if !given.all(|finds| finds.slots.iter().all(|slot| row.rights.may_compare(*slot))) {
            (row.rights, row.subjects) = (Arc::default(), Arc::default());
        }
    }

    pub(super) fn nothing(&self, node: NodeId, failure: Option<Failure>) -> RootAnswer {
        let frame = Frame { node, rows: Vec::new(), answers: Vec::new(), children: Vec::new(), subjects: Vec::new() };
        RootAnswer { frame: Arc::new(frame), rows: RootRows::One(0), failure, refused: None }
    }

    async fn lookup(
        &self,
        selection: &Selection,
        node: NodeId,
        query: &RootField,
        binding: &RootBinding,
    ) -> RootAnswer {
        match self.listed(selection, query, binding, None).await {
            Ok(Listed { named: found, .. }) if found.is_empty() => {
                let rows = vec![nobody()];
                let mut related = self.relate(node, Seeds { rows, inherited: None }).await;
                for row in &mut related.rows {
                    (row.key, row.rights, row.subjects) = (None, Arc::default(), Arc::default());
                }
                let frame =
                    Frame { node, rows: related.rows, answers: Vec::new(), children: Vec::new(), subjects: Vec::new() };
                RootAnswer { frame: Arc::new(frame), ..self.nothing(node, None) }
            }
            Ok(Listed { named: found, .. }) => {
                let rows = found.into_iter().take(1).map(|named| seed(named.key, named.record)).collect();
                let mut related = self.relate(node, Seeds { rows, inherited: None }).await;
                related.rows.iter_mut().for_each(|row| self.only_if_comparable(row, selection));
                let frame = self.complete(related).await;
                RootAnswer { frame: Arc::new(frame), rows: RootRows::One(0), failure: None, refused: None }
            }
            Err(failure) => self.nothing(node, Some(failure)),
        }
    }

    /// Where a listing begins: with the first instance, where they divide the territory.
    pub(super) fn beginning(&self, selection: &Selection, binding: &RootBinding) -> Result<At, Failure> {
        let page = PageAt::First;
        let instance = self.instances(selection, binding)?.first().and_then(|connector| id_of(connector));
        Ok(At { instance, page })
    }

    /// The instances that a listing is read from, one after the other: those that cover what is asked for. Of a source
    /// without any, its one connection.
    fn instances(&self, selection: &Selection, binding: &RootBinding) -> Result<Vec<&Arc<Connector>>, Failure> {
        let source = self.snapshot.bindings.source(binding.source);
        let all = self.connectors.get(binding.source.index()).map(Vec::as_slice).unwrap_or_default();
        let withdrawn = if source.withdrawn { ErrorCode::SourceWithdrawn } else { ErrorCode::Internal };
        let first = all.first().ok_or(Failure::unavailable(withdrawn, binding.source))?;
        if source.divided.is_none() {
            return Ok(vec![first]);
        }
        let division = binding.division.as_ref().and_then(|name| text(selection.argument(name, self.variables)));
        let covering = source.covering_any(division.as_deref(), self.asking.today);
        let covering: Vec<&Arc<Connector>> = covering.into_iter().filter_map(|at| all.get(at)).collect();
        if covering.is_empty() {
            return Err(Failure::undetermined(ErrorCode::OutsideTerritory, binding.source));
        }
        Ok(covering)
    }

    /// One read of a listing, and what lies behind it: the page that is given, or all of it, one instance after the other.
    pub(super) async fn listed(
        &self,
        selection: &Selection,
        query: &RootField,
        binding: &RootBinding,
        at: Option<At>,
    ) -> Result<Listed, Failure> {
        let instances = self.instances(selection, binding)?;
        let Some(at) = at else {
            let mut named = Vec::new();
            for connector in instances {
                let read = self.read_listing(selection, query, binding, connector, None).await?;
                named.extend(read.named);
                if let Some(page) = read.next {
                    return Ok(Listed { named, next: Some(At { instance: id_of(connector), page }), total: None });
                }
            }
            return Ok(Listed { named, next: None, total: None });
        };
        // What one of several instances tells is not how many there are in all.
        let is_alone = instances.len() == 1;
        let mut left = instances.into_iter().skip_while(|connector| id_of(connector) != at.instance);
        // An instance that counts no more, since the page before was read: nobody knows what lay behind.
        let Some(connector) = left.next() else {
            return Err(Failure::undetermined(ErrorCode::OutsideTerritory, binding.source));
        };
        let page = binding.ask.page().map(|_| at.page);
        let read = self.read_listing(selection, query, binding, connector, page).await?;
        let next = match read.next {
            Some(page) => Some(At { instance: at.instance, page }),
            None => left.next().map(|connector| At { instance: id_of(connector), page: PageAt::First }),
        };
        Ok(Listed { named: read.named, next, total: read.total.filter(|_| is_alone) })
    }

    /// The entities that the records of one connection's listing name.
    async fn read_listing(
        &self,
        selection: &Selection,
        query: &RootField,
        binding: &RootBinding,
        connector: &Arc<Connector>,
        page: Option<PageAt>,
    ) -> Result<Read, Failure> {
        let inputs: Arc<[(Arc<str>, String)]> = selection
            .arguments
            .iter()
            .filter_map(|argument| {
                Some((
                    format!("arg.{}", argument.name).into(),
                    text(selection.argument(&argument.name, self.variables))?,
                ))
            })
            .collect();
        let charges = self.charges_of_listing(selection, binding.source)?;
        let wanted = binding.mapping.wanted_pointers(&|_| true).into();
        let call = Call {
            source: binding.source,
            name: &binding.name,
            connector,
            template: &binding.ask,
            batch: None,
            keys: &[],
            inputs: &inputs,
            wanted: &wanted,
            page,
            charges: &charges,
        };
        let fetched = Box::pin(self.call(&call)).await?.fetched;
        let key = self.snapshot.contract.entity(query.entity).key;
        let mut found = Vec::with_capacity(fetched.records.len());
        for record in &fetched.records {
            found.push(named(&binding.mapping, key, &record.json));
        }
        if let Some(text) = &binding.key {
            let values = Values { keys: &[], inputs: &inputs, today: "", sealing: None };
            let filled = text.filled(&values);
            let key = filled.map_err(|_| Failure::unavailable(ErrorCode::InputMissing, binding.source))?;
            found.truncate(1);
            found.iter_mut().for_each(|named| named.key = Some(key.as_str().into()));
        } else if found.iter().any(|named| named.key.is_none()) {
            // It could be neither answered nor left out: an entity without a key is none, and half a list is no list.
            let source = &self.snapshot.bindings.source(binding.source).id;
            let request = &self.context.request_id;
            tracing::warn!(%source, query = %query.name, %request, "a record of a listing has no key (key_at, items)");
            return Err(Failure::unavailable(ErrorCode::SourceBadAnswer, binding.source));
        }
        Ok(Read { named: found, next: fetched.next, total: fetched.total })
    }
}

fn id_of(connector: &Connector) -> Option<String> {
    connector.connection().instance.as_ref().map(|instance| instance.id.clone())
}

/// The key that a root selection names its entity by; `None`: it finds entities in another way.
pub fn key_of(contract: &Contract, selection: &Selection, variables: &Map<String, Value>) -> Option<String> {
    let What::Query(at) = selection.what else { return None };
    match &contract.queries.get(at)?.kind {
        RootKind::ByKey { argument } => text(selection.argument(argument, variables)),
        RootKind::Lookup | RootKind::List | RootKind::Connection => None,
    }
}

/// What a lookup looks for its entity by, by argument; nothing, where the root is none.
pub fn looked_for<'c>(
    contract: &'c Contract,
    selection: &Selection,
    variables: &Map<String, Value>,
) -> Vec<(&'c str, String)> {
    let What::Query(at) = selection.what else { return Vec::new() };
    let Some(query) = contract.queries.get(at).filter(|query| matches!(query.kind, RootKind::Lookup)) else {
        return Vec::new();
    };
    let given = |argument: &'c str| Some((argument, text(selection.argument(argument, variables))?));
    query.finds_by.iter().filter_map(|finds| given(&finds.argument)).collect()
}

/// An argument's value as text.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}
