//! Making the entities of a node from what names them.

use std::ops::Range;
use std::sync::Arc;

use super::Execution;
use crate::base::json::Held;
use crate::engine::frame::{Row, RowAnswer};
use crate::engine::operation::{Selection, What};
use crate::engine::plan::{Node, Stage};
use crate::engine::project::read::{Named, RowView};
use crate::model::access::RowRights;
use crate::model::contract::SlotId;

/// Entities before their relations are known.
#[derive(Default)]
pub(super) struct Seeds {
    pub rows: Vec<Row>,
    /// Rights of the entity above each, for nodes that take them.
    pub inherited: Option<Vec<Arc<RowRights>>>,
}

thread_local! {
    /// Those over an entity before its relations are known. Each thread has its own: every row counts the references.
    static NONE: Arc<RowRights> = Arc::default();
}

/// An entity of which nothing is known but what names it.
pub(super) fn seed(key: Option<Arc<str>>, embedded: Option<Held>) -> Row {
    Row {
        key,
        embedded,
        rights: NONE.with(Arc::clone),
        subjects: Arc::default(),
        on_behalf_of: Arc::default(),
        undecided: None,
        over_quota: Vec::new(),
        read_from_above: None,
    }
}

/// The key of no entity.
pub(super) const NOBODY: &str = "0";

/// An entity that is not there. It goes through the gate in place of one that was not found, so that finding nothing
/// makes the calls of finding something the caller has nothing to do with; nothing of it is ever shown.
pub(super) fn nobody() -> Row {
    seed(Some(NOBODY.into()), None)
}

/// Whether a rule's reads go through a slot.
pub(super) fn reads_through(reads: &[Selection], slot: SlotId) -> bool {
    reads.iter().any(|read| read.what == What::Slot(slot) || reads_through(&read.children, slot))
}

impl Execution<'_> {
    /// The entities under a slot of every row for which `wanted` holds, and which of them are whose.
    pub(super) fn seeds_below(
        &self,
        node: &Node,
        slot: SlotId,
        rows: &[Row],
        known: &[Option<&[RowAnswer]>],
        stage: Stage,
        wanted: impl Fn(&Row) -> bool,
    ) -> (Seeds, Vec<Range<usize>>) {
        let mut seeds = Seeds::default();
        let mut ranges = Vec::with_capacity(rows.len());
        for (at, row) in rows.iter().enumerate() {
            let start = seeds.rows.len();
            if wanted(row) {
                let view = RowView::new(self.snapshot, self.plan, node, row, at, known, stage);
                // Why there are none is told where the slot is written.
                let named = view.entities(slot).unwrap_or_default();
                if self.calls.take_entities(named.len()) {
                    seeds.rows.extend(named.into_iter().map(|Named { key, record }| seed(key, record)));
                }
            }
            ranges.push(start..seeds.rows.len());
        }
        (seeds, ranges)
    }
}
