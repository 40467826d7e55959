//! For departments' stewards and heads, and for operators: bindings that are no files. A steward submits, the head of the
//! department decides, an operator puts into service; nobody does two of these with one version.

use std::sync::Arc;
use std::time::Duration;

use async_graphql::{Context, Enum, Object, Result, SimpleObject};
use jiff::Timestamp;

use super::second::Named;
use super::session::{
    Only, Session, department_head, of_registry, operator, operator_or_head, refused, session, steward,
};
use crate::audit::timestamp;
use crate::base::code::ErrorCode;
use crate::base::fault::{Fault, Faults};
use crate::engine::error::RequestError;
use crate::model::config::admin::Part;
use crate::registry::{Act, Publication, Refusal, Registry, Review, State, Step, Version};

/// How long an answer waits for what it published to come into force here.
const IN_FORCE_MAX: Duration = Duration::from_secs(5);

#[derive(Default)]
pub struct RegistryQuery;

#[derive(Default)]
pub struct RegistryMutation;

#[derive(Enum, Clone, Copy, PartialEq, Eq)]
enum VersionState {
    /// Nobody has decided on it.
    Submitted,
    Approved,
    Rejected,
}

#[derive(Enum, Clone, Copy, PartialEq, Eq)]
enum PublicationState {
    Published,
    /// Not asked any more; what it fills is not available.
    Withdrawn,
    /// Not there any more.
    Removed,
}

/// A binding in one of its versions.
#[derive(SimpleObject)]
#[graphql(name = "SourceVersion")]
struct ShownVersion {
    source: String,
    /// From 1, by source.
    number: i64,
    state: VersionState,
    /// The binding, in YAML.
    text: String,
    note: String,
    submitted_by: Named,
    submitted_at: String,
    decided_by: Option<Named>,
    decided_at: Option<String>,
    decision: Option<String>,
}

/// What was put into service, or taken out of it.
#[derive(SimpleObject)]
#[graphql(name = "SourcePublication")]
struct ShownPublication {
    /// Of the whole registry, from 1.
    revision: i64,
    source: String,
    number: i64,
    state: PublicationState,
    by: Named,
    at: String,
    note: String,
    /// This gateway serves it already; others with the same registry follow within seconds.
    in_force: bool,
}

/// A source of the registry.
#[derive(SimpleObject)]
struct RegisteredSource {
    id: String,
    /// The number of its newest version.
    newest: i64,
    /// None: nothing was ever put into service.
    publication: Option<ShownPublication>,
}

/// A fault of a binding, as a compiler would tell it.
#[derive(SimpleObject)]
struct BindingFault {
    /// From 1; 0: the binding as a whole.
    line: usize,
    column: usize,
    message: String,
    /// What to do next.
    hint: String,
}

/// What came of a submission.
#[derive(SimpleObject)]
struct Submission {
    /// None: it has faults, and was not kept.
    version: Option<ShownVersion>,
    faults: Vec<BindingFault>,
    /// The faults as `huxiang check` prints them, with excerpts.
    rendered: String,
}

/// What a version would change of what is in force.
#[derive(SimpleObject)]
struct SourceReview {
    /// Its text against the one in force, as a unified diff.
    diff: String,
    /// Fields and queries that nobody answers for now.
    gained: Vec<String>,
    /// Fields and queries that nobody would answer for any more.
    lost: Vec<String>,
    /// Fields and queries that another source would answer for.
    moved: Vec<String>,
    /// Operations of frontends that would get less: of trusted documents, and of those asked here not long ago.
    breaks: Vec<Broken>,
}

/// An operation that would get less.
#[derive(SimpleObject)]
struct Broken {
    /// The trusted document it stands in.
    document_id: Option<String>,
    /// Its name.
    operation: Option<String>,
    fields: Vec<String>,
}

impl From<Version> for ShownVersion {
    fn from(version: Version) -> Self {
        let (mut decided_by, mut decided_at, mut decision) = (None, None, None);
        if let Some(decided) = version.decision {
            (decided_by, decided_at) = (Some(decided.by.into()), Some(at(decided.at)));
            decision = Some(decided.note);
        }
        Self {
            state: match version.approved {
                None => VersionState::Submitted,
                Some(true) => VersionState::Approved,
                Some(false) => VersionState::Rejected,
            },
            source: version.source,
            number: version.number,
            text: version.text,
            note: version.note,
            submitted_by: version.submitted_by.into(),
            submitted_at: at(version.submitted_at),
            decided_by,
            decided_at,
            decision,
        }
    }
}

impl ShownPublication {
    fn new(session: &Session, publication: Publication) -> Self {
        let in_force = session.gateway.versions().known().in_force.map_or(0, |version| version.revision);
        Self {
            in_force: in_force >= publication.revision,
            revision: publication.revision,
            source: publication.source,
            number: publication.number,
            state: match publication.state {
                State::Published => PublicationState::Published,
                State::Withdrawn => PublicationState::Withdrawn,
                State::Removed => PublicationState::Removed,
            },
            by: publication.by.into(),
            at: at(publication.at),
            note: publication.note,
        }
    }
}

impl From<&Fault> for BindingFault {
    fn from(fault: &Fault) -> Self {
        let Fault { place, message, hint, .. } = fault;
        Self { line: place.line, column: place.column, message: message.clone(), hint: hint.clone() }
    }
}

impl From<Review> for SourceReview {
    fn from(review: Review) -> Self {
        let Review { diff, gained, lost, moved, breaks } = review;
        let broken = |one: crate::registry::Break| Broken {
            document_id: one.document_id,
            operation: one.operation,
            fields: one.fields,
        };
        Self { diff, gained, lost, moved, breaks: breaks.into_iter().map(broken).collect() }
    }
}

fn at(microseconds: i64) -> String {
    Timestamp::from_microsecond(microseconds).map(timestamp).unwrap_or_default()
}

/// The registry of the gateway that is asked.
fn registry(session: &Session) -> Result<Arc<Registry>> {
    let none =
        || refused(ErrorCode::BadRequest, "this gateway has no registry; the operator names one in gateway.yaml");
    session.gateway.registry().map(Arc::clone).ok_or_else(none)
}

fn act(session: &Session) -> Act<'_> {
    Act { identity: &session.identity, request_id: &session.request_id }
}

fn told(error: RequestError) -> async_graphql::Error {
    refused(error.code, error.message)
}

/// For what is told in one message.
fn told_whole(refusal: Refusal) -> async_graphql::Error {
    match refusal {
        Refusal::Request(error) => told(error),
        Refusal::Faults { own, others } => {
            refused(ErrorCode::BadRequest, format!("not done: {}", rendered(&own, others)))
        }
    }
}

fn rendered(own: &Faults, others: usize) -> String {
    let rest = match others {
        0 => String::new(),
        others => {
            format!("{others} more in files that are not this binding; the operator sees them with `huxiang check`\n")
        }
    };
    format!("{}{rest}", own.render())
}

impl Session {
    /// Whether the caller speaks for a source, as the token's claim says; an operator may look at every one.
    fn speaks_for(&self, source: &str) -> std::result::Result<(), RequestError> {
        let config = self.gateway.snapshot().config.registry.as_ref();
        let claims = self.identity.principal.as_ref().map(|principal| &principal.claims);
        let claim = config.zip(claims).and_then(|(config, claims)| claims.get(&config.claim));
        let holds = claim.is_some_and(|claim| match claim {
            serde_json::Value::String(own) => own == source,
            serde_json::Value::Array(own) => own.iter().any(|own| own.as_str() == Some(source)),
            _ => false,
        });
        if holds {
            return Ok(());
        }
        let message = "not permitted: your token does not say that you speak for this source";
        Err(RequestError::new(ErrorCode::Forbidden, message.to_owned()))
    }

    fn may_look_at(&self, source: &str) -> Result<()> {
        if self.has(Part::Operator) {
            return Ok(());
        }
        self.speaks_for(source).map_err(told)
    }
}

#[Object]
impl RegistryQuery {
    /// The registry's sources: an operator's are all, a department's its own.
    #[graphql(guard = "Only(&[Part::Steward, Part::DepartmentHead, Part::Operator])", visible = "of_registry")]
    async fn registered_sources(&self, context: &Context<'_>) -> Result<Vec<RegisteredSource>> {
        let session = session(context)?;
        let found = registry(session)?.sources().await.map_err(told)?;
        let own = found.into_iter().filter(|(source, ..)| session.may_look_at(source).is_ok());
        let shown = own.map(|(id, newest, publication)| RegisteredSource {
            id,
            newest,
            publication: publication.map(|publication| ShownPublication::new(session, publication)),
        });
        Ok(shown.collect())
    }

    /// The versions of a source, newest first.
    #[graphql(guard = "Only(&[Part::Steward, Part::DepartmentHead, Part::Operator])", visible = "of_registry")]
    async fn source_versions(
        &self,
        context: &Context<'_>,
        source: String,
        #[graphql(desc = "Only those with a smaller number")] before: Option<i64>,
        #[graphql(default = 20)] first: i64,
    ) -> Result<Vec<ShownVersion>> {
        let session = session(context)?;
        session.may_look_at(&source)?;
        let found = registry(session)?.versions(&source, before, first).await.map_err(told)?;
        Ok(found.into_iter().map(ShownVersion::from).collect())
    }

    /// What was put into service of a source and taken out of it, newest first.
    #[graphql(guard = "Only(&[Part::Steward, Part::DepartmentHead, Part::Operator])", visible = "of_registry")]
    async fn source_publications(
        &self,
        context: &Context<'_>,
        source: String,
        #[graphql(default = 20)] first: i64,
    ) -> Result<Vec<ShownPublication>> {
        let session = session(context)?;
        session.may_look_at(&source)?;
        let found = registry(session)?.publications(&source, first).await.map_err(told)?;
        Ok(found.into_iter().map(|publication| ShownPublication::new(session, publication)).collect())
    }

    /// What a version would change of what is in force now; without a number, what withdrawing the source would.
    #[graphql(guard = "Only(&[Part::Steward, Part::DepartmentHead, Part::Operator])", visible = "of_registry")]
    async fn source_review(&self, context: &Context<'_>, source: String, number: Option<i64>) -> Result<SourceReview> {
        let session = session(context)?;
        session.may_look_at(&source)?;
        let registry = registry(session)?;
        let version = match number {
            Some(number) => Some(registry.version(&source, number).await.map_err(told)?),
            None => None,
        };
        let gateway = session.gateway.clone();
        let known = move || gateway.known_documents();
        let review = registry.review(&source, version.as_ref(), session.gateway.snapshot(), known).await;
        let mut review = review.map_err(told_whole)?;
        for broken in &mut review.breaks {
            // Callers choose names.
            let shown = broken.operation.take().map(|name| session.gateway.subjects().name(&name));
            broken.operation = shown;
        }
        Ok(review.into())
    }
}

#[Object]
impl RegistryMutation {
    /// Submits a binding of the own department's: checked with everything that is in force, and kept if it has no fault.
    #[graphql(guard = "Only(&[Part::Steward])", visible = "steward")]
    async fn submit_source(&self, context: &Context<'_>, text: String, note: String) -> Result<Submission> {
        let session = session(context)?;
        let config = &session.gateway.snapshot().config;
        let submitted =
            registry(session)?.submit(act(session), config, &text, &note, |source| session.speaks_for(source)).await;
        match submitted {
            Ok(version) => {
                Ok(Submission { version: Some(version.into()), faults: Vec::new(), rendered: String::new() })
            }
            Err(Refusal::Faults { own, others }) => Ok(Submission {
                version: None,
                faults: own.sorted().into_iter().map(BindingFault::from).collect(),
                rendered: rendered(&own, others),
            }),
            Err(Refusal::Request(error)) => Err(told(error)),
        }
    }

    /// Approves or rejects what somebody else of the own department submitted.
    #[graphql(guard = "Only(&[Part::DepartmentHead])", visible = "department_head")]
    async fn decide_source(
        &self,
        context: &Context<'_>,
        source: String,
        number: i64,
        approve: bool,
        note: String,
    ) -> Result<ShownVersion> {
        let session = session(context)?;
        session.speaks_for(&source).map_err(told)?;
        let decided = registry(session)?.decide(act(session), &source, number, approve, &note).await;
        decided.map(ShownVersion::from).map_err(told)
    }

    /// Puts an approved version into service; an older one takes the source back to it.
    #[graphql(guard = "Only(&[Part::Operator])", visible = "operator")]
    async fn publish_source(
        &self,
        context: &Context<'_>,
        source: String,
        number: i64,
        note: String,
    ) -> Result<ShownPublication> {
        take(session(context)?, &source, Step::Publish(number), &note).await
    }

    /// Takes a source out of service at once: it is not asked any more, and what it fills is not available.
    #[graphql(guard = "Only(&[Part::Operator, Part::DepartmentHead])", visible = "operator_or_head")]
    async fn withdraw_source(&self, context: &Context<'_>, source: String, note: String) -> Result<ShownPublication> {
        let session = session(context)?;
        session.may_look_at(&source)?;
        take(session, &source, Step::Withdraw, &note).await
    }

    /// Lets go of a withdrawn source, where another (or nobody in the contract) answers for its fields.
    #[graphql(guard = "Only(&[Part::Operator])", visible = "operator")]
    async fn remove_source(&self, context: &Context<'_>, source: String, note: String) -> Result<ShownPublication> {
        take(session(context)?, &source, Step::Remove, &note).await
    }
}

/// Does it, and waits a little for it to come into force here.
async fn take(session: &Session, source: &str, step: Step, note: &str) -> Result<ShownPublication> {
    let config = &session.gateway.snapshot().config;
    let taken = registry(session)?.take(act(session), config, source, step, note).await.map_err(told_whole)?;
    let until = tokio::time::Instant::now() + IN_FORCE_MAX;
    loop {
        let shown = ShownPublication::new(session, taken.clone());
        if shown.in_force || tokio::time::Instant::now() > until {
            return Ok(shown);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
