//! Who may scan what: filter, sort and count over many entities at once.

use serde_json::{Value, json};

use super::{parts, texts};
use crate::model::access::scans::ScanDoors;
use crate::model::access::{Access, Permit, Role, ScanRights};
use crate::model::contract::{Contract, Item, SlotId};

/// What a role may scan, and by which relations.
pub struct Scanning<'a> {
    doors: &'a ScanDoors,
    rights: ScanRights,
}

impl<'a> Scanning<'a> {
    /// `None`: the role may scan nothing.
    pub fn of(access: &Access, role: &'a Role) -> Option<Self> {
        Some(Self { doors: role.doors.scans.as_ref()?, rights: access.scans_of(role)? })
    }

    /// By which relations, and within which claim's territories: `jurisdiction within divisions`.
    fn relations(&self, access: &Access) -> Vec<String> {
        let relations = self.rights.rights.permits.keys().filter_map(|relation| access.relation(*relation));
        relations
            .map(|relation| match relation.rule.scans.as_ref().and_then(|scans| scans.within.as_ref()) {
                Some(claim) => format!("{} within {claim}", relation.name),
                None => relation.name.to_string(),
            })
            .collect()
    }

    /// Whether a scan may go by a value: somebody is given it in full, by a relation that scans go by.
    fn compares(&self, slot: SlotId) -> bool {
        let given = |permit: &Permit| permit.slots.contains(slot) && !permit.masks.contains_key(&slot);
        self.rights.rights.permits.values().any(given)
    }

    /// The items that it may filter, sort and group by: all of their values, or some of them.
    fn items<'c>(&self, contract: &'c Contract) -> (Vec<&'c Item>, Vec<&'c Item>) {
        let (mut whole, mut part) = (Vec::new(), Vec::new());
        for item in &contract.items {
            let values = parts(contract, item);
            match values.iter().filter(|slot| self.compares(**slot)).count() {
                0 => {}
                some if some == values.len() => whole.push(item),
                _ => part.push(item),
            }
        }
        (whole, part)
    }

    /// In one line: `statistics; 20000 candidates; 5000 named; by jurisdiction within divisions`.
    pub fn line(&self, access: &Access) -> String {
        let ScanDoors { statistics, candidates_max, named_max, approval } = self.doors;
        let mut parts = Vec::new();
        parts.extend(statistics.then(|| "statistics".to_owned()));
        parts.push(format!("{candidates_max} candidates"));
        parts.push(if *named_max == 0 { "nobody named".to_owned() } else { format!("{named_max} named") });
        parts.extend(approval.as_ref().map(|approval| {
            let above =
                if approval.above == 0 { String::new() } else { format!(" above {} candidates", approval.above) };
            format!("approval by {}{above}", approval.needed.by.join(" or "))
        }));
        let relations = self.relations(access);
        parts.push(match relations.as_slice() {
            few if few.len() <= 3 => format!("by {}", few.join(", ")),
            many => format!("by {} relations", many.len()),
        });
        parts.join("; ")
    }

    /// The items by their numbers, and those of which only some values may be compared.
    pub fn detail(&self, contract: &Contract) -> String {
        let (whole, part) = self.items(contract);
        let numbers = |items: &[&Item]| items.iter().map(|item| &*item.no).collect::<Vec<_>>().join(", ");
        let mut out = format!("filters, sorts and groups by the items {}\n", numbers(&whole));
        if !part.is_empty() {
            out.push_str(&format!("and by some of what is in {}\n", numbers(&part)));
        }
        out
    }

    pub fn as_json(&self, contract: &Contract, access: &Access) -> Value {
        let (whole, part) = self.items(contract);
        let numbers = |items: &[&Item]| items.iter().map(|item| item.no.to_string()).collect::<Vec<_>>();
        let approval = self.doors.approval.as_ref().map(|approval| {
            let by = texts(&approval.needed.by);
            json!({
                "by": by, "validMinutesMax": approval.needed.valid_minutes_max, "uses": approval.needed.uses,
                "above": approval.above,
            })
        });
        json!({
            "statistics": self.doors.statistics,
            "candidatesMax": self.doors.candidates_max,
            "namedMax": self.doors.named_max,
            "approval": approval,
            "relations": self.relations(access),
            "items": numbers(&whole),
            "inPart": numbers(&part),
        })
    }
}
