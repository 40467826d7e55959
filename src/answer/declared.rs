//! What a request declares beside its token must be something that is declared here.

use std::collections::BTreeSet;

use super::Inner;
use crate::base::code::ErrorCode;
use crate::engine::authorize::Asking;
use crate::engine::error::RequestError;
use crate::identify::Identity;
use crate::model::snapshot::Snapshot;
use crate::source::Caller;

impl Inner {
    /// In whose name sources are asked, where they are told.
    pub(super) fn caller(&self, identity: &Identity, asking: &Asking) -> Caller {
        let principal = identity.principal.as_ref();
        let counting = self.snapshot.access.counting(asking.presented());
        Caller {
            principal: principal.map(|principal| principal.id.clone()).unwrap_or_default(),
            roles: counting.map(|role| role.name.to_string()).collect(),
            actors: principal.map(|principal| principal.actors.clone()).unwrap_or_default(),
            claims: principal.map(|principal| principal.claims.clone()).unwrap_or_default(),
            purpose: asking.purpose.clone(),
            case: asking.case.clone(),
        }
    }
}

/// A purpose that nobody declared would silently count for nothing: it is refused instead.
pub(super) fn check(snapshot: &Snapshot, identity: &Identity) -> Result<(), RequestError> {
    let Some(purpose) = identity.purpose.as_deref().filter(|name| !snapshot.config.purposes.contains_key(*name)) else {
        return Ok(());
    };
    let access = &snapshot.access;
    let own = identity.roles().into_iter().filter_map(|role| access.role(role)).flat_map(|role| &role.grants);
    let useful: BTreeSet<&str> = own
        .filter_map(|grant| access.grants.get(*grant))
        .flat_map(|grant| grant.conditions.purposes.iter().map(|purpose| &**purpose))
        .collect();
    let hint = if useful.is_empty() {
        "leave it out: your roles need none".to_owned()
    } else {
        let listed: Vec<String> = useful.iter().map(|name| format!("`{name}`")).collect();
        format!("your roles give something for {}", listed.join(", "))
    };
    Err(RequestError::new(ErrorCode::BadRequest, format!("there is no purpose `{purpose}`; {hint}")))
}
