//! What the audit record says of an answer: who saw which items of whom, and what was used unseen. No values.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use sha2::{Digest as _, Sha256};

use super::{Asked, Executed, Inner, Planned};
use crate::audit::{Access, AuditRecord, Outcome};
use crate::engine::error::RequestError;
use crate::engine::frame::{Frame, Row, RowAnswer};
use crate::engine::plan::{Node, NodeId};
use crate::engine::project::answer::each_row;
use crate::model::access::SlotSet;
use crate::model::contract::SlotId;

/// Longest name of an operation that is recorded.
const NAME_CHARS_MAX: usize = 128;

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
        record.operation = planned.and_then(|planned| planned.plan.operation.name.as_deref().map(short));
        record.document = asked
            .request
            .query
            .as_deref()
            .map(|text| Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect());
        match executed {
            Ok(executed) => {
                if let Some(planned) = planned {
                    self.accesses(&mut record, planned, executed);
                }
                for (source, failed) in executed.log.entries() {
                    record.called(&self.snapshot.bindings.source(source).id, failed);
                }
                record.errors = executed.response.codes.iter().copied().collect();
                record.outcome = match &executed.response.too_much {
                    Some(_) => Outcome::Rejected,
                    None if record.errors.is_empty() => Outcome::Answered,
                    None => Outcome::Partial,
                };
            }
            Err(error) => {
                record.errors = BTreeSet::from([error.code]);
                record.outcome = Outcome::Rejected;
            }
        }
        record.duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        record
    }

    fn accesses(&self, record: &mut AuditRecord, planned: &Planned, executed: &Executed) {
        // Rows with the same rights at one node were treated alike.
        let mut known: HashMap<(NodeId, *const (), Vec<bool>), Access> = HashMap::new();
        let mut frames: Vec<&Arc<Frame>> = executed.roots.iter().flatten().map(|root| &root.frame).collect();
        // Selections of one node share its frame.
        frames.dedup_by(|a, b| Arc::ptr_eq(a, b));
        for frame in frames {
            each_row(frame, &mut |frame, at, row| {
                let Some(key) = &row.key else { return };
                let asked: Vec<bool> = (0..frame.answers.len())
                    .map(|fetch| !matches!(frame.answer(fetch, at), RowAnswer::NotAsked))
                    .collect();
                let access = known
                    .entry((frame.node, Arc::as_ptr(&row.rights).cast(), asked.clone()))
                    .or_insert_with(|| self.access(planned, frame, row, &asked))
                    .clone();
                let subject = self.subjects.subject(&access.entity, key);
                record.add(subject, access);
            });
        }
    }

    fn access(&self, planned: &Planned, frame: &Frame, row: &Row, asked: &[bool]) -> Access {
        let node = planned.plan.node(frame.node);
        let given = node.shown.intersection(&row.rights.slots);
        let masked: SlotSet = given.iter().filter(|slot| row.rights.masks.contains_key(slot)).collect();
        let read = given.iter().filter(|slot| !masked.contains(*slot));
        let refused = node.refused.iter().chain(node.shown.iter().filter(|slot| !row.rights.slots.contains(*slot)));
        Access {
            entity: self.snapshot.contract.entity(node.entity).name.to_string(),
            subjects: BTreeSet::new(),
            relations: row
                .rights
                .relations
                .iter()
                .filter_map(|relation| self.snapshot.access.relation(*relation))
                .map(|relation| relation.name.to_string())
                .collect(),
            read: self.names(read),
            masked: self.names(masked.iter()),
            refused: self.names(refused),
            used: self.names(used(node, asked).iter()),
        }
    }

    /// Item numbers where a slot is of an item, paths elsewhere; sections, which hold nothing of their own, left out.
    fn names(&self, slots: impl Iterator<Item = SlotId>) -> BTreeSet<String> {
        let contract = &self.snapshot.contract;
        slots
            .map(|slot| contract.slot(slot))
            .filter(|slot| slot.class.is_some())
            .map(|slot| slot.item.map_or_else(|| slot.path.to_string(), |item| contract.item(item).no.to_string()))
            .collect()
    }
}

/// A name that callers choose, no longer than it takes to recognise it.
fn short(name: &str) -> String {
    name.chars().take(NAME_CHARS_MAX).collect()
}

/// Hidden inputs of the fetches that were asked.
fn used(node: &Node, asked: &[bool]) -> SlotSet {
    let mut used = SlotSet::new();
    for (fetch, _) in node.fetches.iter().zip(asked).filter(|(_, asked)| **asked) {
        used.union(&fetch.hidden.all());
    }
    used
}
