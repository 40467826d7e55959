//! What the steps of a request take, one by one: `cargo bench -p steps`. docs/benchmarks.md says how to read it.
//!
//! Contract, bindings and departments are those that `benches/load` measures the whole way with.

#[path = "../load/src/client.rs"]
#[allow(dead_code, reason = "the harness beside uses the rest")]
mod client;
#[path = "../load/src/gateway.rs"]
#[allow(dead_code, reason = "the harness beside uses the rest")]
mod gateway;
#[path = "../load/src/serve.rs"]
mod serve;
mod tokens;
#[path = "../load/src/upstream.rs"]
mod upstream;
mod way;
#[path = "../load/src/workload.rs"]
#[allow(dead_code, reason = "the harness beside uses the rest")]
mod workload;

use std::path::{Path, PathBuf};
use std::time::Instant;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use huxiang::audit::{Access, AuditRecord, AuditStore, SubjectKey};
use huxiang::base::json::Json;
use huxiang::identify::Identity;
use huxiang::model::config::AuditConfig;

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A folder of this run's own, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("huxiang-steps-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

fn from() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../load/gateway")
}

/// The departments, for as long as this process lives; their port.
fn departments() -> u16 {
    static PORT: std::sync::OnceLock<u16> = std::sync::OnceLock::new();
    *PORT.get_or_init(|| {
        let free = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = free.local_addr().expect("it has an address").port();
        drop(free);
        std::thread::spawn(move || upstream::run(port, 0));
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        port
    })
}

/// One pass over a department's answer, after which every reading of it is a slice.
fn json_index(criterion: &mut Criterion) {
    let runtime = runtime();
    let port = departments();
    let ids: String = (1..=100).map(|id| format!("&id={id}")).collect();
    let batch = format!("/dept1/households?{}", ids.trim_start_matches('&'));
    let mut group = criterion.benchmark_group("json index");
    for (name, path) in [("a record", "/dept1/household/7"), ("100 records", &batch), ("100 posts", "/posts")] {
        let text =
            runtime.block_on(tokio::task::LocalSet::new().run_until(client::get(port, path))).expect("an answer");
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_with_input(BenchmarkId::from_parameter(name), &text, |bench, text| {
            bench.iter_batched(
                || text.clone(),
                |text| Json::read(text).expect("it is JSON"),
                criterion::BatchSize::SmallInput,
            );
        });
    }
}

/// A record as a portrait leaves it: one household, 61 items, 12 sources.
fn record(key: &SubjectKey, n: u64) -> AuditRecord {
    let address = "10.0.0.1".parse().expect("an address");
    let mut record = AuditRecord::new(&format!("request-{n}"), &Identity::at(address));
    let access = Access {
        entity: "Household".to_owned(),
        relations: ["any-household".to_owned()].into(),
        read: (0..61).map(|item| item.to_string()).collect(),
        ..Access::default()
    };
    record.add(key.subject("Household", &n.to_string()), access);
    (1..=12).for_each(|n| record.called(&format!("dept{n}"), None));
    record.answer = Some(key.answer(&[b'x'; 2 << 10]));
    record
}

/// Until a record is durable: alone, and among 64 that wait for the same commit.
fn audit(criterion: &mut Criterion) {
    let runtime = runtime();
    let folder = Folder::new("audit");
    let config = AuditConfig::new(&folder.0.join("audit.sqlite"), &[7; 32]);
    let store = runtime.block_on(AuditStore::open(&config)).expect("a store");
    let key = SubjectKey::new([7; 32].as_slice().into());
    let mut group = criterion.benchmark_group("audit");
    group.bench_function("the record, made", |bench| bench.iter(|| record(&key, 7)));
    for together in [1u64, 64] {
        group.throughput(Throughput::Elements(together));
        group.bench_function(BenchmarkId::new("durable", together), |bench| {
            bench.iter_custom(|times| {
                let began = Instant::now();
                for _ in 0..times {
                    let all: Vec<_> = (0..together)
                        .map(|n| {
                            let (store, record) = (store.clone(), record(&key, n));
                            runtime.spawn(async move { store.append(record).await })
                        })
                        .collect();
                    for one in all {
                        runtime.block_on(one).expect("it runs").expect("it is durable");
                    }
                }
                began.elapsed()
            });
        });
    }
}

criterion_group! {
    name = steps;
    config = Criterion::default().sample_size(50);
    targets = json_index, tokens::first, tokens::seen, way::parse, way::authorize, way::plan, way::project, way::whole, audit
}
criterion_main!(steps);
