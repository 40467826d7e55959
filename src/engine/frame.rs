//! What execution hands to projection.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use smallvec::SmallVec;

use crate::base::code::{ErrorCode, ItemState};
use crate::base::json::Held;
use crate::engine::plan::{FetchId, NodeId};
use crate::model::access::hand::Unread;
use crate::model::access::{RowRights, SlotSet};
use crate::model::binding::SourceId;
use crate::model::contract::{EntityId, RootKind, SlotId};

/// The entities of one node and what was answered for them.
#[derive(Debug)]
pub struct Frame {
    pub node: NodeId,
    pub rows: Vec<Row>,
    /// By fetch, then by row.
    pub answers: Vec<Vec<RowAnswer>>,
    /// By child of the node.
    pub children: Vec<Option<ChildFrame>>,
    /// Entities that the rows tell of, of which only relations were asked.
    pub subjects: Vec<Frame>,
}

/// The entities under each row's slot.
#[derive(Debug)]
pub struct ChildFrame {
    pub frame: Frame,
    /// By row above: its entities in the frame.
    pub ranges: Vec<Range<usize>>,
}

/// One entity.
#[derive(Debug)]
pub struct Row {
    /// `None`: the record that names the entity does not give its key.
    pub key: Option<Arc<str>>,
    /// The record that names the entity, where it tells more than the key.
    pub embedded: Option<Held>,
    /// What the caller may have of it; nothing, where the caller stands in no relation to it.
    pub rights: Arc<RowRights>,
    /// What the caller may have of single entities that fields of this one tell of, by the slot with their keys.
    pub subjects: Arc<[Arc<RowSubjects>]>,
    /// For whom the caller acts in its relations to the entity: entities and their keys.
    pub on_behalf_of: Arc<[(EntityId, Arc<str>)]>,
    /// Why a relation could not be decided.
    pub undecided: Option<Failure>,
    /// Sources of which the caller's roles have had, for now, as much as they may: nothing of theirs is shown of it.
    pub over_quota: Vec<SourceId>,
    /// Rules of the node above read it, less this.
    pub read_from_above: Option<Arc<Unread>>,
}

/// The entities whose keys a row's slot holds, where the caller may have of one what it may not have of another.
#[derive(Debug)]
pub struct RowSubjects {
    /// The slot with the keys.
    pub key: SlotId,
    /// By key: what the caller may have of the fields that tell of it, under the row's relations and its own.
    pub rights: HashMap<Arc<str>, Arc<RowRights>>,
    /// One-by-one slots that it may have of some, and of the row not as a whole.
    pub of_some: SlotSet,
    /// Why a relation to any of them could not be decided.
    pub undecided: Option<Failure>,
}

impl Row {
    /// Whether the caller stands in any relation to it, or to an entity that it is asked about.
    pub fn is_related(&self) -> bool {
        self.rights.is_related()
    }

    /// Whether the same may be had of both, and is read of both, for the same reasons: what is true of the fields of one is
    /// true of the other's. (They may be alike although this says no.)
    pub fn is_like(&self, other: &Self) -> bool {
        let read = |row: &Self| row.read_from_above.as_ref().map(Arc::as_ptr);
        Arc::ptr_eq(&self.rights, &other.rights)
            && self.subjects.is_empty()
            && other.subjects.is_empty()
            && self.over_quota == other.over_quota
            && read(self) == read(other)
    }

    /// Those it has, and more of them.
    pub fn subjects_and(&self, more: RowSubjects) -> Arc<[Arc<RowSubjects>]> {
        self.subjects.iter().cloned().chain([Arc::new(more)]).collect()
    }

    /// The single entities by whose keys fields are asked.
    pub fn subjects_by(&self, key: SlotId) -> Option<&RowSubjects> {
        self.subjects.iter().map(|subjects| &**subjects).find(|subjects| subjects.key == key)
    }

    /// Those of whom the slot may be had one by one, and not of all.
    pub fn in_part(&self, slot: SlotId) -> Option<&RowSubjects> {
        self.subjects.iter().map(|subjects| &**subjects).find(|subjects| subjects.of_some.contains(slot))
    }
}

/// What a fetch brought for one entity.
#[derive(Debug, Clone, Default)]
pub enum RowAnswer {
    /// Nothing of it is permitted or needed here.
    #[default]
    NotAsked,
    /// There is nothing to ask with: the key slot is empty.
    NoKey,
    /// It could not be asked.
    Missing(Failure),
    /// One part an instance of the source.
    Parts(Arc<[Part]>),
}

/// Records of one entity: nearly always one.
pub type Records = SmallVec<[Held; 1]>;

/// What one instance of a source answered for one entity.
#[derive(Debug, Clone)]
pub struct Part {
    /// Index into the source's connections.
    pub instance: usize,
    pub outcome: Result<Records, Failure>,
    /// By record of the outcome: the key it was asked by.
    pub keys: Vec<Arc<str>>,
    /// Keys that have no record.
    pub absent: usize,
    pub at: Timestamp,
    /// The endpoint's fallback answered, of some key at least.
    pub fallback: bool,
    /// What the source says of places in the records, where they are read.
    pub remarks: Vec<Remark>,
}

/// What a source says of a field of its records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    pub path: Box<[Box<str>]>,
    pub what: Said,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// It did not give it.
    Failed(Failure),
    /// What it gave is a part of the value.
    Masked,
}

impl Remark {
    /// Why there is nothing at a place: the error is about it, or about something it stands in.
    pub fn failure(all: &[Self], place: &[Box<str>]) -> Option<Failure> {
        let about = |remark: &Self| match remark.what {
            Said::Failed(failure) => place.starts_with(&remark.path).then_some(failure),
            Said::Masked => None,
        };
        all.iter().find_map(about)
    }

    /// Whether what stands at a place is only a part of the value.
    pub fn is_masked(all: &[Self], place: &[Box<str>]) -> bool {
        all.iter().any(|remark| remark.what == Said::Masked && place.starts_with(&remark.path))
    }

    /// Those inside a place, as they are seen from there.
    pub fn inside(all: &[Self], place: &[Box<str>]) -> Vec<Self> {
        let within = |remark: &Self| {
            let path = remark.path.strip_prefix(place).filter(|path| !path.is_empty())?;
            Some(Self { path: path.into(), what: remark.what })
        };
        all.iter().filter_map(within).collect()
    }
}

/// Why a value is not there. The detail for operators went to tracing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Failure {
    pub state: ItemState,
    pub code: ErrorCode,
    /// The source to blame, where there is one.
    pub source: Option<SourceId>,
}

impl Failure {
    pub fn unavailable(code: ErrorCode, source: SourceId) -> Self {
        Self { state: ItemState::Unavailable, code, source: Some(source) }
    }

    /// No source answers for it yet.
    pub const NOBODY: Self = Self { state: ItemState::Unavailable, code: ErrorCode::NoSource, source: None };

    /// The source allows the caller's roles no more for now.
    pub fn over_quota(source: SourceId) -> Self {
        Self::unavailable(ErrorCode::QuotaExceeded, source)
    }

    /// The source works on the answer.
    pub fn pending(source: SourceId) -> Self {
        Self { state: ItemState::Pending, code: ErrorCode::SourcePending, source: Some(source) }
    }

    /// Whether a source is to blame for what is not known: it did not answer, or has not yet.
    pub fn is_sources(&self) -> bool {
        matches!(self.state, ItemState::Unavailable | ItemState::Pending)
    }

    /// The source gives it to none of the caller's roles, as it knows them.
    pub fn refused(source: SourceId) -> Self {
        Self { state: ItemState::Refused, code: ErrorCode::Forbidden, source: Some(source) }
    }

    pub fn undetermined(code: ErrorCode, source: SourceId) -> Self {
        Self { state: ItemState::Undetermined, code, source: Some(source) }
    }
}

impl Frame {
    pub fn answer(&self, fetch: FetchId, row: usize) -> &RowAnswer {
        const NOT_ASKED: &RowAnswer = &RowAnswer::NotAsked;
        self.answers.get(fetch).and_then(|rows| rows.get(row)).unwrap_or(NOT_ASKED)
    }
}

/// What a root selection came to.
#[derive(Debug)]
pub struct RootAnswer {
    /// Shared by the selections of one node.
    pub frame: Arc<Frame>,
    pub rows: RootRows,
    /// Why a listing or lookup could not be made.
    pub failure: Option<Failure>,
    /// An argument is not what it must be.
    pub refused: Option<String>,
}

#[derive(Debug)]
pub enum RootRows {
    /// The frame's row.
    One(usize),
    List,
    /// Cursors by row.
    Page {
        cursors: Vec<String>,
        /// Where the listing goes on, past those left out.
        end: Option<String>,
        has_next: bool,
        has_previous: bool,
        /// Of a scan.
        told: Option<Box<Told>>,
    },
    /// What the gateway itself made, of no entity: statistics.
    Made(Box<Value>),
}

/// What a scan tells beside what it found, as the contract has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    pub coverage: Value,
    /// Why anything is not known, of all that was looked at.
    pub failures: Vec<Failure>,
    /// By row: why it is undetermined.
    pub missing: Vec<Value>,
}

impl RootRows {
    /// No entity at all, in the shape of the query.
    pub fn none(kind: &RootKind) -> Self {
        match kind {
            RootKind::ByKey { .. } | RootKind::Lookup => Self::One(0),
            RootKind::List => Self::List,
            RootKind::Connection => {
                Self::Page { cursors: Vec::new(), end: None, has_next: false, has_previous: false, told: None }
            }
        }
    }
}
