//! What a caller may ask over many entities at once: filtered, sorted, counted.
//!
//! Only what holds for a whole territory counts there: grants by a relation that is marked for scans, of a role that may
//! scan, without a second person's approval of single records and without an emergency.

use std::sync::Arc;

use serde_json::Value;

use super::condition::Approval;
use super::{Access, Approved, Denied, Rights, Role};
use crate::base::prefix::Prefix;
use crate::model::contract::{Contract, EntityId, Shape};

/// What a role may scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanDoors {
    /// Counts, sums and the like over groups.
    pub statistics: bool,
    /// Entities that one scan may look at.
    pub candidates_max: usize,
    /// Entities that one scan may show; 0: statistics only.
    pub named_max: usize,
    pub approval: Option<ScanApproval>,
}

/// A second person must have approved the very condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanApproval {
    pub needed: Approval,
    /// As many candidates need none.
    pub above: usize,
}

/// What an approval of a scan names in place of an entity type: the query that scans. No type is called so.
pub fn scan_entity(query: &str) -> String {
    format!("scan:{query}")
}

/// Whether an approval is of a scan.
pub fn is_scan(entity: &str) -> bool {
    entity.starts_with("scan:")
}

/// What a caller may scan. Holds no principal.
#[derive(Debug)]
pub struct ScanRights {
    pub rights: Rights,
    /// The roles that the grants are of, each with what it may scan.
    roles: Vec<(Arc<str>, ScanDoors)>,
}

impl ScanRights {
    /// Of active grants ([`Access::active`]) those that scans go by; `None`: none of them.
    pub fn new(access: &Access, active: Vec<usize>) -> Option<Self> {
        let scanned: Vec<usize> = active.into_iter().filter(|grant| access.scans_by(*grant)).collect();
        let names = scanned.iter().filter_map(|grant| access.grants.get(*grant)).map(|grant| &grant.role);
        let mut roles: Vec<(Arc<str>, ScanDoors)> = Vec::new();
        for role in names.filter_map(|name| access.role(name)) {
            if let Some(doors) = role.doors.scans.as_ref().filter(|_| roles.iter().all(|(name, _)| *name != role.name))
            {
                roles.push((Arc::clone(&role.name), doors.clone()));
            }
        }
        (!roles.is_empty()).then(|| Self { rights: Rights::new(access, scanned), roles })
    }

    /// The roles whose grants count. Their limits are taken together, the narrowest of each: what two roles give adds up,
    /// and over more entities than one of them may scan, none of them gives that.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        self.roles.iter().map(|(name, _)| &**name)
    }

    pub fn statistics(&self) -> bool {
        self.roles.iter().all(|(_, doors)| doors.statistics)
    }

    /// Entities that one scan may show.
    pub fn named_max(&self) -> usize {
        self.roles.iter().map(|(_, doors)| doors.named_max).min().unwrap_or_default()
    }

    /// Entities that one scan may look at, with the approval that the request carries; `approved` is one of this very scan.
    pub fn candidates_max(&self, approved: Option<&Approved>) -> usize {
        let of = |(name, doors): &(Arc<str>, ScanDoors)| match &doors.approval {
            Some(approval) if !approval.is_met(name, approved) => doors.candidates_max.min(approval.above),
            _ => doors.candidates_max,
        };
        self.roles.iter().map(of).min().unwrap_or_default()
    }

    /// The approval without which the scan goes no further than [`Self::candidates_max`].
    pub fn awaited(&self, approved: Option<&Approved>) -> Option<Denied> {
        self.roles.iter().find_map(|(name, doors)| {
            let approval = doors.approval.as_ref().filter(|approval| !approval.is_met(name, approved))?;
            Some(Denied::Approval { role: Arc::clone(name), by: approval.needed.by.clone() })
        })
    }

    /// The territories that scans over an entity type stay inside, whatever they ask for: those of the relations that count,
    /// to the type or to the one whose relations it takes. Sorted; empty: none. `principal` is the caller's claims.
    pub fn territories(&self, access: &Access, contract: &Contract, over: EntityId, principal: &Value) -> Vec<Prefix> {
        let relations = self.rights.permits.keys().filter_map(|relation| access.relation(*relation));
        let mut found: Vec<Prefix> = Vec::new();
        for relation in relations.filter(|relation| is_taken_over(contract, relation.on, over)) {
            match relation.rule.scans.as_ref().map(|scans| scans.within.as_ref()) {
                Some(Some(claim)) => {
                    let listed = principal.get(claim).and_then(Value::as_array).into_iter().flatten();
                    found.extend(listed.filter_map(Value::as_str).map(Prefix::exact));
                }
                // To all entities alike, as far as the token alone allows it.
                Some(None) => found.push(Prefix::exact("")),
                None => {}
            }
        }
        found.sort();
        found.dedup();
        found
    }
}

/// Whether relations to `on` are relations to `over`: to itself, or to one whose relations it takes.
fn is_taken_over(contract: &Contract, on: EntityId, over: EntityId) -> bool {
    let mut at = over;
    // Each entity once, should two take each other's.
    for _ in 0..=contract.entities.len() {
        if at == on {
            return true;
        }
        match contract.entity(at).via.map(|slot| &contract.slot(slot).shape) {
            Some(Shape::Entity(next)) => at = *next,
            _ => return false,
        }
    }
    false
}

impl ScanApproval {
    fn is_met(&self, role: &str, approved: Option<&Approved>) -> bool {
        approved.is_some_and(|approved| self.needed.is_met_by(role, approved))
    }
}

impl Access {
    /// Whether scans go by a grant, where it counts.
    pub fn scans_by(&self, grant: usize) -> bool {
        let Some(grant) = self.grants.get(grant) else { return false };
        let by_relation = self.relation(grant.relation).is_some_and(|relation| relation.rule.scans.is_some());
        let by_role = self.role(&grant.role).is_some_and(|role| role.doors.scans.is_some());
        by_relation && by_role && grant.conditions.approval.is_none() && grant.conditions.break_glass.is_none()
    }

    /// What a role may scan, whatever its grants ask for beside it; `None`: nothing.
    pub fn scans_of(&self, role: &Role) -> Option<ScanRights> {
        ScanRights::new(self, role.grants.clone())
    }
}
