//! Going through candidates, stretch after stretch, as far as time and calls allow, and deciding on each.
//!
//! A stretch whose calls were not made for want of time or places is no part of the answer: the walk ends before it, and a
//! cursor goes on with it. So an entity is never called undetermined for what the gateway itself could not do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use super::coverage::{Coverage, Ended, Reasons, StageRun};
use super::order::SortValue;
use super::permit::Approval;
use super::plan::{ScanPlan, Stage};
use super::run::cannot_show;
use crate::base::code::{ErrorCode, ItemState};
use crate::engine::error::RequestError;
use crate::engine::execute::advance::Staged;
use crate::engine::execute::candidates::{Candidate, Candidates, From, Reached, Stood};
use crate::engine::execute::{Execution, keep};
use crate::engine::frame::{Failure, Row, RowAnswer};
use crate::engine::plan::{Now, Stage as Gate};
use crate::engine::project::answer::is_there;
use crate::engine::project::facts::Facts;
use crate::engine::project::read::RowView;
use crate::identify::rate::Paid;
use crate::model::rule::Truth;

/// Entities that are looked at together at first.
pub(super) const ROWS_FIRST: usize = 25;

/// Entities that a record of one request names.
const CONCERNED_MAX: usize = 1_000;

/// What is left of a request's time when no stretch is begun any more: the page has to be fetched and written.
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

/// Whom a record names: those of whom the condition held, shown or not, and those that were asked for by their keys. Of
/// more than a person could go through they are counted: nothing is told of single ones then.
#[derive(Debug, Clone, Default)]
pub struct Concerned {
    pub keys: BTreeSet<Arc<str>>,
    pub others: usize,
}

impl Concerned {
    pub(super) fn of_keys(scan: &ScanPlan) -> Self {
        Self { keys: scan.among.iter().flatten().cloned().collect(), others: 0 }
    }

    fn add(&mut self, key: Option<&Arc<str>>) {
        match key {
            Some(key) if self.keys.len() < CONCERNED_MAX => drop(self.keys.insert(Arc::clone(key))),
            _ => self.others += 1,
        }
    }
}

/// A scan under way.
pub(super) struct Walk<'w, 'a> {
    pub scan: &'w ScanPlan,
    deciding: &'w Execution<'a>,
    bounds: Bounds<'w>,
    pub candidates: Candidates<'w>,
    pub coverage: Coverage,
    /// With the pages before.
    pub reached: Reached,
    pub concerned: Concerned,
    has_begun: bool,
    /// Entities that are looked at together for now: how long departments take is known by what they took.
    rows: usize,
    /// What is left of the time when no stretch is begun any more.
    rest: Duration,
}

impl<'w, 'a> Walk<'w, 'a> {
    pub fn new(scan: &'w ScanPlan, deciding: &'w Execution<'a>, bounds: Bounds<'w>) -> Result<Self, RequestError> {
        let from = candidates_of(scan, deciding)?;
        let candidates = Candidates::new(from, deciding.cursors, scan.after.as_deref());
        let (candidates, reached) = candidates.ok_or_else(|| {
            let message = "`after` is not a cursor of this scan".to_owned();
            RequestError::new(ErrorCode::ValidationFailed, message)
        })?;
        let mut coverage = Coverage::new(stages(scan));
        coverage.was_open = reached.undetermined > 0;
        if scan.first == 0 {
            // Nobody is asked: what it would take is told.
            let rows = scan.stretch(deciding.snapshot, usize::MAX);
            for (run, stage) in coverage.stages.iter_mut().zip(&scan.stages) {
                run.estimated_calls = stage.calls(deciding.snapshot, deciding.plan, rows);
            }
        }
        let rest = REST.min(deciding.deadline.saturating_duration_since(Instant::now()) / 4);
        let concerned = Concerned::of_keys(scan);
        let walk = Self {
            scan,
            deciding,
            bounds,
            candidates,
            coverage,
            reached,
            concerned,
            has_begun: false,
            rows: ROWS_FIRST,
            rest,
        };
        if walk.reached.candidates >= scan.candidates_max { Err(walk.gone_as_far()) } else { Ok(walk) }
    }

    /// A cursor behind a candidate.
    pub fn cursor(&self, behind: &Candidate) -> String {
        self.candidates.cursor(self.deciding.cursors, behind, self.reached)
    }

    /// Counts what was decided of one candidate.
    pub fn count(&mut self, candidate: &Candidate, decided: &Decided) {
        if matches!(decided, Decided::Matched(_)) {
            self.concerned.add(candidate.key.as_ref());
        }
        let one = usize::from(!matches!(decided, Decided::None));
        self.coverage.candidates += one;
        self.reached.candidates += one;
        match decided {
            Decided::None => {}
            Decided::Not => self.coverage.not += 1,
            Decided::Matched(_) => self.coverage.matched += 1,
            Decided::Undetermined(reasons, _) => {
                self.coverage.undetermined(reasons);
                self.reached.undetermined += 1;
            }
        }
    }

    /// Some more candidates, each with what was decided, in order; `missing` matches are still wanted. `None`: there are no
    /// more, or no more are to be had; the coverage says why. An error where not even a first stretch was.
    pub async fn next(&mut self, missing: usize) -> Result<Option<Vec<(Candidate, Decided)>>, RequestError> {
        let (scan, deciding) = (self.scan, self.deciding);
        if !self.candidates.has_more() {
            return Ok(self.ends(Ended::Listed));
        }
        let most = scan.candidates_max.saturating_sub(self.reached.candidates);
        if most == 0 {
            return Ok(self.ends(Ended::Stopped));
        }
        let size = scan.stretch(deciding.snapshot, missing).min(self.rows).min(most);
        // Of few keys no more is reckoned than they take.
        let size = self.candidates.left_at_most().map_or(size, |left| size.min(left.max(1)));
        let estimate = scan.calls(deciding.snapshot, size);
        if Instant::now() + self.rest >= deciding.deadline {
            return self.is_over(Ended::Time, || too_little(estimate));
        }
        if deciding.calls.left() < estimate.saturating_add(scan.answer_calls) {
            return self.is_over(Ended::Calls, || too_little(estimate));
        }
        let paid = match (self.bounds.pays)(estimate) {
            Ok(paid) => paid,
            Err(busy) => return self.is_over(Ended::Calls, || busy),
        };
        let (before, began) = (deciding.calls.left(), Instant::now());
        deciding.calls.begin_stretch();
        let candidates = &mut self.candidates;
        let looked_at = async {
            let batch = candidates.next(deciding, size).await;
            let decided = match &batch {
                Ok(batch) => Some(stretch(scan, deciding, batch, |_, _| {}).await),
                Err(_) => None,
            };
            (batch, decided)
        };
        // Nobody waits: what is under way is let go, and with it its calls.
        let (batch, decided) = tokio::select! {
            looked_at = looked_at => looked_at,
            () = self.bounds.left() => {
                paid.settle(u64::try_from(before.saturating_sub(deciding.calls.left())).unwrap_or(u64::MAX));
                return Ok(self.ends(Ended::Cancelled));
            }
        };
        paid.settle(u64::try_from(before.saturating_sub(deciding.calls.left())).unwrap_or(u64::MAX));
        let is_open = |decided: &Decided| matches!(decided, Decided::Undetermined(..));
        let leaves_open = decided.as_ref().is_none_or(|(decided, _)| decided.iter().any(is_open));
        if leaves_open && Instant::now() >= deciding.deadline {
            // A source that was cut off by the request's time did not take too long.
            return self.is_over(Ended::Time, || too_little(estimate));
        }
        if leaves_open && deciding.calls.has_missed() {
            return self.is_over(Ended::Calls, || too_little(estimate));
        }
        let (batch, (decided, runs)) = match (batch, decided) {
            (Ok(batch), Some(decided)) if !batch.is_empty() => (batch, decided),
            // Of whom there is nothing to go over, nothing is answered: an empty page would say that there is nobody.
            (Err(failure), _) if !self.has_begun => return Err(cannot_show(deciding, failure)),
            (Err(failure), _) => {
                self.coverage.broke_off(failure);
                return Ok(None);
            }
            _ => return Ok(self.ends(Ended::Listed)),
        };
        self.has_begun = true;
        let left = deciding.deadline.saturating_duration_since(Instant::now());
        self.rows = rows_next(self.rows, began.elapsed(), left);
        for (stage, run) in self.coverage.stages.iter_mut().zip(runs) {
            stage.add(&run);
        }
        Ok(Some(batch.into_iter().zip(decided).collect()))
    }

    fn ends(&mut self, ended: Ended) -> Option<Vec<(Candidate, Decided)>> {
        self.coverage.ended = Some(ended);
        None
    }

    /// No more is to be had; where nothing was, that is an error.
    fn is_over(
        &mut self,
        ended: Ended,
        error: impl FnOnce() -> RequestError,
    ) -> Result<Option<Vec<(Candidate, Decided)>>, RequestError> {
        if self.has_begun { Ok(self.ends(ended)) } else { Err(error()) }
    }

    /// As far as the caller's roles let one scan go.
    pub fn gone_as_far(&self) -> RequestError {
        let awaited = self.scan.approval.as_ref().filter(|approval| !approval.is_given);
        let more = awaited.map_or_else(|| "scan a smaller division".to_owned(), Approval::awaited);
        let message = format!(
            "your role scans {} entities at once, and is shown {} of them; {more}",
            self.scan.candidates_max, self.scan.named_max
        );
        RequestError::new(ErrorCode::Forbidden, message)
    }
}

/// How many entities are looked at together next: twice as many where these took little of the time that is left, else half.
pub(super) fn rows_next(rows: usize, took: Duration, left: Duration) -> usize {
    if took.saturating_mul(4) < left { rows.saturating_mul(2) } else { (rows / 2).max(1) }
}

fn too_little(estimate: usize) -> RequestError {
    let message = format!(
        "not even a first stretch of this scan could be looked at: it takes about {estimate} calls to departments; ask for \
         a smaller `first`, for less at once, or again later"
    );
    RequestError::new(ErrorCode::LimitExceeded, message)
}

/// Where candidates come from, with what cursors are bound to: what is scanned, for whom, and by what.
pub(super) fn candidates_of<'s>(scan: &ScanPlan, deciding: &'s Execution<'_>) -> Result<From<'s>, RequestError> {
    let snapshot = deciding.snapshot;
    let query = snapshot.contract.queries.get(scan.query);
    let binding = snapshot.bindings.queries.get(scan.query).and_then(Option::as_ref);
    let root = deciding.plan.operation.roots.first();
    let divisions: Vec<&str> = scan.divisions.iter().map(|division| division.prefix.as_str()).collect();
    let caller = deciding.asking.principal();
    let bound = |part: Value| {
        json!(["scan", scan.bound, scan.verdict.as_str(), divisions, part, caller.as_deref()]).to_string()
    };
    if let Some(keys) = &scan.among {
        let among: Vec<&str> = keys.iter().map(|key| &**key).collect();
        return Ok(From::Keys(keys.clone(), bound(json!({ "among": among }))));
    }
    match (query, binding, root) {
        (Some(query), Some(binding), Some(root)) => {
            let of = scan
                .divisions
                .iter()
                .map(|of| (scan.listing(&snapshot.contract, root, of), bound(json!(of.prefix.as_str()))))
                .collect();
            Ok(From::Listings { query, binding, of })
        }
        _ => {
            let message = "no source lists these; ask again when one does".to_owned();
            Err(RequestError::new(ErrorCode::NoSource, message))
        }
    }
}

pub(super) fn stages(scan: &ScanPlan) -> Vec<StageRun> {
    let run = |stage: &Stage| StageRun {
        sources: stage.sources.clone(),
        fields: stage.fields.clone(),
        ..StageRun::default()
    };
    scan.stages.iter().map(run).collect()
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
