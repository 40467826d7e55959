//! Bindings that departments submit, and what became of them: checked, approved by a second person, put into service,
//! taken out again, and put back in any version that was approved.
//!
//! What changes here is in the audit chain before it is in the store. What is published is part of what every gateway
//! serves that has the same store; each looks for itself (`serve/reload`) and takes nothing that has a fault for it.

mod review;
mod store;
mod version;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tokio::sync::{Notify, Semaphore};

pub use review::{Break, Known, Review, review};
pub use version::{Decision, Publication, State, Version};

use crate::approval::Person;
use crate::audit::{AuditRecord, AuditStore, Kind, Outcome};
use crate::base::clock::Clock;
use crate::base::code::ErrorCode;
use crate::base::fault::Faults;
use crate::engine::error::RequestError;
use crate::identify::{Identity, check_reason};
use crate::model::binding::format::SourceFile;
use crate::model::binding::published::Published;
use crate::model::config::GatewayConfig;
use crate::model::snapshot::{Folders, Snapshot, Variables};
use crate::model::yaml;
use store::{Store, Work};

/// Bytes of one binding.
pub const TEXT_BYTES_MAX: usize = 1 << 20;
/// Versions of one source that are listed at once.
pub const PAGE_MAX: i64 = 100;
/// Versions of one source that wait for a decision; further ones are not kept.
pub const UNDECIDED_MAX: i64 = 20;

/// The registry of one gateway.
pub struct Registry {
    store: Store,
    audit: AuditStore,
    clock: Clock,
    folders: Folders,
    variables: Variables,
    changed: Notify,
    /// Compiling takes a processor for a while: one at a time.
    compiling: Semaphore,
}

/// Who does something, in which request.
#[derive(Debug, Clone, Copy)]
pub struct Act<'a> {
    pub identity: &'a Identity,
    pub request_id: &'a str,
}

/// What is published, all together.
#[derive(Debug, Clone, Default)]
pub struct Set {
    /// The newest publication's; 0: there was none.
    pub revision: i64,
    pub bindings: Vec<Published>,
}

/// Why nothing was done.
#[derive(Debug)]
pub enum Refusal {
    /// What was asked is not possible, or not permitted.
    Request(RequestError),
    /// The binding has faults: its own, and how many others there are in files that are not the asker's.
    Faults { own: Faults, others: usize },
}

impl From<RequestError> for Refusal {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

/// What is to be done with a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Puts an approved version into service.
    Publish(i64),
    /// Asks it no more.
    Withdraw,
    /// Lets go of its fields, after it was withdrawn.
    Remove,
}

/// What is published, read once: for those who do not serve. The error is for operators.
pub async fn published(config: &GatewayConfig, folders: &Folders) -> Result<Set, String> {
    let Some(registry) = &config.registry else { return Ok(Set::default()) };
    let failed = |error: String| format!("the registry ({:?}) cannot be read: {error}", registry.store);
    let store = Store::open(&registry.store, &config.egress).await.map_err(failed)?;
    set(&store, &folders.resolvers).await.map_err(|error| failed(error.to_string()))
}

async fn set(store: &Store, folder: &Path) -> Result<Set, sqlx::Error> {
    let rows = store.in_force().await?;
    let revision = rows.iter().map(|(publication, _)| publication.revision).max().unwrap_or(0);
    let binding = |(publication, text): (Publication, Option<String>)| {
        let withdrawn = publication.state == State::Withdrawn;
        let there = publication.state != State::Removed;
        let text = text.filter(|_| there)?;
        Some(Published::new(folder, &publication.source, publication.number, &text, withdrawn))
    };
    Ok(Set { revision, bindings: rows.into_iter().filter_map(binding).collect() })
}

impl Registry {
    /// `None`: the configuration has none. `folders` and `variables` are those that snapshots are made from.
    pub async fn open(
        config: &GatewayConfig,
        (folders, variables): (Folders, Variables),
        audit: AuditStore,
        clock: Clock,
    ) -> Result<Option<Self>, String> {
        let Some(registry) = &config.registry else { return Ok(None) };
        let opened = Store::open(&registry.store, &config.egress).await;
        let store = opened.map_err(|error| format!("the registry ({:?}) cannot be opened: {error}", registry.store))?;
        Ok(Some(Self { store, audit, clock, folders, variables, changed: Notify::new(), compiling: Semaphore::new(1) }))
    }

    /// Ends when something was published here.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The number of what is published; it grows with every publication, by any gateway.
    pub async fn revision(&self) -> Result<i64, String> {
        self.store.revision().await.map_err(|error| error.to_string())
    }

    pub async fn set(&self) -> Result<Set, String> {
        set(&self.store, &self.folders.resolvers).await.map_err(|error| error.to_string())
    }

    /// Every source that ever had a version, with its newest, and what is in force of it.
    pub async fn sources(&self) -> Result<Vec<(String, i64, Option<Publication>)>, RequestError> {
        let known = self.store.sources().await.map_err(|error| failed(&error))?;
        let mut in_force = self.store.in_force().await.map_err(|error| failed(&error))?;
        let of = |(source, newest): (String, i64)| {
            let at = in_force.iter().position(|(publication, _)| publication.source == source);
            let publication = at.map(|at| in_force.swap_remove(at).0);
            (source, newest, publication)
        };
        Ok(known.into_iter().map(of).collect())
    }

    /// Newest first, beginning before a number.
    pub async fn versions(&self, source: &str, before: Option<i64>, first: i64) -> Result<Vec<Version>, RequestError> {
        let found = self.store.versions(source, before.unwrap_or(i64::MAX), first.clamp(0, PAGE_MAX)).await;
        found.map_err(|error| failed(&error))
    }

    /// What was put into service and taken out of it, newest first.
    pub async fn publications(&self, source: &str, first: i64) -> Result<Vec<Publication>, RequestError> {
        self.store.publications(source, first.clamp(0, PAGE_MAX)).await.map_err(|error| failed(&error))
    }

    pub async fn version(&self, source: &str, number: i64) -> Result<Version, RequestError> {
        let found = self.store.version(source, number).await.map_err(|error| failed(&error))?;
        found.ok_or_else(|| bad(format!("the source `{source}` has no version {number}; see `sourceVersions`")))
    }

    /// What a version, or withdrawing the source, would change of what is in force.
    pub async fn review(
        &self,
        source: &str,
        version: Option<&Version>,
        before: &Arc<Snapshot>,
        known: impl FnOnce() -> Vec<Known> + Send + 'static,
    ) -> Result<Review, Refusal> {
        let set = self.set().await.map_err(unreadable)?;
        let current = set.bindings.iter().find(|one| *one.source == *source);
        let text = current.map(|one| one.text.text.clone());
        let next = match (version, current) {
            (Some(version), _) => self.as_published(version),
            (None, Some(current)) => Published { withdrawn: true, ..current.clone() },
            (None, None) => return Err(bad(format!("the source `{source}` is not published here")).into()),
        };
        let with = version.map_or(String::new(), |version| version.text.clone());
        let after = self.compile(&before.config, &set, next).await?;
        let before = Arc::clone(before);
        let reviewed =
            tokio::task::spawn_blocking(move || review(&before, &after, (&text.unwrap_or_default(), &with), &known()));
        reviewed.await.map_err(|_| internal().into())
    }

    /// Keeps a version, if it has no fault; its number. `may` says for which sources the submitter speaks.
    pub async fn submit(
        &self,
        act: Act<'_>,
        config: &GatewayConfig,
        text: &str,
        note: &str,
        may: impl Fn(&str) -> Result<(), RequestError>,
    ) -> Result<Version, Refusal> {
        let by = Person::of(act.identity)?;
        if text.len() > TEXT_BYTES_MAX {
            return Err(bad(format!("a binding has at most {TEXT_BYTES_MAX} bytes")).into());
        }
        check_reason(note).map_err(bad)?;
        let source = source_of(text)?;
        may(&source)?;
        let set = self.set().await.map_err(unreadable)?;
        let new = Published::new(&self.folders.resolvers, &source, 0, text, false);
        self.compile(config, &set, new).await?;
        if self.store.undecided(&source).await.map_err(|error| failed(&error))? >= UNDECIDED_MAX {
            let message =
                format!("{UNDECIDED_MAX} versions of `{source}` wait for a decision; have them decided on first");
            return Err(bad(message).into());
        }
        let at = self.clock.now().as_microsecond();
        let added = self.store.submit(&source, text, note, &by, at).await;
        let (number, work) = added.map_err(|error| failed(&error))?;
        let record = act.record("submitSource", &source, number).with("digest", digest(text));
        self.settle(work, record).await?;
        Ok(self.version(&source, number).await?)
    }

    /// A second person's word on a version.
    pub async fn decide(
        &self,
        act: Act<'_>,
        source: &str,
        number: i64,
        approve: bool,
        note: &str,
    ) -> Result<Version, RequestError> {
        let by = Person::of(act.identity)?;
        check_reason(note).map_err(bad)?;
        let version = self.version(source, number).await?;
        let record = act.record("decideSource", source, number).with("approve", approve);
        if version.submitted_by.may_be(&by) {
            let message = "not permitted: whoever submits a version does not decide on it; somebody else must";
            return Err(self.refuse(record, RequestError::new(ErrorCode::Forbidden, message.to_owned())).await);
        }
        let decision = Decision { by, at: self.clock.now().as_microsecond(), note: note.to_owned() };
        match self.store.decide(source, number, approve, &decision).await.map_err(|error| failed(&error))? {
            Some(work) => self.settle(work, record).await?,
            None => {
                let message = "it is decided on already; submit it once more to have it decided on anew";
                return Err(self.refuse(record, bad(message)).await);
            }
        }
        self.version(source, number).await
    }

    /// Puts a version into service, or takes a source out of it; what would then have a fault is not done.
    pub async fn take(
        &self,
        act: Act<'_>,
        config: &GatewayConfig,
        source: &str,
        step: Step,
        note: &str,
    ) -> Result<Publication, Refusal> {
        let by = Person::of(act.identity)?;
        check_reason(note).map_err(bad)?;
        let (operation, state) = match step {
            Step::Publish(_) => ("publishSource", State::Published),
            Step::Withdraw => ("withdrawSource", State::Withdrawn),
            Step::Remove => ("removeSource", State::Removed),
        };
        let set = self.set().await.map_err(unreadable)?;
        let current = self.store.publications(source, 1).await.map_err(|error| failed(&error))?.into_iter().next();
        let number = match (step, &current) {
            (Step::Publish(number), _) => number,
            (Step::Withdraw, Some(Publication { state: State::Published, number, .. }))
            | (Step::Remove, Some(Publication { state: State::Withdrawn, number, .. })) => *number,
            (Step::Withdraw, _) => return Err(bad(format!("the source `{source}` is not published here")).into()),
            (Step::Remove, _) => {
                return Err(bad(format!("the source `{source}` is not withdrawn; withdraw it first")).into());
            }
        };
        let version = self.version(source, number).await?;
        let record = act.record(operation, source, number).with("digest", digest(&version.text));
        let mut others = std::iter::once(&version.submitted_by).chain(version.decision.iter().map(|one| &one.by));
        if state == State::Published && others.any(|other| other.may_be(&by)) {
            let message =
                "not permitted: whoever submitted or approved a version does not publish it; somebody else must";
            let refused = RequestError::new(ErrorCode::Forbidden, message.to_owned());
            return Err(self.refuse(record, refused).await.into());
        }
        if state == State::Published && version.approved != Some(true) {
            let message = "not permitted: the version is not approved; the head of the department decides on it";
            let refused = RequestError::new(ErrorCode::Forbidden, message.to_owned());
            return Err(self.refuse(record, refused).await.into());
        }
        let mut new = self.as_published(&version);
        new.withdrawn = state == State::Withdrawn;
        let checked = match state {
            State::Removed => self.compile_set(config, without(&set, source)).await,
            _ => self.compile(config, &set, new).await,
        };
        if let Err(refusal) = checked {
            let told = RequestError::new(ErrorCode::BadRequest, String::new());
            self.refuse(record, told).await;
            return Err(refusal);
        }
        let revision = set.revision.saturating_add(1);
        let at = self.clock.now().as_microsecond();
        let publication =
            Publication { revision, source: source.to_owned(), number, state, by, at, note: note.to_owned() };
        let record = record.with("revision", revision);
        match self.store.publish(&publication).await.map_err(|error| failed(&error))? {
            Some(work) => self.settle(work, record).await?,
            None => {
                let message = "somebody else published meanwhile; look at what is in force now, and try again";
                return Err(self
                    .refuse(record, RequestError::new(ErrorCode::Conflict, message.to_owned()))
                    .await
                    .into());
            }
        }
        self.changed.notify_one();
        Ok(publication)
    }

    fn as_published(&self, version: &Version) -> Published {
        Published::new(&self.folders.resolvers, &version.source, version.number, &version.text, false)
    }

    /// What would be served with this version in place of the source's former one.
    async fn compile(&self, config: &GatewayConfig, set: &Set, new: Published) -> Result<Snapshot, Refusal> {
        let path = new.text.path.clone();
        let mut bindings = without(set, &new.source);
        bindings.push(new);
        match self.compile_set(config, bindings).await {
            Err(Refusal::Faults { mut own, others }) => {
                let all = own.len();
                own.keep(|fault| fault.file.path == path || fault.place == Default::default());
                let others = others + all - own.len();
                Err(Refusal::Faults { own, others })
            }
            other => other,
        }
    }

    async fn compile_set(&self, config: &GatewayConfig, bindings: Vec<Published>) -> Result<Snapshot, Refusal> {
        let (config, folders, variables) = (config.clone(), self.folders.clone(), Arc::clone(&self.variables));
        let _turn = self.compiling.acquire().await;
        let compiled = tokio::task::spawn_blocking(move || {
            let mut faults = Faults::default();
            let snapshot = Snapshot::load_under(config, &folders, &bindings, &*variables, &mut faults);
            snapshot.ok_or(Refusal::Faults { own: faults, others: 0 })
        });
        compiled.await.map_err(|_| Refusal::from(internal()))?
    }

    /// In the audit chain first, then in the store.
    async fn settle(&self, work: Work, record: AuditRecord) -> Result<(), RequestError> {
        self.audit.append(record).await.map_err(|error| unwritten(&error))?;
        work.commit().await.map_err(|error| failed(&error))
    }

    /// On record, where that can be: what was refused changes nothing.
    async fn refuse(&self, mut record: AuditRecord, error: RequestError) -> RequestError {
        record.outcome = Outcome::Rejected;
        record.errors = BTreeSet::from([error.code]);
        match self.audit.append(record).await {
            Ok(_) => error,
            Err(unwritable) => unwritten(&unwritable),
        }
    }
}

impl Act<'_> {
    fn record(&self, operation: &str, source: &str, number: i64) -> AuditRecord {
        AuditRecord::event(Kind::Registry, self.request_id, self.identity, operation)
            .with("source", source)
            .with("version", number)
    }
}

fn without(set: &Set, source: &str) -> Vec<Published> {
    set.bindings.iter().filter(|one| *one.source != *source).cloned().collect()
}

/// The source that a binding says it is of.
fn source_of(text: &str) -> Result<String, Refusal> {
    let mut faults = Faults::default();
    let file = crate::base::fault::SourceText::new("binding.yaml", text);
    match yaml::read::<SourceFile>(&file, &mut faults) {
        Some(read) => Ok(read.source.value),
        None => Err(Refusal::Faults { own: faults, others: 0 }),
    }
}

/// SHA-256, hex: what was published can be told from what was not.
fn digest(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bad(message: impl Into<String>) -> RequestError {
    RequestError::new(ErrorCode::BadRequest, message.into())
}

fn internal() -> RequestError {
    RequestError::new(ErrorCode::Internal, "the gateway failed; tell the operator the request id".to_owned())
}

fn failed(error: &sqlx::Error) -> RequestError {
    unreadable(error.to_string())
}

fn unreadable(error: String) -> RequestError {
    tracing::error!(error, "the registry cannot be used");
    let message = "the registry cannot be used now; what is in force stays; try again later";
    RequestError::new(ErrorCode::Internal, message.to_owned())
}

fn unwritten(error: &crate::audit::AuditError) -> RequestError {
    tracing::error!(%error, "the audit record of a source's version could not be written: nothing is changed");
    let message = "the audit record could not be written, so nothing is done; try again later";
    RequestError::new(ErrorCode::AuditUnavailable, message.to_owned())
}
