//! Approvals as rows of their table.

use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::Person;
use super::given::{Approval, State};

/// Approvals of one requester that are open or still good, or were asked for lately and came to nothing.
pub(super) const OPEN_MAX: i64 = 100;
const LATELY_MS: i64 = 24 * 3_600_000;
/// How long it is kept after its end; what was done is in the audit chain for longer.
const KEPT_MS: i64 = 30 * 24 * 3_600_000;

/// False where the person has too many.
pub(super) async fn insert(db: &mut SqliteConnection, asked: &Approval, now: i64) -> Result<bool, sqlx::Error> {
    sqlx::query("DELETE FROM approval WHERE ends_at < ?").bind(now.saturating_sub(KEPT_MS)).execute(&mut *db).await?;
    // What was withdrawn or refused counts for a day: else nothing would bound how many are kept.
    let open = "SELECT COUNT(*) FROM approval WHERE requester = ? AND (state IN ('ASKED', 'GIVEN') AND ends_at > ? \
                OR state IN ('WITHDRAWN', 'REFUSED') AND asked_at > ?)";
    let lately = now.saturating_sub(LATELY_MS);
    let open = sqlx::query(open).bind(&asked.requester.id).bind(now).bind(lately).fetch_one(&mut *db).await?;
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

pub(super) fn read(row: &SqliteRow) -> Result<Approval, sqlx::Error> {
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
