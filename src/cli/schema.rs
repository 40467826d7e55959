//! `huxiang schema`: the published contract, as everybody or as one role may see it; `huxiang schema diff`.

use std::collections::HashSet;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Done, RootArgs, Stop, diff, load, text};
use crate::base::fault::did_you_mean;
use crate::model::access::{Rights, SlotSet};
use crate::model::contract::{Contract, published};
use crate::model::snapshot::Snapshot;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct SchemaArgs {
    #[command(subcommand)]
    command: Option<SchemaCommand>,
    #[command(flatten)]
    root: RootArgs,
    /// Only what this role may be given, under whatever relation and purpose
    #[arg(long)]
    role: Option<String>,
}

#[derive(Debug, Subcommand)]
enum SchemaCommand {
    /// What a change of the contract breaks; exit code 1 where it breaks something
    Diff {
        /// A folder of .graphql files: the contract as it is
        old: PathBuf,
        /// A folder of .graphql files: the contract as it would be
        new: PathBuf,
    },
}

pub fn run(args: &SchemaArgs) -> Done {
    if let Some(SchemaCommand::Diff { old, new }) = &args.command {
        return diff::run(old, new);
    }
    let snapshot = load::to_look_at(&args.root)?;
    let Some(role) = &args.role else {
        text::out(&snapshot.contract.published.to_string());
        return Ok(0);
    };
    let slots = all_of_role(&snapshot, role)?;
    match as_seen(&snapshot.contract, &slots).filter(|_| !slots.is_empty()) {
        Some(sdl) => text::out(&sdl),
        None => text::out(&format!("# The role `{role}` is given nothing of this contract.\n")),
    }
    Ok(0)
}

/// Every slot that some grant of the role gives.
pub fn all_of_role(snapshot: &Snapshot, role: &str) -> Result<SlotSet, Stop> {
    let access = &snapshot.access;
    let found = access.role(role).ok_or_else(|| unknown_role(snapshot, role))?;
    Ok(Rights::new(access, found.grants.clone()).any)
}

/// The role is not there; names one that is.
pub fn unknown_role(snapshot: &Snapshot, role: &str) -> Stop {
    let known: Vec<&str> = snapshot.access.roles.iter().map(|role| &*role.name).collect();
    let otherwise = format!("there are {}", known.join(", "));
    Stop::failed(format!("error: there is no role `{role}`; {}", did_you_mean(role, known.iter().copied(), &otherwise)))
}

/// The contract with only these slots, and what leads to them.
fn as_seen(contract: &Contract, slots: &SlotSet) -> Option<String> {
    let (mut holders, mut given) = (HashSet::new(), HashSet::new());
    for slot in &contract.slots {
        let holder = match slot.parent {
            Some(parent) => contract.slot(parent).type_name.to_string(),
            None => contract.entity(slot.entity).name.to_string(),
        };
        if slots.contains(slot.id) {
            given.insert((holder.clone(), slot.name.to_string()));
        }
        holders.insert(holder);
    }
    let keep =
        |holder: &str, field: &str| !holders.contains(holder) || given.contains(&(holder.to_owned(), field.to_owned()));
    published::pruned(&contract.published, keep).map(|schema| schema.to_string())
}
