//! `huxiang demo --levels 3`: a city's gateway above the county's, and a province's above that, each with keys and an audit
//! store of its own. The files of those above are `examples/levels`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use rcgen::KeyPair;
use serde_json::{Value, json};

use super::roles::{self, Caller, DemoRole};
use super::start::{self, Folder, Serving, Started};
use super::{DemoArgs, HOUSEHOLD, Progress, render};
use crate::audit::{AuditRecord, Kind, Reader, Search};
use crate::cli::text::{self, Paint};
use crate::cli::{Done, Stop, load};
use crate::model::config::{GatewayConfig, Issuer, Pem, TokenAlgorithm};
use crate::model::snapshot::{Folders, Variables};

/// A level, and as what the one below knows its gateway.
struct Level {
    name: &'static str,
    title: &'static str,
    issuer: &'static str,
    audience: &'static str,
    actor: &'static str,
    /// What its officers are below.
    officer_below: &'static str,
    /// Prefix of the divisions that its people are responsible for.
    division: &'static str,
}

const COUNTY_AUDIENCE: &str = "huxiang-county";
/// Above the county, the lowest first.
const ABOVE: [Level; 2] = [
    Level {
        name: "city",
        title: "the city's gateway",
        issuer: "https://gateway.city.invalid",
        audience: "huxiang-city",
        actor: "gateway city",
        officer_below: "town-officer",
        division: "3311",
    },
    Level {
        name: "province",
        title: "the province's gateway",
        issuer: "https://gateway.province.invalid",
        audience: "huxiang-province",
        actor: "gateway province",
        officer_below: "officer",
        division: "33",
    },
];
/// A token that a gateway makes for a call lives for one.
const TOKEN_MINUTES_MAX: u64 = 2;

/// The county's gateway takes the tokens of the city's, whose key this is, besides those of its own people.
pub fn taking_tokens_of(config: &mut GatewayConfig, above: &KeyPair) {
    let Some(own) = config.issuers.first().cloned() else { return };
    config.issuers.push(Issuer {
        issuer: ABOVE.first().map_or("", |city| city.issuer).to_owned(),
        audience: COUNTY_AUDIENCE.to_owned(),
        algorithms: vec![TokenAlgorithm::EdDsa],
        keys: vec![Pem::Text(above.public_key_pem().into())],
        token_minutes_max: TOKEN_MINUTES_MAX,
        demo: false,
        signing_key: None,
        ..own
    });
}

/// The gateways, the county's first.
struct Running {
    county: Started,
    above: Vec<(&'static Level, Serving, Folder)>,
}

impl Running {
    async fn start(args: &DemoArgs, port: u16, progress: &Progress) -> Result<Self, Stop> {
        let levels = ABOVE.iter().take(usize::from(args.levels.saturating_sub(1)));
        let levels = levels.map(|level| Ok((level, start::key_pair()?))).collect::<Result<Vec<_>, Stop>>()?;
        // The highest has the port; those below the next ones.
        let ports = (0..=u16::from(args.levels)).map(|depth| if port == 0 { 0 } else { port.saturating_add(depth) });
        let mut ports: Vec<u16> = ports.take(levels.len() + 1).collect();
        let mut next_port = || ports.pop().unwrap_or(0);
        let lowest = levels.first().map(|(_, key)| key);
        let county = Started::new(next_port(), args, lowest, progress).await?;
        let mut above: Vec<(&'static Level, Serving, Folder)> = Vec::new();
        for (at, (level, key)) in levels.iter().enumerate() {
            let (below, audience) = match above.last() {
                Some((level, serving, _)) => (serving, level.audience),
                None => (county.serving(), COUNTY_AUDIENCE),
            };
            let folder = Folder::new()?;
            let mut variables: BTreeMap<String, String> =
                start::made_here(&folder.path, next_port())?.into_iter().collect();
            for (name, value) in [
                ("BELOW_URL", format!("http://{}/graphql", below.address())),
                ("BELOW_AUDIENCE", audience.to_owned()),
                ("BELOW_OFFICER", level.officer_below.to_owned()),
                ("OWN_ISSUER", level.issuer.to_owned()),
                ("OWN_NAME", level.actor.to_owned()),
                ("OWN_KEY", key.serialize_pem()),
            ] {
                variables.insert(name.to_owned(), value);
            }
            // A gateway that has none above it knows the key of one that never asks.
            let higher = match levels.get(at + 1) {
                Some((_, key)) => key.public_key_pem(),
                None => start::key_pair()?.public_key_pem(),
            };
            variables.insert("PROVINCE_GATEWAY_PUBLIC_KEY".to_owned(), higher);
            let serving = progress.show(level.title, serve(level, variables)).await?;
            above.push((level, serving, folder));
        }
        Ok(Self { county, above })
    }

    /// The highest first, each with its name.
    fn highest_first(&self) -> impl Iterator<Item = (&'static str, &Serving)> {
        let above = self.above.iter().rev().map(|(level, serving, _)| (level.name, serving));
        above.chain([("county", self.county.serving())])
    }

    fn top(&self) -> Option<(&'static Level, &Serving)> {
        self.above.last().map(|(level, serving, _)| (*level, serving))
    }

    async fn stop(self) {
        for (_, serving, _folder) in self.above.into_iter().rev() {
            serving.stop().await;
        }
        self.county.stop().await;
    }
}

async fn serve(level: &Level, variables: BTreeMap<String, String>) -> Result<Serving, Stop> {
    let folders = folders(level);
    let variables: Variables = Arc::new(move |name| start::variable(&variables, name));
    let loaded = load::load_to_serve(&folders, &*variables).map_err(|faults| load::refused(&faults))?;
    Serving::start(loaded, folders, variables).await
}

/// One contract and one binding for all levels; each its own configuration.
fn folders(level: &Level) -> Folders {
    let root: PathBuf = start::root().join("examples/levels");
    Folders { config: root.join(level.name), ..Folders::under(&root) }
}

pub async fn demo(args: &DemoArgs, port: u16, mut stop: Pin<&mut impl Future<Output = ()>>) -> Done {
    let running = Running::start(args, port, &Progress::new()).await?;
    let shown = async {
        let Some((level, top)) = running.top() else { return Err(Stop::failed("error: there is no level above")) };
        let roles = roles::with_tokens(callers(level), top.snapshot())?;
        let shown = portraits(args, &running, (level, top), &roles).await?;
        Ok((shown, roles))
    };
    let roles = tokio::select! {
        shown = shown => {
            let (shown, roles) = shown?;
            text::out(&shown);
            roles
        }
        () = &mut stop => return Ok(0),
    };
    if !args.once {
        let told = addresses(&running, &roles)?;
        // With --json, standard output is for machines only.
        if args.json {
            text::note(&told)
        } else {
            text::out(&told)
        }
        stop.await;
    }
    running.stop().await;
    Ok(0)
}

/// Who asks at the highest level.
fn callers(level: &Level) -> Vec<Caller> {
    let caller = |role, declared: (&'static str, Option<&'static str>)| Caller {
        role,
        id: format!("demo-{}-{role}", level.name),
        claims: json!({"divisions": [level.division]}),
        purpose: Some(declared.0),
        case: declared.1,
        who: format!("of the {}", level.name),
    };
    vec![caller("supervisor", ("supervision", Some("JD-2026-0001"))), caller("officer", ("duty", None))]
}

/// The household as each role sees it at the highest level, and what every level has on record of it.
async fn portraits(
    args: &DemoArgs,
    running: &Running,
    (level, top): (&Level, &Serving),
    roles: &[DemoRole],
) -> Result<String, Stop> {
    let (client, paint) = (top.client()?, Paint::stdout());
    let contract = &top.snapshot().contract;
    let mut out = render::heading(contract, HOUSEHOLD, paint);
    out.push_str(&format!(
        "Asked at the {}, which asks the gateway below; the county's asks its departments.\n",
        level.name
    ));
    let mut views = Vec::new();
    for role in roles {
        let view = client.view(role, HOUSEHOLD).await?;
        out.push_str(&render::portrait(contract, role, &view, paint));
        views.push(view.as_json());
    }
    let mut records = Vec::new();
    for (name, serving) in running.highest_first() {
        records.extend(on_record(serving).await?.into_iter().map(|record| (name, record)));
    }
    if args.json {
        let records: Vec<Value> = records.iter().map(|(level, record)| as_json(level, record)).collect();
        return Ok(format!("{}\n", json!({"level": level.name, "views": views, "records": records})));
    }
    out.push_str(&format!("\n{}\n", paint.bold("What each level has on record: the person, and the gateways between")));
    let rows: Vec<Vec<String>> = records.iter().map(|(level, record)| row(level, record)).collect();
    let header = ["level", "who", "through", "as", "purpose", "case", "read", "masked", "not given", "sources"];
    out.push_str(&text::table(&header, &rows));
    Ok(out)
}

/// The requests that a gateway answered, in their order.
async fn on_record(serving: &Serving) -> Result<Vec<AuditRecord>, Stop> {
    let search = Search { kinds: vec![Kind::Request], first: 100, ..Search::default() };
    let page = Reader::new(&serving.snapshot().config.audit.store).search(&search).await;
    let page = page.map_err(|error| Stop::failed(format!("error: {error}")))?;
    Ok(page.entries.into_iter().rev().map(|entry| entry.record).collect())
}

fn via(record: &AuditRecord) -> &[String] {
    record.who.as_ref().map_or(&[], |who| &who.via)
}

fn who(record: &AuditRecord) -> &str {
    record.who.as_ref().map_or("", |who| &who.id)
}

/// How many fields were read, shown masked, and not given.
fn counts(record: &AuditRecord) -> [usize; 3] {
    let count = |fields: &mut dyn Iterator<Item = &String>| fields.collect::<BTreeSet<_>>().len();
    [
        count(&mut record.access.iter().flat_map(|access| &access.read)),
        count(&mut record.access.iter().flat_map(|access| &access.masked)),
        count(&mut record.access.iter().flat_map(|access| access.refused.iter().chain(&access.unanswered))),
    ]
}

fn as_json(level: &str, record: &AuditRecord) -> Value {
    let [read, masked, not_given] = counts(record);
    let sources: Vec<&str> = record.sources.iter().map(|call| &*call.source).collect();
    json!({
        "level": level, "who": who(record), "via": via(record), "roles": record.roles, "purpose": record.purpose,
        "case": record.case, "outcome": record.outcome, "read": read, "masked": masked, "not_given": not_given,
        "sources": sources,
    })
}

fn row(level: &str, record: &AuditRecord) -> Vec<String> {
    let [read, masked, not_given] = counts(record).map(|count| count.to_string());
    let declared = |text: &Option<String>| text.clone().unwrap_or_else(|| "—".to_owned());
    let through = match via(record) {
        [] => "—".to_owned(),
        via => via.join(", "),
    };
    let (purpose, case) = (declared(&record.purpose), declared(&record.case));
    let sources = record.sources.len().to_string();
    let (who, roles) = (who(record).to_owned(), record.roles.join(", "));
    vec![level.to_owned(), who, through, roles, purpose, case, read, masked, not_given, sources]
}

/// Where to ask, and as whom: at the highest level, and at the county, whose own people see what it has on record.
fn addresses(running: &Running, roles: &[DemoRole]) -> Result<String, Stop> {
    let paint = Paint::stdout();
    let mut out = format!("\n{}\n", paint.bold("Serving until Ctrl-C"));
    for (name, serving) in running.highest_first() {
        let address = serving.address();
        out.push_str(&format!("  {name:<9} http://{address}/graphql   http://{address}/graphiql\n"));
    }
    out.push_str("\nTokens (valid for 12 hours), each with a command to try:\n");
    if let Some((_, top)) = running.top() {
        out.push_str(&render::tokens(top.address(), roles, HOUSEHOLD, paint));
    }
    let own = running.county.roles()?;
    let auditor: Vec<DemoRole> = own.into_iter().filter(|role| role.name == "auditor").collect();
    let admin = format!("http://{}/admin/graphql", running.county.serving().address());
    for role in &auditor {
        out.push_str(&format!(
            "\n{} {} of the county\n{}\ncurl -s {admin} -H 'Authorization: Bearer {}' -H 'Content-Type: application/json' \
             -d '{{\"query\":\"{{auditRecords(filter:{{kinds:[\\\"REQUEST\\\"]}},first:2){{records{{record}}}}}}\"}}'\n",
            paint.bold(&role.name),
            role.title,
            role.token,
            role.token,
        ));
    }
    Ok(out)
}
