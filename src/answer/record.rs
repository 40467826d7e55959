//! What the audit record says of an answer: who saw which items of whom, and what was used unseen. No values.

use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Map, Value};

use super::fate::{FetchFate, RowFate, is_answered, remarked, used};
use super::{Asked, Executed, Inner, Planned};
use crate::audit::{Access, AuditRecord, Outcome, SubjectDigest};
use crate::engine::authorize::Asking;
use crate::engine::error::RequestError;
use crate::engine::execute::{key_of, looked_for};
use crate::engine::frame::{Frame, RootAnswer, RootRows, Row, RowAnswer};
use crate::engine::operation::Selection;
use crate::engine::plan::{Node, NodeId, Origin, Stage};
use crate::engine::project::answer::{each_row, is_there};
use crate::engine::project::read::RowView;
use crate::model::access::SlotSet;
use crate::model::contract::SlotId;

/// Variables of one operation that are recorded.
const ARGUMENTS_MAX: usize = 64;

impl Inner {
    /// The record of a request, whether it was executed or refused.
    pub(super) fn record(
        &self,
        asked: &Asked<'_>,
        planned: Option<&Planned>,
        executed: Result<&Executed, &RequestError>,
        began: Instant,
    ) -> AuditRecord {
        let mut record = AuditRecord::new(asked.request_id, asked.identity);
        let asking = planned.map_or_else(
            || Cow::Owned(Asking::new(asked.identity, self.kept.clock.now())),
            |planned| Cow::Borrowed(&planned.asking),
        );
        let counting = self.snapshot.access.counting(asking.presented());
        record.counting = Some(counting.map(|role| role.name.to_string()).collect());
        record.operation = planned
            .and_then(|planned| planned.plan.operation.name.as_deref().map(|name| self.kept.subjects.name(name)));
        record.document = asked.request.query.as_deref().map(|text| self.kept.subjects.document(text));
        record.document_id.clone_from(&asked.request.document_id);
        record.arguments = planned.map(|planned| self.arguments(&planned.variables)).unwrap_or_default();
        match executed {
            Ok(executed) => {
                if let Some(planned) = planned {
                    self.accesses(&mut record, planned, executed);
                    self.concerned(&mut record, planned, &executed.noted.concerned);
                }
                for (source, failed) in executed.log.entries() {
                    record.called(&self.snapshot.bindings.source(source).id, failed);
                }
                record.errors = executed.response.codes.iter().copied().collect();
                record.details.extend(executed.noted.details.iter().cloned());
                record.outcome = match &executed.response.too_much {
                    Some(_) => Outcome::Rejected,
                    None if record.errors.is_empty() => Outcome::Answered,
                    None => Outcome::Partial,
                };
            }
            Err(error) => {
                if let Some(planned) = planned {
                    self.refused_unasked(&mut record, planned);
                }
                record.errors = BTreeSet::from([error.code]);
                record.outcome = Outcome::Rejected;
            }
        }
        record.duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        record
    }

    fn accesses(&self, record: &mut AuditRecord, planned: &Planned, executed: &Executed) {
        let mut groups = Groups::default();
        // Rows with the same rights at one node, answered by the same sources, were treated alike.
        let mut known: HashMap<(NodeId, *const (), RowFate), Seen> = HashMap::new();
        let mut roots: Vec<&RootAnswer> = executed.roots.iter().flatten().collect();
        // Selections of one node share its frame.
        roots.dedup_by(|a, b| Arc::ptr_eq(&a.frame, &b.frame));
        // What was read of single entities is known where the entity that tells of them is, which comes first.
        let mut told: HashMap<(NodeId, Arc<str>), OneByOne> = HashMap::new();
        for root in roots {
            let is_single = matches!(root.rows, RootRows::One(_));
            each_row(&root.frame, &mut |frame, at, row| {
                let Some(key) = &row.key else { return };
                let node = planned.plan.node(frame.node);
                let subject = self.kept.subjects.subject(&self.snapshot.contract.entity(node.entity).name, key);
                let is_asked_for = is_single && matches!(node.origin, Origin::Query(_));
                let is_plain = !is_asked_for && node.subjects.is_empty() && told.is_empty();
                let likeness = if is_plain { Likeness::of(frame, at, row) } else { None };
                if let Some(group) = likeness.and_then(|likeness| groups.like(likeness)) {
                    return groups.join(group, subject);
                }
                let answers: Vec<Option<&[RowAnswer]>> =
                    frame.answers.iter().map(|rows| Some(rows.as_slice())).collect();
                let view = RowView::new(&self.snapshot, &planned.plan, node, row, at, &answers, Stage::Answer);
                let fetches: Vec<FetchFate> =
                    (0..frame.answers.len()).map(|fetch| FetchFate::of(frame.answer(fetch, at))).collect();
                let fate = RowFate {
                    used: used(&self.snapshot.bindings, node, row, &fetches),
                    remarked: remarked(&self.snapshot.bindings, node, &frame.answers, at),
                    fetches,
                    is_embedded: row.embedded.is_some(),
                    is_there: !is_asked_for || is_there(frame, &view),
                };
                one_by_one(&view, &fate, &mut told);
                let seen = match known.entry((frame.node, Arc::as_ptr(&row.rights).cast(), fate)) {
                    Entry::Occupied(seen) => seen.into_mut(),
                    Entry::Vacant(new) => {
                        let (access, of_each) = self.access(&view, &new.key().2);
                        new.insert(Seen { group: groups.of(access), of_each })
                    }
                };
                let behalf = self.behalf(row);
                for (key, access) in &seen.of_each {
                    for id in view.texts(*key).unwrap_or_default() {
                        let group = groups.of(Access { on_behalf_of: behalf.clone(), ..access.clone() });
                        groups.join(group, self.kept.subjects.subject(&access.entity, &id));
                    }
                }
                let told = if told.is_empty() { None } else { told.remove(&(frame.node, Arc::clone(key))) };
                let group = match told {
                    None if behalf.is_empty() => {
                        if let Some(likeness) = likeness.filter(|_| seen.of_each.is_empty()) {
                            groups.alike.insert(likeness, seen.group);
                        }
                        seen.group
                    }
                    told => {
                        let access = Access { on_behalf_of: behalf, ..groups.access(seen.group) };
                        groups.of(match told {
                            Some(told) => self.read_of(told, access),
                            None => access,
                        })
                    }
                };
                groups.join(group, subject);
            });
        }
        for (access, subjects) in groups.all.into_iter().filter(|(_, subjects)| !subjects.is_empty()) {
            record.add_all(subjects, access);
        }
        self.refused_wholly(record, planned, executed);
    }

    /// Looks of which no grant of the caller gives anything, and lookups that found nobody: of whom it was, or what they
    /// were looked for by, is recorded all the same, whether they are there or not.
    fn refused_wholly(&self, record: &mut AuditRecord, planned: &Planned, executed: &Executed) {
        let contract = &self.snapshot.contract;
        let roots = planned.plan.operation.roots.iter().zip(&planned.plan.roots);
        for ((selection, node), answer) in roots.zip(&executed.roots) {
            let Some(node) = node.map(|node| planned.plan.node(node)) else { continue };
            let found_nobody =
                |answer: &RootAnswer| answer.failure.is_none() && answer.frame.rows.iter().all(|row| row.key.is_none());
            let asked = match key_of(contract, selection, &planned.variables) {
                Some(key) if node.gives_nothing() => {
                    vec![self.kept.subjects.subject(&contract.entity(node.entity).name, &key)]
                }
                None if node.gives_nothing() || answer.as_ref().is_some_and(found_nobody) => {
                    self.looked_for(planned, selection, node)
                }
                _ => continue,
            };
            self.refused_of(record, node, asked);
        }
    }

    /// Of whom a request was that was refused before anything was fetched, or what they were looked for by.
    fn refused_unasked(&self, record: &mut AuditRecord, planned: &Planned) {
        let contract = &self.snapshot.contract;
        for (selection, node) in planned.plan.operation.roots.iter().zip(&planned.plan.roots) {
            let Some(node) = node.map(|node| planned.plan.node(node)) else { continue };
            let asked = match key_of(contract, selection, &planned.variables) {
                Some(key) => vec![self.kept.subjects.subject(&contract.entity(node.entity).name, &key)],
                None => self.looked_for(planned, selection, node),
            };
            self.refused_of(record, node, asked);
        }
    }

    fn looked_for(&self, planned: &Planned, selection: &Selection, node: &Node) -> Vec<SubjectDigest> {
        let contract = &self.snapshot.contract;
        let entity = &contract.entity(node.entity).name;
        let asked = looked_for(contract, selection, &planned.variables).into_iter();
        asked.map(|(argument, value)| self.kept.subjects.subject(&format!("{entity}?{argument}"), &value)).collect()
    }

    /// Nothing of the node was given of any of these.
    fn refused_of(&self, record: &mut AuditRecord, node: &Node, asked: Vec<SubjectDigest>) {
        let entity = self.snapshot.contract.entity(node.entity).name.to_string();
        let refused = self.names(node.refused.iter().chain(node.shown.iter()));
        for subject in asked {
            record.add(subject, Access { entity: entity.clone(), refused: refused.clone(), ..Access::default() });
        }
    }

    /// What was read of a single entity, one by one.
    fn read_of(&self, told: OneByOne, access: Access) -> Access {
        Access {
            read: self.names(told.read.into_iter()),
            masked: self.names(told.masked.into_iter()),
            refused: self.names(told.refused.into_iter()),
            unanswered: self.names(told.unanswered.into_iter()),
            ..access
        }
    }

    /// For whom the caller acted, as subjects.
    fn behalf(&self, row: &Row) -> BTreeSet<SubjectDigest> {
        let entity = |id| &*self.snapshot.contract.entity(id).name;
        row.on_behalf_of.iter().map(|(id, key)| self.kept.subjects.subject(entity(*id), key)).collect()
    }

    /// What was read in lists that tell of single entities, as read of each whom they were asked for: by the slot that
    /// holds their keys.
    fn of_each(&self, access: &Access, read: &[SlotId], masked: &[SlotId]) -> Vec<(SlotId, Access)> {
        let (contract, subjects) = (&self.snapshot.contract, &self.snapshot.subjects);
        let of = |slots: &[SlotId], key: SlotId| -> Vec<SlotId> {
            slots.iter().copied().filter(|slot| subjects.of_each(*slot) == Some(key)).collect()
        };
        let keys: BTreeSet<SlotId> = read.iter().chain(masked).filter_map(|slot| subjects.of_each(*slot)).collect();
        keys.into_iter()
            .filter_map(|key| {
                let entity = contract.entity(contract.slot(key).subjects?).name.to_string();
                let (read, masked) = (self.names(of(read, key).into_iter()), self.names(of(masked, key).into_iter()));
                Some((key, Access { entity, relations: access.relations.clone(), read, masked, ..Access::default() }))
            })
            .collect()
    }

    /// What was seen of a row, and of each whom its lists tell of.
    fn access(&self, view: &RowView<'_>, fate: &RowFate) -> (Access, Vec<(SlotId, Access)>) {
        let (node, row) = (view.node, view.row);
        // A node of the gate alone shows nothing of its own.
        let shown = if is_subject(view) { SlotSet::new() } else { node.shown.clone() };
        let given = shown.intersection(&row.rights.slots);
        let given = given.iter().filter_map(|slot| Some((slot, fate.is_there && is_answered(view, fate, slot)?)));
        let (mut answered, mut unanswered) = (Vec::new(), Vec::new());
        given.for_each(|(slot, is_answered)| if is_answered { answered.push(slot) } else { unanswered.push(slot) });
        let (masked, read): (Vec<SlotId>, Vec<SlotId>) = answered
            .into_iter()
            .partition(|slot| row.rights.masks.contains_key(slot) || fate.remarked.masked.contains(*slot));
        let refused = node.refused.iter().chain(shown.iter().filter(|slot| !row.rights.slots.contains(*slot)));
        // Of an entity that is not there, nothing was to be answered.
        let unanswered = unanswered.into_iter().filter(|_| fate.is_there);
        let access = Access {
            entity: self.snapshot.contract.entity(node.entity).name.to_string(),
            subjects: BTreeSet::new(),
            on_behalf_of: BTreeSet::new(),
            relations: row
                .rights
                .relations
                .iter()
                .chain(&row.rights.through)
                .filter_map(|relation| self.snapshot.access.relation(*relation))
                .map(|relation| relation.name.to_string())
                .collect(),
            read: self.names(read.iter().copied()),
            masked: self.names(masked.iter().copied()),
            refused: self.names(refused),
            unanswered: self.names(unanswered),
            used: self.names(fate.used.iter()),
        };
        let of_each = self.of_each(&access, &read, &masked);
        (access, of_each)
    }

    /// Digests of the variables.
    fn arguments(&self, variables: &Map<String, Value>) -> BTreeMap<String, String> {
        let first = variables.iter().take(ARGUMENTS_MAX);
        first
            .map(|(name, value)| (self.kept.subjects.name(name), self.kept.subjects.argument(name, &value.to_string())))
            .collect()
    }

    /// Item numbers where a slot is of an item, paths elsewhere; sections, which hold nothing of their own, left out.
    pub(super) fn names(&self, slots: impl Iterator<Item = SlotId>) -> BTreeSet<String> {
        let contract = &self.snapshot.contract;
        let (mut items, mut names) = (Vec::new(), Vec::with_capacity(slots.size_hint().1.unwrap_or_default()));
        for slot in slots.map(|slot| contract.slot(slot)).filter(|slot| slot.class.is_some()) {
            match slot.item {
                Some(item) => items.push(item),
                None => names.push(str::to_owned(&slot.path)),
            }
        }
        // Many slots are of one item.
        items.sort_unstable();
        items.dedup();
        names.extend(items.into_iter().map(|item| contract.item(item).no.to_string()));
        names.into_iter().collect()
    }
}

/// What was seen of a row: the group of those of whom the same was, and what was of each whom its lists tell of.
struct Seen {
    group: usize,
    of_each: Vec<(SlotId, Access)>,
}

/// Accesses, each with its subjects.
#[derive(Default)]
struct Groups {
    all: Vec<(Access, Vec<SubjectDigest>)>,
    alike: HashMap<Likeness, usize>,
    /// The one of these that was asked for last: rows of one kind come after each other.
    last: Option<(Likeness, usize)>,
}

impl Groups {
    /// The group of an access.
    fn of(&mut self, access: Access) -> usize {
        if let Some(group) = self.all.iter().position(|(other, _)| *other == access) {
            return group;
        }
        self.all.push((access, Vec::new()));
        self.all.len() - 1
    }

    /// The group of a row like this one.
    fn like(&mut self, likeness: Likeness) -> Option<usize> {
        if let Some((_, group)) = self.last.filter(|(last, _)| *last == likeness) {
            return Some(group);
        }
        let group = self.alike.get(&likeness).copied()?;
        self.last = Some((likeness, group));
        Some(group)
    }

    fn access(&self, group: usize) -> Access {
        self.all.get(group).map(|(access, _)| access.clone()).unwrap_or_default()
    }

    fn join(&mut self, group: usize, subject: SubjectDigest) {
        if let Some((_, subjects)) = self.all.get_mut(group) {
            subjects.push(subject);
        }
    }
}

/// What decides how a row was treated where nothing is particular about it: rows that are alike in this need not be looked
/// at again.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Likeness {
    node: NodeId,
    rights: *const (),
    read_from_above: Option<*const ()>,
    /// By fetch, two bits.
    fetches: u64,
    is_embedded: bool,
}

impl Likeness {
    /// `None`: there is something particular.
    fn of(frame: &Frame, at: usize, row: &Row) -> Option<Self> {
        if !row.over_quota.is_empty() || !row.on_behalf_of.is_empty() || frame.answers.len() > 32 {
            return None;
        }
        let mut fetches = 0;
        for fetch in 0..frame.answers.len() {
            let answer = frame.answer(fetch, at);
            if let RowAnswer::Parts(parts) = answer
                && parts.iter().any(|part| !part.remarks.is_empty())
            {
                return None;
            }
            fetches = fetches << 2 | FetchFate::of(answer) as u64;
        }
        let (rights, above) = (Arc::as_ptr(&row.rights).cast(), row.read_from_above.as_ref());
        let read_from_above = above.map(|above| Arc::as_ptr(above).cast());
        Some(Self { node: frame.node, rights, read_from_above, fetches, is_embedded: row.embedded.is_some() })
    }
}

/// What was read of one entity that fields of another tell of.
#[derive(Default)]
struct OneByOne {
    read: Vec<SlotId>,
    masked: Vec<SlotId>,
    refused: Vec<SlotId>,
    unanswered: Vec<SlotId>,
}

/// Notes, for the entities whose keys a row holds, what was given of each and not of all.
fn one_by_one(view: &RowView<'_>, fate: &RowFate, told: &mut HashMap<(NodeId, Arc<str>), OneByOne>) {
    for need in &view.node.subjects {
        let Some(subjects) = view.row.subjects_by(need.key) else { continue };
        for (key, rights) in &subjects.rights {
            let told = told.entry((need.node, Arc::clone(key))).or_default();
            for slot in need.slots.iter().filter(|slot| !view.row.rights.slots.contains(*slot)) {
                if !subjects.of_some.contains(slot) || !rights.slots.contains(slot) {
                    told.refused.push(slot);
                    continue;
                }
                match is_answered(view, fate, slot) {
                    None => {}
                    Some(false) => told.unanswered.push(slot),
                    Some(true) if rights.masks.contains_key(&slot) || fate.remarked.masked.contains(slot) => {
                        told.masked.push(slot);
                    }
                    Some(true) => told.read.push(slot),
                }
            }
        }
    }
}

/// Whether a row is one of those that fields of another entity tell of.
fn is_subject(view: &RowView<'_>) -> bool {
    match view.node.origin {
        Origin::Slot { slot, .. } => view.snapshot.contract.slot(slot).subjects.is_some(),
        Origin::Query(_) => false,
    }
}
