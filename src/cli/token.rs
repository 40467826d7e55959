//! `huxiang token`: a token to try the gateway with, of an issuer that the configuration marks as a demo issuer.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::load::{self, Environment};
use super::schema::unknown_role;
use super::{Done, RootArgs, Stop, revoke, text};
use crate::base::fault::{self, Faults, did_you_mean};
use crate::identify::{MintError, mint};
use crate::model::access::RolesFile;
use crate::model::config::{ClaimType, GatewayConfig};
use crate::model::yaml;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct TokenArgs {
    #[command(subcommand)]
    command: Option<TokenCommand>,
    #[command(flatten)]
    root: RootArgs,
    /// A role of config/roles.yaml; may be given more than once
    #[arg(long, required = true, value_name = "ROLE")]
    role: Vec<String>,
    /// Who it is
    #[arg(long, required = true)]
    sub: Option<String>,
    /// A claim that config/gateway.yaml declares; lists are separated by commas
    #[arg(long, value_name = "NAME=VALUE")]
    claim: Vec<String>,
    /// How long it is valid
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=1440))]
    minutes: u64,
    /// The issuer, where the configuration has several demo issuers
    #[arg(long)]
    issuer: Option<String>,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Revoke tokens: with a security officer's token, on record, in force within a second
    Revoke(revoke::RevokeArgs),
    /// List what was revoked
    Revoked(revoke::RevokedArgs),
}

pub fn run(args: &TokenArgs) -> Done {
    match &args.command {
        Some(TokenCommand::Revoke(args)) => revoke::revoke(args),
        Some(TokenCommand::Revoked(args)) => revoke::list(args),
        None => make(args),
    }
}

fn make(args: &TokenArgs) -> Done {
    // Of the files, only what a token is made of: a contract with faults keeps nobody from asking a gateway that runs.
    let folders = load::folders(&args.root);
    let environment = Environment::with_placeholders(&folders);
    let mut faults = Faults::default();
    let read = fault::read(&folders.config.join("roles.yaml"), &mut faults);
    let roles = read.and_then(|text| yaml::read::<RolesFile>(&text, &mut faults));
    let roles = roles.ok_or_else(|| load::refused(&faults))?.roles;
    if let Some(role) = args.role.iter().find(|role| !roles.contains_key(*role)) {
        return Err(unknown_role(roles.keys().map(String::as_str), role));
    }
    let base = folders.config.parent().unwrap_or(std::path::Path::new("."));
    let file = folders.config.join("gateway.yaml");
    let config = GatewayConfig::load(&file, base, &|name| environment.get(name), &mut faults)
        .ok_or_else(|| load::refused(&faults))?;
    let wanted = |issuer: &str| args.issuer.as_deref().is_none_or(|name| name == issuer);
    let mut issuers = config.issuers.iter().filter(|issuer| wanted(&issuer.issuer));
    let issuer = issuers.clone().find(|issuer| issuer.demo).or_else(|| issuers.next()).ok_or_else(|| {
        Stop::refused("error: the configuration has no such issuer; issuers stand in config/gateway.yaml")
    })?;
    let claims = claims(&args.claim, &config.claims)?;
    let valid = Duration::from_secs(args.minutes * 60);
    let token = mint(issuer, args.sub.as_deref().unwrap_or_default(), &args.role, &claims, valid).map_err(|error| {
        let missing = environment.missing();
        match error {
            MintError::Key(_) if !missing.is_empty() => Stop::refused(format!(
                "error: {error}\n  = hint: these variables of {} are not set: {}",
                file.display(),
                missing.join(", ")
            )),
            error => Stop::refused(format!("error: {error}")),
        }
    })?;
    text::out(&format!("{token}\n"));
    Ok(0)
}

/// `name=value` pairs, each of the type the configuration declares.
pub fn claims(pairs: &[String], declared: &BTreeMap<String, ClaimType>) -> Result<Map<String, Value>, Stop> {
    let mut claims = Map::new();
    for pair in pairs {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(Stop::failed(format!("error: `{pair}` is not a claim; write `name=value`")));
        };
        let Some(kind) = declared.get(name) else {
            let hint = did_you_mean(
                name,
                declared.keys().map(String::as_str),
                "claims are declared under `principal.claims` in config/gateway.yaml",
            );
            return Err(Stop::failed(format!("error: there is no claim `{name}`; {hint}")));
        };
        let value = match kind {
            ClaimType::Text => Some(json!(value)),
            ClaimType::Texts => Some(value.split(',').map(str::trim).filter(|part| !part.is_empty()).collect()),
            ClaimType::Int => value.parse::<i64>().ok().map(Value::from),
            ClaimType::Bool => value.parse::<bool>().ok().map(Value::from),
        };
        let value = value.ok_or_else(|| {
            let wanted = if *kind == ClaimType::Int { "a whole number" } else { "true or false" };
            Stop::failed(format!("error: the claim `{name}` is {wanted}"))
        })?;
        claims.insert(name.to_owned(), value);
    }
    Ok(claims)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_get_their_declared_type() {
        let declared = BTreeMap::from([
            ("divisions".to_owned(), ClaimType::Texts),
            ("household".to_owned(), ClaimType::Text),
            ("level".to_owned(), ClaimType::Int),
        ]);
        let given = ["divisions=331122, 331123", "household=331122101348000001", "level=3"].map(str::to_owned);
        assert_eq!(
            Value::Object(claims(&given, &declared).unwrap()),
            json!({"divisions": ["331122", "331123"], "household": "331122101348000001", "level": 3})
        );
        assert!(claims(&["divison=1".to_owned()], &declared).unwrap_err().message.contains("divisions"));
        assert!(claims(&["level=high".to_owned()], &declared).is_err());
    }
}
