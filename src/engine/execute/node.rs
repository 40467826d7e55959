//! One node: relations first, then everything the caller may have, all ready fetches at once.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::sync::Semaphore;

use super::Execution;
use super::fetch::{Need, needed};
use super::quota::Charges;
use super::rows::{Seeds, nobody};
use crate::engine::frame::{ChildFrame, Failure, Frame, Row, RowAnswer};
use crate::engine::plan::{FetchId, Node, NodeId, RelationNeed, Stage};
use crate::engine::project::read::RowView;
use crate::engine::project::write::Mode;
use crate::model::access::hand::Unread;
use crate::model::access::{RelationId, RowRights, SlotSet};
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
    /// Single entities that the rows tell of, related: they are no rows of the answer.
    pub subjects: Vec<Related>,
}

pub(super) struct Via {
    pub related: Box<Related>,
    pub ranges: Vec<std::ops::Range<usize>>,
    /// Why the relations of an entity that is not there could not be decided.
    pub of_nobody: Option<Failure>,
}

/// Those for whom a caller acts: entities and their keys.
type OnBehalf = Vec<(EntityId, Arc<str>)>;

/// Nothing of an entity may be had.
fn forbid(row: &mut Row) {
    (row.rights, row.subjects) = (Arc::default(), Arc::default());
}

pub(super) fn is_asked(answer: Option<&RowAnswer>) -> bool {
    answer.is_some_and(|answer| !matches!(answer, RowAnswer::NotAsked))
}

/// Answers of the gate that do for all rows that need them; else those to which others are added.
fn split((answers, needed): (Option<Vec<RowAnswer>>, &Vec<Need>)) -> (Option<Vec<RowAnswer>>, Option<Vec<RowAnswer>>) {
    let Some(answers) = answers else { return (None, None) };
    let mut of_needed = answers.iter().zip(needed).filter(|(_, need)| need.is_any());
    let whole = of_needed.all(|(answer, _)| is_asked(Some(answer)));
    if whole { (Some(answers), None) } else { (None, Some(answers)) }
}

impl From<Related> for Frame {
    /// As far as the gate went.
    fn from(related: Related) -> Self {
        let answers = related.answers.into_iter().map(Option::unwrap_or_default).collect();
        Self { node: related.node, rows: related.rows, answers, children: Vec::new(), subjects: Vec::new() }
    }
}

impl Related {
    /// Leaves only the first entities.
    pub(super) fn truncate(&mut self, rows: usize) {
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
            let by_key = self.by_key(node, &rows, seeds.inherited.as_deref());
            let needed = |fetch: FetchId, row: usize| {
                let open = |(need, truths): (&RelationNeed, &Vec<Truth>)| {
                    need.fetches.contains(&fetch) && truths.get(row) == Some(&Truth::Unknown)
                };
                let needed = node.gate.contains(&fetch) || node.relations.iter().zip(&by_key).any(open);
                if needed { Need::GATE } else { Need::default() }
            };
            let mut answers: Vec<Option<Vec<RowAnswer>>> = node.fetches.iter().map(|_| None).collect();
            // In waves: all fetches of the gate whose inputs are there.
            loop {
                let ready: Vec<FetchId> =
                    (0..node.fetches.len()).filter(|at| self.is_ready(node, *at, &answers)).collect();
                if ready.is_empty() {
                    break;
                }
                let fetched =
                    futures::future::join_all(ready.iter().filter_map(|at| Some((*at, node.fetches.get(*at)?))).map(
                        |(at, fetch)| {
                            let known: Vec<Option<&[RowAnswer]>> = answers.iter().map(Option::as_deref).collect();
                            let (rows, needed) = (&rows, &needed);
                            async move {
                                self.fetch(node, fetch, rows, &known, |row| needed(at, row), &Charges::new()).await
                            }
                        },
                    ))
                    .await;
                for (at, rows) in ready.into_iter().zip(fetched) {
                    if let Some(answer) = answers.get_mut(at) {
                        *answer = Some(rows);
                    }
                }
            }
            let mut related = Related { node: id, rows, answers, via: None, subjects: Vec::new() };
            if let Some(slot) = node.via {
                related.via = self.via(&related, slot).await;
            }
            self.decide(node, &mut related, seeds.inherited, &by_key);
            for need in &node.subjects {
                let subjects = self.subjects(need, &mut related).await;
                related.subjects.extend(subjects);
            }
            related
        })
    }

    /// What an entity's key alone says of each relation, by relation and row: nothing is fetched for what it decides.
    fn by_key(&self, node: &Node, rows: &[Row], inherited: Option<&[Arc<RowRights>]>) -> Vec<Vec<Truth>> {
        // What reads nothing of an entity is the same for all.
        let of_all = |need: &RelationNeed| {
            let relation = self.snapshot.access.relation(need.relation)?;
            let when = Some(&relation.rule.when).filter(|when| when.inputs().is_empty())?;
            Some(when.evaluate(&serde_json::Value::Null, &self.asking.principal, self.asking.today))
        };
        let decided = |need: &RelationNeed, of_all: Option<Truth>, at: usize, row: &Row| {
            let Some(relation) = self.snapshot.access.relation(need.relation) else { return Truth::False };
            if relation.approved && !self.is_approved(relation.on, row.key.as_deref()) {
                return Truth::False;
            }
            let above = inherited.and_then(|inherited| inherited.get(at));
            if above.is_some_and(|above| self.adds_nothing(node, need, above)) {
                return Truth::False;
            }
            let of_key = || {
                let view = RowView::new(self.snapshot, self.plan, node, row, at, &[], Stage::Relation);
                let (facts, _) = view.rule_facts(need.reads.get(..1).unwrap_or_default(), Mode::Gateway);
                relation.rule.when.evaluate(&facts, &self.asking.principal, self.asking.today)
            };
            match of_all.unwrap_or_else(of_key) {
                // For whom the caller acts has to be fetched.
                Truth::True if relation.rule.on_behalf_of.is_some() => Truth::Unknown,
                truth => truth,
            }
        };
        let of_rows = |need| {
            let of_all = of_all(need);
            rows.iter().enumerate().map(|(at, row)| decided(need, of_all, at, row)).collect()
        };
        node.relations.iter().map(of_rows).collect()
    }

    /// Whether a relation that would have to be fetched gives only what the entity above gives already.
    fn adds_nothing(&self, node: &Node, need: &RelationNeed, above: &RowRights) -> bool {
        if need.fetches.is_empty() {
            return false;
        }
        let has = |slot: SlotId| above.slots.contains(slot) && !above.masks.contains_key(&slot);
        let given = self.rights.permits.get(&need.relation).map(|permit| permit.slots.intersection(&self.shown(node)));
        given.is_none_or(|given| given.iter().all(has))
    }

    /// What is shown of a node and of those below that take its relations.
    fn shown(&self, node: &Node) -> SlotSet {
        let mut shown = node.shown.clone();
        for below in node.children.iter().map(|child| self.plan.node(child.node)).filter(|below| below.inherits) {
            shown.union(&self.shown(below));
        }
        shown
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
    fn decide(
        &self,
        node: &Node,
        related: &mut Related,
        inherited: Option<Vec<Arc<RowRights>>>,
        by_key: &[Vec<Truth>],
    ) {
        let mut sets: HashMap<Vec<RelationId>, Arc<RowRights>> = HashMap::new();
        // Those of the row before: most rows stand alike.
        let mut last: Option<(Vec<RelationId>, Arc<RowRights>)> = None;
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
            let mut on_behalf_of = Vec::new();
            if let Some((_, via)) = &related.via {
                if via.ranges.get(at).is_none_or(std::ops::Range::is_empty) {
                    undecided = via.of_nobody;
                }
                for row in via.ranges.get(at).cloned().unwrap_or_default().filter_map(|row| via.related.rows.get(row)) {
                    relations.extend(&row.rights.relations);
                    on_behalf_of.extend(row.on_behalf_of.iter().cloned());
                    undecided = undecided.or(row.undecided);
                }
            }
            for (need, by_key) in node.relations.iter().zip(by_key) {
                let decided = by_key.get(at).copied().unwrap_or(Truth::Unknown);
                match self.relation(&view, need, decided) {
                    Ok(Some(behalf)) => {
                        relations.push(need.relation);
                        on_behalf_of.extend(behalf);
                    }
                    Ok(None) => {}
                    Err(missing) => undecided = undecided.or(missing),
                }
            }
            relations.sort_unstable();
            relations.dedup();
            let rights = match &last {
                Some((of, rights)) if *of == relations => Arc::clone(rights),
                _ => {
                    let under = || Arc::new(self.rights.under(relations.clone()));
                    let rights = Arc::clone(sets.entry(relations.clone()).or_insert_with(under));
                    last = Some((relations, Arc::clone(&rights)));
                    rights
                }
            };
            on_behalf_of.sort();
            on_behalf_of.dedup();
            let on_behalf_of = if on_behalf_of.is_empty() { Arc::default() } else { on_behalf_of.into() };
            decided.push((rights, on_behalf_of, undecided));
        }
        for (row, (rights, on_behalf_of, undecided)) in related.rows.iter_mut().zip(decided) {
            row.rights = rights;
            row.on_behalf_of = on_behalf_of;
            row.undecided = undecided;
        }
    }

    /// Whether it is the entity that the request's approval is for.
    fn is_approved(&self, entity: EntityId, key: Option<&str>) -> bool {
        let name = &self.snapshot.contract.entity(entity).name;
        let approved = self.asking.approved.as_ref().zip(key);
        approved.is_some_and(|(approved, key)| (approved.is_of)(name, key))
    }

    /// Whether one relation holds, and for whom the caller then acts; else why it could not be decided, where a source
    /// is to blame. `decided`: what the key alone says.
    fn relation(
        &self,
        view: &RowView<'_>,
        need: &RelationNeed,
        decided: Truth,
    ) -> Result<Option<OnBehalf>, Option<Failure>> {
        let Some(relation) = self.snapshot.access.relation(need.relation) else { return Ok(None) };
        if decided != Truth::Unknown {
            return Ok((decided == Truth::True).then(Vec::new));
        }
        let (facts, missing) = view.rule_facts(&need.reads, Mode::Gateway);
        let (principal, today) = (&self.asking.principal, self.asking.today);
        match relation.rule.when.evaluate(&facts, principal, today) {
            Truth::True => {
                let entity = relation.rule.on_behalf_of.as_ref().map(|behalf| behalf.entity.as_str());
                let entity = entity.and_then(|name| self.snapshot.contract.entity_named(name));
                let behalf = relation.rule.behalf(&facts, principal, today);
                Ok(Some(behalf.into_iter().filter_map(|key| Some((entity?, key.into()))).collect()))
            }
            Truth::False => Ok(None),
            // What cannot be decided is "no", with the reason where a source is to blame. What is merely not known (a
            // claim the token lacks, a fact nobody holds) is a plain "no": an entity that is not there must look like one
            // the caller has nothing to do with.
            Truth::Unknown => Err(missing.filter(Failure::is_sources)),
        }
    }

    /// Fetches what the caller may have, and what rules read for it; nodes below run as soon as they can.
    pub(super) fn complete(&self, related: Related) -> BoxFuture<'_, Frame> {
        Box::pin(async move {
            let node = self.plan.node(related.node);
            let mut rows = related.rows;
            let charges = self.charge(node, &mut rows);
            let needed = needed(self.snapshot, node, &rows);
            let latches: Vec<Latch> = node.fetches.iter().map(|_| Latch::new()).collect();
            // What the gate asked only for some of the rows that need it is asked for the others.
            let (whole, partly): (Vec<_>, Vec<_>) = related.answers.into_iter().zip(&needed).map(split).unzip();
            let answers: Vec<OnceLock<Vec<RowAnswer>>> =
                whole.into_iter().map(|answer| answer.map_or_else(OnceLock::new, OnceLock::from)).collect();
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
                let charges = &charges;
                let before = partly.get(at).and_then(Option::as_ref);
                async move {
                    for earlier in &fetch.after {
                        if let Some(latch) = latches.get(*earlier) {
                            latch.opened().await;
                        }
                    }
                    let (Some(answer), Some(latch), Some(needed)) = (answers.get(at), latches.get(at), needed.get(at))
                    else {
                        return;
                    };
                    if answer.get().is_none() {
                        let asked = |row: usize| before.is_some_and(|before| is_asked(before.get(row)));
                        let needed = |row: usize| needed.get(row).copied().filter(|_| !asked(row)).unwrap_or_default();
                        let mut fetched = self.fetch(node, fetch, rows, &known(), needed, charges).await;
                        for (fetched, before) in fetched.iter_mut().zip(before.into_iter().flatten()) {
                            if is_asked(Some(before)) {
                                *fetched = before.clone();
                            }
                        }
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
            // Of many that wait, only those that may go on are looked at.
            let fetched = async move {
                let mut fetches: FuturesUnordered<_> = fetches.collect();
                while fetches.next().await.is_some() {}
            };
            let ((), children) = futures::future::join(fetched, futures::future::join_all(children)).await;
            let answers = answers.into_iter().map(|answer| answer.into_inner().unwrap_or_default()).collect();
            let subjects = related.subjects.into_iter().map(Frame::from).collect();
            Frame { node: related.node, rows, answers, children, subjects }
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
                        forbid(below);
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
            if below.inherits && row.on_behalf_of.is_empty() {
                row.on_behalf_of = Arc::clone(&above.on_behalf_of);
            }
            if !shown(above) {
                forbid(row);
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
