//! `huxiang plan`: what a query would fetch for a role, without asking anybody.

use std::net::{IpAddr, Ipv4Addr};

use clap::Args;
use serde_json::{Map, Value};

use super::schema::unknown_role;
use super::{Done, RootArgs, Stop, load, text, token};
use crate::answer::{GraphqlRequest, plan_text_of};
use crate::base::fault::did_you_mean;
use crate::engine::error::RequestError;
use crate::engine::plan::cost::Assumed;
use crate::identify::{Declared, Identity, Principal};
use crate::model::snapshot::Snapshot;

#[derive(Debug, Args)]
pub struct PlanArgs {
    #[command(flatten)]
    root: RootArgs,
    /// A GraphQL document, or `@FILE`
    query: String,
    /// A role of config/roles.yaml; may be given more than once
    #[arg(long, required = true, value_name = "ROLE")]
    role: Vec<String>,
    /// The query's variables, a JSON object
    #[arg(long, default_value = "{}", value_name = "JSON")]
    variables: String,
    /// The operation's name, where the document has several
    #[arg(long)]
    operation: Option<String>,
    /// The purpose the caller declares
    #[arg(long)]
    purpose: Option<String>,
    /// The case number the caller declares
    #[arg(long)]
    case: Option<String>,
    /// A claim of the caller's token; lists are separated by commas
    #[arg(long, value_name = "NAME=VALUE")]
    claim: Vec<String>,
    /// The network the caller comes from; the first that the role counts in, where it is not given
    #[arg(long)]
    network: Option<String>,
    /// Entities of a listing's page to reckon calls with
    #[arg(long, default_value_t = Assumed::default().listed, value_name = "N")]
    listed: usize,
    /// Members of all lists together (the people of the households) to reckon calls with
    #[arg(long, default_value_t = Assumed::default().members, value_name = "N")]
    members: usize,
}

pub fn run(args: &PlanArgs) -> Done {
    let snapshot = load::to_look_at(&args.root)?;
    let identity = identity(&snapshot, args)?;
    let query = match args.query.strip_prefix('@') {
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| Stop::failed(format!("error: {path} cannot be read: {error}")))?,
        None => args.query.clone(),
    };
    let variables: Map<String, Value> = serde_json::from_str(&args.variables)
        .map_err(|error| Stop::failed(format!("error: --variables is not a JSON object: {error}")))?;
    let request = GraphqlRequest {
        query: Some(query),
        operation_name: args.operation.clone(),
        variables,
        ..GraphqlRequest::default()
    };
    let assumed = Assumed { listed: args.listed, members: args.members };
    let plan = plan_text_of(&snapshot, &identity, &request, assumed).map_err(|error| refused(&error))?;
    text::out(&plan);
    Ok(0)
}

/// The request's error, with the places in the document.
fn refused(error: &RequestError) -> Stop {
    if error.details.is_empty() {
        return Stop::refused(format!("{}: {}", error.code, error.message));
    }
    let lines: Vec<String> = error
        .details
        .iter()
        .map(|(message, place)| match place {
            Some((line, column)) => format!("{} at {line}:{column}: {message}", error.code),
            None => format!("{}: {message}", error.code),
        })
        .collect();
    Stop::refused(lines.join("\n"))
}

fn identity(snapshot: &Snapshot, args: &PlanArgs) -> Result<Identity, Stop> {
    let mut networks = Vec::new();
    for name in &args.role {
        let role = snapshot.access.role(name).ok_or_else(|| unknown_role(snapshot.access.role_names(), name))?;
        networks.extend(role.networks.first().map(ToString::to_string));
    }
    if let Some(network) = &args.network {
        let known = snapshot.config.networks.named.keys().map(String::as_str);
        if known.clone().all(|name| name != network) {
            let hint = did_you_mean(network, known, "networks are declared in config/gateway.yaml");
            return Err(Stop::failed(format!("error: there is no network `{network}`; {hint}")));
        }
        networks = vec![network.clone()];
    }
    let principal = Principal {
        id: "plan".to_owned(),
        issuer: String::new(),
        roles: args.role.clone(),
        actors: Vec::new(),
        claims: token::claims(&args.claim, &snapshot.config.claims)?,
    };
    let declared = Declared { purpose: args.purpose.clone(), case: args.case.clone(), ..Declared::default() };
    Ok(Identity::new(Some(principal), IpAddr::V4(Ipv4Addr::LOCALHOST), networks, declared))
}
