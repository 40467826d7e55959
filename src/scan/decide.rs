//! Deciding on some candidates, stage after stage: what one department rules out is not asked of the next.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::coverage::{Reasons, StageRun};
use super::order::SortValue;
use super::plan::ScanPlan;
use crate::base::code::{ErrorCode, ItemState};
use crate::engine::execute::advance::Staged;
use crate::engine::execute::candidates::{Candidate, Stood};
use crate::engine::execute::{Execution, keep};
use crate::engine::frame::{Failure, Row, RowAnswer};
use crate::engine::plan::{Now, Stage as Gate};
use crate::engine::project::answer::is_there;
use crate::engine::project::facts::Facts;
use crate::engine::project::read::RowView;
use crate::model::rule::Truth;

/// What was decided of one candidate.
pub(super) enum Decided {
    /// The caller has nothing to do with it: it is none.
    None,
    Not,
    /// With what matches are sorted by.
    Matched(Vec<SortValue>),
    /// And whether it can be shown: not where even the caller's relation to it could not be found out.
    Undetermined(Reasons, bool),
}

/// Decides on some candidates. By stage: what it took. `left` sees those that were not ruled out, by their places, with all
/// that was asked of them.
pub(super) async fn stretch(
    scan: &ScanPlan,
    deciding: &Execution<'_>,
    batch: &[Candidate],
    mut left: impl FnMut(usize, &RowView<'_>) + Send,
) -> (Vec<Decided>, Vec<StageRun>) {
    let mut decided: Vec<Decided> = batch.iter().map(|_| Decided::None).collect();
    let Some(selection) = deciding.plan.operation.roots.first() else { return (decided, Vec::new()) };
    let stood = deciding.candidates(scan.node, batch, &scan.condition.slots, selection).await;
    let Stood { mut staged, mut places, undecided } = stood;
    for (at, failure) in undecided {
        set(&mut decided, at, Decided::Undetermined(BTreeMap::from([(failure, [].into())]), false));
    }
    // By row that is left: why parts of the condition are not known.
    let mut open: Vec<Reasons> = places.iter().map(|_| Reasons::new()).collect();
    let mut runs = Vec::with_capacity(scan.stages.len());
    for stage in &scan.stages {
        let (began, before, asked) = (Instant::now(), deciding.calls.left(), places.len());
        if places.is_empty() {
            break;
        }
        staged = deciding.advance(staged, Now::Stage(&stage.fetches)).await;
        let parts: Vec<_> = stage.conjuncts.iter().filter_map(|at| scan.condition.conjuncts.get(*at)).collect();
        let mut kept = Vec::with_capacity(places.len());
        let answers: Vec<Option<&[RowAnswer]>> =
            staged.frame.answers.iter().map(|rows| Some(rows.as_slice())).collect();
        for (at, row) in staged.frame.rows.iter().enumerate() {
            let node = deciding.plan.node(scan.node);
            let mut view = RowView::new(deciding.snapshot, deciding.plan, node, row, at, &answers, Gate::Answer);
            view.frame = Some(&staged.frame);
            // Keys that nobody holds are none, whatever is so of nobody.
            let is_nobody = scan.among.is_some() && !is_there(&staged.frame, &view);
            let mut ruled_out = is_nobody.then_some(Decided::None);
            for part in parts.iter().filter(|_| !is_nobody) {
                let facts = view.facts_of(&part.reads, deciding.asking);
                let asking = deciding.asking;
                match part.expression.evaluate(&facts.value, &asking.principal, asking.today) {
                    Truth::True => {}
                    Truth::False => {
                        ruled_out = Some(if part.bounds { Decided::None } else { Decided::Not });
                        break;
                    }
                    Truth::Unknown => {
                        if let Some(open) = open.get_mut(at) {
                            why(part.expression.inputs(), &facts, open);
                        }
                    }
                }
            }
            match ruled_out {
                Some(verdict) => set(&mut decided, places.get(at).copied().unwrap_or(usize::MAX), verdict),
                None => kept.push(at),
            }
        }
        if kept.len() < places.len() {
            staged.keep(&kept);
            keep(&mut places, &kept);
            keep(&mut open, &kept);
        }
        runs.push(StageRun {
            estimated_calls: stage.calls(deciding.snapshot, deciding.plan, asked),
            least: stage.least(deciding.snapshot, deciding.plan, asked),
            calls: before.saturating_sub(deciding.calls.left()),
            time: began.elapsed(),
            asked,
            left: kept.len(),
            ..StageRun::default()
        });
    }
    {
        let answers: Vec<Option<&[RowAnswer]>> =
            staged.frame.answers.iter().map(|rows| Some(rows.as_slice())).collect();
        let node = deciding.plan.node(scan.node);
        for ((at, row), place) in staged.frame.rows.iter().enumerate().zip(&places) {
            let mut view = RowView::new(deciding.snapshot, deciding.plan, node, row, at, &answers, Gate::Answer);
            view.frame = Some(&staged.frame);
            left(*place, &view);
        }
    }
    let sorted = if scan.order.is_empty() { Vec::new() } else { sort(scan, deciding, staged, &mut open).await };
    for (at, (place, open)) in places.into_iter().zip(open).enumerate() {
        let values = sorted.get(at).cloned().unwrap_or_default();
        let verdict = if open.is_empty() { Decided::Matched(values) } else { Decided::Undetermined(open, true) };
        set(&mut decided, place, verdict);
    }
    (decided, runs)
}

/// What the matches are sorted by, by row; of one whose values are not known it is open where it stands.
async fn sort(scan: &ScanPlan, deciding: &Execution<'_>, staged: Staged, open: &mut [Reasons]) -> Vec<Vec<SortValue>> {
    let staged = deciding.advance(staged, Now::Stage(&scan.ordering)).await;
    let answers: Vec<Option<&[RowAnswer]>> = staged.frame.answers.iter().map(|rows| Some(rows.as_slice())).collect();
    let node = deciding.plan.node(scan.node);
    let of_row = |(at, (row, open)): (usize, (&Row, &mut Reasons))| {
        let mut view = RowView::new(deciding.snapshot, deciding.plan, node, row, at, &answers, Gate::Answer);
        view.frame = Some(&staged.frame);
        let facts = view.facts_of(&scan.order.reads, deciding.asking);
        scan.order.values(&facts.value).unwrap_or_else(|| {
            why(&scan.order.paths(), &facts, open);
            Vec::new()
        })
    };
    staged.frame.rows.iter().zip(open).enumerate().map(of_row).collect()
}

fn set(decided: &mut [Decided], at: usize, verdict: Decided) {
    if let Some(place) = decided.get_mut(at) {
        *place = verdict;
    }
}

/// Why a part of the condition is not known: what failed of what it reads. A date that is known in part is no failure of
/// anybody's, and is told as such.
fn why(inputs: &[Vec<String>], facts: &Facts, into: &mut Reasons) {
    let mut found = false;
    for missing in facts.concerning(inputs) {
        found = true;
        into.entry(missing.failure).or_default().insert(missing.path.join("."));
    }
    if !found {
        let unknown = Failure { state: ItemState::Undetermined, code: ErrorCode::InputMissing, source: None };
        into.entry(unknown).or_default().extend(inputs.iter().map(|path| path.join(".")));
    }
}
