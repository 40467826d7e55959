//! What is tested: gateways of its own over the demo departments, or a deployment that is there already.
//!
//! A stage of its own has several gateways over the same departments: one with the repository's roles, and some from
//! whose roles one grant was taken. Its contract is the repository's with interfaces and unions laid over it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use departments::{Logged, Options, Running, World};
use huxiang::answer::Gateway;
use huxiang::base::clock::Clock;
use huxiang::base::fault::Faults;
use huxiang::identify::Verifier;
use huxiang::model::snapshot::{Folders, Snapshot};
use huxiang::serve;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::access_oracle::{Caller, Contract, Roles, folder, yaml};
use crate::case::{Drawn, Transport};
use crate::facts::{Facts, Learned};
use crate::odds::Odds;
use crate::over_socket;
use crate::scan_oracle::Marked;

/// One gateway, and the roles it runs with.
pub struct Gate {
    pub url: String,
    pub roles: Roles,
    /// The role and the place of the grant that was taken from the roles.
    pub without: Option<(String, usize)>,
    /// What its roles ask for besides.
    pub odds: Option<Odds>,
    task: Option<tokio::task::JoinHandle<()>>,
}

impl Drop for Gate {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

pub struct Stage {
    pub contract: Contract,
    /// The files that the gateways run with, as far as this suite is told.
    pub root: PathBuf,
    pub facts: Facts,
    pub gates: Vec<Gate>,
    /// GET with a query is taken.
    pub get: bool,
    /// Lists of operations are taken.
    pub batch: bool,
    departments: Option<Running>,
    /// By whom tokens are signed; `None` where they are given.
    issuer: Option<Issuer>,
    /// An address of each network.
    addresses: BTreeMap<String, String>,
    client: reqwest::Client,
    folder: PathBuf,
    /// The issuer's key, where it is our own, and what the bindings name.
    pem: String,
    variables: BTreeMap<String, String>,
}

struct Issuer {
    name: String,
    audience: String,
    algorithm: Algorithm,
    key: EncodingKey,
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// What came back.
pub struct Reply {
    pub status: u16,
    /// Headers and body, as text.
    pub whole: String,
    pub json: Value,
}

impl Stage {
    /// `URL=https://… ISSUER_KEY=key.pem`: a deployment over the demo's data; with `KEYS=keys.yaml`, one over any data. Else
    /// its own.
    pub async fn set(worker: usize, seed: u64, variants: usize) -> Self {
        let Ok(url) = std::env::var("URL") else { return Self::own(worker, seed, variants).await };
        let root = std::env::var("ROOT").map_or_else(|_| folder(""), PathBuf::from);
        let key = std::env::var("ISSUER_KEY").ok();
        let key = key.map(|file| std::fs::read(file).expect("the issuer's key is read"));
        match std::env::var("KEYS") {
            Ok(keys) => {
                let urls: Vec<String> = url.split(',').map(str::to_owned).collect();
                Self::unknown(urls, &root, key.as_deref(), yaml(Path::new(&keys)))
            }
            Err(_) => {
                let key = key.expect("ISSUER_KEY: the file of the key that tokens are signed with");
                Self::deployed(url, &root, &key)
            }
        }
    }

    /// A deployment over data that is not known: what its owner describes of it, and its files.
    pub fn unknown(urls: Vec<String>, root: &Path, pem: Option<&[u8]>, described: Value) -> Self {
        let first = urls.first().expect("a URL").clone();
        let stage = Self::deployed(first, root, pem.unwrap_or_default());
        let gate = |url: String| {
            let roles = Roles::read_from(root, &stage.contract);
            Gate { url, roles, without: None, odds: None, task: None }
        };
        let gates = urls.into_iter().map(gate).collect();
        let mut addresses = stage.addresses.clone();
        for (network, address) in described["addresses"].as_object().into_iter().flatten() {
            addresses.insert(network.clone(), address.as_str().expect("an address").to_owned());
        }
        let learned = Learned::new(root, described);
        assert!(stage.issuer.is_some() || !learned.tokens.is_empty(), "give ISSUER_KEY, or `tokens` in KEYS");
        let mut stage = stage;
        (stage.gates, stage.addresses, stage.facts) = (gates, addresses, Facts::Learned(learned));
        stage
    }

    /// Asks, as a caller who may see all, for what there is of each household that is named; how many are known then.
    pub async fn learn(&mut self, drawn: &Drawn) -> usize {
        let Facts::Learned(learned) = &self.facts else { return 0 };
        let Some(seeing) = learned.seeing(drawn) else { return 0 };
        let fields = learned.everything(&self.contract, &seeing);
        let query = format!("query ($id: ID!) {{ household(id: $id) {{ {fields} }} }}");
        let mut told = Vec::new();
        for id in &drawn.households {
            let variables = json!({ "id": id });
            let asked =
                Asked { query: query.clone(), variables, operation: None, in_extensions: false, approval: None };
            let request = self.request(&self.gates[0], &seeing, Transport::Post, &asked);
            told.push((id.clone(), self.send(request).await.json));
        }
        let Facts::Learned(learned) = &mut self.facts else { return 0 };
        for (id, answer) in &told {
            learned.take_in(id, answer);
        }
        told.iter().filter(|(_, answer)| !answer["data"]["household"].is_null()).count()
    }

    /// A deployment over the demo's data: its files, and the key of its first issuer.
    pub fn deployed(url: String, root: &Path, pem: &[u8]) -> Self {
        let config = yaml(&root.join("config/gateway.yaml"));
        let issuer = &config["issuers"][0];
        let algorithm = match issuer["algorithms"][0].as_str() {
            Some("RS256") => (Algorithm::RS256, EncodingKey::from_rsa_pem(pem)),
            Some("ES256") => (Algorithm::ES256, EncodingKey::from_ec_pem(pem)),
            _ => (Algorithm::EdDSA, EncodingKey::from_ed_pem(pem)),
        };
        let issuer_of = |key| Issuer {
            name: issuer["issuer"].as_str().unwrap_or_default().to_owned(),
            audience: issuer["audience"].as_str().unwrap_or_default().to_owned(),
            algorithm: algorithm.0,
            key,
        };
        let options = Options::default();
        let contract = Contract::read_from(root);
        let roles = Roles::read_from(root, &contract);
        Self {
            contract,
            root: root.to_owned(),
            facts: Facts::Generated(World::new(options.seed, options.households_per_village)),
            gates: vec![Gate { url, roles, without: None, odds: None, task: None }],
            get: config["graphql"]["get_queries"] == true,
            batch: config["graphql"]["batch_max"].as_u64().is_some_and(|max| max > 1),
            departments: None,
            issuer: (!pem.is_empty())
                .then(|| issuer_of(algorithm.1.expect("the issuer's key is a PEM of its algorithm"))),
            addresses: addresses(&config),
            client: client(),
            folder: std::env::temp_dir().join("huxiang-authorization-none"),
            pem: String::new(),
            variables: BTreeMap::new(),
        }
    }

    /// The same gateways, as a deployment that cannot be looked into.
    pub fn outside(&self) -> Self {
        self.held_against(&self.folder.join("0"), &self.gates[0])
    }

    /// A gateway over the same departments, whose roles are not what its owner says they are.
    pub async fn opened(&self, name: &str, change: impl FnOnce(&mut Value)) -> Gate {
        self.gate_at(&self.laid_out(name, |roles, _| change(roles))).await
    }

    /// Files in which roles and relations are others.
    pub fn laid_out(&self, name: &str, change: impl FnOnce(&mut Value, &mut Value)) -> PathBuf {
        let root = self.folder.join(name);
        let read = |path: &str| yaml(&folder_of("config").join(path));
        let (mut roles, mut relations) = (read("roles.yaml"), read("rules/relations.yaml"));
        change(&mut roles, &mut relations);
        lay_out(&root, &roles, None);
        std::fs::write(root.join("config/rules/relations.yaml"), relations.to_string()).expect("written");
        root
    }

    /// A gateway over the same departments that runs with these files.
    pub async fn gate_at(&self, root: &Path) -> Gate {
        gate(root, &self.variables, None, None).await
    }

    /// A gateway of the same departments as one over the demo's data that cannot be looked into, with what is told of its
    /// files.
    pub fn held_against(&self, told: &Path, gate: &Gate) -> Self {
        Self::deployed(gate.url.clone(), told, self.pem.as_bytes())
    }

    /// A gateway as whoever runs it has it who says nothing of the data: its URL, the first gateway's files, the key.
    pub fn described(&self, gate: &Gate, described: Value) -> Self {
        Self::unknown(vec![gate.url.clone()], &self.folder.join("0"), Some(self.pem.as_bytes()), described)
    }

    /// A token for a caller, as whoever runs a deployment has one.
    pub fn token_for(&self, caller: &Caller) -> String {
        self.token(caller)
    }

    pub async fn own(worker: usize, seed: u64, variants: usize) -> Self {
        let mut options = Options { latency: false, rates: false, ..Options::default() };
        // The department that is a database holds the village of the other county too.
        options.villages.push("330109102001".to_owned());
        let departments = departments::start(options).await.expect("the departments start");
        let temporary = [PathBuf::from("/dev/shm"), std::env::temp_dir()];
        let place = temporary.iter().find(|path| path.is_dir()).expect("a folder for files of the test");
        let folder = place.join(format!("huxiang-authorization-{}-{worker}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key pair");
        let variables = variables_of(&departments, &pair);
        let written = yaml(&folder_of("config").join("roles.yaml"));
        let grants = grants_of(&written);
        let mut gates = Vec::new();
        let first = usize::try_from(seed % 1_000).unwrap_or(0) + worker * variants;
        let taken = (0..variants).map(|n| grants.get((first + n) % grants.len().max(1)).cloned());
        for (at, without) in std::iter::once(None).chain(taken).enumerate() {
            let root = folder.join(at.to_string());
            lay_out(&root, &written, without.as_ref());
            gates.push(gate(&root, &variables, without, None).await);
        }
        if variants > 0 {
            gates.push(odd_gate(&folder.join("odd"), &written, &variables).await);
        }
        let issuer = yaml(&folder_of("config").join("gateway.yaml"));
        let text = |name: &str| issuer["issuers"][0][name].as_str().unwrap_or_default().to_owned();
        Self {
            contract: Contract::read_from(&folder.join("0")),
            root: folder.join("0"),
            facts: Facts::Generated(departments.world().clone()),
            gates,
            get: true,
            batch: true,
            departments: Some(departments),
            addresses: addresses(&issuer),
            issuer: Some(Issuer {
                name: text("issuer"),
                audience: text("audience"),
                algorithm: Algorithm::EdDSA,
                key: EncodingKey::from_ed_pem(pair.serialize_pem().as_bytes()).expect("the key just made"),
            }),
            client: client(),
            folder,
            pem: pair.serialize_pem(),
            variables,
        }
    }

    /// An address of the caller's network; for none, one that no network has.
    fn address(&self, caller: &Caller) -> String {
        let network = caller.networks.first().and_then(|name| self.addresses.get(name));
        network.cloned().unwrap_or_else(|| "198.51.100.7".to_owned())
    }

    pub fn forget_calls(&self) {
        if let Some(departments) = &self.departments {
            departments.clear_logs();
        }
    }

    /// What the departments were asked since; `None` where they cannot be looked into.
    pub fn calls(&self) -> Option<Vec<(String, Logged)>> {
        let departments = self.departments.as_ref()?;
        let mut calls = Vec::new();
        for source in departments.calls().into_keys() {
            calls.extend(departments.log(&source).into_iter().map(|call| (source.clone(), call)));
        }
        Some(calls)
    }

    /// Whether the departments are this stage's own.
    pub fn own_departments(&self) -> bool {
        self.departments.is_some()
    }

    fn token(&self, caller: &Caller) -> String {
        if let Some(token) = self.facts.learned().and_then(|learned| learned.token_of(caller)) {
            return token;
        }
        let issuer = self.issuer.as_ref().expect("a token of each caller, where none can be signed");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut claims = caller.claims.clone();
        for (name, value) in [
            ("iss", json!(issuer.name)),
            ("aud", json!(issuer.audience)),
            ("sub", json!(caller.id)),
            // By the hour, so that the same caller has the same token.
            ("iat", json!(now / 3_600 * 3_600)),
            ("exp", json!(now / 3_600 * 3_600 + 7_200)),
            ("roles", json!(caller.roles)),
        ] {
            claims.insert(name.to_owned(), value);
        }
        encode(&Header::new(issuer.algorithm), &claims, &issuer.key).expect("a token")
    }

    /// The request, ready to send; it prints as a curl line.
    pub fn request(&self, gate: &Gate, caller: &Caller, transport: Transport, asked: &Asked) -> reqwest::Request {
        let mut url = reqwest::Url::parse(&gate.url).expect("the gateway's URL");
        let mut extensions = json!({});
        let mut headers = vec![("authorization", format!("Bearer {}", self.token(caller)))];
        // One reason is one emergency, however often it is declared.
        let reason = caller.emergency.then(|| "a slope above the village is sliding".to_owned());
        for (name, header, value) in [
            ("purpose", "x-purpose", &caller.purpose),
            ("case", "x-case", &caller.case),
            ("breakGlass", "x-break-glass", &reason),
        ] {
            let Some(value) = value else { continue };
            if asked.in_extensions || value.chars().any(char::is_control) {
                extensions[name] = json!(value);
            } else {
                headers.push((header, value.clone()));
            }
        }
        // The deployment believes it of us as of a listed proxy.
        headers.push(("x-forwarded-for", self.address(caller)));
        headers.extend(gate.odds.as_ref().and_then(|odds| odds.forwarded(caller)).map(|shown| ("client-cert", shown)));
        if let Some(approval) = &asked.approval {
            extensions["approval"] = json!(approval);
        }
        let json_only = transport == Transport::PostJson;
        let accept = if json_only { "application/json" } else { "application/graphql-response+json" };
        headers.push(("accept", accept.to_owned()));
        headers.push(("content-type", "application/json".to_owned()));
        let name = asked.operation.as_deref();
        let mut request = if transport == Transport::Get {
            let mut pairs = url.query_pairs_mut();
            pairs.append_pair("query", &asked.query).append_pair("variables", &asked.variables.to_string());
            pairs.append_pair("extensions", &extensions.to_string());
            name.map(|name| pairs.append_pair("operationName", name));
            drop(pairs);
            self.client.get(url)
        } else {
            let body = json!({
                "query": asked.query, "variables": asked.variables, "operationName": name, "extensions": extensions,
            });
            let list = json!([{ "query": "{ __typename }", "extensions": extensions }, body]);
            let body = if transport == Transport::Batch { list } else { body };
            self.client.post(url).body(body.to_string())
        };
        if transport == Transport::Socket {
            headers.push(("upgrade", "websocket".to_owned()));
        }
        for (name, value) in headers {
            request = request.header(name, value);
        }
        request.build().expect("a request")
    }

    /// Lets a second person approve; the approval's id, where it is given.
    pub async fn approve(&self, gate: &Gate, variables: &Value, approver: &Caller) -> Option<String> {
        let query = "mutation($requester: String!, $issuer: String!, $approval: ApprovalInput!) { \
                     giveApproval(requester: $requester, issuer: $issuer, approval: $approval) { id } }";
        let post = self.client.post(gate.url.replace("/graphql", "/admin/graphql"));
        let request = post
            .header("authorization", format!("Bearer {}", self.token(approver)))
            .header("x-forwarded-for", self.address(approver))
            .header("content-type", "application/json")
            .body(json!({"query": query, "variables": variables}).to_string());
        let reply = self.send(request.build().expect("a request")).await;
        reply.json["data"]["giveApproval"]["id"].as_str().map(str::to_owned)
    }

    pub async fn send(&self, request: reqwest::Request) -> Reply {
        if request.headers().contains_key("upgrade") {
            return over_socket::send(&request).await;
        }
        let mut response = self.client.execute(request.try_clone().expect("a body in memory")).await;
        // Another's gateway may have rates that this suite comes to.
        for _ in 0..TRIES {
            let wait = response.as_ref().ok().filter(|response| response.status().as_u16() == 429);
            let Some(wait) = wait.map(|response| response.headers().get("retry-after").cloned()) else { break };
            let seconds = wait.and_then(|wait| wait.to_str().ok()?.parse().ok()).unwrap_or(1);
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            response = self.client.execute(request.try_clone().expect("a body in memory")).await;
        }
        let response = response.expect("the gateway answers");
        let status = response.status().as_u16();
        let mut whole = String::new();
        for (name, value) in response.headers() {
            whole.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
        }
        let body = response.text().await.expect("a whole answer");
        let mut json: Value = serde_json::from_str(&body).unwrap_or(Value::Null);
        // Of a list, the second is the one that is looked at.
        if let Some(second) = json.get_mut(1) {
            json = second.take();
        }
        whole.push_str(&body);
        Reply { status, whole, json }
    }
}

/// What one request asks.
#[derive(Clone)]
pub struct Asked {
    pub query: String,
    pub variables: Value,
    pub operation: Option<String>,
    /// Purpose and case stand in the body rather than in headers.
    pub in_extensions: bool,
    /// The id of an approval that it relies on.
    pub approval: Option<String>,
}

/// As a line for a shell.
pub fn curl(request: &reqwest::Request) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
    let mut line = format!("curl -s {}", quoted(request.url().as_str()));
    for (name, value) in request.headers() {
        line.push_str(&format!(" -H {}", quoted(&format!("{name}: {}", value.to_str().unwrap_or_default()))));
    }
    if let Some(body) = request.body().and_then(reqwest::Body::as_bytes) {
        line.push_str(&format!(" -d {}", quoted(&String::from_utf8_lossy(body))));
    }
    line
}

/// An address of each network that gateway.yaml names: the tenth of the last range that is written with one.
fn addresses(config: &Value) -> BTreeMap<String, String> {
    let networks = config["networks"].as_object().into_iter().flatten();
    let of = |(name, ranges): (&String, &Value)| {
        let ranges = ranges.as_array()?.iter().rev().filter_map(Value::as_str);
        let mut addresses = ranges.filter_map(|range| range.split('/').next()?.parse::<Ipv4Addr>().ok());
        let address = addresses.next()?;
        Some((name.clone(), Ipv4Addr::from(u32::from(address).saturating_add(9)).to_string()))
    };
    networks.filter_map(of).collect()
}

fn client() -> reqwest::Client {
    let redirects = reqwest::redirect::Policy::none();
    reqwest::Client::builder().no_proxy().redirect(redirects).build().expect("a client")
}

fn folder_of(name: &str) -> PathBuf {
    folder(name)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("the folder is read") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

/// The repository's files, with more open doors, without one grant, and with interfaces and unions over its types.
fn lay_out(root: &Path, roles: &Value, without: Option<&(String, usize)>) {
    for name in ["schema", "resolvers", "config"] {
        copy(&folder_of(name), &root.join(name));
    }
    let mut roles = roles.clone();
    if let Some((role, at)) = without {
        let role = &mut roles["roles"][role];
        let grants = role["grants"].as_array_mut().expect("grants");
        grants.remove(*at);
        // Whoever is left without a grant that scans go by scans nothing.
        let marked = Marked::read(root);
        if !grants.iter().any(|grant| marked.goes_by(grant)) {
            role.as_object_mut().expect("a role").remove("scans");
        }
    }
    let mut config = yaml(&root.join("config/gateway.yaml"));
    let often = json!({"requests_per_minute": 4_000_000, "upstream_calls_per_minute": 400_000_000});
    config["rates"] = json!({"principal": often, "anonymous": often});
    config["graphql"]["get_queries"] = json!(true);
    config["graphql"]["batch_max"] = json!(4);
    config["audit"]["store"] = json!(root.join("audit.sqlite"));
    config["limits"]["request_timeout_ms"] = json!(PATIENCE.as_millis() as u64);
    // Whoever is scanned stands on one page, whatever is shown of them.
    config["limits"]["upstream_calls_max"] = json!(50_000);
    patiently(&root.join("resolvers"));
    // JSON is YAML.
    std::fs::write(root.join("config/gateway.yaml"), config.to_string()).expect("written");
    std::fs::write(root.join("config/roles.yaml"), roles.to_string()).expect("written");
    std::fs::write(root.join("schema/over.graphql"), overlay(&Contract::read_from(root))).expect("written");
}

/// What a gateway of the demo's files finds in its environment.
fn variables_of(departments: &Running, issuer: &rcgen::KeyPair) -> BTreeMap<String, String> {
    let mut variables = departments.variables();
    variables.insert("DEMO_ISSUER_PUBLIC_KEY".to_owned(), issuer.public_key_pem());
    variables.insert("DEMO_ISSUER_PRIVATE_KEY".to_owned(), issuer.serialize_pem());
    variables.insert("AUDIT_KEY".to_owned(), "0123456789abcdef0123456789abcdef".to_owned());
    variables
}

/// Every grant of a file of roles: its role, and its place there.
fn grants_of(written: &Value) -> Vec<(String, usize)> {
    let roles = written["roles"].as_object().into_iter().flatten();
    let of_role = |(name, role): (&String, &Value)| {
        let count = role["grants"].as_array().map_or(0, Vec::len);
        (0..count).map(|at| (name.clone(), at)).collect::<Vec<_>>()
    };
    roles.flat_map(of_role).collect()
}

/// The suite takes a grant away by the drawn seed. A role that scans needs one that scans go by; where it has only one, the
/// gateway starts without that one too.
#[tokio::test]
async fn the_only_grant_that_scans_go_by_can_be_taken_away() {
    let departments = departments::start(Options::default()).await.expect("the demo departments start");
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key pair");
    let variables = variables_of(&departments, &pair);
    let written = yaml(&folder_of("config").join("roles.yaml"));
    let folder = std::env::temp_dir().join(format!("huxiang-authorization-grants-{}", std::process::id()));
    let marked = Marked::read(&folder_of(""));
    let goes_by = |role: &str, at: usize| {
        written["roles"][role]["scans"].is_object() && marked.goes_by(&written["roles"][role]["grants"][at])
    };
    let all = grants_of(&written);
    let is_only = |(role, at): &&(String, usize)| {
        goes_by(role, *at) && all.iter().filter(|(of, at)| of == role && goes_by(of, *at)).count() == 1
    };
    let only: Vec<_> = all.iter().filter(is_only).collect();
    assert!(!only.is_empty(), "no role of the demo has only one grant that scans go by");
    for without in only {
        lay_out(&folder, &written, Some(without));
        let mut faults = Faults::default();
        let loaded = Snapshot::load(&Folders::under(&folder), &|name| variables.get(name).cloned(), &mut faults);
        assert!(loaded.is_some(), "without {without:?}: {}", faults.render());
    }
    let _ = std::fs::remove_dir_all(folder);
}

/// Nobody is too slow here, nor asks too often: what is not there for that is another test's.
fn patiently(resolvers: &Path) {
    let limit = regex::Regex::new(r"\b(timeout_ms|per_second_max): [0-9]+").expect("a pattern");
    for entry in std::fs::read_dir(resolvers).expect("the folder is read") {
        let path = entry.expect("an entry").path();
        let text = std::fs::read_to_string(&path).expect("a text");
        std::fs::write(&path, limit.replace_all(&text, "$1: 30000").as_ref()).expect("written");
    }
}

/// An interface for each field that several types have alike, and unions of types that have one.
fn overlay(contract: &Contract) -> String {
    let mut types: BTreeMap<&(String, String), BTreeSet<&str>> = BTreeMap::new();
    for (name, fields) in &contract.types {
        for field in fields {
            types.entry(field).or_default().insert(name);
        }
    }
    types.retain(|_, types| types.len() > 1);
    let mut text = String::new();
    let mut implements: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (n, ((field, kind), types)) in types.iter().enumerate() {
        text.push_str(&format!("interface Shared{n} {{ {field}: {kind} }}\n"));
        let members: Vec<&str> = types.iter().copied().collect();
        text.push_str(&format!("union Either{n} = {}\n", members.join(" | ")));
        for name in types {
            implements.entry(name).or_default().push(format!("Shared{n}"));
        }
    }
    for (name, interfaces) in implements {
        text.push_str(&format!("extend type {name} implements {}\n", interfaces.join(" & ")));
    }
    text
}

/// A gateway whose roles ask for hours and certificates too.
async fn odd_gate(root: &Path, written: &Value, variables: &BTreeMap<String, String>) -> Gate {
    let odds = Odds::new();
    let mut roles = written.clone();
    Odds::asked_for(&mut roles);
    lay_out(root, &roles, None);
    std::fs::write(root.join("clients.pem"), &odds.authority).expect("written");
    let file = root.join("config/gateway.yaml");
    let mut config = yaml(&file);
    config["forwarded_certificate"] = json!({"header": "client-cert", "ca": root.join("clients.pem")});
    std::fs::write(&file, config.to_string()).expect("written");
    gate(root, variables, None, Some(odds)).await
}

async fn gate(
    root: &Path,
    variables: &BTreeMap<String, String>,
    without: Option<(String, usize)>,
    odds: Option<Odds>,
) -> Gate {
    let mut faults = Faults::default();
    let snapshot = Snapshot::load(&Folders::under(root), &|name| variables.get(name).cloned(), &mut faults);
    let snapshot = snapshot.unwrap_or_else(|| panic!("the files have faults:\n{}", faults.render()));
    let config = snapshot.config.clone();
    let clock = odds.as_ref().map_or_else(Clock::system, Odds::clock);
    let gateway = Gateway::start_at(snapshot, clock).await.expect("the gateway starts");
    let verifier = Arc::new(Verifier::load(&config).expect("the issuer's keys are read"));
    let app = serve::app(&config, verifier, Arc::new(gateway)).expect("the routes are made");
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let url = format!("http://{}/graphql", listener.local_addr().expect("an address"));
    let served_with = config.clone();
    let task = tokio::spawn(async move { serve::run(listener, app, None, &served_with, std::future::pending()).await });
    Gate { url, roles: Roles::read_from(root, &Contract::read_from(root)), without, odds, task: Some(task) }
}

/// How often a request that came too early is sent again.
const TRIES: usize = 5;

/// What a request may take: a gateway that hangs is a failure.
pub const PATIENCE: Duration = Duration::from_secs(60);
