//! Running a statistic: stretch after stretch of candidates, as in a scan; of those that the condition does not rule out,
//! what is known is reckoned, and nobody is shown.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::coverage::{Coverage, Ended, Reasons};
use super::permit::Approval;
use super::plan::ScanPlan;
use super::reckon::{Row, Stats, told};
use super::resume::Progress;
use super::run::{Scanned, cannot_show};
use super::stats::{StatsPlan, too_many_groups};
use super::walk::{self, Bounds, Concerned, Decided};
use crate::base::code::ErrorCode;
use crate::engine::error::RequestError;
use crate::engine::execute::Execution;
use crate::engine::execute::candidates::Candidates;
use crate::engine::frame::{Failure, Frame, RootAnswer, RootRows};
use crate::engine::project::facts::Facts;

/// What is left of a request's time when no stretch is begun any more.
const REST: Duration = Duration::from_millis(500);

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
    let bound = bound(scan, deciding);
    let mut progress = match &stats.resume {
        Some(resume) => Progress::opened(snapshot, deciding.cursors, &bound, resume)?,
        None => Progress::default(),
    };
    progress.coverage.stages = walk::stages(scan);
    let ended = stretches(scan, stats, deciding, &bounds, &mut progress).await?;
    progress.coverage.ended = progress.coverage.ended.or(Some(ended));
    let Progress { coverage, reckoning, .. } = &progress;
    let is_listed = coverage.ended == Some(Ended::Listed);
    let resume = match is_listed {
        true => None,
        false => Some(progress.sealed(snapshot, deciding.cursors, &bound)?),
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

/// What a statistic that goes on is bound to: what is asked, of which divisions, and by whom.
fn bound(scan: &ScanPlan, deciding: &Execution<'_>) -> String {
    let divisions: Vec<&str> = scan.divisions.iter().map(|division| division.prefix.as_str()).collect();
    let principal = deciding.asking.principal();
    let bound: Value = json!(["statistics", scan.bound, divisions, principal.as_deref()]);
    bound.to_string()
}

/// Counts stretch after stretch; why it ended.
async fn stretches(
    scan: &ScanPlan,
    stats: &StatsPlan,
    deciding: &Execution<'_>,
    bounds: &Bounds<'_>,
    progress: &mut Progress,
) -> Result<Ended, RequestError> {
    let snapshot = deciding.snapshot;
    let from = walk::candidates_of(scan, deciding)?;
    let mut candidates = Candidates::going_on(from, progress.place.as_deref()).ok_or_else(super::plan::gone)?;
    let size = scan.stretch(snapshot, usize::MAX);
    let (mut longest, mut rows) = (Duration::ZERO, walk::ROWS_FIRST);
    let mut has_begun = false;
    loop {
        let most = scan.candidates_max.saturating_sub(progress.coverage.candidates);
        if most == 0 {
            if !has_begun {
                return Err(gone_as_far(scan));
            }
            return Ok(Ended::Stopped);
        }
        let size = size.min(rows).min(most);
        let estimate = scan.calls(snapshot, size);
        let began = Instant::now();
        let ended = if began + REST.max(longest) >= deciding.deadline {
            Some(Ended::Time)
        } else if deciding.calls.left() < estimate {
            Some(Ended::Calls)
        } else {
            None
        };
        let paid = match ended {
            Some(ended) if has_begun => return Ok(ended),
            Some(_) => return Err(too_little(estimate)),
            None => match (bounds.pays)(estimate) {
                Err(_) if has_begun => return Ok(Ended::Calls),
                paid => paid?,
            },
        };
        deciding.calls.begin_stretch();
        let before = deciding.calls.left();
        let mut known: Vec<Option<Facts>> = Vec::new();
        let looked_at = async {
            let batch = candidates.next(deciding, size).await?;
            known.resize_with(batch.len(), || None);
            let decided = walk::stretch(scan, deciding, &batch, |at, view| {
                if let Some(place) = known.get_mut(at) {
                    *place = Some(view.facts_of(&stats.asked.reads, deciding.asking));
                }
            });
            let (decided, runs) = decided.await;
            Ok((batch, decided, runs))
        };
        // Nobody waits: what is under way is let go, and with it its calls.
        let looked_at: Result<_, Failure> = tokio::select! {
            looked_at = looked_at => looked_at,
            () = bounds.left() => {
                paid.settle(u64::try_from(before.saturating_sub(deciding.calls.left())).unwrap_or(u64::MAX));
                return Ok(Ended::Cancelled);
            }
        };
        paid.settle(u64::try_from(before.saturating_sub(deciding.calls.left())).unwrap_or(u64::MAX));
        let over = |ended| if has_begun { Ok(ended) } else { Err(too_little(estimate)) };
        let is_late = || Instant::now() >= deciding.deadline;
        let (batch, decided, runs) = match looked_at {
            Ok(looked_at) => looked_at,
            Err(_) if is_late() => return over(Ended::Time),
            Err(_) if deciding.calls.has_missed() => return over(Ended::Calls),
            // Of whom there is nothing to go over, nothing is answered: a group of nobody would say that there is nobody.
            Err(failure) if !has_begun => return Err(cannot_show(deciding, failure)),
            Err(failure) => {
                progress.coverage.broke_off(failure);
                return Ok(Ended::Stopped);
            }
        };
        let Some(last) = batch.last() else { return Ok(Ended::Listed) };
        let place = candidates.place(last);
        let counted = counted(stats, decided, &known);
        if counted.iter().any(Counted::is_open) && (is_late() || deciding.calls.has_missed()) {
            // What the gateway could not ask is nothing that a department left open.
            return over(if is_late() { Ended::Time } else { Ended::Calls });
        }
        let groups_max = snapshot.config.scans.groups_max;
        for counted in counted {
            counted.enter(progress, groups_max).map_err(|_| too_many_groups(groups_max))?;
        }
        for (stage, run) in progress.coverage.stages.iter_mut().zip(runs) {
            stage.add(&run);
        }
        progress.place = Some(place);
        longest = longest.max(began.elapsed());
        rows = walk::rows_next(rows, began.elapsed(), deciding.deadline.saturating_duration_since(Instant::now()));
        has_begun = true;
        if !candidates.has_more() {
            return Ok(Ended::Listed);
        }
    }
}

/// As far as the caller's roles let one statistic go, in all of its requests together.
fn gone_as_far(scan: &ScanPlan) -> RequestError {
    let awaited = scan.approval.as_ref().filter(|approval| !approval.is_given);
    let more = awaited.map_or_else(|| "count in smaller divisions".to_owned(), Approval::awaited);
    let message = format!("your role looks at {} entities in one statistic; {more}", scan.candidates_max);
    RequestError::new(ErrorCode::Forbidden, message)
}

fn too_little(estimate: usize) -> RequestError {
    let message = format!(
        "not even a first stretch of this statistic could be looked at: it takes about {estimate} calls to departments; \
         compare, group by and measure fewer fields at once, or ask again later"
    );
    RequestError::new(ErrorCode::LimitExceeded, message)
}

/// What came of one candidate.
enum Counted {
    /// It is none.
    None,
    Not,
    Matched(Row, Reasons),
    Undetermined(Row, Reasons),
}

impl Counted {
    /// Something of it is not known.
    fn is_open(&self) -> bool {
        match self {
            Self::None | Self::Not => false,
            Self::Matched(_, reasons) | Self::Undetermined(_, reasons) => !reasons.is_empty(),
        }
    }

    fn enter(self, progress: &mut Progress, groups_max: usize) -> Result<(), super::reckon::TooManyGroups> {
        let coverage = &mut progress.coverage;
        coverage.candidates += usize::from(!matches!(self, Self::None));
        match self {
            Self::None => Ok(()),
            Self::Not => {
                coverage.not += 1;
                Ok(())
            }
            Self::Matched(row, reasons) => {
                coverage.matched += 1;
                coverage.reckoned(&reasons);
                progress.reckoning.add(&row, groups_max)
            }
            Self::Undetermined(row, reasons) => {
                coverage.undetermined(&reasons);
                progress.reckoning.add(&row, groups_max)
            }
        }
    }
}

fn counted(stats: &StatsPlan, decided: Vec<Decided>, known: &[Option<Facts>]) -> Vec<Counted> {
    let one = |(at, decided): (usize, Decided)| {
        let facts = known.get(at).and_then(Option::as_ref);
        match decided {
            Decided::None => Counted::None,
            Decided::Not => Counted::Not,
            Decided::Matched(_) => {
                let (row, reasons) = stats.asked.row(true, facts);
                Counted::Matched(row, reasons)
            }
            Decided::Undetermined(reasons, _) => Counted::Undetermined(stats.asked.row(false, facts).0, reasons),
        }
    };
    decided.into_iter().enumerate().map(one).collect()
}
