//! `huxiang access diff`: what a change of the files opens and closes, by role and field.
//!
//! A field is opened where some grant of the new files gives it and no grant of the old ones gave as much: the same
//! relation, where it counts now, unmasked if it is now. What cannot be told counts as opened.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::conditions;
use super::narrower::{counts_only_where, scans_no_more};
use crate::cli::{Done, RootArgs, load, text};
use crate::model::access::{Grant, Role};
use crate::model::contract::{Contract, Shape, SlotId};
use crate::model::snapshot::Snapshot;

#[derive(Debug, Args)]
pub struct DiffArgs {
    /// A folder with schema/, resolvers/ and config/: the files as they are
    old: PathBuf,
    /// The files as they would be
    new: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Fields that one role has under one relation, on one set of conditions, with one mask.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    role: String,
    relation: String,
    requires: String,
    mask: Option<String>,
}

/// What changed: fields by group, and names.
#[derive(Debug, Default)]
struct Change {
    fields: BTreeMap<Group, Vec<Field>>,
    relations: BTreeSet<String>,
    /// Roles that may scan more, and relations that scans go by or reach further with.
    scans: BTreeSet<String>,
    networks: BTreeSet<String>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Field {
    item: Option<String>,
    zh: Option<String>,
    path: String,
}

pub fn run(args: &DiffArgs) -> Done {
    let load = |root: &PathBuf| load::to_look_at(&RootArgs { root: root.clone(), config: None });
    let (old, new) = (load(&args.old)?, load(&args.new)?);
    let (opens, mut closes) = (beyond(&new, &old), beyond(&old, &new));
    // Another rule may do both; it is told once, where it is read.
    closes.relations.clear();
    if args.json {
        text::out(&format!("{:#}\n", json!({ "opens": as_json(&opens), "closes": as_json(&closes) })));
    } else {
        text::out(&rendered(&opens, &closes));
    }
    Ok(u8::from(!opens.is_empty()))
}

impl Change {
    fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.relations.is_empty() && self.scans.is_empty() && self.networks.is_empty()
    }
}

/// What `one` gives and `other` does not.
fn beyond(one: &Snapshot, other: &Snapshot) -> Change {
    let mut change =
        Change { networks: wider_networks(one, other), scans: wider_scans(one, other), ..Change::default() };
    for role in &one.access.roles {
        let counterpart = other.access.role(&role.name);
        for grant in role.grants.iter().filter_map(|at| one.access.grants.get(*at)) {
            let covering: Vec<&Grant> = counterpart
                .iter()
                .flat_map(|role| &role.grants)
                .filter_map(|at| other.access.grants.get(*at))
                .filter(|covers| {
                    same_relation((one, grant), (other, covers))
                        && counterpart.is_some_and(|there| counts_only_where(role, grant, there, covers))
                })
                .collect();
            for slot in grant.slots.iter().filter(|slot| is_value(&one.contract, *slot)) {
                if !covering.iter().any(|covers| covers_slot((one, grant), slot, (other, covers))) {
                    let group = group(one, role, grant, slot);
                    change.fields.entry(group).or_default().push(field(&one.contract, slot));
                }
            }
        }
    }
    for relation in one.access.relations.iter().filter(|relation| !relation.approved) {
        let before = other.access.relations.iter().find(|before| before.name == relation.name);
        if before.is_some_and(|before| before.rule.when.text() != relation.rule.when.text()) {
            change.relations.insert(relation.name.to_string());
        }
    }
    change
}

/// Of one name; a relation whose rule changed is told by itself.
fn same_relation((one, grant): (&Snapshot, &Grant), (other, covers): (&Snapshot, &Grant)) -> bool {
    match (one.access.relation(grant.relation), other.access.relation(covers.relation)) {
        (Some(a), Some(b)) => a.rule.name == b.rule.name && a.rule.on == b.rule.on,
        _ => false,
    }
}

fn covers_slot((one, grant): (&Snapshot, &Grant), slot: SlotId, (other, covers): (&Snapshot, &Grant)) -> bool {
    let path = one.contract.full_path(slot);
    let there = covers.slots.iter().find(|there| other.contract.full_path(*there) == path);
    there.is_some_and(|there| {
        let masked = covers
            .masks
            .get(&there)
            .is_none_or(|mask| grant.masks.get(&slot).is_some_and(|own| own.shows_no_more_than(*mask)));
        masked && (!covers.held.keeps(there) || grant.held.keeps(slot))
    })
}

fn is_value(contract: &Contract, slot: SlotId) -> bool {
    matches!(contract.slot(slot).shape, Shape::Leaf(_) | Shape::LeafList(_) | Shape::ItemStates)
}

fn group(snapshot: &Snapshot, role: &Role, grant: &Grant, slot: SlotId) -> Group {
    let relation = snapshot.access.relation(grant.relation).map_or("", |relation| &relation.name);
    let networks = format!("from {}", role.networks.join(", "));
    let requires = [networks, conditions::line(role, grant)].into_iter().filter(|text| !text.is_empty());
    Group {
        role: role.name.to_string(),
        relation: relation.to_owned(),
        requires: requires.collect::<Vec<_>>().join("; "),
        mask: grant.masks.get(&slot).map(|mask| mask.name()),
    }
}

fn field(contract: &Contract, slot: SlotId) -> Field {
    let item = contract.slot(slot).item.map(|item| contract.item(item));
    Field {
        item: item.map(|item| item.no.to_string()),
        zh: item.map(|item| item.zh.to_string()),
        path: contract.full_path(slot),
    }
}

/// Networks that roles count in and that hold addresses which they did not hold.
fn wider_networks(one: &Snapshot, other: &Snapshot) -> BTreeSet<String> {
    let before = &other.config.networks.named;
    let is_wider = |(name, ranges): &(&String, &Vec<_>)| {
        before.get(*name).is_some_and(|before| {
            !ranges.iter().all(|range: &ipnet::IpNet| before.iter().any(|old| old.contains(range)))
        })
    };
    one.config.networks.named.iter().filter(is_wider).map(|(name, _)| name.clone()).collect()
}

/// Roles that may scan more than they might, and relations that scans go by and did not. A relation that was not there opens
/// nothing by itself: what grants give by it is told with their fields.
fn wider_scans(one: &Snapshot, other: &Snapshot) -> BTreeSet<String> {
    let mut wider = BTreeSet::new();
    for role in &one.access.roles {
        let Some(scans) = &role.doors.scans else { continue };
        let before = other.access.role(&role.name).and_then(|before| before.doors.scans.as_ref());
        if !before.is_some_and(|before| scans_no_more(scans, before)) {
            wider.insert(format!("role {}", role.name));
        }
    }
    for relation in one.access.relations.iter().filter(|relation| !relation.approved) {
        let before = other.access.relations.iter().find(|before| before.name == relation.name);
        let before = before.map(|before| &before.rule.scans);
        if relation.rule.scans.is_some() && before.is_some_and(|before| *before != relation.rule.scans) {
            wider.insert(format!("relation {}", relation.name));
        }
    }
    wider
}

fn as_json(change: &Change) -> Value {
    let fields: Vec<Value> = change
        .fields
        .iter()
        .map(|(group, fields)| {
            let fields: Vec<Value> =
                fields.iter().map(|field| json!({ "item": field.item, "zh": field.zh, "path": field.path })).collect();
            json!({
                "role": group.role, "relation": group.relation, "requires": group.requires, "mask": group.mask,
                "fields": fields,
            })
        })
        .collect();
    json!({ "grants": fields, "relations": change.relations, "scans": change.scans, "networks": change.networks })
}

fn rendered(opens: &Change, closes: &Change) -> String {
    let mut out = String::new();
    if opens.is_empty() && closes.is_empty() {
        return "nothing opens, nothing closes\n".to_owned();
    }
    for (what, change) in [("opens", opens), ("closes", closes)] {
        if change.is_empty() {
            out.push_str(&format!("nothing {what}\n\n"));
            continue;
        }
        out.push_str(&format!("{what}\n"));
        for (group, fields) in &change.fields {
            let mask = group.mask.as_ref().map_or_else(String::new, |mask| format!(", masked ({mask})"));
            out.push_str(&format!("\n  {}: {}; {}{mask}\n", group.role, group.relation, group.requires));
            out.push_str(&listed(fields));
        }
        if !change.networks.is_empty() {
            let names: Vec<&str> = change.networks.iter().map(String::as_str).collect();
            out.push_str(&format!("\n  networks with more addresses: {}\n", names.join(", ")));
        }
        if !change.scans.is_empty() {
            let names: Vec<&str> = change.scans.iter().map(String::as_str).collect();
            out.push_str(&format!("\n  scans over more: {}\n", names.join(", ")));
        }
        if what == "opens" && !change.relations.is_empty() {
            let names: Vec<&str> = change.relations.iter().map(String::as_str).collect();
            out.push_str(&format!("\n  relations whose rule is another, read them: {}\n", names.join(", ")));
        }
        out.push('\n');
    }
    out
}

/// A line an item, with its fields; those of no item by their paths.
fn listed(fields: &[Field]) -> String {
    let mut items: BTreeMap<(usize, String), (String, Vec<&str>)> = BTreeMap::new();
    for field in fields {
        let no = field.item.clone().unwrap_or_default();
        // In the order of their numbers; letters after them, no item last.
        let rank = if no.is_empty() { usize::MAX } else { no.parse().unwrap_or(usize::MAX - 1) };
        let entry = items.entry((rank, no)).or_insert_with(|| (field.zh.clone().unwrap_or_default(), Vec::new()));
        entry.1.push(&field.path);
    }
    let mut out = String::new();
    for ((_, no), (zh, mut paths)) in items {
        paths.sort_unstable();
        out.push_str(&format!(
            "    {}  {}  {}\n",
            text::pad(&no, 3),
            text::pad(&text::shorten(&zh, 28), 28),
            paths.join(", ")
        ));
    }
    out
}
