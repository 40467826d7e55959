//! The department's own hand: what a source keeps from roles, whatever `config/roles.yaml` grants them.
//!
//! Compiled against what the source fills; [`crate::model::access`] takes it out of the grants once roles are known.

pub mod codes;
pub mod compile;
pub mod format;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::fault::{Place, SourceText};
use crate::model::contract::SlotId;
use codes::Codes;
use format::Per;

/// What one source withholds and limits.
#[derive(Debug, Default)]
pub struct Hand {
    /// The binding's text, for faults that show only once the roles are known.
    pub text: Option<Arc<SourceText>>,
    pub withheld: Vec<Withheld>,
    pub quotas: Vec<Quota>,
}

/// One entry of `withhold`, or of `switched_off_for`.
#[derive(Debug, Default)]
pub struct Withheld {
    /// `None`: all roles.
    pub roles: Option<Vec<Named>>,
    pub except_roles: Vec<Named>,
    pub except_relations: Vec<Named>,
    /// Slots that this source answers for, with all below them.
    pub slots: Vec<SlotId>,
    /// Slots that this source holds beside another that answers for them.
    pub also: Vec<SlotId>,
    /// By the slot that is left out (a list's element, or a value): the codes that leave it out.
    pub codes: BTreeMap<SlotId, Vec<Arc<Codes>>>,
    pub rules_may_read: bool,
}

/// The name of something that is declared in another file.
#[derive(Debug, Clone)]
pub struct Named {
    pub name: Arc<str>,
    pub place: Place,
}

/// How much one role may ask.
#[derive(Debug, Clone)]
pub struct Quota {
    pub role: Named,
    pub network: Option<Named>,
    pub per: Per,
    pub entities_per_day: Option<u32>,
    pub calls_per_minute: Option<u32>,
}

impl Withheld {
    /// Whether it is kept from what a role is granted under a relation.
    pub fn applies(&self, role: &str, relation: &str) -> bool {
        let names = |list: &[Named], wanted: &str| list.iter().any(|named| *named.name == *wanted);
        self.roles.as_ref().is_none_or(|roles| names(roles, role))
            && !names(&self.except_roles, role)
            && !names(&self.except_relations, relation)
    }
}
