//! The gate of one node: how the caller stands to each of its entities, before anything else is asked of them.

use std::collections::HashMap;
use std::sync::Arc;

use futures::future::BoxFuture;

use super::Execution;
use super::advance::keep;
use super::fetch::Need;
use super::quota::Charges;
use super::rows::{Seeds, nobody};
use crate::engine::frame::{Failure, Row, RowAnswer};
use crate::engine::plan::{FetchId, Node, NodeId, RelationNeed, Stage};
use crate::engine::project::read::RowView;
use crate::engine::project::write::Mode;
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

pub(super) fn is_asked(answer: Option<&RowAnswer>) -> bool {
    answer.is_some_and(|answer| !matches!(answer, RowAnswer::NotAsked))
}

impl Related {
    /// Leaves only the entities at these places, in order.
    pub(super) fn keep(&mut self, places: &[usize]) {
        keep(&mut self.rows, places);
        self.answers.iter_mut().flatten().for_each(|answers| keep(answers, places));
        if let Some((_, via)) = &mut self.via {
            keep(&mut via.ranges, places);
        }
    }

    /// Leaves only the first entities.
    pub(super) fn truncate(&mut self, rows: usize) {
        self.rows.truncate(rows);
        self.answers.iter_mut().flatten().for_each(|answers| answers.truncate(rows));
        if let Some((_, via)) = &mut self.via {
            via.ranges.truncate(rows);
        }
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
}
