//! What a stream keeps between its turns: how far it has come, and what was noted and entered for all of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

use super::at_once::{AtOnce, Under};
use super::second::Noted;
use crate::audit::{AuditError, AuditRecord, AuditStore, Frames as Recorded, Receipt};
use crate::engine::error::RequestError;
use crate::engine::frame::RootRows;
use crate::engine::operation::{Argument, ArgumentValue, Operation, Selection, What};
use crate::engine::project::answer::FrameTold;
use crate::identify::Identity;
use crate::model::config::GatewayConfig;
use crate::model::contract::scan::PROGRESS;
use crate::scan::ScanPlan;
use crate::scan::coverage::Ended;
use crate::scan::run::Scanned;

/// How long a turn that was let go may take to come on record.
const TURN_ENDS: Duration = Duration::from_secs(2);
/// The contract's `Int`.
const INT_MAX: usize = i32::MAX as usize;

/// The argument that says where a scan, or a statistic, goes on.
fn goes_on_by(root: &Selection) -> &'static str {
    if matches!(root.what, What::Stats(_)) { "resume" } else { "after" }
}

/// One stream: the same for all of its turns. Each turn is what a query for one page, or for a statistic that goes on, would be.
pub(super) struct Streaming {
    began: Instant,
    /// No turn begins any more: it would not end in time.
    last: Instant,
    ends: Instant,
    state: Mutex<State>,
    /// Once the first frame is on record.
    recorded: tokio::sync::Mutex<Option<Recorded>>,
    /// Held by a turn until its record is written, whether or not anybody waits for it.
    under_way: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct State {
    /// With all frames that were handed over.
    so_far: SoFar,
    /// With the turn that has come to its end.
    turned: Option<SoFar>,
    frame: Option<Selection>,
    noted: Option<Noted>,
    under: Option<Under>,
}

/// How far a stream has come.
#[derive(Debug, Clone, Default)]
pub(super) struct SoFar {
    /// Where it goes on, as callers are told; `None`: it has not begun, or nothing is left.
    pub resume: Option<String>,
    candidates: usize,
    /// How many there are in all, where that is known.
    total: Option<usize>,
    evaluated: usize,
    matched: Option<usize>,
    undetermined: usize,
    /// As callers are told; `None`: they are not.
    undetermined_told: Option<usize>,
    calls: Option<usize>,
    pub ended: Option<Ended>,
}

impl SoFar {
    /// As the contract has it (`ScanProgress`).
    fn told(&self, elapsed: Duration, ended: Option<&str>) -> Value {
        let int = |count: usize| count.min(INT_MAX);
        json!({
            "candidates": int(self.candidates),
            "total": self.total.map(int),
            "evaluated": int(self.evaluated),
            "matched": self.matched.map(int),
            "undetermined": self.undetermined_told.map(int),
            "calls": self.calls.map(int),
            "elapsedMs": int(usize::try_from(elapsed.as_millis()).unwrap_or(INT_MAX)),
            "resume": self.resume,
            "done": ended.is_some(),
            "ended": ended,
        })
    }
}

impl Streaming {
    pub fn new(config: &GatewayConfig) -> Self {
        let began = Instant::now();
        let turn = Duration::from_millis(config.limits.request_timeout_ms);
        Self {
            began,
            last: began + config.scans.time_max.saturating_sub(turn),
            ends: began + config.scans.time_max.max(turn) + TURN_ENDS,
            state: Mutex::default(),
            recorded: tokio::sync::Mutex::new(None),
            under_way: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Only ever changed whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends once the stream has had all of its time: who has not taken a frame by then does not get it.
    pub async fn over(&self) {
        tokio::time::sleep_until(self.ends).await;
    }

    /// How long a turn may still be waited for; `None`: none begins any more.
    pub fn left(&self) -> Option<Duration> {
        self.last.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }

    pub fn so_far(&self) -> SoFar {
        self.lock().so_far.clone()
    }

    /// What was noted for the first turn holds for all.
    pub fn noted(&self) -> Option<Noted> {
        self.lock().noted.clone()
    }

    pub fn note(&self, noted: &Noted) {
        self.lock().noted = Some(noted.clone());
    }

    /// Whether it has used up an approval.
    pub fn has_taken_approval(&self) -> bool {
        self.lock().noted.as_ref().is_some_and(|noted| noted.details.iter().any(|(name, _)| name == "approval"))
    }

    /// The stream's own place among scans, which it keeps.
    pub fn enter(&self, at_once: &Arc<AtOnce>, identity: &Identity) -> Result<(), RequestError> {
        let mut state = self.lock();
        if state.under.is_none() {
            state.under = Some(at_once.enter(identity)?);
        }
        Ok(())
    }

    /// The operation of the next turn: it goes on where the one before ended, the first where the caller says.
    pub fn going_on(&self, operation: Operation, variables: &Map<String, Value>) -> Operation {
        let mut state = self.lock();
        if state.frame.is_none() {
            state.frame.clone_from(&operation.frame);
            let from = |root: &Selection| root.argument(goes_on_by(root), variables).as_str().map(str::to_owned);
            state.so_far.resume = operation.roots.first().and_then(from);
        }
        let Some(resume) = state.so_far.resume.clone() else { return operation };
        let mut operation = operation;
        for root in &mut operation.roots {
            let name = goes_on_by(root);
            root.arguments.retain(|argument| &*argument.name != name);
            let value = ArgumentValue::Given(Value::String(resume.clone()));
            root.arguments.push(Argument { name: name.into(), value });
        }
        operation
    }

    /// What the frame of a turn tells. How far the stream has come counts once the frame is handed over ([`Self::sent`]).
    pub fn turned(&self, scan: &ScanPlan, scanned: &Scanned, calls: usize) -> FrameTold {
        let coverage = &scanned.coverage;
        let mut state = self.lock();
        let before = &state.so_far;
        let ended = match coverage.ended {
            Some(Ended::PageFull | Ended::Time | Ended::Calls) if self.left().is_some() => None,
            Some(Ended::PageFull | Ended::Time | Ended::Calls) => Some(Ended::Time),
            ended => ended.or(Some(Ended::Stopped)),
        };
        let rows = scanned.root.as_ref().ok().map(|root| &root.rows);
        let resume = match rows {
            _ if coverage.ended == Some(Ended::Listed) => None,
            Some(RootRows::Page { end, .. }) => end.clone().or_else(|| before.resume.clone()),
            Some(RootRows::Made(value)) => value.get("resume").and_then(Value::as_str).map(str::to_owned),
            _ => before.resume.clone(),
        };
        let so_far = if scan.stats.is_some() {
            // Between two frames of a statistic, too few may lie to be told of: how many match is told with the figures, at
            // the end, and how often departments were asked for it with that.
            let of_all = |name: &str| match rows {
                Some(RootRows::Made(value)) if ended.is_some() => {
                    value.get("coverage")?.get(name)?.as_u64().and_then(|count| usize::try_from(count).ok())
                }
                _ => None,
            };
            SoFar {
                resume,
                candidates: coverage.candidates,
                total: coverage.total(),
                evaluated: coverage.evaluated(),
                matched: of_all("matched"),
                undetermined: coverage.undetermined,
                undetermined_told: of_all("undetermined"),
                calls: Some(before.calls.unwrap_or_default().saturating_add(calls)),
                ended,
            }
        } else {
            let sum = |before: Option<usize>, now: usize| Some(before.unwrap_or_default().saturating_add(now));
            let undetermined = before.undetermined.saturating_add(coverage.undetermined);
            SoFar {
                resume,
                candidates: before.candidates.saturating_add(coverage.candidates),
                total: coverage.total(),
                evaluated: before.evaluated.saturating_add(coverage.evaluated()),
                matched: sum(before.matched, coverage.matched),
                undetermined,
                undetermined_told: Some(undetermined),
                calls: sum(before.calls, calls),
                ended,
            }
        };
        let mut told = so_far.clone();
        told.calls = told.calls.filter(|_| told.matched.is_some());
        let shows = scan.stats.is_none() || ended.is_some();
        let progress = told.told(self.began.elapsed(), ended.map(Ended::as_str));
        state.turned = Some(so_far);
        FrameTold { progress, shows }
    }

    /// The frame of the turn is handed over; how far the stream has come with it. `None`: there was none.
    pub fn sent(&self) -> Option<SoFar> {
        let mut state = self.lock();
        state.so_far = state.turned.take()?;
        Some(state.so_far.clone())
    }

    /// The data of a frame that shows nothing and ends the stream; `None`: nobody knows yet what is selected of frames, or there
    /// is nothing to go on with, which would say that nothing is left.
    pub fn closing(&self) -> Option<(String, Value)> {
        let state = self.lock();
        let frame = state.frame.as_ref()?;
        let mut so_far = state.so_far.clone();
        so_far.resume.as_ref()?;
        if so_far.matched.is_none() {
            so_far.calls = None;
        }
        let progress = so_far.told(self.began.elapsed(), Some(Ended::Stopped.as_str()));
        let held = json!({ PROGRESS: progress });
        Some((frame.key.to_string(), picked(&held, frame)))
    }

    /// What a turn holds to its end.
    pub async fn begin_turn(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.under_way).lock_owned().await
    }

    /// Appends the record of a turn: the first opens the stream, and the others are of its frames.
    pub async fn record(&self, store: &AuditStore, record: AuditRecord) -> Result<Receipt, AuditError> {
        let mut recorded = self.recorded.lock().await;
        match &mut *recorded {
            Some(frames) => frames.frame(record).await,
            none => {
                let (frames, receipt) = store.stream(record).await?;
                *none = Some(frames);
                Ok(receipt)
            }
        }
    }

    /// Records how it ended: with how much, and why. Of one that never began there is nothing more to say.
    pub async fn end(&self, record: AuditRecord, why: &str) -> Result<(), AuditError> {
        // A turn that nobody waits for any more lets go of its calls, and says so first.
        let _ = tokio::time::timeout(TURN_ENDS, self.under_way.lock()).await;
        let recorded = self.recorded.lock().await;
        let Some(frames) = &*recorded else { return Ok(()) };
        let so_far = self.so_far();
        let record = record
            .with("candidates", so_far.candidates)
            .with("evaluated", so_far.evaluated)
            .with("undetermined", so_far.undetermined)
            .with("calls", so_far.calls.unwrap_or_default())
            .with("ended", why);
        frames.end(record).await.map(drop)
    }
}

/// What is selected of something that the gateway made itself.
fn picked(value: &Value, selection: &Selection) -> Value {
    match value {
        Value::Object(object) if !selection.children.is_empty() => {
            let member = |field: &Selection| {
                let value = match &field.what {
                    What::Typename(name) => Value::String(name.to_string()),
                    What::Meta(name) => object.get(&**name).map_or(Value::Null, |value| picked(value, field)),
                    _ => Value::Null,
                };
                (field.key.to_string(), value)
            };
            selection.children.iter().map(member).collect()
        }
        other => other.clone(),
    }
}
