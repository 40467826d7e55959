//! Root queries: one entity by its key, a lookup, a list, a page of a connection.

use std::sync::Arc;

use serde_json::Value;

use super::Execution;
use super::call::Call;
use super::cursor::Position;
use super::node::Related;
use super::rows::{Seeds, nobody, seed};
use crate::base::code::ErrorCode;
use crate::engine::frame::{Failure, Frame, RootAnswer, RootRows};
use crate::engine::operation::{Selection, What};
use crate::engine::plan::NodeId;
use crate::engine::project::read::{Named, named};
use crate::model::binding::RootBinding;
use crate::model::contract::{RootField, RootKind};
use crate::source::PageAt;

/// Pages of a listing that one request goes through at most, to fill its page with entities the caller may see.
const LISTING_PAGES_MAX: usize = 10;
const FIRST_DEFAULT: usize = 20;

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

    async fn by_keys(&self, selections: &[(usize, &Selection)], node: NodeId) -> Vec<(usize, RootAnswer)> {
        let row = |(_, selection): &(usize, &Selection)| {
            let argument = match selection.what {
                What::Query(at) => self.snapshot.contract.queries.get(at).map(|query| &query.kind),
                _ => None,
            };
            let key = match argument {
                Some(RootKind::ByKey { argument }) => text(selection.argument(argument, self.variables)),
                _ => None,
            };
            seed(Some(key.unwrap_or_default().into()), None)
        };
        let frame = if self.plan.node(node).gives_nothing() {
            self.nothing(node, None).frame
        } else {
            Arc::new(self.node(node, Seeds { rows: selections.iter().map(row).collect(), inherited: None }).await)
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
                Ok((named, _)) => {
                    let rows = named.into_iter().map(|named| seed(named.key, named.record)).collect();
                    let related = self.relate(node, Seeds { rows, inherited: None }).await;
                    let frame = self.complete(only_related(related, usize::MAX).0).await;
                    RootAnswer { frame: Arc::new(frame), rows: RootRows::List, failure: None, refused: None }
                }
                Err(failure) => self.nothing(node, Some(failure)),
            },
            (RootKind::Connection, Some(binding)) => self.connection(selection, node, query, binding).await,
            (_, None) => self.nothing(node, None),
        }
    }

    fn nothing(&self, node: NodeId, failure: Option<Failure>) -> RootAnswer {
        let frame = Frame { node, rows: Vec::new(), answers: Vec::new(), children: Vec::new() };
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
            Ok((found, _)) if found.is_empty() => {
                let rows = vec![nobody()];
                let mut related = self.relate(node, Seeds { rows, inherited: None }).await;
                for row in &mut related.rows {
                    (row.key, row.rights) = (None, Arc::default());
                }
                let frame = Frame { node, rows: related.rows, answers: Vec::new(), children: Vec::new() };
                RootAnswer { frame: Arc::new(frame), ..self.nothing(node, None) }
            }
            Ok((found, _)) => {
                let rows = found.into_iter().take(1).map(|named| seed(named.key, named.record)).collect();
                let frame = self.node(node, Seeds { rows, inherited: None }).await;
                RootAnswer { frame: Arc::new(frame), rows: RootRows::One(0), failure: None, refused: None }
            }
            Err(failure) => self.nothing(node, Some(failure)),
        }
    }

    /// One read of a listing: the entities its records name.
    async fn listed(
        &self,
        selection: &Selection,
        query: &RootField,
        binding: &RootBinding,
        page: Option<PageAt>,
    ) -> Result<(Vec<Named>, Option<PageAt>), Failure> {
        let Some(connector) = self.connectors.get(binding.source.index()).and_then(|connectors| connectors.first())
        else {
            return Err(Failure::unavailable(ErrorCode::Internal, binding.source));
        };
        let inputs: Vec<(Arc<str>, String)> = selection
            .arguments
            .iter()
            .filter_map(|argument| {
                Some((
                    format!("arg.{}", argument.name).into(),
                    text(selection.argument(&argument.name, self.variables))?,
                ))
            })
            .collect();
        let wanted = binding.mapping.wanted_pointers(&|_| true);
        let call = Call {
            source: binding.source,
            connector,
            template: &binding.ask,
            keys: &[],
            inputs: &inputs,
            wanted: &wanted,
            page,
        };
        let (fetched, _) = self.call(call).await?;
        let key = self.snapshot.contract.entity(query.entity).key;
        let mut found = Vec::with_capacity(fetched.records.len());
        for record in &fetched.records {
            let index = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
            let Some(buffer) = fetched.buffers.get(index(record.buffer)) else { continue };
            if record.start <= record.end && index(record.end) <= buffer.len() {
                found.push(named(&binding.mapping, key, &buffer.slice(index(record.start)..index(record.end))));
            }
        }
        Ok((found, fetched.next))
    }

    /// What a cursor is bound to: the query and its arguments, but for those that move through it.
    fn listing_of(&self, selection: &Selection, query: &RootField) -> String {
        let arguments = selection.arguments.iter().filter(|argument| !matches!(&*argument.name, "first" | "after"));
        let values: Vec<(&str, &Value)> =
            arguments.map(|argument| (&*argument.name, selection.argument(&argument.name, self.variables))).collect();
        serde_json::json!([&*query.name, values]).to_string()
    }

    /// A page of a connection: related entities only, refilled from the listing within a budget of its pages.
    async fn connection(
        &self,
        selection: &Selection,
        node: NodeId,
        query: &RootField,
        binding: &RootBinding,
    ) -> RootAnswer {
        let first = match selection.argument("first", self.variables) {
            Value::Null => FIRST_DEFAULT,
            value => match value.as_u64().and_then(|first| usize::try_from(first).ok()) {
                Some(first) if first <= query.first_max => first,
                _ => {
                    return RootAnswer {
                        refused: Some(format!("`first` is between 0 and {}", query.first_max)),
                        ..self.nothing(node, None)
                    };
                }
            },
        };
        let listing = self.listing_of(selection, query);
        let after = match selection.argument("after", self.variables) {
            Value::Null => None,
            value => match text(value).as_deref().and_then(|cursor| self.cursors.open(&listing, cursor)) {
                Some(position) => Some(position),
                None => {
                    return RootAnswer {
                        refused: Some("`after` is not a cursor of this listing".to_owned()),
                        ..self.nothing(node, None)
                    };
                }
            },
        };
        let has_previous = after.is_some();
        let paged = binding.ask.page().is_some();
        let mut at = after.unwrap_or(Position { page: PageAt::First, skip: 0 });
        let mut found: Option<Related> = None;
        let mut cursors: Vec<String> = Vec::new();
        let mut has_next = false;
        for _ in 0..LISTING_PAGES_MAX {
            let page = paged.then(|| at.page.clone());
            let (named, next) = match self.listed(selection, query, binding, page).await {
                Ok(listed) => listed,
                Err(failure) => return self.nothing(node, Some(failure)),
            };
            let total = named.len();
            let missing = first.saturating_sub(cursors.len());
            // More than are missing, since some may be left out, but not the whole of a long listing.
            let take = missing.saturating_mul(2).clamp(missing, missing.saturating_add(50));
            let rows: Vec<_> =
                named.into_iter().skip(at.skip).take(take).map(|named| seed(named.key, named.record)).collect();
            let looked_at = rows.len();
            let related = if missing == 0 || looked_at == 0 {
                None
            } else {
                Some(self.relate(node, Seeds { rows, inherited: None }).await)
            };
            let mut used = 0;
            if let Some(related) = related {
                let (related, places) = only_related(related, missing);
                cursors.extend(places.iter().map(|place| {
                    let behind = Position { page: at.page.clone(), skip: at.skip + place + 1 };
                    self.cursors.seal(&listing, &behind)
                }));
                used = if places.len() == missing { places.last().map_or(0, |place| place + 1) } else { looked_at };
                found = Some(match found.take() {
                    Some(before) => joined(before, related),
                    None => related,
                });
            }
            let rest = total.saturating_sub(at.skip + used);
            has_next = rest > 0 || next.is_some();
            if cursors.len() >= first || !has_next {
                break;
            }
            at = if rest > 0 {
                Position { skip: at.skip + used, ..at }
            } else {
                Position { page: next.unwrap_or(PageAt::First), skip: 0 }
            };
        }
        let frame = match found {
            Some(related) => Arc::new(self.complete(related).await),
            None => self.nothing(node, None).frame,
        };
        let end = match has_next && cursors.len() < first {
            true => Some(self.cursors.seal(&listing, &at)),
            false => cursors.last().cloned(),
        };
        let rows = RootRows::Page { cursors, end, has_next, has_previous };
        RootAnswer { frame, rows, failure: None, refused: None }
    }
}

/// Leaves out the entities to which the caller stands in no relation; says where the others stood.
fn only_related(mut related: Related, most: usize) -> (Related, Vec<usize>) {
    let places: Vec<usize> = related
        .rows
        .iter()
        .enumerate()
        .filter(|(_, row)| !row.rights.relations.is_empty())
        .map(|(at, _)| at)
        .take(most)
        .collect();
    keep(&mut related.rows, &places);
    for answers in related.answers.iter_mut().flatten() {
        keep(answers, &places);
    }
    if let Some((_, via)) = &mut related.via {
        keep(&mut via.ranges, &places);
    }
    (related, places)
}

fn keep<T>(items: &mut Vec<T>, places: &[usize]) {
    let mut at = 0;
    items.retain(|_| {
        at += 1;
        places.binary_search(&(at - 1)).is_ok()
    });
}

/// Two stretches of one listing as one.
fn joined(mut before: Related, after: Related) -> Related {
    before.rows.extend(after.rows);
    for (answers, more) in before.answers.iter_mut().zip(after.answers) {
        match (answers.as_mut(), more) {
            (Some(answers), Some(more)) => answers.extend(more),
            (None, None) => {}
            // Both stretches went through the same gate; answers of one alone are asked again.
            _ => *answers = None,
        }
    }
    if let (Some((_, via)), Some((_, more))) = (&mut before.via, after.via) {
        let offset = via.related.rows.len();
        via.ranges.extend(more.ranges.into_iter().map(|range| range.start + offset..range.end + offset));
        let rows = std::mem::replace(
            &mut *via.related,
            Related { node: more.related.node, rows: Vec::new(), answers: Vec::new(), via: None },
        );
        *via.related = joined(rows, *more.related);
    }
    before
}

/// An argument's value as text.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}
