//! One node: relations first, then everything the caller may have, all ready fetches at once.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use futures::future::BoxFuture;
use tokio::sync::Semaphore;

use super::Execution;
use super::fetch::needed;
use super::rows::{Seeds, nobody};
use crate::base::code::ItemState;
use crate::engine::frame::{ChildFrame, Failure, Frame, Row, RowAnswer};
use crate::engine::plan::{FetchId, Node, NodeId, Stage};
use crate::engine::project::read::RowView;
use crate::engine::project::write::Mode;
use crate::model::access::hand::Unread;
use crate::model::access::{RelationId, RowRights};
use crate::model::contract::{EntityId, SlotId};
use crate::model::rule::Truth;

/// A node whose relations are decided and whose answers are still to come.
pub(super) struct Related {
    pub node: NodeId,
    pub rows: Vec<Row>,
    /// By fetch; `None`: not asked yet.
    pub answers: Vec<Option<Vec<RowAnswer>>>,
    /// The node that the relations came from, where it is another one.
    pub via: Option<(usize, Via)>,
}

pub(super) struct Via {
    pub related: Box<Related>,
    pub ranges: Vec<std::ops::Range<usize>>,
    /// Why the relations of an entity that is not there could not be decided.
    pub of_nobody: Option<Failure>,
}

impl Related {
    /// Leaves only the first entities.
    fn truncate(&mut self, rows: usize) {
        self.rows.truncate(rows);
        self.answers.iter_mut().flatten().for_each(|answers| answers.truncate(rows));
        if let Some((_, via)) = &mut self.via {
            via.ranges.truncate(rows);
        }
    }
}

/// Opens once: what waits for a fetch goes on when it is answered.
struct Latch(Semaphore);

impl Latch {
    fn new() -> Self {
        Self(Semaphore::new(0))
    }

    fn open(&self) {
        self.0.close();
    }

    async fn opened(&self) {
        // No permit is ever given: acquiring ends, with an error, when the semaphore is closed.
        let _ = self.0.acquire().await;
    }
}

impl Execution<'_> {
    /// Decides how the caller stands to each entity.
    pub(super) fn relate(&self, id: NodeId, seeds: Seeds) -> BoxFuture<'_, Related> {
        Box::pin(async move {
            let node = self.plan.node(id);
            let rows: Vec<Row> = seeds.rows;
            let mut answers: Vec<Option<Vec<RowAnswer>>> = node.fetches.iter().map(|_| None).collect();
            // In waves: all fetches of the gate whose inputs are there.
            loop {
                let ready: Vec<FetchId> =
                    (0..node.fetches.len()).filter(|at| self.is_ready(node, *at, &answers)).collect();
                if ready.is_empty() {
                    break;
                }
                let fetched =
                    futures::future::join_all(ready.iter().filter_map(|at| node.fetches.get(*at)).map(|fetch| {
                        let known: Vec<Option<&[RowAnswer]>> = answers.iter().map(Option::as_deref).collect();
                        let rows = &rows;
                        async move { self.fetch(node, fetch, rows, &known, |_| true).await }
                    }))
                    .await;
                for (at, rows) in ready.into_iter().zip(fetched) {
                    if let Some(answer) = answers.get_mut(at) {
                        *answer = Some(rows);
                    }
                }
            }
            let mut related = Related { node: id, rows, answers, via: None };
            if let Some(slot) = node.via {
                related.via = self.via(&related, slot).await;
            }
            self.decide(node, &mut related, seeds.inherited);
            related
        })
    }

    fn is_ready(&self, node: &Node, at: FetchId, answers: &[Option<Vec<RowAnswer>>]) -> bool {
        let answered = |at: usize| answers.get(at).is_some_and(Option::is_some);
        node.fetches
            .get(at)
            .is_some_and(|fetch| fetch.stage == Stage::Relation && fetch.after.iter().all(|before| answered(*before)))
            && !answered(at)
    }

    /// Relates the entities below whose relations this node takes.
    async fn via(&self, related: &Related, slot: SlotId) -> Option<(usize, Via)> {
        let node = self.plan.node(related.node);
        let at = node.children.iter().position(|child| child.slot == slot)?;
        let child = node.children.get(at)?.node;
        let known: Vec<Option<&[RowAnswer]>> = related.answers.iter().map(Option::as_deref).collect();
        let (mut seeds, ranges) = self.seeds_below(node, slot, &related.rows, &known, Stage::Relation, |_| true);
        let somebody = seeds.rows.len();
        if ranges.iter().any(std::ops::Range::is_empty) {
            seeds.rows.push(nobody());
        }
        let mut related = self.relate(child, seeds).await;
        let of_nobody = related.rows.get(somebody).and_then(|row| row.undecided);
        related.truncate(somebody);
        Some((at, Via { related: Box::new(related), ranges, of_nobody }))
    }

    /// Evaluates the relations of every row.
    fn decide(&self, node: &Node, related: &mut Related, inherited: Option<Vec<Arc<RowRights>>>) {
        let mut sets: HashMap<Vec<RelationId>, Arc<RowRights>> = HashMap::new();
        let known: Vec<Option<&[RowAnswer]>> = related.answers.iter().map(Option::as_deref).collect();
        let mut decided = Vec::with_capacity(related.rows.len());
        for (at, row) in related.rows.iter().enumerate() {
            let view = RowView::new(self.snapshot, self.plan, node, row, at, &known, Stage::Relation);
            let mut relations: Vec<RelationId> = inherited
                .as_ref()
                .and_then(|above| above.get(at))
                .map(|above| above.relations.clone())
                .unwrap_or_default();
            let mut undecided = None;
            if let Some((_, via)) = &related.via {
                if via.ranges.get(at).is_none_or(std::ops::Range::is_empty) {
                    undecided = via.of_nobody;
                }
                for row in via.ranges.get(at).cloned().unwrap_or_default().filter_map(|row| via.related.rows.get(row)) {
                    relations.extend(&row.rights.relations);
                    undecided = undecided.or(row.undecided);
                }
            }
            for need in &node.relations {
                let Some(relation) = self.snapshot.access.relation(need.relation) else { continue };
                if relation.approved && !self.is_approved(relation.on, row.key.as_deref()) {
                    continue;
                }
                let (facts, missing) = view.rule_facts(&need.reads, Mode::Gateway);
                match relation.rule.when.evaluate(&facts, &self.asking.principal, self.asking.today) {
                    Truth::True => relations.push(need.relation),
                    Truth::False => {}
                    // What cannot be decided is "no", with the reason where a source is to blame. What is merely not
                    // known (a claim the token lacks, a fact nobody holds) is a plain "no": an entity that is not
                    // there must look like one the caller has nothing to do with.
                    Truth::Unknown => {
                        undecided = undecided.or(missing.filter(|failure| failure.state == ItemState::Unavailable));
                    }
                }
            }
            relations.sort_unstable();
            relations.dedup();
            let rights =
                Arc::clone(sets.entry(relations.clone()).or_insert_with(|| Arc::new(self.rights.under(relations))));
            decided.push((rights, undecided));
        }
        for (row, (rights, undecided)) in related.rows.iter_mut().zip(decided) {
            row.rights = rights;
            row.undecided = undecided;
        }
    }

    /// Whether it is the entity that the request's approval is for.
    fn is_approved(&self, entity: EntityId, key: Option<&str>) -> bool {
        let name = &self.snapshot.contract.entity(entity).name;
        let approved = self.asking.approved.as_ref().zip(key);
        approved.is_some_and(|(approved, key)| (approved.is_of)(name, key))
    }

    /// Fetches what the caller may have, and what rules read for it; nodes below run as soon as they can.
    pub(super) fn complete(&self, related: Related) -> BoxFuture<'_, Frame> {
        Box::pin(async move {
            let node = self.plan.node(related.node);
            let rows = related.rows;
            let needed = needed(&self.snapshot.bindings, node, &rows);
            let latches: Vec<Latch> = node.fetches.iter().map(|_| Latch::new()).collect();
            let answers: Vec<OnceLock<Vec<RowAnswer>>> =
                related.answers.into_iter().map(|answer| answer.map_or_else(OnceLock::new, OnceLock::from)).collect();
            for (answer, latch) in answers.iter().zip(&latches) {
                if answer.get().is_some() {
                    latch.open();
                }
            }
            let known = || -> Vec<Option<&[RowAnswer]>> {
                answers.iter().map(|answer| answer.get().map(Vec::as_slice)).collect()
            };
            let fetches = node.fetches.iter().enumerate().map(|(at, fetch)| {
                let (latches, answers, rows, needed, known) = (&latches, &answers, &rows, &needed, &known);
                async move {
                    for before in &fetch.after {
                        if let Some(latch) = latches.get(*before) {
                            latch.opened().await;
                        }
                    }
                    let (Some(answer), Some(latch), Some(needed)) = (answers.get(at), latches.get(at), needed.get(at))
                    else {
                        return;
                    };
                    if answer.get().is_none() {
                        let fetched = self
                            .fetch(node, fetch, rows, &known(), |row| needed.get(row).copied().unwrap_or(false))
                            .await;
                        let _ = answer.set(fetched);
                    }
                    latch.open();
                }
            });
            let mut via = related.via;
            let children = node.children.iter().enumerate().map(|(at, child)| {
                let given = if via.as_ref().is_some_and(|(child, _)| *child == at) {
                    via.take().map(|(_, via)| via)
                } else {
                    None
                };
                let (latches, rows, known) = (&latches, &rows, &known);
                async move {
                    if let Some(fetch) = self.names(node, child.slot)
                        && let Some(latch) = latches.get(fetch)
                    {
                        latch.opened().await;
                    }
                    self.child(node, child.slot, child.node, rows, &known(), given).await
                }
            });
            let (_, children) =
                futures::future::join(futures::future::join_all(fetches), futures::future::join_all(children)).await;
            let answers = answers.into_iter().map(|answer| answer.into_inner().unwrap_or_default()).collect();
            Frame { node: related.node, rows, answers, children }
        })
    }

    /// The fetch that names the entities under a slot.
    fn names(&self, node: &Node, slot: SlotId) -> Option<FetchId> {
        let endpoint = self.snapshot.bindings.provider(slot).filter(|_| !node.embedded.contains(slot))?;
        node.fetch_of(endpoint, slot, Stage::Answer)
    }

    async fn child(
        &self,
        node: &Node,
        slot: SlotId,
        id: NodeId,
        rows: &[Row],
        known: &[Option<&[RowAnswer]>],
        via: Option<Via>,
    ) -> Option<ChildFrame> {
        let below = self.plan.node(id);
        let shown = |row: &Row| node.shown.contains(slot) && row.rights.slots.contains(slot);
        if let Some(mut via) = via {
            // What the caller may not reach from above is not fetched, whatever its own relation would give.
            for (row, range) in rows.iter().zip(&via.ranges) {
                for at in range.clone() {
                    if let Some(below) = via.related.rows.get_mut(at).filter(|_| !shown(row)) {
                        below.rights = Arc::new(RowRights::default());
                    }
                }
            }
            return Some(ChildFrame { frame: self.complete(*via.related).await, ranges: via.ranges });
        }
        let read = |row: &Row| read_below(node, row, slot);
        let (mut seeds, ranges) =
            self.seeds_below(node, slot, rows, known, Stage::Answer, |row| shown(row) || read(row).is_some());
        let above: Vec<&Row> =
            rows.iter().zip(&ranges).flat_map(|(row, range)| range.clone().map(move |_| row)).collect();
        for (seed, row) in seeds.rows.iter_mut().zip(&above) {
            seed.read_from_above = read(row);
        }
        if below.inherits {
            // Only through a slot the caller may have; else only rules read below.
            let nothing = Arc::new(RowRights::default());
            seeds.inherited = Some(
                above
                    .iter()
                    .map(|row| if shown(row) { Arc::clone(&row.rights) } else { Arc::clone(&nothing) })
                    .collect(),
            );
        }
        let mut related = self.relate(id, seeds).await;
        for (row, above) in related.rows.iter_mut().zip(&above) {
            if !shown(above) {
                row.rights = Arc::new(RowRights::default());
            }
        }
        Some(ChildFrame { frame: self.complete(related).await, ranges })
    }
}

/// What rules, of this node and above, may not read of the entities under a slot; `None`: none reads them.
fn read_below(node: &Node, row: &Row, slot: SlotId) -> Option<Arc<Unread>> {
    let own = node
        .derived
        .iter()
        .filter(|need| row.rights.slots.contains(need.slot) && super::rows::reads_through(&need.reads, slot))
        .map(|need| row.rights.held.unread(need.slot).cloned().unwrap_or_default());
    own.chain(row.read_from_above.clone()).reduce(|a, b| Arc::new(a.intersection(&b)))
}
