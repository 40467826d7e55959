//! For security officers: alerts on unusual reading. They say whose reading, never of whom.

use async_graphql::{Context, Object, Result, SimpleObject};

use super::inputs::{bad, first, reason};
use super::session::{Only, refused, security_officer, session};
use crate::audit::timestamp;
use crate::base::code::ErrorCode;
use crate::model::config::admin::Part;
use crate::watch;

const FIRST_DEFAULT: usize = 50;
const FIRST_MAX: usize = 500;

#[derive(Default)]
pub struct AlertQuery;

#[derive(Default)]
pub struct AlertMutation;

/// Unusual reading.
#[derive(SimpleObject)]
struct AccessAlert {
    /// The number of its audit record.
    id: i64,
    /// The rule of `alerts` in gateway.yaml that held.
    rule: String,
    /// Whose reading.
    principal: String,
    issuer: String,
    /// When the rule held.
    at: String,
    /// How many were counted.
    count: u64,
    /// The number of the audit record with which it held.
    record: Option<i64>,
    acknowledged: Option<Acknowledgement>,
}

/// Who looked into an alert, and what came of it.
#[derive(SimpleObject)]
struct Acknowledgement {
    by: String,
    at: String,
    reason: String,
}

impl From<watch::Alert> for AccessAlert {
    fn from(alert: watch::Alert) -> Self {
        Self {
            id: alert.seq,
            rule: alert.rule,
            principal: alert.who.id,
            issuer: alert.who.issuer,
            at: timestamp(alert.at),
            count: alert.count,
            record: alert.of,
            acknowledged: alert.acknowledged.map(|known| Acknowledgement {
                by: known.by.id,
                at: timestamp(known.at),
                reason: known.reason,
            }),
        }
    }
}

#[Object]
impl AlertQuery {
    /// Alerts on unusual reading, newest first: those that wait to be acknowledged, or with `all` the others too.
    #[graphql(guard = "Only(&[Part::SecurityOfficer])", visible = "security_officer")]
    async fn access_alerts(
        &self,
        context: &Context<'_>,
        #[graphql(default)] all: bool,
        #[graphql(name = "first")] wanted: Option<usize>,
    ) -> Result<Vec<AccessAlert>> {
        let first = first(wanted, FIRST_DEFAULT, FIRST_MAX)?;
        let watch = session(context)?.gateway.watch();
        let found = watch.newest(first, |alert| all || alert.acknowledged.is_none());
        Ok(found.into_iter().map(AccessAlert::from).collect())
    }
}

#[Object]
impl AlertMutation {
    /// Says what came of an alert. It stands in the audit records, with who said it; nobody acknowledges their own.
    #[graphql(guard = "Only(&[Part::SecurityOfficer])", visible = "security_officer")]
    async fn acknowledge_alert(
        &self,
        context: &Context<'_>,
        id: i64,
        #[graphql(name = "reason")] text: String,
    ) -> Result<AccessAlert> {
        let session = session(context)?;
        let (watch, reason) = (session.gateway.watch(), reason(&text)?);
        let alert = watch.get(id).ok_or_else(|| bad("there is no such alert; see `accessAlerts`"))?;
        if alert.acknowledged.is_some() {
            return Err(bad("this alert is acknowledged already"));
        }
        let who = session.identity.principal.as_ref();
        // By the id alone: a second issuer that names the same person makes no second person of them.
        if who.is_none_or(|who| who.id == alert.who.id) {
            return Err(refused(ErrorCode::Forbidden, "not permitted: the alert is on your own reading"));
        }
        watch.acknowledge(id, reason, &session.request_id, &session.identity).await.map_err(|error| {
            tracing::error!(request = %session.request_id, %error, "an acknowledgement could not be recorded");
            refused(ErrorCode::AuditUnavailable, "it could not be recorded, so it is not acknowledged; try again later")
        })?;
        watch.get(id).map(AccessAlert::from).ok_or_else(|| refused(ErrorCode::Internal, "the alert is gone"))
    }
}
