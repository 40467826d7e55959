//! `huxiang access explain`: for each field, the grant that gives it to a caller, or what is missing.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Given, cell, conditions, parts};
use crate::answer::{Gateway, Looked, Standing};
use crate::base::clock::{self, Clock};
use crate::base::code::ErrorCode;
use crate::base::fault::did_you_mean;
use crate::cli::holder::HolderArgs;
use crate::cli::{Done, RootArgs, Stop, load, runtime, text};
use crate::engine::authorize::Asking;
use crate::identify::{Declared, Identity, Verifier, check_reason};
use crate::model::access::{Grant, RelationId, Role};
use crate::model::contract::{EntityId, SlotId};
use crate::model::snapshot::Snapshot;

/// Fields of one look.
const FIELDS_MAX: usize = 1_000;

#[derive(Debug, Args)]
pub struct ExplainArgs {
    #[command(flatten)]
    root: RootArgs,
    /// The caller's token; it stands in lists of processes then, so a file or HUXIANG_TOKEN is better
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    #[command(flatten)]
    holder: HolderArgs,
    /// The purpose the caller declares
    #[arg(long)]
    purpose: Option<String>,
    /// The case number the caller declares
    #[arg(long)]
    case: Option<String>,
    /// An emergency that the caller declares; nothing is noted for a review
    #[arg(long, value_name = "REASON")]
    break_glass: Option<String>,
    /// An approval that the caller relies on, for the entity that is named; it is not used up
    #[arg(long, value_name = "ID", requires = "entity")]
    approval: Option<String>,
    /// As of when days, hours, ends and approvals are judged: 2026-06-01, or 2026-06-01T09:00, at +08:00. The token must
    /// be good now
    #[arg(long, value_name = "TIME", value_parser = clock::parse)]
    at: Option<Timestamp>,
    /// The network the caller comes from
    #[arg(long, conflicts_with = "address")]
    network: Option<String>,
    /// The address the caller comes from
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    address: IpAddr,
    /// One entity, TYPE=KEY: departments are asked how the caller stands to it. `--household KEY` is
    /// `--entity Household=KEY`, and so for each type
    #[arg(long, value_name = "TYPE=KEY")]
    entity: Option<String>,
    /// A field by dotted path, or an item's number; may be given more than once. All items, where it is not given
    #[arg(long, value_name = "PATH")]
    field: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What is told of one field.
struct Line {
    no: String,
    name: String,
    path: String,
    /// `None`: refused.
    given: Option<Given>,
    by: Vec<By>,
    /// What is missing, where it is refused.
    missing: Option<String>,
}

/// A grant that gives a field, and what of it.
struct By {
    role: String,
    relation: String,
    line: usize,
    given: Given,
    masked: BTreeMap<String, String>,
    /// Where no entity is named: under the relation; it was not looked at.
    if_related: bool,
}

type Standings = BTreeMap<RelationId, Standing>;

pub fn run(args: &ExplainArgs) -> Done {
    let snapshot = if args.entity.is_some() { load::to_serve(&args.root)?.0 } else { load::to_look_at(&args.root)? };
    let fields = fields(&snapshot, &args.field)?;
    runtime()?.block_on(async {
        let identity = identity(&snapshot, args).await?;
        let failed = |error: String| Stop::failed(format!("error: {error}"));
        let clock = args.at.map_or_else(Clock::system, |at| Clock::new(move || at));
        let Some(named) = &args.entity else {
            let asking = Asking { trusted: true, ..Asking::new(&identity, clock.now()) };
            return told(&snapshot, args, &identity, &fields, &asking, None);
        };
        let (entity, key) = entity(&snapshot, named)?;
        let gateway = Gateway::start_at(snapshot, clock).await.map_err(|error| failed(error.to_string()))?;
        let request_id = format!("explain-{:x}", Timestamp::now().as_nanosecond());
        let looked = gateway.standing(&identity, entity, key, &request_id).await;
        let Looked { asking, standing } = looked.map_err(|error| match error.code {
            ErrorCode::Forbidden => Stop::refused(format!("error: {}", error.message)),
            _ => failed(error.message),
        })?;
        told(gateway.snapshot(), args, &identity, &fields, &asking, Some(&standing))
    })
}

/// The token is checked as the gateway checks it.
async fn identity(snapshot: &Snapshot, args: &ExplainArgs) -> Result<Identity, Stop> {
    let token = match &args.token {
        Some(token) => token.trim().to_owned(),
        None => args.holder.token()?,
    };
    let failed = |error: &dyn std::fmt::Display| Stop::failed(format!("error: {error}"));
    let verifier = Verifier::open(&snapshot.config).await.map_err(|error| failed(&error))?;
    for fault in verifier.refresh().await {
        text::note(&format!("warning: {fault}"));
    }
    let header = format!("Bearer {token}");
    let principal = verifier.authenticate(Some(header.as_bytes()), None).await;
    let principal = principal.map_err(|error| Stop::refused(format!("error: {error}")))?;
    let known = &snapshot.config.networks;
    let networks = match &args.network {
        Some(name) if known.named.contains_key(name) => vec![name.clone()],
        Some(name) => {
            let hint = did_you_mean(name, known.named.keys().map(String::as_str), "networks stand in gateway.yaml");
            return Err(Stop::failed(format!("error: there is no network `{name}`; {hint}")));
        }
        None => known.of(args.address),
    };
    if let Some(purpose) = args.purpose.as_ref().filter(|name| !snapshot.config.purposes.contains_key(*name)) {
        let declared = snapshot.config.purposes.keys().map(String::as_str);
        let hint = did_you_mean(purpose, declared, "purposes are declared in gateway.yaml");
        return Err(Stop::failed(format!("error: there is no purpose `{purpose}`; {hint}")));
    }
    let (purpose, case, break_glass) = (args.purpose.clone(), args.case.clone(), args.break_glass.clone());
    if let Some(reason) = &break_glass {
        check_reason(reason).map_err(|error| Stop::failed(format!("error: {error}")))?;
    }
    let declared = Declared { purpose, case, break_glass, approval: args.approval.clone() };
    Ok(Identity::new(principal, args.address, networks, declared))
}

fn entity<'a>(snapshot: &Snapshot, named: &'a str) -> Result<(EntityId, &'a str), Stop> {
    let (name, key) = named
        .split_once('=')
        .filter(|(_, key)| !key.is_empty())
        .ok_or_else(|| Stop::failed("error: write an entity as TYPE=KEY, where TYPE is one of the contract's"))?;
    let contract = &snapshot.contract;
    let names: Vec<&str> = contract.entities.iter().map(|entity| &*entity.name).collect();
    let found = names.iter().find(|known| known.eq_ignore_ascii_case(name));
    let found = found.and_then(|name| contract.entity_named(name));
    let unknown = || {
        let hint = did_you_mean(name, names.iter().copied(), &format!("there are {}", names.join(", ")));
        Stop::failed(format!("error: the contract has no entity `{name}`; {hint}"))
    };
    Ok((found.ok_or_else(unknown)?, key))
}

/// The slots that are asked about: all items, or those that are named.
fn fields(snapshot: &Snapshot, named: &[String]) -> Result<Vec<SlotId>, Stop> {
    let contract = &snapshot.contract;
    if named.is_empty() {
        return Ok(contract.items.iter().map(|item| item.slot).take(FIELDS_MAX).collect());
    }
    let find = |name: &String| {
        let item = contract.items.iter().find(|item| *item.no == **name).map(|item| item.slot);
        let slots = contract.slots.iter().filter(|slot| !slot.hidden);
        let path = slots
            .clone()
            .find(|slot| contract.full_path(slot.id) == *name)
            .or_else(|| slots.clone().find(|slot| *slot.path == **name));
        item.or(path.map(|slot| slot.id)).ok_or_else(|| {
            let known = contract.slots.iter().filter(|slot| !slot.hidden).map(|slot| &*slot.path);
            let hint = did_you_mean(name, known, "fields are named by their dotted path in the contract");
            Stop::failed(format!("error: the contract has no field `{name}`; {hint}"))
        })
    };
    named.iter().take(FIELDS_MAX).map(find).collect()
}

fn told(
    snapshot: &Snapshot,
    args: &ExplainArgs,
    identity: &Identity,
    fields: &[SlotId],
    asking: &Asking,
    standing: Option<&Standings>,
) -> Done {
    let lines: Vec<Line> = fields.iter().map(|slot| line(snapshot, asking, *slot, standing)).collect();
    let relations = standing.map(|standing| relations(snapshot, standing)).unwrap_or_default();
    if args.json {
        let relations: Vec<Value> = relations
            .iter()
            .map(|(name, said, rule)| json!({ "relation": name, "holds": said, "rule": rule }))
            .collect();
        let fields: Vec<Value> = lines.iter().map(as_json).collect();
        text::out(&format!("{:#}\n", json!({ "caller": caller(identity), "relations": relations, "fields": fields })));
    } else {
        text::out(&rendered(identity, &relations, &lines));
    }
    Ok(0)
}

fn line(snapshot: &Snapshot, asking: &Asking, slot: SlotId, standing: Option<&Standings>) -> Line {
    let contract = &snapshot.contract;
    let item = contract.items.iter().find(|item| item.slot == slot);
    let parts = match item {
        Some(item) => parts(contract, item),
        None => contract.below(slot).into_iter().filter(|below| super::is_value(contract, *below)).collect(),
    };
    let presented = asking.presented();
    let mut by = Vec::new();
    let mut unrelated: Vec<String> = Vec::new();
    for role in snapshot.access.counting(presented) {
        let grants = role.grants.iter().filter_map(|at| snapshot.access.grants.get(*at));
        for grant in grants.filter(|grant| grant.slots.contains(slot) && grant.missing(presented).is_none()) {
            match standing.map(|standing| standing.get(&grant.relation).unwrap_or(&Standing::No)) {
                None => by.push(giving(snapshot, role, grant, &parts, true)),
                Some(Standing::Yes) => by.push(giving(snapshot, role, grant, &parts, false)),
                Some(other) => unrelated.push(miss(snapshot, role, grant, other)),
            }
        }
    }
    let given = by.iter().map(|by: &By| by.given).max();
    let missing = given.is_none().then(|| match unrelated.as_slice() {
        [] => refusal(snapshot, asking, slot),
        some => some.join("; "),
    });
    Line {
        no: item.map_or_else(String::new, |item| item.no.to_string()),
        name: item.map_or_else(String::new, |item| item.zh.to_string()),
        path: contract.full_path(slot),
        given,
        by,
        missing,
    }
}

fn giving(snapshot: &Snapshot, role: &Role, grant: &Grant, parts: &[SlotId], if_related: bool) -> By {
    let cell = cell(&snapshot.contract, &snapshot.access, grant, parts);
    By {
        role: role.name.to_string(),
        relation: cell.relation.to_owned(),
        line: grant.line,
        given: cell.given,
        masked: cell.masked,
        if_related,
    }
}

fn miss(snapshot: &Snapshot, role: &Role, grant: &Grant, standing: &Standing) -> String {
    let relation = snapshot.access.relation(grant.relation).map_or("", |relation| &relation.name);
    format!("{} (roles.yaml:{}): relation {relation}: {}", role.name, grant.line, said(standing))
}

/// What the caller would be told, and where the grant stands that comes nearest.
fn refusal(snapshot: &Snapshot, asking: &Asking, slot: SlotId) -> String {
    let denied = asking.denied(snapshot, slot).to_string();
    let presented = asking.presented();
    let own = snapshot.access.roles.iter().filter(|role| presented.roles.iter().any(|name| **name == *role.name));
    let own = own.flat_map(|role| {
        role.grants.iter().filter_map(|at| snapshot.access.grants.get(*at)).map(move |grant| (role, grant))
    });
    let named =
        |(role, grant): (&Role, &Grant), what: String| format!("{} (roles.yaml:{}) {what}", role.name, grant.line);
    let giving = own.clone().filter(|(_, grant)| grant.slots.contains(slot));
    let requires = |(role, grant): (&Role, &Grant)| format!("requires {}", conditions::line(role, grant));
    let mut at: Vec<String> = giving.map(|one| named(one, requires(one))).collect();
    if at.is_empty() {
        let naming = own.filter(|(_, grant)| grant.beyond.contains(slot));
        at.extend(naming.filter_map(|one| Some(named(one, beyond(snapshot, one.1, slot)?))));
    }
    if at.is_empty() { denied } else { format!("{denied} — {}", at.join("; ")) }
}

/// Why a grant that names the field's class does not give it.
fn beyond(snapshot: &Snapshot, grant: &Grant, slot: SlotId) -> Option<String> {
    let (contract, relation) = (&snapshot.contract, snapshot.access.relation(grant.relation)?);
    let (on, of) = (&contract.entity(relation.on).name, &contract.entity(contract.slot(slot).entity).name);
    Some(format!("names its class, but the relation {} is to {on}, and the field is {of}'s", relation.name))
}

fn said(standing: &Standing) -> String {
    match standing {
        Standing::Yes => "yes".to_owned(),
        Standing::No => "no".to_owned(),
        Standing::RuledOut => "no: the token alone rules it out".to_owned(),
        Standing::NotAvailable(why) => format!("not available: {why}"),
        Standing::ElsewhereOnly => "not to this entity, but to others below it, one by one".to_owned(),
    }
}

/// Name, outcome and rule of each relation.
fn relations(snapshot: &Snapshot, standing: &Standings) -> Vec<(String, String, String)> {
    let relation = |id: &RelationId| snapshot.access.relation(*id);
    let told = standing.iter().filter_map(|(id, standing)| Some((relation(id)?, standing)));
    told.map(|(relation, standing)| {
        let rule = relation.rule.when.text().split_whitespace().collect::<Vec<_>>().join(" ");
        (relation.name.to_string(), said(standing), rule)
    })
    .collect()
}

fn caller(identity: &Identity) -> Value {
    json!({
        "id": identity.principal.as_ref().map(|known| known.id.clone()),
        "roles": identity.roles(),
        "networks": identity.networks,
        "purpose": identity.purpose,
        "case": identity.case,
    })
}

fn as_json(line: &Line) -> Value {
    let by: Vec<Value> = line
        .by
        .iter()
        .map(|by| {
            json!({ "role": by.role, "relation": by.relation, "line": by.line, "given": by.given.name(),
                    "masked": by.masked, "ifRelated": by.if_related })
        })
        .collect();
    json!({ "item": line.no, "path": line.path, "given": line.given.map(Given::name), "by": by, "missing": line.missing })
}

fn rendered(identity: &Identity, relations: &[(String, String, String)], lines: &[Line]) -> String {
    let networks =
        if identity.networks.is_empty() { "no known network".to_owned() } else { identity.networks.join(", ") };
    let mut out = format!("{} from {networks}", identity.roles().join(", "));
    out.extend(identity.purpose.iter().map(|purpose| format!("; purpose {purpose}")));
    out.extend(identity.case.iter().map(|case| format!("; case {case}")));
    out.push_str("\n\n");
    if !relations.is_empty() {
        let rows: Vec<Vec<String>> = relations
            .iter()
            .map(|(name, said, rule)| vec![name.clone(), said.clone(), text::shorten(rule, 80)])
            .collect();
        out.push_str(&text::table(&["relation", "holds", "rule"], &rows));
        out.push('\n');
    }
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|line| {
            let sign = line.given.map_or("—", Given::sign);
            let why = line.missing.clone().unwrap_or_else(|| line.by.iter().map(of).collect::<Vec<_>>().join("; "));
            vec![line.no.clone(), text::shorten(&line.name, 28), line.path.clone(), sign.to_owned(), why]
        })
        .collect();
    out.push_str(&text::table(&["no", "item", "path", "", "given by, or what is missing"], &rows));
    out.push_str("\n● in full   ◐ in part   ○ masked   — refused\n");
    out
}

fn of(by: &By) -> String {
    let condition = if by.if_related { "if " } else { "" };
    let mut masks: Vec<&str> = by.masked.values().map(String::as_str).collect();
    masks.sort_unstable();
    masks.dedup();
    let masked = if masks.is_empty() { String::new() } else { format!(", masked ({})", masks.join(", ")) };
    format!("{} (roles.yaml:{}): {condition}{}{masked}", by.role, by.line, by.relation)
}

/// `--household KEY` for `--entity household=KEY`: the types are the contract's, and known only once it is read. What is
/// an option of the command itself stays.
pub fn with_entities(arguments: Vec<String>, known: &[String]) -> Vec<String> {
    let mut out = Vec::with_capacity(arguments.len());
    let mut rest = arguments.into_iter();
    while let Some(argument) = rest.next() {
        let name = argument.strip_prefix("--").map(|name| name.split_once('=').map_or(name, |(name, _)| name));
        match name.filter(|name| !name.is_empty() && !known.iter().any(|one| one == name)) {
            Some(name) => {
                let value = argument.split_once('=').map(|(_, value)| value.to_owned()).or_else(|| rest.next());
                out.push("--entity".to_owned());
                out.push(format!("{name}={}", value.unwrap_or_default()));
            }
            None => out.push(argument),
        }
    }
    out
}
