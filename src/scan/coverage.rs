//! What a scan looked at, and why it could not decide on the rest: told with every answer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use crate::base::code::{ErrorCode, ItemState};
use crate::engine::execute::total::Total;
use crate::engine::frame::Failure;
use crate::engine::project::answer::message;
use crate::model::binding::SourceId;
use crate::model::snapshot::Snapshot;

/// Paths of fields that one reason names at most.
const FIELDS_MAX: usize = 20;

/// Why a scan ended where it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Everything was looked at.
    Listed,
    /// The page is full.
    PageFull,
    /// The request's time is over.
    Time,
    /// No more calls, or places at a source, are to be had.
    Calls,
    /// Nobody waits for it any more.
    Cancelled,
    /// The listing broke off, or the caller's role goes no further.
    Stopped,
}

impl Ended {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Listed => "LISTED",
            Self::PageFull => "PAGE_FULL",
            Self::Time => "TIME",
            Self::Calls => "CALLS",
            Self::Cancelled => "CANCELLED",
            Self::Stopped => "STOPPED",
        }
    }
}

/// Why something is not known, and of which fields.
pub type Reasons = BTreeMap<Failure, BTreeSet<String>>;

/// How many entities a scan looked at, and what came of each. At every moment, `candidates` is the sum of the others but
/// for those that are still looked at.
#[derive(Debug, Clone, Default)]
pub struct Coverage {
    pub candidates: usize,
    pub matched: usize,
    pub not: usize,
    pub undetermined: usize,
    /// By reason: how many entities are undetermined for it, and by which fields. One may be so for several.
    missing: BTreeMap<Failure, (usize, BTreeSet<String>)>,
    /// Of those that match: how many are not known in full of what is reckoned of them, and by reason, as above.
    pub open: usize,
    unknown: BTreeMap<Failure, (usize, BTreeSet<String>)>,
    pub ended: Option<Ended>,
    /// How many there are in all, as the source that lists them tells.
    pub(crate) total: Total,
    /// Some of the pages before are undetermined.
    pub was_open: bool,
    pub stages: Vec<StageRun>,
}

/// What one stage asked.
#[derive(Debug, Clone, Default)]
pub struct StageRun {
    pub sources: Vec<SourceId>,
    pub fields: Vec<String>,
    pub estimated_calls: usize,
    /// What so many calls take at least, by the sources' own limits.
    pub least: Duration,
    pub calls: usize,
    pub time: Duration,
    /// Entities that it was asked of, and those that were left afterwards.
    pub asked: usize,
    pub left: usize,
}

impl Coverage {
    pub fn new(stages: Vec<StageRun>) -> Self {
        Self { stages, ..Self::default() }
    }

    pub fn undetermined(&mut self, reasons: &Reasons) {
        self.undetermined += 1;
        enter(&mut self.missing, reasons);
    }

    /// One that matches, and of which something that is reckoned is not known, for these reasons; none: all is.
    pub fn reckoned(&mut self, reasons: &Reasons) {
        self.open += usize::from(!reasons.is_empty());
        enter(&mut self.unknown, reasons);
    }

    /// What a stretch took, by stage.
    pub fn ran(&mut self, runs: &[StageRun]) {
        for (stage, run) in self.stages.iter_mut().zip(runs) {
            stage.add(run);
        }
    }

    /// A listing that broke off: how many lay behind is not known.
    pub fn broke_off(&mut self, failure: Failure) {
        self.ended = Some(Ended::Stopped);
        self.missing.entry(failure).or_default();
    }

    /// How many there are in all, where the source that lists them tells.
    pub fn total(&self) -> Option<usize> {
        self.total.number()
    }

    pub fn evaluated(&self) -> usize {
        self.matched + self.not + self.undetermined
    }

    /// Everything there is was looked at, and decided, on the pages before too.
    pub fn is_whole(&self) -> bool {
        self.ended == Some(Ended::Listed) && self.undetermined == 0 && self.open == 0 && !self.was_open
    }

    /// Codes of the reasons, for the record.
    pub fn codes(&self) -> impl Iterator<Item = (Option<SourceId>, ErrorCode, usize)> + '_ {
        let all = self.missing.iter().chain(&self.unknown);
        all.map(|(failure, (count, _))| (failure.source, failure.code, *count))
    }

    /// As the contract has it (`ScanCoverage`).
    pub fn told(&self, snapshot: &Snapshot) -> Value {
        self.told_but(snapshot, false)
    }

    /// Why anything is not known: of entities that are undetermined, or of a listing that broke off.
    pub fn failures(&self, of_entities: bool) -> Vec<Failure> {
        let counts = |count: usize| count == 0 || (of_entities && self.undetermined > 0);
        self.missing.iter().filter(|(_, (count, _))| counts(*count)).map(|(failure, _)| *failure).collect()
    }

    /// As [`Self::told`]; where figures are kept back, without those that they could be worked out from: how many match,
    /// how many were asked about by stage, of how many it is not known, and of how many what is missing.
    pub fn told_but(&self, snapshot: &Snapshot, keeps_back: bool) -> Value {
        let mut told = self.all_told(snapshot, keeps_back);
        if let Value::Object(told) = &mut told
            && keeps_back
        {
            told.insert("matched".to_owned(), Value::Null);
            if self.undetermined > 0 {
                told.insert("undetermined".to_owned(), Value::Null);
            }
            told.insert("plan".to_owned(), json!([]));
        }
        told
    }

    fn all_told(&self, snapshot: &Snapshot, keeps_back: bool) -> Value {
        let shown = |count: usize| (!keeps_back).then_some(count);
        let of = |(failure, (count, fields)): (&Failure, &(usize, BTreeSet<String>))| {
            reason(snapshot, *failure, shown(*count).filter(|count| *count > 0), fields)
        };
        let of_matched = |(failure, (count, fields)): (&Failure, &(usize, BTreeSet<String>))| {
            reason(snapshot, *failure, shown(*count), fields)
        };
        let missing: Vec<Value> = self.missing.iter().map(of).chain(self.unknown.iter().map(of_matched)).collect();
        let stages: Vec<Value> = self.stages.iter().map(|stage| stage.told(snapshot)).collect();
        json!({
            "candidates": self.candidates,
            "total": self.total(),
            "evaluated": self.evaluated(),
            "matched": self.matched,
            "undetermined": self.undetermined,
            "whole": self.is_whole(),
            "ended": self.ended.map(Ended::as_str),
            "missing": missing,
            "plan": stages,
        })
    }
}

impl StageRun {
    /// What the same stage took of another stretch.
    pub fn add(&mut self, more: &Self) {
        self.estimated_calls += more.estimated_calls;
        self.least += more.least;
        self.calls += more.calls;
        self.time += more.time;
        self.asked += more.asked;
        self.left += more.left;
    }

    fn told(&self, snapshot: &Snapshot) -> Value {
        let sources: Vec<&str> = self.sources.iter().map(|source| &*snapshot.bindings.source(*source).id).collect();
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        json!({
            "sources": sources,
            "fields": self.fields,
            "estimatedCalls": self.estimated_calls,
            "estimatedMs": ms(self.least),
            "calls": self.calls,
            "ms": ms(self.time),
            "asked": self.asked,
            "left": self.left,
        })
    }
}

impl Coverage {
    /// To go on with later; [`Self::restored`] reads it. Stages and the end are those of a request.
    pub fn kept(&self, snapshot: &Snapshot) -> Value {
        let one = |(failure, (count, fields)): (&Failure, &(usize, BTreeSet<String>))| {
            let source = failure.source.map(|source| &*snapshot.bindings.source(source).id);
            json!([failure.state, failure.code, source, count, fields])
        };
        let all = |of: &BTreeMap<Failure, (usize, BTreeSet<String>)>| of.iter().map(one).collect::<Vec<Value>>();
        let counts = [self.candidates, self.matched, self.not, self.undetermined, self.open];
        json!([counts, all(&self.missing), all(&self.unknown), self.total.encode()])
    }

    pub fn restored(snapshot: &Snapshot, kept: &Value) -> Option<Self> {
        let number = |value: &Value| usize::try_from(value.as_u64()?).ok();
        let named = |id: &str| (0..).zip(&snapshot.bindings.sources).find(|(_, source)| &*source.id == id);
        let one = |kept: &Value| {
            let state = ItemState::ALL.iter().find(|state| Some(state.as_str()) == kept.get(0).and_then(Value::as_str));
            let code = ErrorCode::ALL.iter().find(|code| Some(code.as_str()) == kept.get(1).and_then(Value::as_str));
            // One that is gone since is told without its name.
            let source = kept.get(2)?.as_str().and_then(named).map(|(at, _)| SourceId(at));
            let fields = kept.get(4)?.as_array()?.iter().map(|field| field.as_str().map(str::to_owned));
            let failure = Failure { state: *state?, code: *code?, source };
            Some((failure, (number(kept.get(3)?)?, fields.collect::<Option<_>>()?)))
        };
        let all = |kept: &Value| kept.as_array()?.iter().map(one).collect::<Option<BTreeMap<_, _>>>();
        let count = |at: usize| number(kept.get(0)?.get(at)?);
        Some(Self {
            candidates: count(0)?,
            matched: count(1)?,
            not: count(2)?,
            undetermined: count(3)?,
            open: count(4)?,
            missing: all(kept.get(1)?)?,
            unknown: all(kept.get(2)?)?,
            total: Total::decode(kept.get(3)?.as_str()?)?,
            ended: None,
            was_open: false,
            stages: Vec::new(),
        })
    }
}

fn enter(into: &mut BTreeMap<Failure, (usize, BTreeSet<String>)>, reasons: &Reasons) {
    for (failure, fields) in reasons {
        let (count, known) = into.entry(*failure).or_default();
        *count += 1;
        known.extend(fields.iter().cloned());
    }
}

/// The reasons of one entity, as the contract has them (`[ScanMissing!]`).
pub fn reasons(snapshot: &Snapshot, reasons: &Reasons) -> Value {
    reasons.iter().map(|(failure, fields)| reason(snapshot, *failure, Some(1), fields)).collect()
}

fn reason(snapshot: &Snapshot, failure: Failure, count: Option<usize>, fields: &BTreeSet<String>) -> Value {
    let source = failure.source.map(|source| snapshot.bindings.source(source));
    let title = source.map_or("", |source| &*source.title);
    json!({
        "source": source.map(|source| &*source.id),
        "sourceTitle": source.map(|source| &*source.title),
        "state": failure.state,
        "code": failure.code,
        "count": count,
        "fields": fields.iter().take(FIELDS_MAX).collect::<Vec<_>>(),
        "message": message(failure, title),
    })
}
