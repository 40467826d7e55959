//! Approvals: asked for, given or refused by a second person, used before anything is fetched.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::rows::{OPEN_MAX, insert, read, time};
use super::store::{Work, new_id};
use super::{Act, Approvals, Person, malformed, refused};
use crate::audit::{AuditRecord, Kind};
use crate::engine::error::RequestError;
use crate::identify::{DECLARED_CHARS_MAX, Identity, check_reason};
use crate::model::access::condition;
use crate::model::access::scans::is_scan;
use crate::model::access::{Access, Approved, Grant};

/// How long one may wait to be decided.
const UNDECIDED_MS_MAX: i64 = 7 * 24 * 3_600_000;
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
    pub(super) fn of(text: &str) -> Self {
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
    pub(super) subject: String,
    pub(super) decided_at: Option<Timestamp>,
}

/// What an approval would meet, of the role, for this purpose and case: of grants that need one for single records; of a
/// scan, what the role needs for it.
fn opened<'a>(
    access: &'a Access,
    role: &'a str,
    purpose: Option<&'a str>,
    case: Option<&'a str>,
    entity: &'a str,
) -> impl Iterator<Item = &'a condition::Approval> {
    let role = access.role(role);
    let of_scan = role.filter(|_| is_scan(entity)).and_then(|role| role.doors.scans.as_ref()?.approval.as_ref());
    let fits = move |grant: &&Grant| {
        let conditions = &grant.conditions;
        let purposes = &conditions.purposes;
        let purpose_fits = purposes.is_empty() || purpose.is_some_and(|name| purposes.iter().any(|one| **one == *name));
        purpose_fits && conditions.case.as_ref().is_none_or(|fits| case.is_some_and(|case| fits.is_match(case)))
    };
    let grants = move || {
        let all = role.into_iter().flat_map(|role| &role.grants);
        all.filter_map(move |at| Some((*at, access.grants.get(*at)?))).filter(move |(_, grant)| fits(grant))
    };
    let scans = grants().any(|(at, _)| access.scans_by(at));
    let of_record = move |(_, grant): (usize, &'a Grant)| {
        let on = access.relation(grant.relation)?;
        grant.conditions.approval.as_ref().filter(|_| *on.rule.on == *entity)
    };
    grants().filter_map(of_record).chain(of_scan.filter(|_| scans).map(|approval| &approval.needed))
}

impl Approvals {
    /// Asks for an approval.
    pub async fn request(&self, act: &Act<'_>, wanted: &Wanted) -> Result<Approval, RequestError> {
        let mut work = self.begin().await?;
        let done = match own(act, wanted, self.clock.now()) {
            Ok(requester) => self.requested(&mut work, act, requester, wanted).await,
            Err(error) => Err(error),
        };
        let record = act.event(Kind::Approval, "request");
        self.settle(work, self.told(record, act, wanted, done.as_ref().ok()), done).await
    }

    /// Approves something for somebody who did not ask first.
    pub async fn give(&self, act: &Act<'_>, requester: Person, wanted: &Wanted) -> Result<Approval, RequestError> {
        let mut work = self.begin().await?;
        // Whom the approver names is the approver's text, as any other.
        let record = act
            .event(Kind::Approval, "give")
            .with("requester", self.subjects.argument("requester", &requester.id))
            .with("requesterIssuer", self.known("issuer", &requester.issuer, self.knows(act, &requester.issuer)));
        let asked = match self.nameable(act, &requester) {
            Ok(()) => self.requested(&mut work, act, requester, wanted).await,
            Err(error) => Err(error),
        };
        let done = match asked {
            Ok(asked) => self.decided(&mut work, act, asked, &wanted.key, true).await,
            Err(error) => Err(error),
        };
        self.settle(work, self.told(record, act, wanted, done.as_ref().ok()), done).await
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
        let decides = "SELECT * FROM approval WHERE ends_at > ? AND (requester = ? AND requester_issuer = ? \
                       OR state = 'ASKED' AND requester <> ? AND role IN (SELECT value FROM json_each(?))) \
                       ORDER BY asked_at DESC LIMIT 10000";
        let all = sqlx::query(decides)
            .bind(now.as_millisecond())
            .bind(&person.id)
            .bind(&person.issuer)
            .bind(&person.id)
            .bind(serde_json::json!(decided_by(act.access, &roles)).to_string())
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

    /// The approval that a request names, where it is the caller's, for this purpose and case, and not used up.
    pub(crate) async fn check(&self, identity: &Identity, id: &str) -> Result<Approved, RequestError> {
        let approved = self.presented(identity, id).await?;
        if approved.is_used_up { Err(used_up()) } else { Ok(approved) }
    }

    /// As [`Self::check`], used up or not.
    pub(crate) async fn presented(&self, identity: &Identity, id: &str) -> Result<Approved, RequestError> {
        self.checked(identity, id, 0).await
    }

    /// As [`Self::presented`], for what goes on under a use that it has taken: that one does not count against it.
    pub(crate) async fn presented_taken(&self, identity: &Identity, id: &str) -> Result<Approved, RequestError> {
        self.checked(identity, id, 1).await
    }

    async fn checked(&self, identity: &Identity, id: &str, taken: u32) -> Result<Approved, RequestError> {
        let now = self.clock.now();
        let mut work = self.begin().await?;
        let found = self.find(&mut work, id).await;
        work.undo().await;
        let approval = found?.ok_or_else(nothing)?;
        let (id, subjects) = (approval.id.clone(), self.subjects.clone());
        let (of, subject) = (approval.entity.clone(), approval.subject.clone());
        let approval = Approval { used: approval.used.saturating_sub(taken), ..approval };
        let (_, by_role) = usable(&approval, identity, now)?;
        let decided = approval.decided_at.unwrap_or(Timestamp::MIN);
        Ok(Approved {
            id,
            role: approval.role,
            by_role,
            minutes_since: now.as_second().saturating_sub(decided.as_second()).div_euclid(60),
            used: approval.used,
            is_used_up: approval.used >= approval.uses,
            is_of: Arc::new(move |entity, key| entity == of && subjects.subject(entity, key).to_string() == subject),
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

    /// What was asked for, in the record: names that are declared here stand as they are, anything else only as a keyed
    /// digest, since whoever writes it decides what is in it.
    fn told(&self, record: AuditRecord, act: &Act<'_>, wanted: &Wanted, done: Option<&Approval>) -> AuditRecord {
        let Wanted { role, purpose, case, .. } = wanted;
        let mut record = record
            .with("role", self.known("role", role, act.access.role(role).is_some()))
            .with("subject", self.subjects.subject(&wanted.entity, &wanted.key));
        record.purpose = purpose.clone().filter(|purpose| self.purposes.contains(purpose));
        record.case = case.clone().filter(|case| is_case(act.access, role, case));
        for (name, written, kept) in [("purpose", purpose, &record.purpose), ("case", case, &record.case)] {
            if let Some(written) = written.as_ref().filter(|_| kept.is_none()) {
                record.details.insert(name.to_owned(), self.subjects.argument(name, written).into());
            }
        }
        match done {
            Some(done) => {
                record.with("approval", done.id.as_str()).with("uses", done.uses).with("minutes", done.minutes)
            }
            None => record,
        }
    }

    fn known(&self, name: &str, written: &str, is_known: bool) -> String {
        if is_known { written.to_owned() } else { self.subjects.argument(name, written) }
    }

    /// Whether tokens of this issuer are accepted here.
    fn knows(&self, act: &Act<'_>, issuer: &str) -> bool {
        let own = act.identity.principal.as_ref().is_some_and(|principal| principal.issuer == *issuer);
        own || self.issuers.contains(issuer)
    }

    /// Whom an approver may name.
    fn nameable(&self, act: &Act<'_>, requester: &Person) -> Result<(), RequestError> {
        if requester.id.is_empty() || is_long(&requester.id) {
            let message = format!("name who is to look at it: an id of at most {DECLARED_CHARS_MAX} characters");
            return Err(malformed(message));
        }
        if !self.knows(act, &requester.issuer) {
            return Err(malformed("there is no such issuer; name the one whose tokens the requester shows"));
        }
        Ok(())
    }

    async fn requested(
        &self,
        work: &mut Work<'_>,
        act: &Act<'_>,
        requester: Person,
        wanted: &Wanted,
    ) -> Result<Approval, RequestError> {
        check_reason(&wanted.reason).map_err(malformed)?;
        if wanted.key.is_empty() || wanted.key.chars().count() > KEY_CHARS_MAX {
            return Err(malformed("name the record, by its type and key"));
        }
        let Wanted { role, purpose, case, entity, .. } = wanted;
        if [Some(role), purpose.as_ref(), case.as_ref()].into_iter().flatten().any(|name| is_long(name)) {
            return Err(malformed(format!("role, purpose and case have at most {DECLARED_CHARS_MAX} characters each")));
        }
        if act.access.role(role).is_none() {
            return Err(malformed("there is no such role; name the requester's role whose grant needs the approval"));
        }
        if purpose.as_ref().is_some_and(|purpose| !self.purposes.contains(purpose)) {
            return Err(malformed("there is no such purpose; name the one that the look is to declare, or none"));
        }
        let needed: Vec<&condition::Approval> =
            opened(act.access, role, purpose.as_deref(), case.as_deref(), entity).collect();
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
            subject: self.subjects.subject(entity, &wanted.key).to_string(),
            decided_at: None,
        };
        insert(work.db(), &asked, now).await.map_err(|error| self.failed(&error))?.then_some(asked).ok_or_else(|| {
            let message = "approvals of this person are open or were taken back within a day; use them, or wait";
            refused(format!("{OPEN_MAX} {message}"))
        })
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
        if self.subjects.subject(&asked.entity, key).to_string() != asked.subject {
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
        if found.used >= found.uses {
            return Err(used_up());
        }
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

/// The requester of one's own approval: whoever holds the role, from where it counts.
fn own(act: &Act<'_>, wanted: &Wanted, now: Timestamp) -> Result<Person, RequestError> {
    let requester = Person::of(act.identity)?;
    if !act.roles(now).contains(&wanted.role) {
        return Err(refused("this is no role of yours that counts from here; ask with the one that is to look"));
    }
    Ok(requester)
}

fn is_long(name: &str) -> bool {
    name.chars().count() > DECLARED_CHARS_MAX
}

/// Whether some grant of the role asks for case numbers of this form.
fn is_case(access: &Access, role: &str, case: &str) -> bool {
    let grants = access.role(role).into_iter().flat_map(|role| &role.grants).filter_map(|at| access.grants.get(*at));
    let mut forms = grants.filter_map(|grant| grant.conditions.case.as_ref());
    !is_long(case) && forms.any(|form| form.is_match(case))
}

/// The names of the roles of whose approvals some may be decided by these.
fn decided_by<'a>(access: &'a Access, roles: &[String]) -> Vec<&'a str> {
    let decides = |needed: &condition::Approval| needed.by.iter().any(|by| roles.iter().any(|role| **role == **by));
    let by = |grant: &&Grant| grant.conditions.approval.as_ref().is_some_and(decides);
    let of_records = access.grants.iter().filter(by).map(|grant| &*grant.role);
    let scans = access.roles.iter().filter_map(|role| Some((role, role.doors.scans.as_ref()?.approval.as_ref()?)));
    let of_scans = scans.filter(|(_, approval)| decides(&approval.needed)).map(|(role, _)| &*role.name);
    of_records.chain(of_scans).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Of the deciding person's roles, one that may approve this.
fn decider_role(access: &Access, asked: &Approval, roles: &[String]) -> Option<String> {
    let purpose = asked.purpose.as_deref();
    opened(access, &asked.role, purpose, asked.case.as_deref(), &asked.entity)
        .flat_map(|needed| &needed.by)
        .find(|by| roles.iter().any(|role| **role == ***by))
        .map(ToString::to_string)
}

/// Whether it counts for this caller now, used up or not, and who gave it as what.
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
    if approval.purpose != identity.purpose || approval.case != identity.case {
        return Err(refused("the approval is for another purpose or case; declare those that it was given for"));
    }
    Ok(decider)
}

/// What was given for so many requests, or scans, counts for no more.
pub(crate) fn used_up() -> RequestError {
    refused("the approval is used up; ask for another")
}

/// Another's approval looks like one that is not there.
fn nothing() -> RequestError {
    refused("there is no such approval of yours")
}

/// What callers name, no longer than an id is.
fn short(id: &str) -> String {
    id.chars().take(64).collect()
}
