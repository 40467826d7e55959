//! Going over candidates, stretch after stretch, as far as time and calls allow: what listings and statistics have in common.
//!
//! A stretch whose calls were not made for want of time or places is no part of the answer: one ends before it, and goes on
//! with it. So an entity is never called undetermined for what the gateway itself could not do.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::bound::OfPages;
use super::coverage::{Ended, StageRun};
use super::decide::{Decided, stretch};
use super::permit::Approval;
use super::plan::{ScanPlan, Verdict};
use super::run::cannot_show;
use crate::base::code::ErrorCode;
use crate::engine::error::RequestError;
use crate::engine::execute::Execution;
use crate::engine::execute::candidates::{Candidate, Candidates, From};
use crate::engine::frame::Failure;
use crate::engine::project::read::RowView;
use crate::identify::rate::Paid;

/// Entities that are looked at together at first.
const ROWS_FIRST: usize = 25;

/// What is left of a request's time when no stretch is begun any more: what was found has to be fetched and written.
const REST: Duration = Duration::from_millis(1_500);

/// What bounds a scan, beside its own time and calls.
pub struct Bounds<'p> {
    /// Takes calls from what the caller may make within a minute.
    pub pays: &'p (dyn Fn(usize) -> Result<Paid, RequestError> + Send + Sync),
    /// True once nobody waits for the answer any more: what is under way then is let go.
    pub gone: watch::Receiver<bool>,
}

impl Bounds<'_> {
    /// Ends once nobody waits.
    pub(super) async fn left(&self) {
        if self.gone.clone().wait_for(|gone| *gone).await.is_err() {
            // Nobody can go away any more.
            std::future::pending::<()>().await;
        }
    }
}

/// What came of a stretch.
pub(super) enum Step {
    /// Candidates in order, each with what was decided, and what that took by stage.
    Looked { batch: Vec<(Candidate, Decided)>, runs: Vec<StageRun> },
    /// There are no more, or no more are to be had.
    Ended(Ended),
    /// The listing broke off.
    BrokeOff(Failure),
}

/// Candidates that are gone over.
pub(super) struct Steps<'w, 'a> {
    scan: &'w ScanPlan,
    deciding: &'w Execution<'a>,
    bounds: Bounds<'w>,
    pub candidates: Candidates<'w>,
    has_begun: bool,
    /// Entities that are looked at together for now: how long departments take is known by what they took.
    rows: usize,
    /// What is left of the time when no stretch is begun any more.
    rest: Duration,
    /// Candidates so far, and those of them that are shown.
    looked_at: usize,
    shown: usize,
}

impl<'w, 'a> Steps<'w, 'a> {
    pub fn new(
        scan: &'w ScanPlan,
        deciding: &'w Execution<'a>,
        bounds: Bounds<'w>,
        candidates: Candidates<'w>,
    ) -> Self {
        let rest = REST.min(deciding.deadline.saturating_duration_since(Instant::now()) / 4);
        let (has_begun, rows, looked_at, shown) = (false, ROWS_FIRST, 0, 0);
        Self { scan, deciding, bounds, candidates, has_begun, rows, rest, looked_at, shown }
    }

    /// Some more candidates: `most` may still be looked at, and `missing` matches are wanted. `left` sees those that were not
    /// ruled out, by their places, and says whether something that it needs of one is not known. An error where not even a
    /// first stretch was to be had.
    pub async fn next(
        &mut self,
        most: usize,
        missing: usize,
        mut left: impl FnMut(usize, &RowView<'_>) -> bool + Send,
    ) -> Result<Step, RequestError> {
        let (scan, deciding) = (self.scan, self.deciding);
        if !self.candidates.has_more() {
            return Ok(Step::Ended(Ended::Listed));
        }
        if most == 0 {
            return self.over(Ended::Stopped, || gone_as_far(scan));
        }
        let size = scan.stretch(deciding.snapshot, missing, self.passes()).min(self.rows).min(most);
        // Of few keys no more is reckoned than they take.
        let size = self.candidates.left_at_most().map_or(size, |left| size.min(left.max(1)));
        let time = deciding.deadline.saturating_duration_since(Instant::now() + self.rest);
        let fitting = self.fitting(size, missing, time);
        let size = fitting.unwrap_or(1);
        let estimate = scan.calls(deciding.snapshot, size);
        let too_little = || too_little(scan, estimate);
        // What is cut off by the time was asked in vain, and what is found has to be answered. At first it is tried all the same.
        if time.is_zero() || (fitting.is_none() && self.has_begun) {
            return self.over(Ended::Time, too_little);
        }
        if deciding.calls.left() < estimate.saturating_add(scan.answer_calls) {
            return self.over(Ended::Calls, too_little);
        }
        let paid = match (self.bounds.pays)(estimate) {
            Ok(paid) => paid,
            Err(busy) => return self.over(Ended::Calls, || busy),
        };
        let (before, began) = (deciding.calls.left(), Instant::now());
        deciding.calls.begin_stretch();
        let candidates = &mut self.candidates;
        let mut lacks = false;
        let looked_at = async {
            let batch = candidates.next(deciding, size).await?;
            let (decided, runs) = stretch(scan, deciding, &batch, |at, view| lacks |= left(at, view)).await;
            Ok((batch, decided, runs))
        };
        // Nobody waits: what is under way is let go, and with it its calls.
        let looked_at: Option<Result<_, Failure>> = tokio::select! {
            looked_at = looked_at => Some(looked_at),
            () = self.bounds.left() => None,
        };
        paid.settle(u64::try_from(before.saturating_sub(deciding.calls.left())).unwrap_or(u64::MAX));
        let Some(looked_at) = looked_at else { return Ok(Step::Ended(Ended::Cancelled)) };
        let is_shown = |decided: &&Decided| match scan.verdict {
            Verdict::Matched => matches!(decided, Decided::Matched(_)),
            Verdict::Undetermined => matches!(decided, Decided::Undetermined(..)),
        };
        let is_open = |decided: &Decided| matches!(decided, Decided::Undetermined(..));
        let leaves_open = match &looked_at {
            Ok((_, decided, _)) => lacks || decided.iter().any(is_open),
            Err(_) => true,
        };
        if leaves_open && Instant::now() >= deciding.deadline {
            // A source that was cut off by the request's time did not take too long.
            return self.over(Ended::Time, too_little);
        }
        if leaves_open && deciding.calls.has_missed() {
            return self.over(Ended::Calls, too_little);
        }
        let (batch, decided, runs) = match looked_at {
            Ok(looked_at) => looked_at,
            // Of whom there is nothing to go over, nothing is answered: an empty page would say that there is nobody.
            Err(failure) if !self.has_begun => return Err(cannot_show(deciding, failure)),
            Err(failure) => return Ok(Step::BrokeOff(failure)),
        };
        if batch.is_empty() {
            return Ok(Step::Ended(Ended::Listed));
        }
        self.has_begun = true;
        self.looked_at += decided.iter().filter(|decided| !matches!(decided, Decided::None)).count();
        self.shown += decided.iter().filter(|decided| is_shown(decided)).count();
        let time = deciding.deadline.saturating_duration_since(Instant::now());
        // Twice as many where these took little of the time that is left, else half.
        let took_little = began.elapsed().saturating_mul(4) < time;
        self.rows = if took_little { self.rows.saturating_mul(2) } else { (self.rows / 2).max(1) };
        Ok(Step::Looked { batch: batch.into_iter().zip(decided).collect(), runs })
    }

    /// Of a thousand that were looked at, how many are shown; none: too few were to tell.
    fn passes(&self) -> Option<usize> {
        (self.looked_at >= ROWS_FIRST / 2 && self.shown > 0).then(|| self.shown * 1000 / self.looked_at)
    }

    /// As many of these as sources allow to be decided in the time that is left, and to be answered with those that were found;
    /// none: not even one.
    fn fitting(&self, size: usize, missing: usize, time: Duration) -> Option<usize> {
        let first = self.scan.first;
        let found = first.saturating_sub(missing);
        let takes = |rows: usize| self.scan.least(self.deciding.snapshot, rows, found.saturating_add(rows).min(first));
        let halves = std::iter::successors(Some(size), |rows| Some(rows / 2).filter(|rows| *rows > 0));
        halves.into_iter().find(|rows| takes(*rows) <= time)
    }

    /// How many there are in all, where the source that lists them tells: its first page is read for that. `None`: it is not
    /// known, and where the binding does not say where it is told, nobody is asked.
    pub async fn total(&mut self) -> Option<usize> {
        let (scan, deciding) = (self.scan, self.deciding);
        let binding = deciding.snapshot.bindings.queries.get(scan.query)?.as_ref()?;
        binding.ask.reading.total.as_ref()?;
        if scan.among.is_some() || deciding.calls.left() == 0 {
            return None;
        }
        let paid = (self.bounds.pays)(1).ok()?;
        let before = deciding.calls.left();
        let candidates = &mut self.candidates;
        // A listing that cannot be read tells nothing.
        let read = tokio::select! {
            read = candidates.peek(deciding) => read.is_ok(),
            () = self.bounds.left() => false,
        };
        paid.settle(u64::try_from(before.saturating_sub(deciding.calls.left())).unwrap_or(u64::MAX));
        self.candidates.total.number().filter(|_| read)
    }

    /// No more is to be had; where nothing was, that is an error.
    fn over(&self, ended: Ended, error: impl FnOnce() -> RequestError) -> Result<Step, RequestError> {
        if self.has_begun { Ok(Step::Ended(ended)) } else { Err(error()) }
    }
}

/// As far as the caller's roles let one scan go, in all of its requests together.
pub(super) fn gone_as_far(scan: &ScanPlan) -> RequestError {
    let (most, awaited) = (scan.candidates_max, scan.approval.as_ref().filter(|approval| approval.given.is_none()));
    let or = |without: &str| awaited.map_or_else(|| without.to_owned(), Approval::awaited);
    let message = match &scan.stats {
        Some(_) => format!("your role looks at {most} entities in one statistic; {}", or("count in smaller divisions")),
        None => {
            let (shown, more) = (scan.named_max, or("scan a smaller division"));
            format!("your role scans {most} entities at once, and is shown {shown} of them; {more}")
        }
    };
    RequestError::new(ErrorCode::Forbidden, message)
}

fn too_little(scan: &ScanPlan, estimate: usize) -> RequestError {
    let (what, less) = match &scan.stats {
        Some(_) => ("statistic", "compare, group by and measure fewer fields at once"),
        None => ("scan", "ask for a smaller `first`, for less at once"),
    };
    let message = format!(
        "not even a first stretch of this {what} could be looked at: it takes about {estimate} calls to departments; {less}, \
         or ask again later"
    );
    RequestError::new(ErrorCode::LimitExceeded, message)
}

/// Where candidates come from, with what cursors are bound to: what is scanned, for whom, and by what.
pub(super) fn candidates_of<'s>(scan: &ScanPlan, deciding: &'s Execution<'_>) -> Result<From<'s>, RequestError> {
    let snapshot = deciding.snapshot;
    let query = snapshot.contract.queries.get(scan.query);
    let binding = snapshot.bindings.queries.get(scan.query).and_then(Option::as_ref);
    let root = deciding.plan.operation.roots.first();
    let caller = deciding.asking.principal();
    let mut names = OfPages {
        scan: &scan.bound,
        verdict: scan.verdict,
        divisions: &scan.divisions,
        among: scan.among.as_deref(),
        caller: caller.as_deref(),
    }
    .names();
    if let Some(keys) = &scan.among {
        return Ok(From::Keys(keys.clone(), names.pop().unwrap_or_default()));
    }
    match (query, binding, root) {
        (Some(query), Some(binding), Some(root)) => {
            let of = scan
                .divisions
                .iter()
                .zip(names)
                .map(|(of, name)| (scan.listing(&snapshot.contract, root, of), name))
                .collect();
            Ok(From::Listings { query, binding, of })
        }
        _ => {
            let message = "no source lists these; ask again when one does".to_owned();
            Err(RequestError::new(ErrorCode::NoSource, message))
        }
    }
}
