//! Random callers ask random things of a gateway, over HTTP: what was refused is nowhere in the answer, is not asked of
//! any department and is not logged; what is given and held is answered. docs/security.md says more.
//!
//! `CASES=100000 cargo test --release --test authorization` looks longer. Every run prints its seed; `SEED=… CASE=…`
//! runs one case again. `URL=… ISSUER_KEY=… ROOT=…` asks a deployment over the demo's data instead of its own;
//! `URL=… KEYS=… ROOT=…` with ISSUER_KEY or tokens, one whose data is not known: `facts.rs` learns it, `unknown.rs` shows
//! that a hole in it is found. docs/security.md has the file KEYS, and what is held then and what is not.
//!
//! A crate of its own: it is run alone, for long, and hears all that its process logs.

mod access_oracle;
mod bench;
mod case;
mod check;
mod document;
mod facts;
mod odds;
mod over_socket;
#[path = "../identity_support/pki.rs"]
#[allow(dead_code, reason = "each crate of tests uses its part")]
mod pki;
mod rules;
mod scan;
mod scan_check;
mod scan_oracle;
#[path = "../serve/support/socket.rs"]
mod socket;
mod stage;
mod tally;
mod twice;
mod unknown;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bench::Bench;
use case::{Case, Drawn, NETWORKS, Transport, cases};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use stage::Stage;
use tally::Tally;
use tracing_subscriber::fmt::MakeWriter;

const CASES: u64 = 240;
/// From so many on, it pays to start more gateways.
const MANY: u64 = 5_000;
/// Stages at once at most, and the connections that each may come to.
const STAGES_MAX: usize = 6;
const CONNECTIONS: u64 = 4_500;
/// From so many on, every pair must have come together.
const COVERING: u64 = 20_000;
/// Runs that making a failing case smaller may take.
const SMALLER_MAX: usize = 80;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// What cases for a stage are drawn from.
fn drawn(stage: &Stage) -> Drawn {
    let learned = stage.facts.learned();
    let root = stage.root.as_path();
    let roles = access_oracle::yaml(&root.join("config/roles.yaml"));
    let roles = roles["roles"].as_object().expect("roles");
    let granted = roles.iter().filter(|(_, role)| role["grants"].as_array().is_some_and(|grants| !grants.is_empty()));
    let scans = |role: &serde_json::Value| role["scans"].is_object();
    let scanning = roles.iter().filter(|(_, role)| scans(role)).map(|(name, _)| name.clone());
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let nobody = |name: &str, else_it: &str| {
        let named = learned.and_then(|learned| learned.described["nobody"][name].as_str());
        named.unwrap_or(else_it).to_owned()
    };
    let households = learned.map_or(owned(&case::HOUSEHOLDS), |learned| {
        let named = facts::listed(&learned.described["households"]);
        named.into_iter().chain([nobody("household", case::ABSENT)]).collect()
    });
    let networks = learned.map_or(owned(&NETWORKS), |_| {
        let config = access_oracle::yaml(&root.join("config/gateway.yaml"));
        let named = config["networks"].as_object().into_iter().flatten().map(|(name, _)| name.clone());
        named.chain(["elsewhere".to_owned()]).collect()
    });
    Drawn {
        roles: roles.keys().cloned().collect(),
        granted: granted.map(|(name, _)| name.clone()).collect(),
        // What is found has to be known of all that is looked at.
        scanning: if learned.is_some() { Vec::new() } else { scanning.collect() },
        // One that nobody knows is drawn more often: with relations that few stand in it would come together by luck alone.
        purposes: access_oracle::purposes(root).into_iter().chain(["curiosity"; 3].map(str::to_owned)).collect(),
        departments: relations(root).iter().filter_map(|name| name.strip_prefix("of-")).map(str::to_owned).collect(),
        households,
        nobody: nobody("person", case::NOBODY),
        no_code: nobody("code", case::NO_CODE),
        division: match learned {
            Some(learned) => learned.described["division"].as_str().map(str::to_owned),
            None => Some(case::VILLAGE.to_owned()),
        },
        networks,
        issuer: access_oracle::issuer(root),
        get: stage.get,
        batch: stage.batch,
        sockets: stage.own_departments(),
    }
}

fn relations(root: &std::path::Path) -> Vec<String> {
    let rules = access_oracle::yaml(&root.join("config/rules/relations.yaml"));
    rules["relations"].as_object().expect("relations").keys().cloned().collect()
}

/// The case of a number, and the ways to make it smaller.
fn tree(drawn: &Drawn, seed: u64, at: u64) -> impl proptest::strategy::ValueTree<Value = Case> {
    let mut bytes = [0_u8; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&at.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    cases(drawn).new_tree(&mut runner).expect("cases can be drawn")
}

/// Lines of the gateway's log, for the end.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    /// The last of them.
    fn last(&self) -> String {
        let lines = self.0.lock().expect("nobody panics while writing");
        let text = String::from_utf8_lossy(&lines);
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(20)..].join("\n")
    }
}

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("nobody panics while writing").extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Lines {
    type Writer = Self;
    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

struct Worker {
    number: usize,
    of: usize,
    seed: u64,
    cases: std::ops::Range<u64>,
    failed: Arc<AtomicBool>,
}

impl Worker {
    async fn run(self) -> Result<Tally, String> {
        let variants = if self.cases.end - self.cases.start > MANY { 5 } else { 2 };
        let mut stage = Stage::set(self.number, self.seed, variants).await;
        let drawn = drawn(&stage);
        if let Some(described) = stage.facts.learned().map(|learned| learned.described.clone()) {
            let seen = stage.learn(&drawn).await;
            println!("{}", unknown::learned(&stage, seen, &described));
        }
        let bench = Bench::new(stage, drawn.clone());
        let mine = self.cases.clone().skip(self.number).step_by(self.of);
        for at in mine {
            if self.failed.load(Ordering::Relaxed) {
                break;
            }
            let mut tree = tree(&drawn, self.seed, at);
            if let Err(first) = bench.run(&tree.current()).await {
                self.failed.store(true, Ordering::Relaxed);
                let smaller = smaller(&bench, &mut tree).await;
                return Err(format!("SEED={} CASE={at}: {}", self.seed, smaller.unwrap_or(first)));
            }
        }
        Ok(bench.tally.take())
    }
}

/// A smaller case that fails as well, where there is one.
async fn smaller(bench: &Bench, tree: &mut impl proptest::strategy::ValueTree<Value = Case>) -> Option<String> {
    let mut found = None;
    let mut failing = true;
    for _ in 0..SMALLER_MAX {
        if !(if failing { tree.simplify() } else { tree.complicate() }) {
            break;
        }
        let result = bench.run(&tree.current()).await;
        failing = result.is_err();
        found = result.err().or(found);
    }
    found
}

#[test]
fn what_is_refused_is_neither_answered_nor_asked_nor_logged() {
    let lines = Lines::default();
    let _ = tracing_subscriber::fmt().with_writer(lines.clone()).with_ansi(false).try_init();
    let open = huxiang::base::open_files::raise_limit().map_or(usize::MAX, |files| (files / CONNECTIONS) as usize);
    let seed = number("SEED").unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(1, |since| since.subsec_nanos().into())
    });
    let wanted = match number("CASE") {
        Some(one) => one..one + 1,
        None => 0..number("CASES").unwrap_or(CASES),
    };
    // Of a case, most is waiting: for departments, for the disk.
    let at_once = if wanted.end - wanted.start > MANY { 3 } else { 1 };
    let workers = std::thread::available_parallelism()
        .map_or(2, |cores| (cores.get() * at_once).min(STAGES_MAX).min(open.max(1)))
        .min(usize::try_from(wanted.end - wanted.start).unwrap_or(1));
    let unknown = std::env::var("KEYS").is_ok();
    let workers = if unknown { 1 } else { workers };
    println!("SEED={seed} CASES={}", wanted.end - wanted.start);
    let began = Instant::now();
    let failed = Arc::new(AtomicBool::new(false));
    let handles: Vec<_> = (0..workers)
        .map(|number| {
            let worker = Worker { number, of: workers, seed, cases: wanted.clone(), failed: Arc::clone(&failed) };
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
                runtime.expect("a runtime").block_on(worker.run())
            })
        })
        .collect();
    let mut tally = Tally::default();
    let mut faults = Vec::new();
    for handle in handles {
        match handle.join().expect("a worker ends") {
            Ok(part) => tally.add(part),
            Err(fault) => faults.push(fault),
        }
    }
    assert!(faults.is_empty(), "{}\n\nwhat the gateways logged:\n{}", faults.join("\n\n"), lines.last());
    let (table, missing) = tally.coverage(&there_is());
    println!("{}\n{table}", tally.summary(began.elapsed().as_secs_f64()));
    nothing_in(&lines);
    if number("CASE").is_none() {
        // The property is not held by answering nothing.
        assert!(tally.values.get(&access_oracle::Access::Plain).is_some_and(|seen| *seen > 50), "{tally:?}");
        let holds = tally.scans > 3
            && tally.found > 0
            && tally.scans_of_persons > 0
            && tally.decided * 2 > tally.scanned
            && tally.scans_refused > 3
            && tally.too_much < tally.scans;
        assert!(holds || unknown || tally.cases < usize::try_from(CASES).unwrap_or(0), "{tally:?}");
        assert!(tally.endpoints.len() > 10 || std::env::var("URL").is_ok(), "{:?}", tally.endpoints);
    }
    if unknown {
        return;
    }
    if tally.cases >= usize::try_from(COVERING).unwrap_or(0) && std::env::var("URL").is_err() {
        // Each time of day and each certificate, with something answered and with nothing; approvals for it and for another.
        assert_eq!(tally.odds.len(), 18, "{:?}", tally.odds);
    }
    println!("{} pairs never came together: {:?} …", missing.len(), missing.iter().take(9).collect::<Vec<_>>());
    assert!(missing.is_empty() || tally.cases < usize::try_from(COVERING).unwrap_or(0), "{missing:?}");
}

/// As whoever runs it against a gateway of their own has it: by its URL, its files and its issuer's key alone.
#[test]
fn a_deployment_is_asked_by_its_url() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let own = Stage::own(1_000, 1, 0).await;
        let outside = own.outside();
        let drawn = drawn(&outside);
        let bench = Bench::new(outside, drawn.clone());
        for at in 0..24 {
            let case = tree(&drawn, 2, at).current();
            bench.run(&case).await.unwrap_or_else(|fault| panic!("CASE={at}: {fault}"));
        }
        let tally = bench.tally.take();
        assert!(tally.values.contains_key(&access_oracle::Access::Plain) && tally.calls == 0, "{tally:?}");
    });
}

/// What must come together in pairs.
fn there_is() -> BTreeMap<&'static str, Vec<String>> {
    let contract = access_oracle::Contract::read();
    let visible = contract.fields.values().filter(|field| !field.hidden && field.leaf);
    let classes: std::collections::BTreeSet<String> = visible.filter_map(|field| field.class.clone()).collect();
    let root = access_oracle::folder("");
    let purposes = access_oracle::purposes(&root);
    let purposes =
        purposes.iter().map(String::as_str).chain(["curiosity"]).chain(["none"]).map(str::to_owned).collect();
    BTreeMap::from([
        ("class", classes.into_iter().collect()),
        ("relation", relations(&root)),
        ("network", NETWORKS.iter().map(|name| (*name).to_owned()).collect()),
        ("purpose", purposes),
        ("transport", Transport::ALL.iter().map(|transport| transport.name().to_owned()).collect()),
    ])
}

/// No id, no phone number and no name of a household stands in the log.
fn nothing_in(lines: &Lines) {
    let lines = lines.0.lock().expect("nobody panics while writing");
    let text = String::from_utf8_lossy(&lines);
    let telling = regex::Regex::new(r"\b([0-9]{17}[0-9Xx]|1[3-9][0-9]{9}|ZN[0-9]{20})\b").expect("a pattern");
    let world = departments::World::new(departments::Options::default().seed, 21);
    let mut names: Vec<String> = Vec::new();
    for id in world.village_household_ids(case::VILLAGE) {
        let household = world.household(&id);
        names.extend(household.iter().flat_map(|household| &household.members).map(|member| member.name.clone()));
    }
    for line in text.lines() {
        let told = telling
            .find(line)
            .map(|found| found.as_str())
            .or_else(|| names.iter().map(String::as_str).find(|name| line.contains(name)));
        assert!(told.is_none(), "the log tells {told:?}: {line}");
    }
    println!("{} lines of log without an id, a phone number or a name", text.lines().count());
}
