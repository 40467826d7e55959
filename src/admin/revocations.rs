//! For security officers: tokens that count no more.

use async_graphql::{Context, Object, Result, SimpleObject};
use jiff::Timestamp;

use super::inputs::{bad, reason};
use super::session::{Only, refused, security_officer, session};
use crate::audit::{RevokeError, timestamp};
use crate::base::code::ErrorCode;
use crate::identify::{Revocation, RevocationError, RevocationOrder, Revoked};
use crate::model::config::admin::Part;

/// Entries of one answer.
const FIRST_MAX: usize = 1_000;

#[derive(Default)]
pub struct RevocationQuery;

#[derive(Default)]
pub struct RevocationMutation;

/// An entry of the list of revoked tokens.
#[derive(SimpleObject)]
struct RevokedTokens {
    /// `TOKEN`, `PRINCIPAL` or `KEY`.
    kind: &'static str,
    issuer: String,
    /// The token's `jti`, the principal's id or the key's id.
    value: String,
    /// Of a principal: tokens issued until then.
    before: Option<String>,
    /// When the entry goes, because no such token can be good any more; null: never.
    until: Option<String>,
    at: Option<String>,
    by: String,
    reason: String,
}

impl From<Revocation> for RevokedTokens {
    fn from(entry: Revocation) -> Self {
        Self {
            kind: entry.kind.as_str(),
            issuer: entry.issuer,
            value: entry.value,
            before: time(entry.before),
            until: entry.until.and_then(time),
            at: time(entry.at),
            by: entry.by_id,
            reason: entry.reason,
        }
    }
}

fn time(seconds: u64) -> Option<String> {
    let at = Timestamp::from_second(i64::try_from(seconds).ok()?).ok()?;
    Some(timestamp(at))
}

fn seconds(text: &str) -> Result<u64> {
    let at: Timestamp =
        text.parse().map_err(|_| bad("write a time with its offset, such as `2026-03-10T08:00:00+08:00`"))?;
    u64::try_from(at.as_second()).map_err(|_| bad("the time lies before 1970"))
}

#[Object]
impl RevocationQuery {
    /// Tokens that count no more, the newest entries first.
    #[graphql(guard = "Only(&[Part::SecurityOfficer])", visible = "security_officer")]
    async fn revocations(&self, context: &Context<'_>) -> Result<Vec<RevokedTokens>> {
        let session = session(context)?;
        let list = session.gateway.revocations().map_err(|error| failed(&session.request_id, error))?;
        let entries = list.list().await.map_err(|error| failed(&session.request_id, error))?;
        Ok(entries.into_iter().take(FIRST_MAX).map(RevokedTokens::from).collect())
    }
}

#[Object]
impl RevocationMutation {
    /// Revokes one token (`jti`), all tokens of a principal issued until `before` (else: until now), or all tokens
    /// signed by a key, for good. It counts from now on; it stands in the audit records before it counts.
    #[graphql(guard = "Only(&[Part::SecurityOfficer])", visible = "security_officer")]
    #[expect(clippy::too_many_arguments, reason = "the arguments of one field")]
    async fn revoke_token(
        &self,
        context: &Context<'_>,
        issuer: String,
        jti: Option<String>,
        principal: Option<String>,
        key: Option<String>,
        #[graphql(desc = "With `jti`: when the token expires. Without it, the longest life of the issuer's tokens.")]
        expires: Option<String>,
        #[graphql(desc = "With `principal`: a time with its offset, which has passed.")] before: Option<String>,
        #[graphql(name = "reason")] text: String,
    ) -> Result<RevokedTokens> {
        let session = session(context)?;
        let reason = reason(&text)?.to_owned();
        if (expires.is_some() && jti.is_none()) || (before.is_some() && principal.is_none()) {
            return Err(bad("`expires` goes with `jti`, and `before` with `principal`"));
        }
        let what = match (jti, principal, key) {
            (Some(id), None, None) => Revoked::Token { id, expires: expires.as_deref().map(seconds).transpose()? },
            (None, Some(id), None) => Revoked::Principal { id, before: before.as_deref().map(seconds).transpose()? },
            (None, None, Some(id)) => Revoked::Key { id },
            _ => return Err(bad("give one of `jti`, `principal` and `key`")),
        };
        let who = session.identity.principal.as_ref();
        let by = who.map(|who| (who.issuer.clone(), who.id.clone()));
        let by = by.ok_or_else(|| refused(ErrorCode::Forbidden, "not permitted: no token was shown"))?;
        let order = RevocationOrder { issuer, what, by, reason };
        match session.gateway.revoke(&session.identity, &session.request_id, order).await {
            Ok(entry) => Ok(entry.into()),
            Err(RevokeError::List(error)) => Err(failed(&session.request_id, error)),
            Err(RevokeError::Audit(error)) => {
                tracing::error!(request = %session.request_id, %error, "a revocation could not be recorded");
                let message = "it could not be recorded, so nothing is revoked; try again later";
                Err(refused(ErrorCode::AuditUnavailable, message))
            }
        }
    }
}

/// What the caller can mend is told; the rest is the operator's.
fn failed(request_id: &str, error: RevocationError) -> async_graphql::Error {
    match error {
        RevocationError::Store(why) => {
            tracing::error!(request = %request_id, error = %why, "the revocation list cannot be used");
            refused(ErrorCode::Internal, "the revocation list cannot be used; tell the operator the request id")
        }
        error => bad(error.to_string()),
    }
}
