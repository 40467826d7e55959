//! For whoever asks for approvals, gives them, and reviews emergencies. Which role may do which stands in the grants
//! themselves (`config/roles.yaml`), so no part of this API decides it.

use async_graphql::{Context, Enum, Guard, InputObject, Object, Result, SimpleObject};

use super::session::{Session, refused, session};
use crate::approval::{Act, Approval, Emergency, Person, State, Wanted};
use crate::audit::timestamp;
use crate::base::code::ErrorCode;
use crate::engine::error::RequestError;

#[derive(Default)]
pub struct SecondQuery;

#[derive(Default)]
pub struct SecondMutation;

/// Lets a field be asked by everybody with a token; what it may do is decided by what it is about.
struct Somebody;

impl Guard for Somebody {
    async fn check(&self, context: &Context<'_>) -> Result<()> {
        session(context)?.somebody(context.field().name())
    }
}

/// Somebody with a token.
#[derive(SimpleObject)]
#[graphql(name = "Person")]
pub(super) struct Named {
    id: String,
    issuer: String,
}

#[derive(Enum, Clone, Copy, PartialEq, Eq)]
enum ApprovalState {
    Asked,
    Given,
    Refused,
    Withdrawn,
}

/// An approval. The record it is for is known only to who asked and who decides.
#[derive(SimpleObject)]
#[graphql(name = "Approval")]
struct Shown {
    /// What requests carry as `extensions.approval`.
    id: String,
    state: ApprovalState,
    requester: Named,
    role: String,
    purpose: Option<String>,
    case: Option<String>,
    /// The record's type.
    entity: String,
    reason: String,
    asked_at: String,
    /// How long it counts once it is given.
    minutes: u32,
    uses: u32,
    used: u32,
    decider: Option<Named>,
    /// Until when it must be decided; given: until when it counts.
    ends_at: String,
}

/// An emergency that somebody declared.
#[derive(SimpleObject)]
#[graphql(name = "Emergency")]
struct Declared {
    id: String,
    person: Named,
    purpose: Option<String>,
    case: Option<String>,
    reason: String,
    opened_at: String,
    last_at: String,
    /// Requests made under it.
    looks: u32,
    /// Of the first of them, as it stands in the audit records.
    request_id: String,
    /// Until when it must be reviewed.
    due_at: String,
    reviewed_by: Option<Named>,
    reviewed_at: Option<String>,
    justified: Option<bool>,
    note: Option<String>,
}

/// What an approval is asked for.
#[derive(InputObject)]
struct ApprovalInput {
    /// The requester's role whose grant needs it.
    role: String,
    purpose: Option<String>,
    case: Option<String>,
    /// The record's type in the contract, and its key.
    entity: String,
    key: String,
    /// Why, without id, telephone or account numbers.
    reason: String,
    /// Less than the grant allows.
    minutes: Option<u32>,
    uses: Option<u32>,
}

impl From<Person> for Named {
    fn from(person: Person) -> Self {
        Self { id: person.id, issuer: person.issuer }
    }
}

impl From<ApprovalInput> for Wanted {
    fn from(input: ApprovalInput) -> Self {
        let ApprovalInput { role, purpose, case, entity, key, reason, minutes, uses } = input;
        Self { role, purpose, case, entity, key, reason, minutes, uses }
    }
}

impl From<Approval> for Shown {
    fn from(approval: Approval) -> Self {
        Self {
            id: approval.id,
            state: match approval.state {
                State::Asked => ApprovalState::Asked,
                State::Given => ApprovalState::Given,
                State::Refused => ApprovalState::Refused,
                State::Withdrawn => ApprovalState::Withdrawn,
            },
            requester: approval.requester.into(),
            role: approval.role,
            purpose: approval.purpose,
            case: approval.case,
            entity: approval.entity,
            reason: approval.reason,
            asked_at: timestamp(approval.asked_at),
            minutes: approval.minutes,
            uses: approval.uses,
            used: approval.used,
            decider: approval.decider.map(|(decider, _)| decider.into()),
            ends_at: timestamp(approval.ends_at),
        }
    }
}

impl From<Emergency> for Declared {
    fn from(one: Emergency) -> Self {
        let (mut reviewed_by, mut reviewed_at, mut justified, mut note) = (None, None, None, None);
        if let Some(review) = one.review {
            (reviewed_by, reviewed_at) = (Some(review.by.into()), Some(timestamp(review.at)));
            (justified, note) = (Some(review.justified), Some(review.note));
        }
        Self {
            id: one.id,
            person: one.person.into(),
            purpose: one.purpose,
            case: one.case,
            reason: one.reason,
            opened_at: timestamp(one.opened_at),
            last_at: timestamp(one.last_at),
            looks: one.looks,
            request_id: one.request_id,
            due_at: timestamp(one.due_at),
            reviewed_by,
            reviewed_at,
            justified,
            note,
        }
    }
}

fn act(session: &Session) -> Act<'_> {
    let (access, identity) = (&session.gateway.snapshot().access, &session.identity);
    Act { access, identity, request_id: &session.request_id }
}

fn told<T, S: From<T>>(done: std::result::Result<T, RequestError>) -> Result<S> {
    done.map(S::from).map_err(|error| refused(error.code, error.message))
}

#[Object]
impl SecondQuery {
    /// Approvals that the caller asked for, or may decide; newest first.
    #[graphql(guard = "Somebody")]
    async fn approvals(&self, context: &Context<'_>) -> Result<Vec<Shown>> {
        let session = session(context)?;
        let found = session.gateway.approvals().list(&act(session)).await;
        let found = found.map_err(|error| refused(error.code, error.message))?;
        Ok(found.into_iter().map(Shown::from).collect())
    }

    /// Emergencies of the caller's own, and those that the caller may review; those that wait first.
    #[graphql(guard = "Somebody")]
    async fn emergencies(&self, context: &Context<'_>) -> Result<Vec<Declared>> {
        let session = session(context)?;
        let found = session.gateway.approvals().emergencies(&act(session)).await;
        let found = found.map_err(|error| refused(error.code, error.message))?;
        Ok(found.into_iter().map(Declared::from).collect())
    }
}

#[Object]
impl SecondMutation {
    /// Asks for an approval.
    #[graphql(guard = "Somebody")]
    async fn request_approval(&self, context: &Context<'_>, approval: ApprovalInput) -> Result<Shown> {
        let session = session(context)?;
        told(session.gateway.approvals().request(&act(session), &approval.into()).await)
    }

    /// Gives or refuses one that was asked for. `key` is the record's, named by whoever decides.
    #[graphql(guard = "Somebody")]
    async fn decide_approval(&self, context: &Context<'_>, id: String, key: String, give: bool) -> Result<Shown> {
        let session = session(context)?;
        told(session.gateway.approvals().decide(&act(session), &id, &key, give).await)
    }

    /// Gives one that nobody asked for first.
    #[graphql(guard = "Somebody")]
    async fn give_approval(
        &self,
        context: &Context<'_>,
        requester: String,
        issuer: String,
        approval: ApprovalInput,
    ) -> Result<Shown> {
        let session = session(context)?;
        let requester = Person { id: requester, issuer };
        told(session.gateway.approvals().give(&act(session), requester, &approval.into()).await)
    }

    /// Takes back one's own: it counts no more.
    #[graphql(guard = "Somebody")]
    async fn withdraw_approval(&self, context: &Context<'_>, id: String) -> Result<Shown> {
        let session = session(context)?;
        told(session.gateway.approvals().withdraw(&act(session), &id).await)
    }

    /// Closes an emergency of somebody else's with a verdict.
    #[graphql(guard = "Somebody")]
    async fn review_emergency(
        &self,
        context: &Context<'_>,
        id: String,
        justified: bool,
        note: String,
    ) -> Result<Declared> {
        let session = session(context)?;
        told(session.gateway.approvals().review(&act(session), &id, justified, &note).await)
    }
}

impl Session {
    /// Notes a field for the audit, and refuses visitors and those who hold two parts that exclude one another.
    fn somebody(&self, field: &str) -> Result<()> {
        let allowed = self.identity.principal.is_some() && !self.holds_two();
        self.note(field, allowed);
        if allowed {
            return Ok(());
        }
        let message = "not permitted: this needs a token, of which no two roles must be different people's";
        Err(refused(ErrorCode::Forbidden, message))
    }
}
