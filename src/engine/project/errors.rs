//! The journal of what is missing, and why; grouped into one error a source or a missing grant.

use std::sync::Arc;

use crate::engine::frame::Failure;
use crate::model::contract::SlotId;

/// Places kept per request; beyond that only the groups already begun are counted.
const NOTES_MAX: usize = 20_000;

/// One step of a response path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    Key(Arc<str>),
    Index(usize),
}

/// Why a value is null.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// No grant gives the slot here.
    Refused(SlotId),
    /// No grant gives the slot of some of those it tells of.
    LeftOut(SlotId),
    Failed(Failure),
    /// There is no such entity, or none the caller stands in a relation to: indistinguishable.
    NotFound,
    /// `first` is not between 0 and this.
    First(usize),
}

/// What is missing, in the order of the answer.
#[derive(Debug, Default)]
pub struct Journal {
    path: Vec<Segment>,
    notes: Vec<(Cause, Box<[Segment]>)>,
}

impl Journal {
    pub fn enter(&mut self, segment: Segment) {
        self.path.push(segment);
    }

    pub fn leave(&mut self) {
        self.path.pop();
    }

    /// The names on the way to the field that is being written; places in lists left out.
    pub fn names(&self) -> Vec<Arc<str>> {
        let name = |segment: &Segment| match segment {
            Segment::Key(name) => Some(Arc::clone(name)),
            Segment::Index(_) => None,
        };
        self.path.iter().filter_map(name).collect()
    }

    pub fn note(&mut self, cause: Cause) {
        if self.notes.len() < NOTES_MAX {
            self.notes.push((cause, self.path.as_slice().into()));
        }
    }

    /// A place in the journal, to come back to.
    pub fn mark(&self) -> usize {
        self.notes.len()
    }

    /// Takes back what was noted since.
    pub fn forget(&mut self, mark: usize) {
        self.notes.truncate(mark);
    }

    /// Puts what was noted since down to the field that is being written: it is null as a whole.
    pub fn fold(&mut self, mark: usize) {
        let mut causes: Vec<Cause> = self.notes.drain(mark.min(self.notes.len())..).map(|(cause, _)| cause).collect();
        causes.sort();
        causes.dedup();
        for cause in causes {
            self.note(cause);
        }
    }

    pub fn first_failure(&self) -> Option<Failure> {
        self.notes.iter().find_map(|(cause, _)| match cause {
            Cause::Failed(failure) => Some(*failure),
            _ => None,
        })
    }

    pub fn notes(&self) -> &[(Cause, Box<[Segment]>)] {
        &self.notes
    }
}
