//! Revoking tokens, and looking for them in the list.

use super::{AuthError, Checked, LEEWAY_SECONDS, Verifier, life_seconds_max, now};
use crate::identify::revocation::{Facts, Revocation, RevocationError, Revocations, RevokedKind};
use crate::model::config::Issuer;

/// What is to be revoked. Times are seconds since 1970.
#[derive(Debug, Clone)]
pub enum Revoked {
    /// One token, by its `jti`; where it is not known when it expires, the longest life of the issuer's tokens is taken.
    Token { id: String, expires: Option<u64> },
    /// Every token of a principal issued until then (`None`: until now), also of those that do not say when.
    Principal { id: String, before: Option<u64> },
    /// Every token signed by the issuer's key of that id, for good.
    Key { id: String },
}

/// Who revokes what, and why.
#[derive(Debug, Clone)]
pub struct RevocationOrder {
    pub issuer: String,
    pub what: Revoked,
    /// Issuer and id of who revokes.
    pub by: (String, String),
    /// No household's value.
    pub reason: String,
}

impl Verifier {
    /// Revokes what `order` names; it counts from now on here, and within a second in other processes on the same list.
    /// The caller has made sure that who asks may, and has the record of it on disk.
    pub async fn revoke(&self, order: RevocationOrder) -> Result<Revocation, RevocationError> {
        let issuer = self.issuers.iter().find(|known| known.config.issuer == order.issuer);
        let issuer = issuer.ok_or(RevocationError::Issuer)?;
        let list = self.revocations()?;
        let now = now();
        let life_max = counted_seconds_max(&issuer.config);
        let (kind, value, before, until) = match order.what {
            Revoked::Token { id, expires } => {
                let until = expires.map_or(now.saturating_add(life_max), |at| at.saturating_add(LEEWAY_SECONDS));
                (RevokedKind::Token, id, now, Some(until))
            }
            Revoked::Principal { id, before } => {
                let before = before.unwrap_or(now);
                if before > now {
                    return Err(RevocationError::Future);
                }
                (RevokedKind::Principal, id, before, Some(now.saturating_add(life_max)))
            }
            Revoked::Key { id } => (RevokedKind::Key, id, now, None),
        };
        let (by_issuer, by_id) = order.by;
        let reason = order.reason;
        let entry = Revocation { kind, issuer: order.issuer, value, before, until, at: now, by_issuer, by_id, reason };
        list.add(&entry).await?;
        Ok(entry)
    }

    /// The revocation list; an error where this verifier was made without one.
    pub fn revocations(&self) -> Result<&Revocations, RevocationError> {
        self.revocations.as_ref().ok_or_else(|| RevocationError::Store("it was not opened".to_owned()))
    }

    pub(super) fn not_revoked(&self, checked: &Checked) -> Result<(), AuthError> {
        let Some(list) = &self.revocations else { return Ok(()) };
        let facts = Facts {
            issuer: &checked.principal.issuer,
            token_id: checked.token_id.as_deref(),
            principal: &checked.principal.id,
            issued: checked.issued,
            key_id: checked.key.id.as_deref(),
        };
        match list.is_revoked(&facts) {
            Ok(false) => Ok(()),
            Ok(true) => Err(AuthError::Revoked),
            Err(_) => Err(AuthError::Unavailable),
        }
    }
}

/// How long a token that is seen now can count at most: it may come from a clock that is ahead, live longer by what clocks
/// may be apart, and count for as long after its end.
fn counted_seconds_max(issuer: &Issuer) -> u64 {
    life_seconds_max(issuer).saturating_add(2 * LEEWAY_SECONDS)
}
