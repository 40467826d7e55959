//! Approvals: asked for, given or refused by a second person, used before anything is fetched.

use std::sync::Arc;

use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::store::{Work, new_id};
use super::{Act, Approvals, Person, malformed, refused};
use crate::audit::Kind;
use crate::engine::error::RequestError;
use crate::identify::{Identity, check_reason};
use crate::model::access::condition;
use crate::model::access::{Access, Approved, Grant};

/// Approvals of one requester that are open or still good.
const OPEN_MAX: i64 = 100;
/// How long one may wait to be decided.
const UNDECIDED_MS_MAX: i64 = 7 * 24 * 3_600_000;
/// How long it is kept after its end; what was done is in the audit chain for longer.
const KEPT_MS: i64 = 30 * 24 * 3_600_000;
const LISTED_MAX: i64 = 200;
const KEY_CHARS_MAX: usize = 256;

/// What somebody asks an approval for.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub role: String,
    pub purpose: Option<String>,
    pub case: Option<String>,
    /// The record's type in the contract, and its key.
    pub entity: String,
    pub key: String,
    pub reason: String,
    /// Less than the grant allows, where it is given.
    pub minutes: Option<u32>,
    pub uses: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Asked,
    Given,
    Refused,
    Withdrawn,
}

impl State {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "ASKED",
            Self::Given => "GIVEN",
            Self::Refused => "REFUSED",
            Self::Withdrawn => "WITHDRAWN",
        }
    }

    /// What is not known is as good as withdrawn.
    fn of(text: &str) -> Self {
        let all = [Self::Asked, Self::Given, Self::Refused];
        all.into_iter().find(|state| state.as_str() == text).unwrap_or(Self::Withdrawn)
    }
}

/// One approval, without its record: only whoever knows that can name it.
#[derive(Debug, Clone)]
pub struct Approval {
    pub id: String,
    pub state: State,
    pub requester: Person,
    pub role: String,
    pub purpose: Option<String>,
    pub case: Option<String>,
    pub entity: String,
    pub reason: String,
    pub asked_at: Timestamp,
    pub minutes: u32,
    pub uses: u32,
    pub used: u32,
    pub decider: Option<(Person, String)>,
    /// Until when it must be decided; or, given, until when it counts.
    pub ends_at: Timestamp,
    subject: String,
    decided_at: Option<Timestamp>,
}

/// The grants that an approval would open: those of the role that need one, for this purpose and case.
fn opened<'a>(
    access: &'a Access,
    role: &'a str,
    purpose: Option<&'a str>,
    case: Option<&'a str>,
    entity: &'a str,
) -> impl Iterator<Item = (&'a Grant, &'a condition::Approval)> {
    let grants = access.role(role).into_iter().flat_map(|role| &role.grants).filter_map(|at| access.grants.get(*at));
    grants.filter_map(move |grant| {
        let conditions = &grant.conditions;
        let purposes = &conditions.purposes;
        let purpose_fits = purposes.is_empty() || purpose.is_some_and(|name| purposes.iter().any(|one| **one == *name));
        let case_fits = conditions.case.as_ref().is_none_or(|fits| case.is_some_and(|case| fits.is_match(case)));
        let on = access.relation(grant.relation)?;
        let fits = purpose_fits && case_fits && *on.rule.on == *entity;
        conditions.approval.as_ref().filter(|_| fits).map(|approval| (grant, approval))
    })
}

impl Approvals {
    /// Asks for an approval.
    pub async fn request(&self, act: &Act<'_>, wanted: &Wanted) -> Result<Approval, RequestError> {
        let mut work = self.begin().await?;
        let done = self.requested(&mut work, act, Person::of(act.identity), wanted).await;
        let record = act.event(Kind::Approval, "request").with("role", wanted.role.as_str());
        self.settle(work, self.told(record, wanted, done.as_ref().ok()), done).await
    }

    /// Approves something for somebody who did not ask first.
    pub async fn give(&self, act: &Act<'_>, requester: Person, wanted: &Wanted) -> Result<Approval, RequestError> {
        let mut work = self.begin().await?;
        let record = act.event(Kind::Approval, "give").with("role", wanted.role.as_str());
        let record = record.with("requester", requester.id.as_str()).with("requesterIssuer", requester.issuer.as_str());
        let asked = self.requested(&mut work, act, Ok(requester), wanted).await;
        let done = match asked {
            Ok(asked) => self.decided(&mut work, act, asked, &wanted.key, true).await,
            Err(error) => Err(error),
        };
        self.settle(work, self.told(record, wanted, done.as_ref().ok()), done).await
    }

    /// Gives or refuses what was asked for. Whoever decides names the record too.
    pub async fn decide(&self, act: &Act<'_>, id: &str, key: &str, gives: bool) -> Result<Approval, RequestError> {
        let mut work = self.begin().await?;
        let record = act.event(Kind::Approval, if gives { "give" } else { "refuse" }).with("approval", short(id));
        let done = match self.find(&mut work, id).await {
            Ok(Some(asked)) => self.decided(&mut work, act, asked, key, gives).await,
            Ok(None) => Err(refused("there is no such approval")),
            Err(error) => Err(error),
        };
        let record = match &done {
            Ok(done) => record.with("requester", done.requester.id.as_str()).with("subject", done.subject.as_str()),
            Err(_) => record,
        };
        self.settle(work, record, done).await
    }

    /// Takes back what oneself asked for or gave; it counts no more.
    pub async fn withdraw(&self, act: &Act<'_>, id: &str) -> Result<Approval, RequestError> {
        let mut work = self.begin().await?;
        let record = act.event(Kind::Approval, "withdraw").with("approval", short(id));
        let done = self.withdrawn(&mut work, act, id).await;
        self.settle(work, record, done).await
    }

    /// What the caller asked for, and what waits for a decision that the caller may make; newest first.
    pub async fn list(&self, act: &Act<'_>) -> Result<Vec<Approval>, RequestError> {
        let now = self.clock.now();
        let person = Person::of(act.identity)?;
        let roles = act.roles(now);
        let mut work = self.begin().await?;
        let all = sqlx::query("SELECT * FROM approval WHERE ends_at > ? ORDER BY asked_at DESC LIMIT 10000")
            .bind(now.as_millisecond())
            .fetch_all(work.db())
            .await;
        work.undo().await;
        let all: Vec<Approval> = all
            .and_then(|rows| rows.iter().map(read).collect::<Result<_, _>>())
            .map_err(|error| self.failed(&error))?;
        let mine = |approval: &Approval| {
            let own = approval.requester == person;
            let waits = approval.state == State::Asked && !approval.requester.may_be(&person);
            own || waits && decider_role(act.access, approval, &roles).is_some()
        };
        Ok(all.into_iter().filter(mine).take(usize::try_from(LISTED_MAX).unwrap_or(0)).collect())
    }

    /// The approval that a request names, where it is the caller's and for this purpose and case.
    pub(crate) async fn check(&self, identity: &Identity, id: &str) -> Result<Approved, RequestError> {
        let now = self.clock.now();
        let mut work = self.begin().await?;
        let found = self.find(&mut work, id).await;
        work.undo().await;
        let approval = found?.ok_or_else(nothing)?;
        let (id, subjects) = (approval.id.clone(), self.subjects.clone());
        let (of, subject) = (approval.entity.clone(), approval.subject.clone());
        let (_, by_role) = usable(&approval, identity, now)?;
        let decided = approval.decided_at.unwrap_or(Timestamp::MIN);
        Ok(Approved {
            id,
            role: approval.role,
            by_role,
            minutes_since: now.as_second().saturating_sub(decided.as_second()).div_euclid(60),
            used: approval.used,
            is_of: Arc::new(move |entity, key| entity == of && subjects.subject(entity, key) == subject),
        })
    }

    /// Uses it up once, durably: of two requests that come at once for the last use, one goes on.
    pub(crate) async fn take(&self, act: &Act<'_>, id: &str) -> Result<(), RequestError> {
        let now = self.clock.now();
        let mut work = self.begin().await?;
        let record = act.event(Kind::Approval, "use").with("approval", short(id));
        let done = self.taken(&mut work, act, id, now).await;
        let record = match &done {
            Ok((approval, decider)) => record
                .with("subject", approval.subject.as_str())
                .with("decider", decider.id.as_str())
                .with("used", approval.used.saturating_add(1)),
            Err(_) => record,
        };
        self.settle(work, record, done.map(drop)).await
    }

    fn told(
        &self,
        record: crate::audit::AuditRecord,
        wanted: &Wanted,
        done: Option<&Approval>,
    ) -> crate::audit::AuditRecord {
        let mut record = record.with("subject", self.subjects.subject(&wanted.entity, &wanted.key));
        record.purpose.clone_from(&wanted.purpose);
        record.case.clone_from(&wanted.case);
        match done {
            Some(done) => {
                record.with("approval", done.id.as_str()).with("uses", done.uses).with("minutes", done.minutes)
            }
            None => record,
        }
    }

    async fn requested(
        &self,
        work: &mut Work<'_>,
        act: &Act<'_>,
        requester: Result<Person, RequestError>,
        wanted: &Wanted,
    ) -> Result<Approval, RequestError> {
        let requester = requester?;
        check_reason(&wanted.reason).map_err(malformed)?;
        if wanted.key.is_empty() || wanted.key.chars().count() > KEY_CHARS_MAX || requester.id.is_empty() {
            return Err(malformed("name the record, and who is to look at it"));
        }
        let Wanted { role, purpose, case, entity, .. } = wanted;
        let needed: Vec<&condition::Approval> =
            opened(act.access, role, purpose.as_deref(), case.as_deref(), entity).map(|(_, needed)| needed).collect();
        let (Some(minutes_max), Some(uses_max)) =
            (needed.iter().map(|one| one.valid_minutes_max).max(), needed.iter().map(|one| one.uses).max())
        else {
            let message = "no grant of this role needs an approval for this purpose and case; see `huxiang access`";
            return Err(refused(message));
        };
        let now = self.clock.now().as_millisecond();
        let asked = Approval {
            id: new_id()?,
            state: State::Asked,
            requester,
            role: role.clone(),
            purpose: purpose.clone(),
            case: case.clone(),
            entity: entity.clone(),
            reason: wanted.reason.clone(),
            asked_at: time(now),
            minutes: wanted.minutes.unwrap_or(minutes_max).clamp(1, minutes_max),
            uses: wanted.uses.unwrap_or(uses_max).clamp(1, uses_max),
            used: 0,
            decider: None,
            ends_at: time(now.saturating_add(UNDECIDED_MS_MAX)),
            subject: self.subjects.subject(entity, &wanted.key),
            decided_at: None,
        };
        insert(work.db(), &asked, now)
            .await
            .map_err(|error| self.failed(&error))?
            .then_some(asked)
            .ok_or_else(|| refused(format!("there are {OPEN_MAX} approvals of this person already; withdraw some")))
    }

    async fn decided(
        &self,
        work: &mut Work<'_>,
        act: &Act<'_>,
        asked: Approval,
        key: &str,
        gives: bool,
    ) -> Result<Approval, RequestError> {
        let now = self.clock.now();
        let decider = Person::of(act.identity)?;
        let Some(role) = decider_role(act.access, &asked, &act.roles(now)) else {
            return Err(refused("no role of yours that counts from here may approve this"));
        };
        if decider.may_be(&asked.requester) {
            return Err(refused("nobody approves what they ask for themselves; a second person must"));
        }
        if asked.state != State::Asked || asked.ends_at <= now {
            return Err(refused("this approval does not wait for a decision any more"));
        }
        if self.subjects.subject(&asked.entity, key) != asked.subject {
            return Err(refused("the record you name is not the one that was asked for"));
        }
        let state = if gives { State::Given } else { State::Refused };
        let ends = now.as_millisecond().saturating_add(i64::from(asked.minutes) * 60_000);
        let update = "UPDATE approval SET state = ?, decider = ?, decider_issuer = ?, decider_role = ?, decided_at = ?, \
                      ends_at = ? WHERE id = ?";
        sqlx::query(update)
            .bind(state.as_str())
            .bind(&decider.id)
            .bind(&decider.issuer)
            .bind(&role)
            .bind(now.as_millisecond())
            .bind(ends)
            .bind(&asked.id)
            .execute(work.db())
            .await
            .map_err(|error| self.failed(&error))?;
        Ok(Approval { state, decider: Some((decider, role)), decided_at: Some(now), ends_at: time(ends), ..asked })
    }

    async fn withdrawn(&self, work: &mut Work<'_>, act: &Act<'_>, id: &str) -> Result<Approval, RequestError> {
        let person = Person::of(act.identity)?;
        let found = self.find(work, id).await?.ok_or_else(nothing)?;
        let own = found.requester == person || found.decider.as_ref().is_some_and(|(decider, _)| *decider == person);
        if !own {
            return Err(nothing());
        }
        sqlx::query("UPDATE approval SET state = 'WITHDRAWN' WHERE id = ?")
            .bind(&found.id)
            .execute(work.db())
            .await
            .map_err(|error| self.failed(&error))?;
        Ok(Approval { state: State::Withdrawn, ..found })
    }

    async fn taken(
        &self,
        work: &mut Work<'_>,
        act: &Act<'_>,
        id: &str,
        now: Timestamp,
    ) -> Result<(Approval, Person), RequestError> {
        let found = self.find(work, id).await?.ok_or_else(nothing)?;
        let (decider, _) = usable(&found, act.identity, now)?;
        sqlx::query("UPDATE approval SET used = used + 1 WHERE id = ?")
            .bind(&found.id)
            .execute(work.db())
            .await
            .map_err(|error| self.failed(&error))?;
        Ok((found, decider))
    }

    async fn find(&self, work: &mut Work<'_>, id: &str) -> Result<Option<Approval>, RequestError> {
        let row = sqlx::query("SELECT * FROM approval WHERE id = ?").bind(id).fetch_optional(work.db()).await;
        row.and_then(|row| row.as_ref().map(read).transpose()).map_err(|error| self.failed(&error))
    }
}

/// Of the deciding person's roles, one that may approve this.
fn decider_role(access: &Access, asked: &Approval, roles: &[String]) -> Option<String> {
    let purpose = asked.purpose.as_deref();
    opened(access, &asked.role, purpose, asked.case.as_deref(), &asked.entity)
        .flat_map(|(_, needed)| &needed.by)
        .find(|by| roles.iter().any(|role| **role == ***by))
        .map(ToString::to_string)
}

/// Whether it counts for this caller now, and who gave it as what.
fn usable(approval: &Approval, identity: &Identity, now: Timestamp) -> Result<(Person, String), RequestError> {
    if Person::of(identity)? != approval.requester {
        return Err(nothing());
    }
    let Some(decider) = approval.decider.clone().filter(|_| approval.state == State::Given) else {
        return Err(refused(match approval.state {
            State::Asked | State::Given => "the approval is not given yet; ask the second person",
            State::Refused => "the approval was refused",
            State::Withdrawn => "the approval was withdrawn",
        }));
    };
    if approval.ends_at <= now {
        return Err(refused("the approval has ended; ask for another"));
    }
    if approval.used >= approval.uses {
        return Err(refused("the approval is used up; ask for another"));
    }
    if approval.purpose != identity.purpose || approval.case != identity.case {
        return Err(refused("the approval is for another purpose or case; declare those that it was given for"));
    }
    Ok(decider)
}

/// Another's approval looks like one that is not there.
fn nothing() -> RequestError {
    refused("there is no such approval of yours")
}

/// False where the person has too many.
async fn insert(db: &mut SqliteConnection, asked: &Approval, now: i64) -> Result<bool, sqlx::Error> {
    sqlx::query("DELETE FROM approval WHERE ends_at < ?").bind(now.saturating_sub(KEPT_MS)).execute(&mut *db).await?;
    let open = "SELECT COUNT(*) FROM approval WHERE requester = ? AND state IN ('ASKED', 'GIVEN') AND ends_at > ?";
    let open = sqlx::query(open).bind(&asked.requester.id).bind(now).fetch_one(&mut *db).await?;
    if open.try_get::<i64, _>(0)? >= OPEN_MAX {
        return Ok(false);
    }
    let insert = "INSERT INTO approval (id, state, entity, subject, requester, requester_issuer, role, purpose, \
                  case_number, reason, asked_at, minutes, uses, used, ends_at) \
                  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?)";
    sqlx::query(insert)
        .bind(&asked.id)
        .bind(asked.state.as_str())
        .bind(&asked.entity)
        .bind(&asked.subject)
        .bind(&asked.requester.id)
        .bind(&asked.requester.issuer)
        .bind(&asked.role)
        .bind(&asked.purpose)
        .bind(&asked.case)
        .bind(&asked.reason)
        .bind(asked.asked_at.as_millisecond())
        .bind(i64::from(asked.minutes))
        .bind(i64::from(asked.uses))
        .bind(asked.ends_at.as_millisecond())
        .execute(db)
        .await?;
    Ok(true)
}

fn read(row: &SqliteRow) -> Result<Approval, sqlx::Error> {
    let number = |name: &str| row.try_get::<i64, _>(name).map(|value| u32::try_from(value).unwrap_or(0));
    let decider: Option<String> = row.try_get("decider")?;
    let issuer: Option<String> = row.try_get("decider_issuer")?;
    let role: Option<String> = row.try_get("decider_role")?;
    let decided: Option<i64> = row.try_get("decided_at")?;
    Ok(Approval {
        id: row.try_get("id")?,
        state: State::of(row.try_get("state")?),
        requester: Person { id: row.try_get("requester")?, issuer: row.try_get("requester_issuer")? },
        role: row.try_get("role")?,
        purpose: row.try_get("purpose")?,
        case: row.try_get("case_number")?,
        entity: row.try_get("entity")?,
        reason: row.try_get("reason")?,
        asked_at: time(row.try_get("asked_at")?),
        minutes: number("minutes")?,
        uses: number("uses")?,
        // What cannot be read counts as used up.
        used: u32::try_from(row.try_get::<i64, _>("used")?).unwrap_or(u32::MAX),
        decider: decider.zip(issuer).zip(role).map(|((id, issuer), role)| (Person { id, issuer }, role)),
        ends_at: time(row.try_get("ends_at")?),
        subject: row.try_get("subject")?,
        decided_at: decided.map(time),
    })
}

pub(super) fn time(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MIN)
}

/// What callers name, no longer than an id is.
fn short(id: &str) -> String {
    id.chars().take(64).collect()
}
