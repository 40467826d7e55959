//! For supervisors and auditors: how much was read, by whom. No household is named, counted alone or told apart.

use async_graphql::{Context, Enum, Object, Result, SimpleObject};
use jiff::SignedDuration;
use serde_json::Value;

use super::inputs::{bad, from, to};
use super::session::{Only, Session, refused, session, supervisor_or_auditor};
use crate::base::code::ErrorCode;
use crate::model::config::admin::Part;
use crate::watch::statistics::{self, Asked, StatisticsError};

/// Longest period of one question.
const DAYS_MAX: i64 = 400;

#[derive(Default)]
pub struct StatisticsQuery;

/// What the rows are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "statistics::By")]
enum StatisticsBy {
    /// Each who looked.
    Principal,
    /// Their organisations.
    Organisation,
    /// Their divisions.
    Division,
    /// The roles in which they looked: of the token's, those that counted.
    Role,
    /// The days on which they looked.
    Day,
}

/// How much was read.
#[derive(SimpleObject)]
struct AccessStatistics {
    /// Null: those who work for no organisation and no division, all together.
    key: Option<String>,
    /// Of principals: for which organisation they work.
    organisation: Option<String>,
    /// Requests.
    looks: u64,
    /// Different entities (only of the type that `alerts.entity` names, if any) of which something was shown.
    entities: usize,
    /// Requests of which something was refused.
    refused: u64,
    /// Different entities to which the caller stood in no relation, or which are not there.
    outside_relation: usize,
    /// Requests at night that showed something.
    at_night: u64,
}

#[Object]
impl StatisticsQuery {
    /// How much was read in a period, those with the most requests first. Supervisors see those whose divisions all
    /// lie in their own; auditors see everybody.
    #[graphql(guard = "Only(&[Part::Supervisor, Part::Auditor])", visible = "supervisor_or_auditor")]
    async fn access_statistics(
        &self,
        context: &Context<'_>,
        #[graphql(name = "from", desc = "A day, or a time with its offset.")] begin: String,
        #[graphql(name = "to", desc = "A day, which is included, or a time with its offset.")] end: String,
        by: StatisticsBy,
    ) -> Result<Vec<AccessStatistics>> {
        let session = session(context)?;
        let (from, to) = (from(&begin)?, to(&end)?);
        if to <= from || to.duration_since(from) > SignedDuration::from_hours(24 * DAYS_MAX) {
            return Err(bad(format!("`to` comes after `from`, by at most {DAYS_MAX} days")));
        }
        let within = if session.has(Part::Auditor) { None } else { Some(own_divisions(session)?) };
        let asked = Asked { from, to, by: by.into(), within };
        let config = &session.gateway.snapshot().config.alerts;
        let rows = statistics::statistics(&session.gateway.audit().reader(), config, &asked).await;
        let rows = rows.map_err(|error| match error {
            StatisticsError::TooMuch => {
                refused(ErrorCode::LimitExceeded, "too many to count at once; ask for a shorter period")
            }
            StatisticsError::Read(error) => {
                tracing::error!(request = %session.request_id, %error, "statistics cannot be counted");
                refused(ErrorCode::Internal, "the audit records cannot be read; tell the operator the request id")
            }
        })?;
        Ok(rows
            .into_iter()
            .map(|row| AccessStatistics {
                key: row.key,
                organisation: row.organisation,
                looks: row.looks,
                entities: row.entities,
                refused: row.refused,
                outside_relation: row.unrelated,
                at_night: row.at_night,
            })
            .collect())
    }
}

/// The divisions of the caller's own token.
fn own_divisions(session: &Session) -> Result<Vec<String>> {
    let claim = session.gateway.snapshot().config.audit.recorded.divisions.as_ref();
    let claim = claim.ok_or_else(|| {
        refused(ErrorCode::Forbidden, "not permitted: the gateway does not record divisions (audit.divisions)")
    })?;
    let held = session.identity.principal.as_ref().and_then(|who| who.claims.get(claim)).and_then(Value::as_array);
    // An empty text would be the beginning of every code.
    let codes = held.into_iter().flatten().filter_map(Value::as_str).filter(|code| !code.is_empty());
    Ok(codes.map(str::to_owned).collect())
}
