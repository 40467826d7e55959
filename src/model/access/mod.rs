//! `config/roles.yaml`: roles and their grants, compiled to bitsets over slots. Deny by default.
//!
//! A grant is role × relation × [`Conditions`] → slots, with masks. Which of a caller's grants count is decided
//! once a request ([`Access::active`]); [`Rights`] then tells, per relation, the slots the caller may have.

pub mod alike;
mod certificate;
mod compile;
pub mod condition;
mod denied;
mod doors;
mod format;
pub mod hand;
mod reach;
mod rights;
pub mod scans;
mod set;
pub mod telltale;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::civil::DateTime;

pub use certificate::{CertificateFields, CertificateRule, ClientCertificate};
pub use compile::{Declared, load};
pub use condition::{Approved, Conditions};
pub use denied::Denied;
pub use doors::{DocumentsRule, RoleDoors};
pub(crate) use format::RolesFile;
pub use rights::{Permit, Rights, RowRights};
pub use scans::{ScanDoors, ScanRights};
pub use set::SlotSet;

use super::contract::{EntityId, SlotId, index};
use super::rule::Relation;
use crate::base::fault::Place;
use crate::model::mask::Mask;

index!(/// A relation of these rules.
    RelationId);

/// Roles, grants and relations of a snapshot. Immutable.
#[derive(Debug, Default)]
pub struct Access {
    pub roles: Vec<Role>,
    pub grants: Vec<Grant>,
    pub relations: Vec<CompiledRelation>,
    pub idle: Vec<Idle>,
}

/// A name in a grant that does nothing there: the grant's relation can give none of the fields that it stands for.
#[derive(Debug)]
pub struct Idle {
    pub place: Place,
    /// `classes`, `except` or `mask`.
    pub key: &'static str,
    pub name: String,
    pub relation: RelationId,
    /// One of the fields.
    pub slot: SlotId,
}

#[derive(Debug)]
pub struct Role {
    pub name: Arc<str>,
    pub title: Arc<str>,
    /// Names of `networks` in `gateway.yaml`; the role counts only there. Empty: nowhere.
    pub networks: Vec<Arc<str>>,
    /// The role counts only over a connection with such a client certificate.
    pub certificate: Option<CertificateRule>,
    /// Issuers whose tokens may give the role; `None`: any.
    pub issuers: Option<Vec<Arc<str>>>,
    pub doors: RoleDoors,
    /// Indexes into [`Access::grants`].
    pub grants: Vec<usize>,
}

/// One grant, compiled.
#[derive(Debug)]
pub struct Grant {
    pub role: Arc<str>,
    pub relation: RelationId,
    pub conditions: Conditions,
    /// Where it stands in `roles.yaml`.
    pub line: usize,
    pub slots: SlotSet,
    /// What its classes name and its relation, to another entity, cannot give.
    pub beyond: SlotSet,
    pub masks: BTreeMap<SlotId, Mask>,
    /// What this grant would give, and a department keeps from its role: the department's title.
    pub withheld: BTreeMap<SlotId, Arc<str>>,
    pub held: hand::Held,
}

/// How a caller can stand to an entity.
#[derive(Debug)]
pub struct CompiledRelation {
    pub name: Arc<str>,
    pub on: EntityId,
    pub rule: Relation,
    /// Holds only for the entity that an approval of the request names.
    pub approved: bool,
    /// Paths of the entity (and of entities below it) that the rule reads beside the key.
    pub inputs: Vec<Vec<String>>,
}

/// What a request says of its caller, as far as grants look at it.
#[derive(Debug, Clone, Copy)]
pub struct Presented<'a> {
    /// `None`: no token was shown.
    pub id: Option<&'a str>,
    pub issuer: Option<&'a str>,
    pub roles: &'a [String],
    pub networks: &'a [String],
    pub purpose: Option<&'a str>,
    pub case: Option<&'a str>,
    /// Purposes the token is limited to, where it names any.
    pub purposes_allowed: Option<&'a [String]>,
    /// The client certificate of the caller's connection.
    pub certificate: Option<&'a ClientCertificate>,
    /// At +08:00.
    pub now: DateTime,
    /// A reason for breaking the glass was declared.
    pub emergency: bool,
    pub approved: Option<&'a Approved>,
    /// The request runs a trusted document.
    pub trusted: bool,
}

impl Access {
    /// The grants that count for this request, in order: the key of [`Rights`].
    pub fn active(&self, presented: Presented) -> Vec<usize> {
        let mut active: Vec<usize> = self
            .counting(presented)
            .flat_map(|role| role.grants.iter().copied())
            .filter(|grant| self.grants.get(*grant).is_some_and(|grant| grant.missing(presented).is_none()))
            .collect();
        active.sort_unstable();
        active.dedup();
        active
    }

    /// The caller's roles that count for this request: known here, and nothing of what they ask for is missing.
    pub fn counting<'s>(&'s self, presented: Presented<'s>) -> impl Iterator<Item = &'s Role> {
        let named = move |role: &&Role| presented.roles.iter().any(|name| **name == *role.name);
        self.roles.iter().filter(named).filter(move |role| role.missing(presented).is_none())
    }

    /// Whether any grant asks for an approval or a review.
    pub fn needs_second_persons(&self) -> bool {
        let needs = |grant: &Grant| grant.conditions.approval.is_some() || grant.conditions.break_glass.is_some();
        self.grants.iter().any(needs)
    }

    pub fn relation(&self, id: RelationId) -> Option<&CompiledRelation> {
        self.relations.get(id.index())
    }

    pub fn role_names(&self) -> impl Iterator<Item = &str> {
        self.roles.iter().map(|role| &*role.name)
    }

    pub fn role(&self, name: &str) -> Option<&Role> {
        self.roles.iter().find(|role| &*role.name == name)
    }
}
