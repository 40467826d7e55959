//! One fetch node: which entities it is asked for, with which keys, in which batches.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::Execution;
use super::call::Call;
use crate::base::code::{ErrorCode, ItemState};
use crate::base::pointer::Pointer;
use crate::engine::frame::{Failure, Part, Row, RowAnswer};
use crate::engine::plan::{FetchNode, Node, Stage};
use crate::engine::project::read::RowView;
use crate::model::access::SlotSet;
use crate::model::binding::{Bindings, Endpoint, SourceId};
use crate::model::contract::SlotId;
use crate::model::rule::Truth;
use crate::source::Fetched;

/// What one entity asks of an endpoint.
struct Asked {
    keys: Vec<Arc<str>>,
    inputs: Vec<(Arc<str>, String)>,
    /// Only for endpoints that take field names.
    wanted: Option<SlotSet>,
}

/// Entities that can share calls: same inputs, same wanted fields.
#[derive(Default)]
struct Group {
    keys: Vec<Arc<str>>,
    index: HashMap<Arc<str>, usize>,
}

type GroupKey = (Vec<(Arc<str>, String)>, Vec<SlotId>);

impl Execution<'_> {
    /// Asks one fetch for rows, given what its inputs' fetches answered. One answer a row, in order.
    pub(super) async fn fetch(
        &self,
        node: &Node,
        fetch: &FetchNode,
        rows: &[Row],
        answers: &[Option<&[RowAnswer]>],
        needed: impl Fn(usize) -> bool,
    ) -> Vec<RowAnswer> {
        let endpoint = self.snapshot.bindings.endpoint(fetch.endpoint);
        let mut asked: Vec<Result<Asked, RowAnswer>> = Vec::with_capacity(rows.len());
        for (at, row) in rows.iter().enumerate() {
            let view = RowView::new(self.snapshot, self.plan, node, row, at, answers, fetch.stage);
            asked.push(if needed(at) { self.ask(&view, fetch, endpoint, row) } else { Err(RowAnswer::NotAsked) });
        }
        let mut groups: BTreeMap<GroupKey, Group> = BTreeMap::new();
        for ask in asked.iter().flatten() {
            let group = groups.entry(group_key(ask)).or_default();
            for key in &ask.keys {
                if !group.index.contains_key(key) {
                    group.index.insert(Arc::clone(key), group.keys.len());
                    group.keys.push(Arc::clone(key));
                }
            }
        }
        let answered =
            futures::future::join_all(groups.iter().map(|(key, group)| self.group(endpoint, key, group))).await;
        let answered: BTreeMap<&GroupKey, GroupAnswer> = groups.keys().zip(answered).collect();
        asked
            .into_iter()
            .map(|ask| match ask {
                Ok(ask) => {
                    let key = group_key(&ask);
                    match (groups.get(&key), answered.get(&key)) {
                        (Some(group), Some(answer)) => answer.of(&ask.keys, group),
                        _ => RowAnswer::NotAsked,
                    }
                }
                Err(answer) => answer,
            })
            .collect()
    }

    /// What an entity asks with, or why it cannot be asked.
    fn ask(&self, view: &RowView<'_>, fetch: &FetchNode, endpoint: &Endpoint, row: &Row) -> Result<Asked, RowAnswer> {
        let source = self.snapshot.bindings.source(endpoint.source);
        if let Some(slot) = self.snapshot.bindings.territory_slot(&self.snapshot.contract, endpoint) {
            let division = view.texts(slot).map_err(|failure| RowAnswer::Missing(self.blamed(failure)))?;
            let code = division.first();
            // Where an entity without a division is cannot be known: neither inside nor outside. The gate asks all the
            // same: an entity that is not there must cost the calls of one that is nothing to the caller.
            if code.is_none() && fetch.stage == Stage::Answer {
                return Err(RowAnswer::Missing(Failure::undetermined(ErrorCode::InputMissing, endpoint.source)));
            }
            let inside = |code: &Arc<str>| source.territory.iter().any(|prefix| code.starts_with(prefix.as_str()));
            if !code.is_none_or(inside) {
                return Err(RowAnswer::Missing(Failure::undetermined(ErrorCode::OutsideTerritory, endpoint.source)));
            }
        }
        let keys = view.texts(endpoint.key).map_err(|failure| RowAnswer::Missing(self.blamed(failure)))?;
        if keys.is_empty() {
            return Err(RowAnswer::NoKey);
        }
        let mut inputs = Vec::with_capacity(endpoint.with.len());
        for (name, slot) in &endpoint.with {
            let texts = view.texts(*slot).map_err(|failure| RowAnswer::Missing(self.blamed(failure)))?;
            let Some(text) = texts.into_iter().next() else {
                return Err(RowAnswer::Missing(Failure::undetermined(ErrorCode::InputMissing, endpoint.source)));
            };
            inputs.push((Arc::clone(name), text.to_string()));
        }
        if let Some(requirement) = &endpoint.requires {
            let (facts, missing) = view.facts(&requirement.inputs);
            if requirement.when.evaluate(&facts, &self.asking.principal, self.asking.today) != Truth::True {
                let unmet = Failure::undetermined(ErrorCode::InputMissing, endpoint.source);
                return Err(RowAnswer::Missing(missing.map_or(unmet, |failure| self.blamed(failure))));
            }
        }
        let wanted = endpoint.selects_fields.then(|| {
            let mut wanted = if fetch.stage == Stage::Relation {
                SlotSet::new()
            } else {
                row.rights.of_source(&fetch.shown, endpoint.source)
            };
            wanted.union(&fetch.hidden.inputs);
            wanted.union(&fetch.hidden.by_rules(&row.rights, row.read_from_above.as_deref(), endpoint.source));
            self.with_codes(row, &mut wanted);
            wanted
        });
        Ok(Asked { keys, inputs, wanted })
    }

    /// The codes by which what is wanted may have to be left out.
    fn with_codes(&self, row: &Row, wanted: &mut SlotSet) {
        let contract = &self.snapshot.contract;
        let unread = row.rights.held.unread.values().chain(&row.read_from_above).flat_map(|unread| &unread.codes);
        for (left_out, clauses) in row.rights.held.codes.iter().chain(unread) {
            if wanted.contains(*left_out) {
                for codes in clauses.iter().flat_map(|clause| clause.iter()) {
                    wanted.insert(codes.slot);
                    contract.above(codes.slot).for_each(|above| wanted.insert(above));
                }
            }
        }
    }

    /// An input that is not available makes what needs it unavailable too, in the name of the source at fault.
    fn blamed(&self, failure: Failure) -> Failure {
        Failure {
            state: if failure.state == ItemState::Undetermined {
                ItemState::Undetermined
            } else {
                ItemState::Unavailable
            },
            code: ErrorCode::InputMissing,
            ..failure
        }
    }

    async fn group(&self, endpoint: &Endpoint, key: &GroupKey, group: &Group) -> GroupAnswer {
        let (inputs, wanted) = key;
        let wanted: Vec<Pointer> = if endpoint.selects_fields {
            endpoint.mapping.wanted_pointers(&|slot| wanted.contains(&slot))
        } else {
            Vec::new()
        };
        let Some((template, size)) = endpoint.template(group.keys.len()) else { return GroupAnswer::default() };
        let (_, connectors) = self.source_of(endpoint);
        let calls = connectors.iter().enumerate().map(|(instance, connector)| {
            let wanted = &wanted;
            async move {
                let batches = group.keys.chunks(size).map(|keys| {
                    self.call(Call { source: endpoint.source, connector, template, keys, inputs, wanted, page: None })
                });
                let mut answer = InstanceAnswer { instance, ..InstanceAnswer::default() };
                for (batch, fetched) in futures::future::join_all(batches).await.into_iter().enumerate() {
                    answer.add(
                        batch * size,
                        group.keys.len().saturating_sub(batch * size).min(size),
                        fetched,
                        endpoint,
                    );
                }
                answer
            }
        });
        GroupAnswer { instances: futures::future::join_all(calls).await }
    }
}

fn group_key(asked: &Asked) -> GroupKey {
    (asked.inputs.clone(), asked.wanted.as_ref().map(|wanted| wanted.iter().collect()).unwrap_or_default())
}

/// What a group's calls brought, by instance and key.
#[derive(Default)]
struct GroupAnswer {
    instances: Vec<InstanceAnswer>,
}

#[derive(Default)]
struct InstanceAnswer {
    instance: usize,
    at: jiff::Timestamp,
    records: HashMap<usize, Vec<bytes::Bytes>>,
    failed: HashMap<usize, Failure>,
}

impl InstanceAnswer {
    fn add(
        &mut self,
        first: usize,
        keys: usize,
        fetched: Result<(Fetched, jiff::Timestamp), Failure>,
        endpoint: &Endpoint,
    ) {
        let index = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
        match fetched {
            Ok((fetched, at)) => {
                self.at = at;
                for record in &fetched.records {
                    let bytes = fetched
                        .buffers
                        .get(index(record.buffer))
                        .filter(|buffer| index(record.end) <= buffer.len() && record.start <= record.end);
                    if let Some(buffer) = bytes {
                        self.records
                            .entry(first + index(record.key))
                            .or_default()
                            .push(buffer.slice(index(record.start)..index(record.end)));
                    }
                }
                for key in &fetched.failed {
                    self.failed
                        .insert(first + index(*key), Failure::unavailable(ErrorCode::SourceError, endpoint.source));
                }
                if fetched.next.is_some() {
                    // The source has more pages than the binding allows: what is here is not the whole.
                    for key in first..first + keys {
                        self.failed.insert(key, Failure::unavailable(ErrorCode::LimitExceeded, endpoint.source));
                    }
                }
            }
            Err(failure) => {
                self.at = jiff::Timestamp::now();
                for key in first..first + keys {
                    self.failed.insert(key, failure);
                }
            }
        }
    }

    /// The part of an entity with these keys. One key that failed makes it fail: half a list is not a list.
    fn part(&self, keys: &[Arc<str>], group: &Group) -> Part {
        let mut records = Vec::new();
        let mut absent = 0;
        let mut failure = None;
        for at in keys.iter().filter_map(|key| group.index.get(key)) {
            failure = failure.or(self.failed.get(at).copied());
            match self.records.get(at) {
                Some(found) => records.extend(found.iter().cloned()),
                None => absent += 1,
            }
        }
        Part { instance: self.instance, outcome: failure.map_or(Ok(records), Err), absent, at: self.at }
    }
}

impl GroupAnswer {
    fn of(&self, keys: &[Arc<str>], group: &Group) -> RowAnswer {
        RowAnswer::Parts(self.instances.iter().map(|instance| instance.part(keys, group)).collect())
    }
}

/// Marks which rows need which fetches of the answer stage: for what is shown, for what rules read, and for what other
/// needed fetches come after.
pub(super) fn needed(bindings: &Bindings, node: &Node, rows: &[Row]) -> Vec<Vec<bool>> {
    let mut needed: Vec<Vec<bool>> = node
        .fetches
        .iter()
        .map(|fetch| rows.iter().map(|row| wanted_for(fetch, bindings.endpoint(fetch.endpoint).source, row)).collect())
        .collect();
    // A fetch stands behind those it comes after: the plan makes them first.
    for (at, fetch) in node.fetches.iter().enumerate().rev() {
        for before in &fetch.after {
            let Some(wanted) = needed.get(at).cloned() else { continue };
            if let Some(flags) = needed.get_mut(*before) {
                for (flag, wanted) in flags.iter_mut().zip(wanted) {
                    *flag |= wanted;
                }
            }
        }
    }
    needed
}

fn wanted_for(fetch: &FetchNode, source: SourceId, row: &Row) -> bool {
    let related = !row.rights.relations.is_empty();
    !row.rights.of_source(&fetch.shown, source).is_empty()
        || (fetch.establishes && related)
        || !fetch.hidden.by_rules(&row.rights, row.read_from_above.as_deref(), source).is_empty()
}
