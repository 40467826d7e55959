//! `huxiang access`: which role is given which item, under which relation.

mod conditions;
mod diff;
pub(super) mod explain;
mod narrower;
mod scans;

use std::collections::BTreeMap;
use std::sync::Arc;

use clap::{Args, Subcommand};
use scans::Scanning;
use serde_json::{Value, json};

use super::schema::unknown_role;
use super::{Done, RootArgs, load, text};
use crate::model::access::{Access, Grant, Role};
use crate::model::contract::{Contract, Item, Shape, SlotId};
use crate::model::snapshot::Snapshot;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct AccessArgs {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    root: RootArgs,
    /// One role in detail: relations, purposes, and what within an item is withheld or masked
    #[arg(long)]
    role: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// What a change of the files opens or closes, by role and field; exit code 1 where it opens something
    Diff(diff::DiffArgs),
    /// For each field, which grant gives it to a caller, or what is missing; with an entity, how the caller stands to it
    Explain(Box<explain::ExplainArgs>),
}

/// How much of an item a grant gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Given {
    Masked,
    Part,
    Full,
}

impl Given {
    fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Part => "part",
            Self::Masked => "masked",
        }
    }

    fn sign(self) -> &'static str {
        match self {
            Self::Full => "●",
            Self::Part => "◐",
            Self::Masked => "○",
        }
    }
}

/// What one grant gives of one item.
struct Cell<'a> {
    grant: &'a Grant,
    relation: &'a str,
    given: Given,
    withheld: Vec<String>,
    masked: BTreeMap<String, String>,
}

pub fn run(args: &AccessArgs) -> Done {
    match &args.command {
        Some(Command::Diff(args)) => return diff::run(args),
        Some(Command::Explain(args)) => return explain::run(args),
        None => {}
    }
    let snapshot = load::to_look_at(&args.root)?;
    let roles: Vec<&Role> = match &args.role {
        Some(name) => vec![snapshot.access.role(name).ok_or_else(|| unknown_role(snapshot.access.role_names(), name))?],
        None => snapshot.access.roles.iter().collect(),
    };
    let printed = match (args.json, roles.as_slice()) {
        (true, roles) => format!("{:#}\n", as_json(&snapshot, roles)),
        (false, [role]) if args.role.is_some() => detail(&snapshot, role),
        (false, roles) => matrix(&snapshot, roles),
    };
    text::out(&printed);
    Ok(0)
}

/// The grants of a role that give anything of an item.
fn cells<'a>(contract: &Contract, access: &'a Access, role: &Role, item: &Item) -> Vec<Cell<'a>> {
    let parts = parts(contract, item);
    role.grants
        .iter()
        .filter_map(|at| access.grants.get(*at))
        .filter(|grant| grant.slots.contains(item.slot))
        .map(|grant| cell(contract, access, grant, &parts))
        .collect()
}

fn cell<'a>(contract: &Contract, access: &'a Access, grant: &'a Grant, parts: &[SlotId]) -> Cell<'a> {
    let path = |slot: &SlotId| contract.full_path(*slot);
    let withheld: Vec<String> = parts.iter().filter(|slot| !grant.slots.contains(**slot)).map(path).collect();
    let masked: BTreeMap<String, String> = parts
        .iter()
        .filter(|slot| grant.slots.contains(**slot))
        .filter_map(|slot| Some((path(slot), grant.masks.get(slot)?.name())))
        .collect();
    let given = match (withheld.is_empty(), masked.is_empty(), parts.len() == masked.len()) {
        (true, true, _) => Given::Full,
        (_, _, true) => Given::Masked,
        _ => Given::Part,
    };
    let relation = access.relation(grant.relation).map_or("", |relation| &relation.name);
    Cell { grant, relation, given, withheld, masked }
}

/// Whether a slot is a value that somebody can be given.
fn is_value(contract: &Contract, slot: SlotId) -> bool {
    let slot = contract.slot(slot);
    !slot.hidden && matches!(slot.shape, Shape::Leaf(_) | Shape::LeafList(_))
}

/// The values an item is made of; a list of entities is made of the entities' own values.
fn parts(contract: &Contract, item: &Item) -> Vec<SlotId> {
    let is_value = |slot: &SlotId| is_value(contract, *slot);
    match contract.slot(item.slot).shape {
        Shape::Entity(entity) | Shape::EntityList(entity) => {
            contract.slots.iter().filter(|slot| slot.entity == entity).map(|slot| slot.id).filter(is_value).collect()
        }
        _ => contract.below(item.slot).into_iter().filter(is_value).collect(),
    }
}

fn texts(texts: &[Arc<str>]) -> Vec<&str> {
    texts.iter().map(|text| &**text).collect()
}

fn as_json(snapshot: &Snapshot, roles: &[&Role]) -> Value {
    let Snapshot { contract, access, .. } = snapshot;
    let of_item = |role: &Role, item: &Item| {
        let grants: Vec<Value> = cells(contract, access, role, item)
            .iter()
            .map(|cell| {
                json!({
                    "relation": cell.relation,
                    "given": cell.given.name(),
                    "purposes": texts(&cell.grant.conditions.purposes),
                    "case": conditions::case(cell.grant),
                    "requires": conditions::as_json(role, cell.grant),
                    "line": cell.grant.line,
                    "withheld": cell.withheld,
                    "masked": cell.masked,
                })
            })
            .collect();
        json!({"no": *item.no, "path": *contract.slot(item.slot).path, "zh": *item.zh, "grants": grants})
    };
    let roles: Vec<Value> = roles
        .iter()
        .map(|role| {
            let items: Vec<Value> = contract.items.iter().map(|item| of_item(role, item)).collect();
            let scans = Scanning::of(access, role).map(|scanning| scanning.as_json(contract, access));
            json!({
                "role": *role.name, "title": *role.title, "networks": texts(&role.networks), "items": items,
                "scans": scans,
            })
        })
        .collect();
    json!({"roles": roles})
}

fn matrix(snapshot: &Snapshot, roles: &[&Role]) -> String {
    let Snapshot { contract, access, .. } = snapshot;
    let (with, without): (Vec<&Role>, Vec<&Role>) = roles.iter().partition(|role| !role.grants.is_empty());
    let mut header = vec!["no", "item"];
    header.extend(with.iter().map(|role| &*role.title));
    let rows: Vec<Vec<String>> = contract
        .items
        .iter()
        .map(|item| {
            let mut row = vec![item.no.to_string(), text::shorten(&item.zh, 28)];
            row.extend(
                with.iter().map(|role| matrix_cell(&cells(contract, access, role, item), several(access, role))),
            );
            row
        })
        .collect();
    let mut out = text::table(&header, &rows);
    out.push_str("\n● in full   ◐ in part (something in it is withheld or masked)   ○ masked   — not given\n\n");
    for role in &with {
        out.push_str(&format!("{}  {}\n", text::pad(&role.title, 16), conditions(access, role)));
    }
    let scanning: Vec<(&Role, Scanning)> =
        with.iter().filter_map(|role| Some((*role, Scanning::of(access, role)?))).collect();
    if !scanning.is_empty() {
        out.push_str("\nScan many entities at once, by what they are given in full:\n");
    }
    for (role, scanning) in scanning {
        out.push_str(&format!("{}  {}\n", text::pad(&role.title, 16), scanning.line(access)));
    }
    if !without.is_empty() {
        let names: Vec<String> = without.iter().map(|role| format!("{} ({})", role.title, role.name)).collect();
        out.push_str(&format!("\nGiven nothing: {}\n", names.join(", ")));
    }
    out
}

/// More relations than one can tell apart in a column's head.
fn several(access: &Access, role: &Role) -> bool {
    relations(access, role).len() > 3
}

fn relations<'a>(access: &'a Access, role: &Role) -> Vec<&'a str> {
    let mut found: Vec<&str> = Vec::new();
    for grant in role.grants.iter().filter_map(|at| access.grants.get(*at)) {
        if let Some(relation) = access.relation(grant.relation)
            && !found.contains(&&*relation.name)
        {
            found.push(&relation.name);
        }
    }
    found
}

fn matrix_cell(cells: &[Cell], name_relations: bool) -> String {
    let Some(best) = cells.iter().map(|cell| cell.given).max() else { return "—".to_owned() };
    let mut cell = best.sign().to_owned();
    // A role of many departments: say which, as long as they are few.
    if name_relations && cells.len() <= 2 {
        let names: Vec<&str> = cells.iter().map(|cell| cell.relation).collect();
        cell = format!("{cell} {}", names.join(" "));
    }
    cell
}

/// `gov; paired; purposes help`. What only some of its grants require is said as such.
fn conditions(access: &Access, role: &Role) -> String {
    let grants: Vec<&Grant> = role.grants.iter().filter_map(|at| access.grants.get(*at)).collect();
    let mut required: Vec<(String, usize)> = Vec::new();
    for (name, value) in grants.iter().flat_map(|grant| conditions::words(role, grant)) {
        let text = format!("{name} {value}");
        match required.iter_mut().find(|(known, _)| *known == text) {
            Some((_, count)) => *count += 1,
            None => required.push((text, 1)),
        }
    }
    let relations = relations(access, role);
    let mut parts = vec![format!("{}, from {}", role.name, role.networks.join(", "))];
    parts.push(if relations.len() > 3 { format!("{} relations", relations.len()) } else { relations.join(", ") });
    parts.extend(required.into_iter().map(|(text, count)| {
        if count == grants.len() { text } else { format!("{text} ({count} of {} grants)", grants.len()) }
    }));
    parts.join("; ")
}

fn detail(snapshot: &Snapshot, role: &Role) -> String {
    let Snapshot { contract, access, .. } = snapshot;
    let mut out = format!("{} — {}\n\n", role.title, conditions(access, role));
    match Scanning::of(access, role) {
        Some(scanning) => {
            out.push_str(&format!("scans: {}\n{}\n", scanning.line(access), scanning.detail(contract)));
        }
        None => out.push_str("scans: nothing\n\n"),
    }
    let mut rows = Vec::new();
    let grants: Vec<&Grant> = role.grants.iter().filter_map(|at| access.grants.get(*at)).collect();
    let first = grants.first().map(|grant| conditions::line(role, grant));
    let several_ways = grants.iter().any(|grant| Some(conditions::line(role, grant)) != first);
    for item in &contract.items {
        let start = [item.no.to_string(), text::shorten(&item.zh, 28), contract.slot(item.slot).path.to_string()];
        let cells = cells(contract, access, role, item);
        if cells.is_empty() {
            rows.push(start.iter().cloned().chain(["—".to_owned()]).collect());
        }
        for cell in &cells {
            let given = format!("{} {}", cell.given.sign(), cell.given.name());
            let required = if several_ways { conditions::line(role, cell.grant) } else { String::new() };
            let end = [given, cell.relation.to_owned(), remarks(cell), required];
            rows.push(start.iter().cloned().chain(end).collect());
        }
    }
    out.push_str(&text::table(&["no", "item", "path", "given", "relation", "but", "requires"], &rows));
    out
}

fn remarks(cell: &Cell) -> String {
    let last = |path: &str| path.rsplit('.').next().unwrap_or(path).to_owned();
    let mut parts = Vec::new();
    if !cell.withheld.is_empty() {
        parts.push(format!("without {}", cell.withheld.iter().map(|path| last(path)).collect::<Vec<_>>().join(", ")));
    }
    if !cell.masked.is_empty() {
        let masked: Vec<String> = cell.masked.iter().map(|(path, mask)| format!("{} ({mask})", last(path))).collect();
        parts.push(format!("masked {}", masked.join(", ")));
    }
    parts.join("; ")
}
