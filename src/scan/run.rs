//! A page of a scan: what matches, or what could not be decided, until it is full.

use std::sync::Arc;

use serde_json::Value;

use super::coverage::{Coverage, Ended, Reasons, reasons};
use super::decide::Decided;
use super::order::Top;
use super::plan::{ScanPlan, Verdict};
use super::steps::{Bounds, gone_as_far};
use super::walk::{Concerned, Walk};
use crate::base::code::ErrorCode;
use crate::engine::error::RequestError;
use crate::engine::execute::candidates::Candidate;
use crate::engine::execute::{CallLog, Execution, keep};
use crate::engine::frame::{Failure, Frame, RootAnswer, RootRows, Told};
use crate::engine::project::answer::message;
use crate::model::snapshot::Snapshot;

/// What a scan came to.
pub struct Scanned {
    /// An error: nothing is answered, though departments may have been asked.
    pub root: Result<RootAnswer, RequestError>,
    pub log: CallLog,
    pub coverage: Coverage,
    /// Of whom the condition was told to hold, or asked by their keys.
    pub concerned: Concerned,
}

/// An entity of the page.
struct Found {
    candidate: Candidate,
    cursor: String,
    reasons: Reasons,
}

impl Found {
    /// Why it is undetermined; null where it matches.
    fn told(&self, snapshot: &Snapshot) -> Value {
        if self.reasons.is_empty() { Value::Null } else { reasons(snapshot, &self.reasons) }
    }
}

struct Page {
    found: Vec<Found>,
    /// As many are shown at most.
    first: usize,
    /// Behind the last that was looked at.
    end: Option<String>,
    has_next: bool,
}

/// Scans until the page is full, everything was looked at, or no more is to be had. `deciding` runs the plan of that name;
/// `answering` makes the execution of the other one, with the calls that are left.
pub async fn run<'a>(
    scan: &'a ScanPlan,
    deciding: Execution<'a>,
    answering: impl FnOnce(CallLog) -> Execution<'a>,
    bounds: Bounds<'_>,
) -> Scanned {
    let gone = Bounds { pays: bounds.pays, gone: bounds.gone.clone() };
    // What answering takes is set apart before anybody is asked.
    let asked = match (bounds.pays)(scan.answer_calls) {
        Ok(paid) => match page(scan, &deciding, bounds).await {
            Ok(page) => Ok((page, paid)),
            // Nothing is answered: what was set apart for that is given back, or whoever asks again pays for it again.
            Err(error) => {
                paid.settle(0);
                Err(error)
            }
        },
        Err(busy) => Err(busy),
    };
    let ((mut page, mut coverage, concerned), paid) = match asked {
        Ok(asked) => asked,
        Err(error) => {
            let (coverage, concerned) = (Coverage::default(), Concerned::of_keys(scan));
            return Scanned { root: Err(error), log: deciding.calls, coverage, concerned };
        }
    };
    if coverage.ended == Some(Ended::Cancelled) {
        page.found.clear();
    }
    let execution = answering(deciding.calls);
    let before = execution.calls.left();
    let shown = tokio::select! {
        biased;
        root = answer(scan, &execution, page, &mut coverage) => Some(root),
        () = gone.left() => None,
    };
    // Nobody waits: what is under way is let go, and nothing is shown.
    let root = shown.unwrap_or_else(|| {
        coverage.ended = Some(Ended::Cancelled);
        Err(RequestError::new(ErrorCode::DeadlineExceeded, "nobody waits for the answer any more".to_owned()))
    });
    paid.settle(u64::try_from(before.saturating_sub(execution.calls.left())).unwrap_or(u64::MAX));
    Scanned { root, log: execution.calls, coverage, concerned }
}

/// What was found, as far as it is selected.
async fn answer(
    scan: &ScanPlan,
    execution: &Execution<'_>,
    page: Page,
    coverage: &mut Coverage,
) -> Result<RootAnswer, RequestError> {
    let Page { mut found, end, has_next, .. } = page;
    let node = execution.plan.roots.iter().flatten().next().copied().unwrap_or_default();
    let candidates: Vec<Candidate> = found.iter().map(|found| found.candidate.clone()).collect();
    execution.calls.begin_stretch();
    let (frame, places) = if candidates.is_empty() {
        (Frame { node, rows: Vec::new(), answers: Vec::new(), children: Vec::new(), subjects: Vec::new() }, Vec::new())
    } else {
        let answered = execution.answered(node, &candidates).await;
        answered.map_err(|failure| cannot_show(execution, failure))?
    };
    // One that is nothing to the caller any more is no candidate either.
    let gone = found.len().saturating_sub(places.len());
    let shown = match scan.verdict {
        Verdict::Matched => &mut coverage.matched,
        Verdict::Undetermined => &mut coverage.undetermined,
    };
    *shown = shown.saturating_sub(gone);
    coverage.candidates = coverage.candidates.saturating_sub(gone);
    keep(&mut found, &places);
    let told = Told {
        coverage: coverage.told(execution.snapshot),
        // Who lists the undetermined knows that they are.
        failures: coverage.failures(scan.verdict == Verdict::Matched),
        missing: found.iter().map(|found| found.told(execution.snapshot)).collect(),
    };
    let rows = RootRows::Page {
        cursors: found.into_iter().map(|found| found.cursor).collect(),
        end,
        has_next,
        has_previous: scan.after.is_some(),
        told: Some(Box::new(told)),
    };
    Ok(RootAnswer { frame: Arc::new(frame), rows, failure: None, refused: None })
}

/// What is shown, with its counts, and whom it concerns.
type Walked = (Page, Coverage, Concerned);

async fn page(scan: &ScanPlan, deciding: &Execution<'_>, bounds: Bounds<'_>) -> Result<Walked, RequestError> {
    let mut walk = Walk::new(scan, deciding, bounds)?;
    let first = scan.first.min(scan.named_max.saturating_sub(walk.reached.named));
    if first == 0 && scan.first > 0 {
        return Err(gone_as_far(walk.scan));
    }
    if !scan.order.is_empty() {
        return top(walk, first).await;
    }
    if scan.first == 0 {
        walk.estimate().await;
    }
    let mut page = Page { found: Vec::new(), first, end: scan.after.clone(), has_next: true };
    while page.found.len() < first {
        let Some(batch) = walk.next(first.saturating_sub(page.found.len())).await? else {
            page.has_next = walk.coverage.ended.is_some_and(|ended| ended != Ended::Listed);
            break;
        };
        let looked_at = take(&mut walk, batch, &mut page);
        page.has_next = !looked_at || walk.has_more();
    }
    walk.coverage.ended.get_or_insert(if page.has_next { Ended::PageFull } else { Ended::Listed });
    let (coverage, concerned) = walk.into_told();
    Ok((page, coverage, concerned))
}

/// The first so many in the order that was asked for: everything is looked at, as far as time and calls allow.
async fn top(mut walk: Walk<'_, '_>, first: usize) -> Result<Walked, RequestError> {
    let mut top = Top::new(&walk.scan.order, first);
    while first > 0
        && let Some(batch) = walk.next(usize::MAX).await?
    {
        for (candidate, decided) in batch {
            walk.count(&candidate, &decided);
            if let Decided::Matched(values) = decided {
                top.offer(values, candidate.key.clone(), candidate);
            }
        }
    }
    let found = |candidate| Found { candidate, cursor: String::new(), reasons: Reasons::new() };
    let found: Vec<Found> = top.into_sorted().into_iter().map(found).collect();
    let has_next = walk.coverage.matched > found.len() || walk.coverage.ended != Some(Ended::Listed);
    walk.coverage.ended.get_or_insert(Ended::PageFull);
    let (coverage, concerned) = walk.into_told();
    Ok((Page { found, first, end: None, has_next }, coverage, concerned))
}

/// Counts what was decided, in order, until the page is full; whether everything was.
fn take(walk: &mut Walk<'_, '_>, batch: Vec<(Candidate, Decided)>, page: &mut Page) -> bool {
    let mut left = batch.into_iter();
    while page.found.len() < page.first {
        let Some((candidate, decided)) = left.next() else { return true };
        walk.count(&candidate, &decided);
        let shown = match decided {
            Decided::Matched(_) => (walk.scan.verdict == Verdict::Matched).then(Reasons::new),
            Decided::Undetermined(reasons, is_there) => {
                (walk.scan.verdict == Verdict::Undetermined && is_there).then_some(reasons)
            }
            Decided::None | Decided::Not => None,
        };
        walk.reached.named += usize::from(shown.is_some());
        let cursor = walk.cursor(&candidate);
        page.end = Some(cursor.clone());
        page.found.extend(shown.map(|reasons| Found { candidate, cursor, reasons }));
    }
    left.next().is_none()
}

/// Nothing can be shown: the listing cannot be read, or how the caller stands to one of those that were found could not be
/// found out a second time.
pub(super) fn cannot_show(execution: &Execution<'_>, failure: Failure) -> RequestError {
    let title = failure.source.map_or("", |source| &execution.snapshot.bindings.source(source).title);
    RequestError::new(failure.code, message(failure, title))
}
