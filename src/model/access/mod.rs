//! `config/roles.yaml`: roles and their grants, compiled to bitsets over slots. Deny by default.
//!
//! A grant is role × relation × network × purpose → slots, with masks. Which of a caller's grants count is decided
//! once a request ([`Access::active`]); [`Rights`] then tells, per relation, the slots the caller may have.

mod certificate;
mod compile;
mod format;
mod rights;
mod set;

use std::collections::BTreeMap;
use std::sync::Arc;

use regex::Regex;

pub use certificate::{CertificateFields, CertificateRule, ClientCertificate};
pub use compile::load;
pub use rights::{Denied, Rights, RowRights};
pub use set::SlotSet;

use super::contract::{EntityId, SlotId, index};
use super::rule::Relation;
use crate::model::mask::Mask;

index!(/// A relation of these rules.
    RelationId);

/// Roles, grants and relations of a snapshot. Immutable.
#[derive(Debug, Default)]
pub struct Access {
    pub roles: Vec<Role>,
    pub grants: Vec<Grant>,
    pub relations: Vec<CompiledRelation>,
}

#[derive(Debug)]
pub struct Role {
    pub name: Arc<str>,
    pub title: Arc<str>,
    /// Names of `networks` in `gateway.yaml`; the role counts only there. Empty: nowhere.
    pub networks: Vec<Arc<str>>,
    /// The role counts only over a connection with such a client certificate.
    pub certificate: Option<CertificateRule>,
    /// Indexes into [`Access::grants`].
    pub grants: Vec<usize>,
}

/// One grant, compiled.
#[derive(Debug)]
pub struct Grant {
    pub role: Arc<str>,
    pub relation: RelationId,
    /// One of these must be declared; empty: none needs to be.
    pub purposes: Vec<Arc<str>>,
    /// The request must name a case number that matches as a whole.
    pub case: Option<Regex>,
    pub slots: SlotSet,
    pub masks: BTreeMap<SlotId, Mask>,
}

/// How a caller can stand to an entity.
#[derive(Debug)]
pub struct CompiledRelation {
    pub name: Arc<str>,
    pub on: EntityId,
    pub rule: Relation,
    /// Paths of the entity (and of entities below it) that the rule reads beside the key.
    pub inputs: Vec<Vec<String>>,
}

/// What a request says of its caller, as far as grants look at it.
#[derive(Debug, Clone, Copy)]
pub struct Presented<'a> {
    pub roles: &'a [String],
    pub networks: &'a [String],
    pub purpose: Option<&'a str>,
    pub case: Option<&'a str>,
    /// Purposes the token is limited to, where it names any.
    pub purposes_allowed: Option<&'a [String]>,
    /// The client certificate of the caller's connection.
    pub certificate: Option<&'a ClientCertificate>,
}

impl Access {
    /// The grants that count for this request, in order: the key of [`Rights`].
    pub fn active(&self, presented: Presented) -> Vec<usize> {
        let mut active: Vec<usize> = self
            .counting(presented)
            .flat_map(|role| role.grants.iter().copied())
            .filter(|grant| self.grants.get(*grant).is_some_and(|grant| grant.counts(presented)))
            .collect();
        active.sort_unstable();
        active.dedup();
        active
    }

    /// The caller's roles that count for this request: known here, granted in one of its networks,
    /// and with the client certificate that the role asks for.
    pub fn counting<'s>(&'s self, presented: Presented<'s>) -> impl Iterator<Item = &'s Role> {
        let named = move |role: &&Role| presented.roles.iter().any(|name| **name == *role.name);
        let here = move |role: &&Role| {
            role.networks.iter().any(|network| presented.networks.iter().any(|name| **name == **network))
        };
        self.roles.iter().filter(named).filter(here).filter(move |role| role.certificate_counts(presented))
    }

    pub fn relation(&self, id: RelationId) -> Option<&CompiledRelation> {
        self.relations.get(id.index())
    }

    pub fn role(&self, name: &str) -> Option<&Role> {
        self.roles.iter().find(|role| &*role.name == name)
    }
}

impl Role {
    fn certificate_counts(&self, presented: Presented) -> bool {
        self.certificate.as_ref().is_none_or(|rule| rule.holds(presented.certificate))
    }
}

impl Grant {
    fn counts(&self, presented: Presented) -> bool {
        self.purpose_counts(presented) && self.case_counts(presented)
    }

    fn purpose_counts(&self, presented: Presented) -> bool {
        let allowed =
            |purpose: &str| presented.purposes_allowed.is_none_or(|allowed| allowed.iter().any(|name| name == purpose));
        match presented.purpose {
            Some(purpose) => {
                allowed(purpose) && (self.purposes.is_empty() || self.purposes.iter().any(|name| **name == *purpose))
            }
            None => self.purposes.is_empty(),
        }
    }

    fn case_counts(&self, presented: Presented) -> bool {
        self.case.as_ref().is_none_or(|pattern| presented.case.is_some_and(|case| pattern.is_match(case)))
    }
}
