//! Running a statistic: stretch after stretch of candidates, as in a scan; of those that the condition does not rule out,
//! what is known is reckoned, and nobody is shown.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;

use super::bound::of_statistic;
use super::coverage::{Coverage, Ended, Reasons};
use super::decide::Decided;
use super::plan::ScanPlan;
use super::reckon::{Row, Stats, TooManyGroups, told};
use super::resume::Progress;
use super::run::Scanned;
use super::stats::{StatsPlan, too_many_groups};
use super::steps::{Bounds, Step, Steps, candidates_of};
use super::walk::{Concerned, stages};
use crate::engine::error::RequestError;
use crate::engine::execute::Execution;
use crate::engine::execute::candidates::Candidates;
use crate::engine::frame::{Frame, RootAnswer, RootRows};
use crate::engine::project::read::RowView;

/// Reckons until everything was looked at, or no more is to be had: then it tells what is known so far, and how to go on.
pub async fn count(scan: &ScanPlan, stats: &StatsPlan, deciding: Execution<'_>, bounds: Bounds<'_>) -> Scanned {
    let (root, coverage) = match reckoned(scan, stats, &deciding, bounds).await {
        Ok((root, coverage)) => (Ok(root), coverage),
        Err(error) => (Err(error), Coverage::default()),
    };
    Scanned { root, log: deciding.calls, coverage, concerned: Concerned::default() }
}

async fn reckoned(
    scan: &ScanPlan,
    stats: &StatsPlan,
    deciding: &Execution<'_>,
    bounds: Bounds<'_>,
) -> Result<(RootAnswer, Coverage), RequestError> {
    let snapshot = deciding.snapshot;
    let bound = of_statistic(&scan.bound, &scan.divisions, deciding.asking.principal().as_deref());
    let mut progress = match &stats.resume {
        Some(resume) => Progress::opened(snapshot, deciding.cursors, &bound, resume)?,
        None => Progress::default(),
    };
    progress.coverage.stages = stages(scan);
    let ended = stretches(scan, stats, deciding, bounds, &mut progress).await?;
    progress.coverage.ended = progress.coverage.ended.or(Some(ended));
    let Progress { coverage, reckoning, .. } = &progress;
    let is_listed = coverage.ended == Some(Ended::Listed);
    let resume = match is_listed {
        true => None,
        false => {
            let given = scan.approval.as_ref().and_then(|approval| approval.given.as_ref());
            let approval = given.map(|given| &*given.id);
            Some(progress.sealed(snapshot, deciding.cursors, &bound, approval)?)
        }
    };
    let groups = reckoning.groups(!stats.asked.groups.is_empty(), is_listed);
    let Stats { groups, suppressed, kept } =
        told(snapshot, &stats.asked, groups, stats.has_condition.then_some(coverage.not));
    let value = json!({
        "groups": groups,
        "coverage": coverage.told_but(snapshot, kept.anything()),
        "suppressed": suppressed,
        "overlapping": stats.asked.overlaps(),
        "resume": resume,
    });
    let frame = Frame { node: 0, rows: Vec::new(), answers: Vec::new(), children: Vec::new(), subjects: Vec::new() };
    let root =
        RootAnswer { frame: Arc::new(frame), rows: RootRows::Made(Box::new(value)), failure: None, refused: None };
    Ok((root, progress.coverage))
}

/// Counts stretch after stretch; why it ended.
async fn stretches(
    scan: &ScanPlan,
    stats: &StatsPlan,
    deciding: &Execution<'_>,
    bounds: Bounds<'_>,
    progress: &mut Progress,
) -> Result<Ended, RequestError> {
    let Coverage { candidates, total, .. } = progress.coverage;
    let from = candidates_of(scan, deciding)?;
    let candidates = Candidates::going_on(from, progress.place.as_deref(), candidates, total);
    let mut steps = Steps::new(scan, deciding, bounds, candidates.ok_or_else(super::plan::gone)?);
    let groups_max = deciding.snapshot.config.scans.groups_max;
    loop {
        let most = scan.candidates_max.saturating_sub(progress.coverage.candidates);
        // Of those that are not ruled out, by their places: what is reckoned of them.
        let mut known: BTreeMap<usize, (Row, Reasons)> = BTreeMap::new();
        let left = |at, view: &RowView<'_>| {
            let facts = view.facts_of(&stats.asked.reads, deciding.asking);
            let (row, reasons) = stats.asked.row(true, Some(&facts));
            let lacks = !reasons.is_empty();
            known.insert(at, (row, reasons));
            lacks
        };
        let (batch, runs) = match steps.next(most, usize::MAX, left).await? {
            Step::Looked { batch, runs } => (batch, runs),
            Step::Ended(ended) => return Ok(ended),
            Step::BrokeOff(failure) => {
                progress.coverage.broke_off(failure);
                return Ok(Ended::Stopped);
            }
        };
        progress.place = batch.last().map(|(last, _)| steps.candidates.place(last)).or(progress.place.take());
        for (at, (_, decided)) in batch.into_iter().enumerate() {
            if matches!(decided, Decided::None) {
                steps.candidates.total.disbelieve();
            }
            let reckoned = known.remove(&at).unwrap_or_else(|| stats.asked.row(true, None));
            enter(decided, reckoned, progress, groups_max).map_err(|_| too_many_groups(groups_max))?;
        }
        progress.coverage.ran(&runs);
        progress.coverage.total = steps.candidates.total;
    }
}

/// Counts what was decided of one candidate, with what is known of it.
fn enter(
    decided: Decided,
    (row, reasons): (Row, Reasons),
    progress: &mut Progress,
    groups_max: usize,
) -> Result<(), TooManyGroups> {
    let coverage = &mut progress.coverage;
    coverage.candidates += usize::from(!matches!(decided, Decided::None));
    match decided {
        Decided::None => Ok(()),
        Decided::Not => {
            coverage.not += 1;
            Ok(())
        }
        Decided::Matched(_) => {
            coverage.matched += 1;
            coverage.reckoned(&reasons);
            progress.reckoning.add(&row, groups_max)
        }
        Decided::Undetermined(reasons, _) => {
            coverage.undetermined(&reasons);
            progress.reckoning.add(&Row { matched: false, ..row }, groups_max)
        }
    }
}
