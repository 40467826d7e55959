//! `huxiang check`: all files, all faults.

use clap::Args;
use serde_json::json;

use super::load::{self, Environment};
use super::{Done, RootArgs, text};
use crate::base::fault::Faults;
use crate::model::contract::{Contract, Item};
use crate::model::snapshot::Snapshot;

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
        text::out(&format!("{:#}\n", as_json(ok, &loaded, &missing)));
        return Ok(u8::from(!ok));
    }
    match loaded {
        Ok(_) if args.variables && !missing.is_empty() => {
            text::out(&format!("{}\n", load::not_set(&missing)));
            Ok(1)
        }
        Ok(snapshot) => {
            text::out(&summary(&snapshot));
            if !missing.is_empty() {
                text::out(&format!(
                    "\n{} variables are not set here and were taken as placeholders; `--variables` makes them \
                     faults:\n  {}\n",
                    missing.len(),
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

fn as_json(ok: bool, loaded: &Result<Snapshot, Faults>, missing: &[String]) -> serde_json::Value {
    let faults: Vec<serde_json::Value> = match loaded {
        Ok(_) => Vec::new(),
        Err(faults) => faults
            .sorted()
            .iter()
            .map(|fault| {
                json!({
                    "file": fault.file.path.display().to_string(),
                    "line": fault.place.line,
                    "column": fault.place.column,
                    "length": fault.place.length,
                    "message": fault.message,
                    "hint": fault.hint,
                })
            })
            .collect(),
    };
    json!({"ok": ok, "faults": faults, "not_set": missing})
}

fn summary(snapshot: &Snapshot) -> String {
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
    let mut out = String::from("No faults.\n\n");
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
