//! `huxiang check`: all files, all faults.

use clap::Args;
use serde_json::json;

use super::load::{self, Environment};
use super::{Done, RootArgs, text};
use crate::base::clock;
use crate::base::fault::{self, Fault, Faults, Place, SourceText};
use crate::model::access::telltale;
use crate::model::contract::{Contract, Item};
use crate::model::snapshot::{Folders, Snapshot};

#[derive(Debug, Args)]
pub struct CheckArgs {
    #[command(flatten)]
    root: RootArgs,
    /// Print the faults as JSON
    #[arg(long)]
    json: bool,
    /// A `${NAME}` that the environment does not set is a fault too
    #[arg(long)]
    variables: bool,
}

pub fn run(args: &CheckArgs) -> Done {
    let folders = load::folders(&args.root);
    let environment = Environment::with_placeholders(&folders);
    let loaded = load::load(&folders, &|name| environment.get(name));
    let missing = environment.missing();
    if args.json {
        let ok = loaded.is_ok() && (missing.is_empty() || !args.variables);
        text::out(&format!("{:#}\n", as_json(ok, &folders, &loaded, &missing)));
        return Ok(u8::from(!ok));
    }
    match loaded {
        Ok(_) if args.variables && !missing.is_empty() => {
            text::out(&format!("{}\n", load::not_set(&missing)));
            Ok(1)
        }
        Ok(snapshot) => {
            let warnings = warnings(&folders, &snapshot);
            text::out(&format!("{}{}", warnings.render_warnings(), summary(&snapshot, &warnings)));
            if !missing.is_empty() {
                text::out(&format!(
                    "\n{} not set here and taken as placeholders; `--variables` makes that a fault:\n  {}\n",
                    of_variables(missing.len()),
                    load::listed(&load::alike(&missing))
                ));
            }
            Ok(0)
        }
        Err(faults) => {
            let count = faults.sorted().len();
            text::out(&format!("{}{count} fault{}\n", faults.render(), if count == 1 { "" } else { "s" }));
            Ok(1)
        }
    }
}

/// What stops nothing, and should be looked at.
fn warnings(folders: &Folders, snapshot: &Snapshot) -> Faults {
    let mut warnings = Faults::default();
    if let Some(file) = fault::read(&folders.config.join("roles.yaml"), &mut warnings) {
        warnings.extend(telltale::warnings(&snapshot.contract, &snapshot.access, &file));
        warnings.extend(telltale::idle(&snapshot.contract, &snapshot.access, &file));
    }
    let contract = SourceText::new(&folders.schema, "");
    for what in snapshot.awaited() {
        let message = format!("`{what}` waits for a source (@awaited)");
        warnings.add(&contract, Place::default(), message, "UNAVAILABLE, NO_SOURCE until one answers for it");
    }
    warnings.extend(snapshot.bindings.gaps(clock::local(jiff::Timestamp::now()).date()));
    warnings
}

fn as_json(ok: bool, folders: &Folders, loaded: &Result<Snapshot, Faults>, missing: &[String]) -> serde_json::Value {
    let (faults, warnings) = match loaded {
        Ok(snapshot) => (Vec::new(), listed(&warnings(folders, snapshot))),
        Err(faults) => (listed(faults), Vec::new()),
    };
    json!({"ok": ok, "faults": faults, "warnings": warnings, "not_set": missing})
}

/// Faults as the JSON of commands tells them.
pub fn listed(faults: &Faults) -> Vec<serde_json::Value> {
    let told = |fault: &&Fault| {
        json!({
            "file": fault.file.path.display().to_string(),
            "line": fault.place.line,
            "column": fault.place.column,
            "length": fault.place.length,
            "message": fault.message,
            "hint": fault.hint,
        })
    };
    faults.sorted().iter().map(told).collect()
}

fn summary(snapshot: &Snapshot, warnings: &Faults) -> String {
    let Snapshot { contract, bindings, rules, access, config, .. } = snapshot;
    let instances: usize = bindings.sources.iter().filter(|s| s.instanced).map(|s| s.connections.len()).sum();
    let plain = bindings.sources.iter().filter(|source| !source.instanced).count();
    let bound = contract.slots.iter().filter(|slot| bindings.provider(slot.id).is_some()).count();
    let items = contract.items.iter().filter(|item| is_bound(snapshot, contract, item)).count();
    let mut rows = vec![
        (
            "contract",
            format!(
                "{} entities, {} slots, {} items, {} data classes, {} queries",
                contract.entities.len(),
                contract.slots.len(),
                contract.items.len(),
                contract.classes.len(),
                contract.queries.len()
            ),
        ),
        (
            "sources",
            format!(
                "{}{}, {} endpoints",
                plain,
                if instances > 0 { format!(" and {instances} instances of templates") } else { String::new() },
                bindings.endpoints.len()
            ),
        ),
        (
            "bound",
            format!(
                "{items} of {} items; {bound} slots by sources, {} by rules",
                contract.items.len(),
                rules.derived.len()
            ),
        ),
        (
            "access",
            format!(
                "{} roles, {} grants, {} relations, {} networks",
                access.roles.len(),
                access.grants.len(),
                access.relations.len(),
                config.networks.named.len()
            ),
        ),
    ];
    let demo = config.issuers.iter().filter(|issuer| issuer.demo).count();
    rows.push(("tokens", format!("{} issuers, {demo} of them for demos", config.issuers.len())));
    let mut out = match warnings.sorted().len() {
        0 => String::from("No faults.\n\n"),
        1 => String::from("No faults, 1 warning.\n\n"),
        count => format!("No faults, {count} warnings.\n\n"),
    };
    for (name, text) in rows {
        out.push_str(&format!("  {name:<9} {text}\n"));
    }
    out
}

/// A source or a rule answers for the item, or for something in it.
fn is_bound(snapshot: &Snapshot, contract: &Contract, item: &Item) -> bool {
    contract
        .below(item.slot)
        .into_iter()
        .any(|slot| snapshot.bindings.provider(slot).is_some() || snapshot.derived_of(slot).is_some())
}

fn of_variables(count: usize) -> String {
    if count == 1 { "1 variable is".to_owned() } else { format!("{count} variables are") }
}
