//! Going through a listing's candidates, and counting what was decided of each.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::bound::no_cursor;
use super::coverage::{Coverage, StageRun};
use super::decide::Decided;
use super::plan::{ScanPlan, Stage};
use super::steps::{Bounds, Step, Steps, candidates_of, gone_as_far};
use crate::engine::error::RequestError;
use crate::engine::execute::Execution;
use crate::engine::execute::candidates::{Candidate, Candidates, Reached};

/// Entities that a record of one request names.
const CONCERNED_MAX: usize = 1_000;

/// Whom a record names: those of whom the condition held, shown or not, and those that were asked for by their keys. Of
/// more than a person could go through they are counted: nothing is told of single ones then.
#[derive(Debug, Clone, Default)]
pub struct Concerned {
    pub keys: BTreeSet<Arc<str>>,
    /// Of those, the entities whose relations they take: a condition on a person tells of the household too.
    pub above: BTreeSet<Arc<str>>,
    pub others: usize,
}

impl Concerned {
    pub(super) fn of_keys(scan: &ScanPlan) -> Self {
        Self { keys: scan.among.iter().flatten().cloned().collect(), ..Self::default() }
    }

    fn add(&mut self, candidate: &Candidate) {
        // No more than are named: each is of one that is.
        self.above.extend(candidate.above().filter(|_| self.keys.len() < CONCERNED_MAX).cloned());
        match candidate.key.as_ref() {
            Some(key) if self.keys.len() < CONCERNED_MAX => drop(self.keys.insert(Arc::clone(key))),
            _ => self.others += 1,
        }
    }
}

/// A scan under way.
pub(super) struct Walk<'w, 'a> {
    pub scan: &'w ScanPlan,
    deciding: &'w Execution<'a>,
    steps: Steps<'w, 'a>,
    pub coverage: Coverage,
    /// With the pages before.
    pub reached: Reached,
    pub concerned: Concerned,
}

impl<'w, 'a> Walk<'w, 'a> {
    pub fn new(scan: &'w ScanPlan, deciding: &'w Execution<'a>, bounds: Bounds<'w>) -> Result<Self, RequestError> {
        let from = candidates_of(scan, deciding)?;
        let candidates = Candidates::new(from, deciding.cursors, scan.after.as_deref());
        let (candidates, reached) = candidates.ok_or_else(no_cursor)?;
        if reached.candidates >= scan.candidates_max {
            return Err(gone_as_far(scan));
        }
        let given = scan.approval.as_ref().and_then(|approval| approval.given.as_ref());
        let reached = Reached { approval: given.map(|given| Arc::clone(&given.id)), ..reached };
        let mut coverage = Coverage::new(stages(scan));
        coverage.was_open = reached.undetermined > 0;
        let steps = Steps::new(scan, deciding, bounds, candidates);
        Ok(Self { scan, deciding, steps, coverage, reached, concerned: Concerned::of_keys(scan) })
    }

    /// What it would take is told, and no department is asked to decide: of all that are left, where the source that lists them tells
    /// how many there are, which it is asked for; else of one stretch.
    pub async fn estimate(&mut self) {
        let snapshot = self.deciding.snapshot;
        let most = self.scan.candidates_max.saturating_sub(self.reached.candidates);
        let left = self.steps.total().await.map(|total| total.saturating_sub(self.reached.candidates).min(most));
        let rows = left.unwrap_or_else(|| self.scan.stretch(snapshot, usize::MAX, None));
        for (run, (calls, least)) in self.coverage.stages.iter_mut().zip(self.scan.estimate(snapshot, rows)) {
            (run.estimated_calls, run.least) = (calls, least);
        }
    }

    /// What it came to, with how many there are in all.
    pub fn into_told(mut self) -> (Coverage, Concerned) {
        self.coverage.total = self.steps.candidates.total;
        (self.coverage, self.concerned)
    }

    /// Whether there may be more behind those that were handed out.
    pub fn has_more(&self) -> bool {
        self.steps.candidates.has_more()
    }

    /// A cursor behind a candidate.
    pub fn cursor(&self, behind: &Candidate) -> String {
        let reached = Reached { total: self.steps.candidates.total, ..self.reached.clone() };
        self.steps.candidates.cursor(self.deciding.cursors, behind, &reached)
    }

    /// Counts what was decided of one candidate.
    pub fn count(&mut self, candidate: &Candidate, decided: &Decided) {
        if matches!(decided, Decided::Matched(_)) {
            self.concerned.add(candidate);
        } else if self.scan.among.is_some() && !matches!(decided, Decided::None) {
            self.concerned.above.extend(candidate.above().cloned());
        }
        let one = usize::from(!matches!(decided, Decided::None));
        self.coverage.candidates += one;
        self.reached.candidates += one;
        match decided {
            Decided::None => self.steps.candidates.total.disbelieve(),
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
        let most = self.scan.candidates_max.saturating_sub(self.reached.candidates);
        Ok(match self.steps.next(most, missing, |_, _| false).await? {
            Step::Looked { batch, runs } => {
                self.coverage.ran(&runs);
                Some(batch)
            }
            Step::Ended(ended) => {
                self.coverage.ended = Some(ended);
                None
            }
            Step::BrokeOff(failure) => {
                self.coverage.broke_off(failure);
                None
            }
        })
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
