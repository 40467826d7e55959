//! Which of the caller's grants count for this request: [`Permitted`] is made only here, and only it can be planned.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use serde_json::{Map, Value, json};

use super::operation::Operation;
use crate::base::clock;
use crate::identify::Identity;
use crate::model::access::{Access, Approved, ClientCertificate, Denied, Presented, Rights, ScanRights};
use crate::model::contract::SlotId;
use crate::model::rule::Truth;
use crate::model::snapshot::Snapshot;

/// Who asks, as rules and grants look at it.
#[derive(Debug, Clone)]
pub struct Asking {
    /// `None`: no token was shown.
    pub id: Option<String>,
    pub issuer: Option<String>,
    pub roles: Vec<String>,
    pub networks: Vec<String>,
    pub purpose: Option<String>,
    pub case: Option<String>,
    pub purposes_allowed: Option<Vec<String>>,
    pub certificate: Option<Arc<ClientCertificate>>,
    /// The request runs a trusted document.
    pub trusted: bool,
    /// The claims, as rules read them.
    pub principal: Value,
    pub today: Date,
    /// At +08:00.
    pub now: DateTime,
    /// A reason for breaking the glass was declared.
    pub emergency: bool,
    /// The approval that the request carries, once it is known to be the caller's.
    pub approved: Option<Approved>,
}

impl Asking {
    pub fn new(identity: &Identity, now: Timestamp) -> Self {
        let now = clock::local(now);
        let mut principal = Map::new();
        let mut purposes_allowed = None;
        if let Some(known) = &identity.principal {
            principal = known.claims.clone();
            principal.insert("id".to_owned(), Value::String(known.id.clone()));
            if let Some(Value::Array(list)) = known.claims.get("purposes") {
                purposes_allowed =
                    Some(list.iter().filter_map(|purpose| purpose.as_str().map(str::to_owned)).collect());
            }
        }
        let known = identity.principal.as_ref();
        Self {
            id: known.map(|principal| principal.id.clone()),
            issuer: known.map(|principal| principal.issuer.clone()),
            roles: identity.roles().into_iter().map(str::to_owned).collect(),
            networks: identity.networks.clone(),
            purpose: identity.purpose.clone(),
            case: identity.case.clone(),
            purposes_allowed,
            certificate: identity.certificate.clone(),
            trusted: false,
            principal: Value::Object(principal),
            today: now.date(),
            now,
            emergency: identity.break_glass.is_some(),
            approved: None,
        }
    }

    /// Who asks, and all that decides what they may have; none, where nobody is known.
    pub fn asker(&self) -> Option<Arc<str>> {
        let id = self.id.as_ref()?;
        let declared = (&self.purpose, &self.case, self.emergency);
        let parts = json!([self.issuer, id, self.roles, self.networks, declared, self.principal]);
        Some(parts.to_string().into())
    }

    /// Who asks, whatever for; none, where nobody is known.
    pub fn principal(&self) -> Option<Arc<str>> {
        let id = self.id.as_ref()?;
        Some(json!([self.issuer, id]).to_string().into())
    }

    pub fn presented(&self) -> Presented<'_> {
        Presented {
            id: self.id.as_deref(),
            issuer: self.issuer.as_deref(),
            roles: &self.roles,
            networks: &self.networks,
            purpose: self.purpose.as_deref(),
            case: self.case.as_deref(),
            purposes_allowed: self.purposes_allowed.as_deref(),
            certificate: self.certificate.as_deref(),
            now: self.now,
            emergency: self.emergency,
            approved: self.approved.as_ref(),
            trusted: self.trusted,
        }
    }

    /// What is missing for a slot.
    pub fn denied(&self, snapshot: &Snapshot, slot: SlotId) -> Denied {
        snapshot.access.denied(&snapshot.contract, slot, self.presented())
    }

    /// What the caller may have, before it is known how the caller stands to each entity.
    pub fn rights(&self, access: &Access) -> Rights {
        Rights::new(access, active_grants(access, self))
    }

    /// What the caller may scan: less than [`Self::rights`]; `None`: nothing.
    pub fn scan_rights(&self, access: &Access) -> Option<ScanRights> {
        ScanRights::new(access, active_grants(access, self))
    }
}

/// An operation with the rights it runs under.
#[derive(Debug, Clone)]
pub struct Permitted {
    operation: Arc<Operation>,
    rights: Arc<Rights>,
}

impl Permitted {
    pub fn operation(&self) -> &Arc<Operation> {
        &self.operation
    }

    pub fn rights(&self) -> &Arc<Rights> {
        &self.rights
    }
}

/// The grants that count: of the caller's roles, from this network, for this purpose and case, and under relations
/// that the token alone does not rule out.
pub fn active_grants(access: &Access, asking: &Asking) -> Vec<usize> {
    let nothing = Value::Object(Map::new());
    let possible = |grant: &usize| {
        let relation = access.grants.get(*grant).and_then(|grant| access.relation(grant.relation));
        relation.is_some_and(|relation| {
            relation.rule.when.evaluate(&nothing, &asking.principal, asking.today) != Truth::False
        })
    };
    access.active(asking.presented()).into_iter().filter(possible).collect()
}

pub fn authorize(operation: Arc<Operation>, rights: Arc<Rights>) -> Permitted {
    Permitted { operation, rights }
}
