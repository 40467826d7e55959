//! The demo's callers: one a role, with the claims and declarations that make the role count.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use departments::world::Household;
use serde_json::{Map, Value, json};

use crate::cli::Stop;
use crate::identify::mint;
use crate::model::access::Role;
use crate::model::config::Networks;
use crate::model::snapshot::Snapshot;

/// Somebody who asks.
pub struct DemoRole {
    pub name: String,
    /// As people read it.
    pub title: String,
    pub token: String,
    /// The network the role is asked from.
    pub network: String,
    /// What the listed proxy forwards for, where the role does not count from loopback.
    pub forwarded: Option<IpAddr>,
    pub purpose: Option<&'static str>,
    pub case: Option<&'static str>,
    /// The emergency that the role declares, where it counts only in one.
    pub break_glass: Option<&'static str>,
    /// Who it is, for the reader.
    pub who: String,
}

/// The claim (config/gateway.yaml) that says for which sources somebody speaks.
pub const SOURCES_CLAIM: &str = "sources";
/// The department whose source is not in service yet: its binding is in `examples/registry`.
pub const REGISTERED: &str = "culture";
/// Why the demo's duty officer breaks the glass.
const EMERGENCY: &str = "typhoon warning: the household must be brought to safety";

/// How long the tokens that are printed are valid.
const TOKENS_VALID: Duration = Duration::from_secs(12 * 3600);

/// A caller before it has a token.
pub struct Caller {
    pub role: &'static str,
    pub id: String,
    pub claims: Value,
    pub purpose: Option<&'static str>,
    pub case: Option<&'static str>,
    pub who: String,
}

/// All callers, in the order they are shown. `division`: what those of the county answer for instead.
pub fn all(household: &Household, division: Option<&str>, snapshot: &Snapshot) -> Result<Vec<DemoRole>, Stop> {
    with_tokens(callers(household, division), snapshot)
}

/// These callers, each with a token of the gateway's demo issuer.
pub fn with_tokens(callers: Vec<Caller>, snapshot: &Snapshot) -> Result<Vec<DemoRole>, Stop> {
    let config = &snapshot.config;
    let issuer = config
        .issuers
        .iter()
        .find(|issuer| issuer.demo)
        .ok_or_else(|| Stop::failed("error: config/gateway.yaml has no issuer marked `demo: true`"))?;
    let mut all = Vec::new();
    for caller in callers {
        let role = snapshot
            .access
            .role(caller.role)
            .ok_or_else(|| Stop::failed(format!("error: config/roles.yaml has no role `{}`", caller.role)))?;
        let (network, forwarded) = place(role, &config.networks)
            .ok_or_else(|| Stop::failed(format!("error: the role `{}` counts from no network", caller.role)))?;
        let claims = match caller.claims {
            Value::Object(claims) => claims,
            _ => Map::new(),
        };
        let token = mint(issuer, &caller.id, &[caller.role.to_owned()], &claims, TOKENS_VALID)
            .map_err(|error| Stop::failed(format!("error: no token for `{}`: {error}", caller.role)))?;
        all.push(DemoRole {
            name: caller.role.to_owned(),
            title: role.title.to_string(),
            token,
            network,
            forwarded,
            purpose: caller.purpose,
            case: caller.case,
            // A reason is refused where no grant asks for one.
            break_glass: needs_emergency(role, snapshot).then_some(EMERGENCY),
            who: caller.who,
        });
    }
    Ok(all)
}

/// Who bring a source of the registry into service, besides the operator.
pub fn registrars() -> Vec<Caller> {
    let of = |role, id: &str, who: &str| Caller {
        role,
        id: id.to_owned(),
        claims: json!({SOURCES_CLAIM: [REGISTERED]}),
        purpose: None,
        case: None,
        who: who.to_owned(),
    };
    vec![
        of("steward", "demo-steward", "writes the department's binding"),
        of("department-head", "demo-department-head", "answers for it"),
    ]
}

fn needs_emergency(role: &Role, snapshot: &Snapshot) -> bool {
    let grants = role.grants.iter().filter_map(|at| snapshot.access.grants.get(*at));
    grants.map(|grant| &grant.conditions).any(|conditions| conditions.break_glass.is_some())
}

/// Loopback itself where the role counts from there; else an address of the role's first network.
fn place(role: &Role, networks: &Networks) -> Option<(String, Option<IpAddr>)> {
    let here = networks.of(IpAddr::V4(Ipv4Addr::LOCALHOST));
    if let Some(network) = role.networks.iter().find(|name| here.iter().any(|here| **here == ***name)) {
        return Some((network.to_string(), None));
    }
    role.networks.iter().find_map(|name| {
        let address = networks.named.get(&**name)?.first()?.hosts().next()?;
        Some((name.to_string(), Some(address)))
    })
}

fn callers(household: &Household, answers_for: Option<&str>) -> Vec<Caller> {
    let division = &household.division.code;
    let county: String = answers_for.map_or_else(|| division.chars().take(6).collect(), str::to_owned);
    let level = match county.len() {
        2 => "province",
        4 => "city",
        6 => "county",
        _ => "division",
    };
    let town: String = division.chars().take(9).collect();
    let caller = |role, id: &str, claims, declared: (Option<&'static str>, Option<&'static str>), who: String| Caller {
        role,
        id: id.to_owned(),
        claims,
        purpose: declared.0,
        case: declared.1,
        who,
    };
    vec![
        caller(
            "household",
            "wx-demo-household",
            json!({"household": household.id, "person": household.head().id_number}),
            (None, None),
            "the household itself, by its mobile phone through the public proxy".to_owned(),
        ),
        caller(
            "cadre",
            &household.cadre_id,
            // No grant of theirs asks for it: without it, statistics would count them among those who work for nobody.
            json!({"divisions": [town]}),
            (Some("help"), None),
            format!("{}, paired with the household", household.cadre_id),
        ),
        caller(
            "grid-worker",
            "demo-grid-worker",
            json!({"grids": [household.grid], "divisions": [town]}),
            (Some("grid-watch"), None),
            format!("of the grid {}", household.grid),
        ),
        caller(
            "town-officer",
            "demo-town-officer",
            json!({"divisions": [town]}),
            (Some("duty"), None),
            format!("of the town {town}"),
        ),
        caller(
            "department-officer",
            "demo-civil-affairs-officer",
            json!({"department": "civil-affairs", "divisions": [county]}),
            (Some("duty"), None),
            format!("of civil affairs in the {level} {county}"),
        ),
        caller(
            "supervisor",
            "demo-supervisor",
            json!({"divisions": [county]}),
            (Some("supervision"), Some("JD-2026-0001")),
            format!("for the {level} {county}"),
        ),
        caller(
            "verifier",
            "demo-verifier",
            json!({"divisions": [county]}),
            (Some("recognition"), Some("HD-2026-0001")),
            format!("for the {level} {county}"),
        ),
        caller(
            "duty-officer",
            "demo-duty-officer",
            json!({"divisions": [county]}),
            (Some("emergency"), None),
            format!("on duty for the {level} {county}; reviewed by the security officer"),
        ),
        caller(
            "enterprise",
            "demo-enterprise",
            json!({"enterprise": "91331122DEMO000017"}),
            (None, None),
            "an enterprise, through the public proxy".to_owned(),
        ),
        caller("public", "demo-visitor", json!({}), (None, None), "anybody".to_owned()),
        caller("operator", "demo-operator", json!({}), (None, None), "runs the gateway".to_owned()),
        caller("security-officer", "demo-security-officer", json!({}), (None, None), "sets the roles".to_owned()),
        caller("auditor", "demo-auditor", json!({}), (None, None), "reads the audit".to_owned()),
    ]
}
