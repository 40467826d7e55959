//! Emergencies: what broke the glass, with its reason, until somebody else has reviewed it.

use std::collections::BTreeSet;

use jiff::Timestamp;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::rows::time;
use super::store::{Work, new_id};
use super::{Act, Approvals, Person, malformed, refused};
use crate::audit::Kind;
use crate::engine::error::RequestError;
use crate::identify::check_reason;

/// Requests for one reason, reviewed by one rule, within this time are one emergency.
const SAME_MS_MAX: i64 = 3_600_000;
/// Emergencies of one person that wait for their review.
const OPEN_MAX: usize = 20;
const LISTED_MAX: i64 = 200;
/// How long it is kept after its review.
const KEPT_MS: i64 = 3 * 366 * 24 * 3_600_000;

/// One emergency and how it was judged.
#[derive(Debug, Clone)]
pub struct Emergency {
    pub id: String,
    pub person: Person,
    pub purpose: Option<String>,
    pub case: Option<String>,
    pub reason: String,
    pub opened_at: Timestamp,
    pub last_at: Timestamp,
    /// Requests.
    pub looks: u32,
    /// Of the first of them: what was read stands in the audit records.
    pub request_id: String,
    /// Until when it must be reviewed.
    pub due_at: Timestamp,
    /// The roles of who may review it.
    pub review_by: Vec<String>,
    pub review: Option<Review>,
}

#[derive(Debug, Clone)]
pub struct Review {
    pub by: Person,
    pub at: Timestamp,
    pub justified: bool,
    pub note: String,
}

/// What the answer tells of an emergency that was just declared.
#[derive(Debug, Clone)]
pub struct Opened {
    pub id: String,
    pub due_at: Timestamp,
}

impl Approvals {
    /// Notes that the glass is broken, before anything is fetched. Refused where an earlier emergency of the person has
    /// not been reviewed in time.
    pub(crate) async fn break_glass(
        &self,
        act: &Act<'_>,
        reason: &str,
        review_by: &BTreeSet<&str>,
        review_hours_max: u32,
    ) -> Result<Opened, RequestError> {
        let mut work = self.begin().await?;
        let done = self.broken(&mut work, act, reason, review_by, review_hours_max).await;
        let record = act.event(Kind::Approval, "breakGlass").with("reason", self.subjects.argument("reason", reason));
        let record = match &done {
            Ok(opened) => record.with("emergency", opened.id.as_str()),
            Err(_) => record,
        };
        self.settle(work, record, done).await
    }

    /// Those that the caller may review, and the caller's own; those not yet reviewed first, by when it is due.
    pub async fn emergencies(&self, act: &Act<'_>) -> Result<Vec<Emergency>, RequestError> {
        let person = Person::of(act.identity)?;
        let roles = act.roles(self.clock.now());
        let mut work = self.begin().await?;
        let all = "SELECT * FROM emergency ORDER BY verdict IS NOT NULL, due_at LIMIT 10000";
        let all = sqlx::query(all).fetch_all(work.db()).await;
        work.undo().await;
        let all: Vec<Emergency> = all
            .and_then(|rows| rows.iter().map(read).collect::<Result<_, _>>())
            .map_err(|error| self.failed(&error))?;
        let mine = |one: &Emergency| one.person == person || may_review(one, &roles);
        Ok(all.into_iter().filter(mine).take(usize::try_from(LISTED_MAX).unwrap_or(0)).collect())
    }

    /// Closes one with a verdict. Nobody reviews their own.
    pub async fn review(
        &self,
        act: &Act<'_>,
        id: &str,
        justified: bool,
        note: &str,
    ) -> Result<Emergency, RequestError> {
        let mut work = self.begin().await?;
        let done = self.reviewed(&mut work, act, id, justified, note).await;
        let id: String = id.chars().take(64).collect();
        let record = act.event(Kind::BreakGlassReview, "review").with("emergency", id).with("justified", justified);
        self.settle(work, record, done).await
    }

    async fn broken(
        &self,
        work: &mut Work<'_>,
        act: &Act<'_>,
        reason: &str,
        review_by: &BTreeSet<&str>,
        review_hours_max: u32,
    ) -> Result<Opened, RequestError> {
        let person = Person::of(act.identity)?;
        let now = self.clock.now().as_millisecond();
        let failed = |error: sqlx::Error| self.failed(&error);
        let open = "SELECT * FROM emergency WHERE person = ? AND person_issuer = ? AND verdict IS NULL";
        let open = sqlx::query(open).bind(&person.id).bind(&person.issuer).fetch_all(work.db()).await;
        let open: Vec<Emergency> =
            open.and_then(|rows| rows.iter().map(read).collect::<Result<_, _>>()).map_err(failed)?;
        if open.iter().any(|one| one.due_at.as_millisecond() < now) {
            let message = "an earlier emergency of yours was not reviewed in time: have it reviewed first";
            return Err(refused(message));
        }
        let Act { identity, request_id, .. } = act;
        let review_ms_max = i64::from(review_hours_max) * 3_600_000;
        let same = open.iter().find(|one| {
            // Reviewed by others, or later, it is another.
            let due_ms = one.due_at.as_millisecond().saturating_sub(one.opened_at.as_millisecond());
            let rule = due_ms == review_ms_max && one.review_by.iter().map(|by| &**by).eq(review_by.iter().copied());
            let declared = (&one.reason[..], &one.purpose, &one.case) == (reason, &identity.purpose, &identity.case);
            rule && declared && now.saturating_sub(one.opened_at.as_millisecond()) < SAME_MS_MAX
        });
        if let Some(same) = same {
            let update = "UPDATE emergency SET looks = looks + 1, last_at = ? WHERE id = ?";
            sqlx::query(update).bind(now).bind(&same.id).execute(work.db()).await.map_err(failed)?;
            return Ok(Opened { id: same.id.clone(), due_at: same.due_at });
        }
        if open.len() >= OPEN_MAX {
            return Err(refused(format!(
                "{OPEN_MAX} emergencies of yours wait for a review: have them reviewed first"
            )));
        }
        let (id, due) = (new_id()?, now.saturating_add(review_ms_max));
        let roles = review_by.iter().copied().collect::<Vec<_>>().join("\n");
        sqlx::query("DELETE FROM emergency WHERE verdict IS NOT NULL AND reviewed_at < ?")
            .bind(now.saturating_sub(KEPT_MS))
            .execute(work.db())
            .await
            .map_err(failed)?;
        let insert = "INSERT INTO emergency (id, person, person_issuer, purpose, case_number, reason, opened_at, \
                      last_at, looks, request_id, due_at, review_by) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?)";
        sqlx::query(insert)
            .bind(&id)
            .bind(&person.id)
            .bind(&person.issuer)
            .bind(&identity.purpose)
            .bind(&identity.case)
            .bind(reason)
            .bind(now)
            .bind(now)
            .bind(request_id)
            .bind(due)
            .bind(roles)
            .execute(work.db())
            .await
            .map_err(failed)?;
        Ok(Opened { id, due_at: time(due) })
    }

    async fn reviewed(
        &self,
        work: &mut Work<'_>,
        act: &Act<'_>,
        id: &str,
        justified: bool,
        note: &str,
    ) -> Result<Emergency, RequestError> {
        let reviewer = Person::of(act.identity)?;
        let now = self.clock.now();
        check_reason(note).map_err(malformed)?;
        let row = sqlx::query("SELECT * FROM emergency WHERE id = ?").bind(id).fetch_optional(work.db()).await;
        let found = row.and_then(|row| row.as_ref().map(read).transpose()).map_err(|error| self.failed(&error))?;
        let found = found.filter(|one| may_review(one, &act.roles(now)));
        let found = found.ok_or_else(|| refused("there is no such emergency for you to review"))?;
        if reviewer.may_be(&found.person) {
            return Err(refused("nobody reviews their own emergency; somebody else must"));
        }
        if found.review.is_some() {
            return Err(refused("this emergency is reviewed already"));
        }
        let update = "UPDATE emergency SET reviewer = ?, reviewer_issuer = ?, reviewed_at = ?, verdict = ?, note = ? \
                      WHERE id = ?";
        sqlx::query(update)
            .bind(&reviewer.id)
            .bind(&reviewer.issuer)
            .bind(now.as_millisecond())
            .bind(verdict(justified))
            .bind(note)
            .bind(&found.id)
            .execute(work.db())
            .await
            .map_err(|error| self.failed(&error))?;
        Ok(Emergency { review: Some(Review { by: reviewer, at: now, justified, note: note.to_owned() }), ..found })
    }
}

fn verdict(justified: bool) -> &'static str {
    if justified { "JUSTIFIED" } else { "NOT_JUSTIFIED" }
}

fn may_review(one: &Emergency, roles: &[String]) -> bool {
    one.review_by.iter().any(|by| roles.contains(by))
}

fn read(row: &SqliteRow) -> Result<Emergency, sqlx::Error> {
    let by: Option<String> = row.try_get("reviewer")?;
    let issuer: Option<String> = row.try_get("reviewer_issuer")?;
    let at: Option<i64> = row.try_get("reviewed_at")?;
    let judged: Option<String> = row.try_get("verdict")?;
    let note: Option<String> = row.try_get("note")?;
    let review = by.zip(issuer).zip(at).zip(judged).map(|(((id, issuer), at), judged)| Review {
        by: Person { id, issuer },
        at: time(at),
        justified: judged == verdict(true),
        note: note.unwrap_or_default(),
    });
    let roles: String = row.try_get("review_by")?;
    Ok(Emergency {
        id: row.try_get("id")?,
        person: Person { id: row.try_get("person")?, issuer: row.try_get("person_issuer")? },
        purpose: row.try_get("purpose")?,
        case: row.try_get("case_number")?,
        reason: row.try_get("reason")?,
        opened_at: time(row.try_get("opened_at")?),
        last_at: time(row.try_get("last_at")?),
        looks: u32::try_from(row.try_get::<i64, _>("looks")?).unwrap_or(u32::MAX),
        request_id: row.try_get("request_id")?,
        due_at: time(row.try_get("due_at")?),
        review_by: roles.lines().map(str::to_owned).collect(),
        review,
    })
}
