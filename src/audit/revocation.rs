//! Revoking tokens: on record first, then in force.

use super::{AuditError, AuditRecord, AuditStore, Kind, Outcome, SubjectKey};
use crate::base::code::ErrorCode;
use crate::identify::{Identity, Revocation, RevocationError, RevocationOrder, Revoked, Verifier};

/// Why nothing was revoked. The text is for whoever revokes.
#[derive(Debug)]
pub enum RevokeError {
    Audit(AuditError),
    List(RevocationError),
}

impl std::fmt::Display for RevokeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Audit(error) => write!(f, "nothing was revoked: {error}"),
            Self::List(error) => write!(f, "nothing was revoked: {error}"),
        }
    }
}

impl std::error::Error for RevokeError {}

/// Revokes what `order` names, for `identity`, who may (the caller of this has looked). The record is on disk before
/// the revocation counts; where it then fails, that stands in a second record.
pub async fn revoke(
    verifier: &Verifier,
    store: &AuditStore,
    key: &SubjectKey,
    identity: &Identity,
    request_id: &str,
    order: RevocationOrder,
) -> Result<Revocation, RevokeError> {
    let (kind, value) = match &order.what {
        Revoked::Token { id, .. } => ("token", id),
        Revoked::Principal { id, .. } => ("principal", id),
        Revoked::Key { id } => ("key", id),
    };
    let mut record = AuditRecord::event(Kind::Revocation, request_id, identity, "revoke")
        .with("kind", kind)
        .with("issuer", order.issuer.as_str())
        .with("value", key.subject(kind, value))
        .with("reason", order.reason.as_str());
    if let Revoked::Principal { before: Some(before), .. } = &order.what {
        record = record.with("before", *before);
    }
    store.append(record.clone()).await.map_err(RevokeError::Audit)?;
    match verifier.revoke(order).await {
        Ok(entry) => Ok(entry),
        Err(error) => {
            record.outcome = Outcome::Rejected;
            record.errors.insert(ErrorCode::BadRequest);
            store.append(record).await.map_err(RevokeError::Audit)?;
            Err(RevokeError::List(error))
        }
    }
}
