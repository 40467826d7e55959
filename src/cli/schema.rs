//! `huxiang schema`: the published contract, as everybody or as one role may see it; `huxiang schema diff`; and the JSON
//! Schemas of the files that users write.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Done, RootArgs, Stop, diff, load, text};
use crate::admin;
use crate::answer::RoleSchema;
use crate::base::fault::did_you_mean;
use crate::model::access::Rights;
use crate::model::schema::Kind;

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
    /// The schema of the gateway's own API (`/admin/graphql`) instead of the contract
    #[arg(long, conflicts_with = "role")]
    admin: bool,
}

#[derive(Debug, Subcommand)]
enum SchemaCommand {
    /// The JSON Schema of bindings (resolvers/*.yaml), for editors
    Binding,
    /// The JSON Schema of config/platforms.yaml
    Platforms,
    /// The JSON Schema of config/gateway.yaml
    Gateway,
    /// The JSON Schema of config/roles.yaml
    Roles,
    /// The JSON Schema of config/rules/*.yaml
    Rules,
    /// What a change of the contract breaks; exit code 1 where it breaks something
    Diff {
        /// A folder of .graphql files: the contract as it is
        old: PathBuf,
        /// A folder of .graphql files: the contract as it would be
        new: PathBuf,
    },
}

pub fn run(args: &SchemaArgs) -> Done {
    let files = match &args.command {
        Some(SchemaCommand::Diff { old, new }) => return diff::run(old, new),
        Some(SchemaCommand::Binding) => Some(Kind::Binding),
        Some(SchemaCommand::Platforms) => Some(Kind::Platforms),
        Some(SchemaCommand::Gateway) => Some(Kind::Gateway),
        Some(SchemaCommand::Roles) => Some(Kind::Roles),
        Some(SchemaCommand::Rules) => Some(Kind::Rules),
        None => None,
    };
    if let Some(kind) = files {
        text::out(&format!("{:#}\n", kind.schema()));
        return Ok(0);
    }
    if args.admin {
        text::out(&admin::sdl());
        return Ok(0);
    }
    let snapshot = load::to_look_at(&args.root)?;
    let Some(role) = &args.role else {
        text::out(&snapshot.contract.published.to_string());
        return Ok(0);
    };
    let found = snapshot.access.role(role).ok_or_else(|| unknown_role(snapshot.access.role_names(), role))?;
    let rights = Rights::new(&snapshot.access, found.grants.clone());
    match RoleSchema::new(&snapshot, &rights).filter(|_| !rights.any.is_empty()) {
        Some(seen) => text::out(&seen.schema.to_string()),
        None => text::out(&format!("# The role `{role}` is given nothing of this contract.\n")),
    }
    Ok(0)
}

/// The role is not there; names one that is.
pub fn unknown_role<'r>(known: impl Iterator<Item = &'r str>, role: &str) -> Stop {
    let known: Vec<&str> = known.collect();
    let otherwise = format!("there are {}", known.join(", "));
    Stop::failed(format!("error: there is no role `{role}`; {}", did_you_mean(role, known.iter().copied(), &otherwise)))
}
