//! Which roles do which part at the gateway's own API.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::format::AdminEntry;
use crate::base::fault::{Faults, Place, SourceText, did_you_mean};
use crate::model::access::Access;
use crate::model::yaml;

/// A part at the gateway's own API. The first three are separate persons: nobody may hold two of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Runs the gateway: health, sources, configuration. Reads no audit record.
    Operator,
    /// Alerts, revocations, reviews. Reads no audit record.
    SecurityOfficer,
    /// Reads the audit records. Changes nothing.
    Auditor,
    /// Statistics of the own divisions.
    Supervisor,
    /// Submits bindings of the own department's sources.
    Steward,
    /// Approves what a steward of the own department submitted.
    DepartmentHead,
}

impl Part {
    /// Whether it is one of the three that exclude one another.
    pub fn is_separate(self) -> bool {
        matches!(self, Self::Operator | Self::SecurityOfficer | Self::Auditor)
    }
}

/// The roles of each part.
#[derive(Debug, Clone)]
pub struct AdminConfig {
    roles: Vec<(Part, String, Place)>,
    file: Arc<SourceText>,
}

impl AdminConfig {
    /// A role stands in one part only: each in another person's hands.
    pub(super) fn read(entry: AdminEntry, file: &Arc<SourceText>, faults: &mut Faults) -> Self {
        let parts = [
            (Part::Operator, entry.operator),
            (Part::SecurityOfficer, entry.security_officer),
            (Part::Auditor, entry.auditor),
            (Part::Supervisor, entry.supervisor),
            (Part::Steward, entry.steward),
            (Part::DepartmentHead, entry.department_head),
        ];
        let mut roles: Vec<(Part, String, Place)> = Vec::new();
        for (part, names) in parts {
            for name in names {
                let place = yaml::place_of(&name);
                if roles.iter().any(|(_, other, _)| *other == name.value) {
                    let message = format!("the role `{}` has two parts at the admin API", name.value);
                    faults.add(file, place, message, "give each part a role of its own");
                }
                roles.push((part, name.value, place));
            }
        }
        Self { roles, file: Arc::clone(file) }
    }

    /// A role that `roles.yaml` does not have is a fault.
    pub fn check(&self, access: &Access, faults: &mut Faults) {
        let known = || access.roles.iter().map(|role| &*role.name);
        for (_, name, place) in self.roles.iter().filter(|(_, name, _)| access.role(name).is_none()) {
            let hint = did_you_mean(name, known(), "declare it in roles.yaml, with the networks it counts in");
            faults.add(&self.file, *place, format!("there is no role `{name}`"), hint);
        }
    }

    /// The parts of some roles.
    pub fn parts<'r>(&self, roles: impl Iterator<Item = &'r str>) -> BTreeSet<Part> {
        roles
            .flat_map(|role| self.roles.iter().filter(move |(_, name, _)| name == role))
            .map(|(part, ..)| *part)
            .collect()
    }
}
