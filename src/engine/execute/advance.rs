//! Related entities → what their sources answer of them: of a whole plan at once, or stage by stage, where a condition
//! is decided between stages and what it rules out is not asked any further.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use futures::FutureExt;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::sync::Semaphore;

use super::Execution;
use super::fetch::{Need, needed};
use super::node::{Related, Via, is_asked};
use crate::engine::frame::{ChildFrame, Frame, Row, RowAnswer};
use crate::engine::plan::{FetchId, Node, NodeId, Now, Stage};
use crate::model::access::RowRights;
use crate::model::access::hand::Unread;
use crate::model::contract::SlotId;

/// Entities of a node, answered as far as stages went: what no stage asked for yet is [`RowAnswer::NotAsked`], and a node
/// below that none reached is not there.
pub(crate) struct Staged {
    pub frame: Frame,
    /// The node that the relations came from, where it is another one and no stage has reached it.
    via: Option<(usize, Via)>,
}

impl From<Related> for Staged {
    /// As far as the gate went.
    fn from(mut related: Related) -> Self {
        let via = related.via.take();
        Self { frame: Frame::from(related), via }
    }
}

impl From<Related> for Frame {
    /// As far as the gate went.
    fn from(related: Related) -> Self {
        let answers = related.answers.into_iter().map(Option::unwrap_or_default).collect();
        let subjects = related.subjects.into_iter().map(Self::from).collect();
        Self { node: related.node, rows: related.rows, answers, children: Vec::new(), subjects }
    }
}

impl Staged {
    /// Leaves only the entities at these places, in order; nothing is asked of the others any more.
    pub fn keep(&mut self, places: &[usize]) {
        keep_rows(&mut self.frame, places);
        if let Some((_, via)) = &mut self.via {
            let below: Vec<usize> = kept_below(&mut via.ranges, places);
            via.related.keep(&below);
        }
    }
}

fn keep_rows(frame: &mut Frame, places: &[usize]) {
    keep(&mut frame.rows, places);
    frame.answers.iter_mut().filter(|answers| !answers.is_empty()).for_each(|answers| keep(answers, places));
    for child in frame.children.iter_mut().flatten() {
        let below = kept_below(&mut child.ranges, places);
        keep_rows(&mut child.frame, &below);
    }
}

/// Leaves only the ranges at these places, moved together; says which entities were in them.
fn kept_below(ranges: &mut Vec<Range<usize>>, places: &[usize]) -> Vec<usize> {
    keep(ranges, places);
    let below = ranges.iter().flat_map(Clone::clone).collect();
    let mut start = 0;
    for range in ranges {
        *range = start..start + range.len();
        start = range.end;
    }
    below
}

/// Leaves only what stands at these places, which are sorted.
pub(crate) fn keep<T>(items: &mut Vec<T>, places: &[usize]) {
    let mut at = 0;
    items.retain(|_| {
        at += 1;
        places.binary_search(&(at - 1)).is_ok()
    });
}

/// Nothing of an entity may be had.
fn forbid(row: &mut Row) {
    (row.rights, row.subjects) = (Arc::default(), Arc::default());
}

/// Answers from before that do for all rows that need them; else those to which others are added.
fn split((answers, needed): (Vec<RowAnswer>, &Vec<Need>)) -> (Option<Vec<RowAnswer>>, Option<Vec<RowAnswer>>) {
    if answers.is_empty() {
        return (None, None);
    }
    let mut of_needed = answers.iter().zip(needed).filter(|(_, need)| need.is_any());
    let whole = of_needed.all(|(answer, _)| is_asked(Some(answer)));
    if whole { (Some(answers), None) } else { (None, Some(answers)) }
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
    /// Fetches what the caller may have, and what rules read for it; nodes below run as soon as they can.
    pub(super) fn complete(&self, related: Related) -> impl Future<Output = Frame> + Send {
        self.advance(Staged::from(related), Now::All).map(|staged| staged.frame)
    }

    /// As [`Self::complete`], of what belongs to a stage and was not asked for by one before, with what that comes after.
    pub(crate) fn advance<'a>(&'a self, staged: Staged, now: Now<'a>) -> BoxFuture<'a, Staged> {
        Box::pin(async move {
            let Staged { frame, mut via } = staged;
            let Frame { node: id, mut rows, answers, children: below, subjects } = frame;
            let node = self.plan.node(id);
            let charges = self.charge((id, node), &mut rows, now);
            let needed = needed(self.snapshot, (id, node), &rows, now);
            let latches: Vec<Latch> = node.fetches.iter().map(|_| Latch::new()).collect();
            // What was asked before, at the gate say, for some of the rows that need it is asked for the others.
            let (whole, partly): (Vec<_>, Vec<_>) = answers.into_iter().zip(&needed).map(split).unzip();
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
            let mut below = below.into_iter();
            let children = node.children.iter().enumerate().map(|(at, child)| {
                let begun = below.next().flatten();
                let given = via.take_if(|(via, _)| *via == at && now.reaches(child.node)).map(|(_, via)| via);
                let (latches, rows, known) = (&latches, &rows, &known);
                async move {
                    if let Some(ChildFrame { frame, ranges }) = begun {
                        let frame = self.advance(Staged { frame, via: None }, now).await.frame;
                        return Some(ChildFrame { frame, ranges });
                    }
                    if !now.reaches(child.node) {
                        return None;
                    }
                    if let Some(fetch) = self.names(node, child.slot)
                        && let Some(latch) = latches.get(fetch)
                    {
                        latch.opened().await;
                    }
                    self.child(node, child.slot, child.node, (rows, &known()), given, now).await
                }
            });
            let children: Vec<_> = children.collect();
            // Of many that wait, only those that may go on are looked at.
            let fetched = async move {
                let mut fetches: FuturesUnordered<_> = fetches.collect();
                while fetches.next().await.is_some() {}
            };
            let ((), children) = futures::future::join(fetched, futures::future::join_all(children)).await;
            let answers = answers.into_iter().map(|answer| answer.into_inner().unwrap_or_default()).collect();
            Staged { frame: Frame { node: id, rows, answers, children, subjects }, via }
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
        (rows, known): (&[Row], &[Option<&[RowAnswer]>]),
        via: Option<Via>,
        now: Now<'_>,
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
            let below = self.advance(Staged::from(*via.related), now).await;
            return Some(ChildFrame { frame: below.frame, ranges: via.ranges });
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
        Some(ChildFrame { frame: self.advance(Staged::from(related), now).await.frame, ranges })
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
