//! The engine's steps, each given what the step before it made.

use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion};
use huxiang::answer::{Gateway, GraphqlRequest};
use huxiang::engine::authorize::{self as permit, Asking, active_grants};
use huxiang::engine::execute::cursor::CursorSeal;
use huxiang::engine::execute::{CallLog, Execution};
use huxiang::engine::frame::RootAnswer;
use huxiang::engine::operation::{Document, DocumentLimits};
use huxiang::engine::plan::{self, Plan};
use huxiang::engine::project::answer as projection;
use huxiang::identify::{Declared, Identity, Principal};
use huxiang::model::access::Rights;
use huxiang::model::snapshot::{Folders, Snapshot};
use huxiang::source::CallContext;
use huxiang::trace::Trace;
use serde_json::{Map, Value};
use tokio::runtime::Runtime;

use crate::workload::Workload;
use crate::{Folder, departments, from, gateway, runtime};

const WORKLOADS: [&str; 4] = ["portrait", "list", "posts", "wide"];

/// A gateway over a workload's files, and a caller who may have all of it.
struct Stage {
    runtime: Runtime,
    gateway: Gateway,
    identity: Identity,
    text: String,
    given: Map<String, Value>,
    limits: DocumentLimits,
    _folder: Folder,
}

impl Stage {
    fn new(name: &str) -> Self {
        let workload = Workload::of(name).expect("it is a workload");
        let runtime = runtime();
        let folder = Folder::new(name);
        let files = gateway::Gateway::new(&from(), folder.0.clone(), workload.files).expect("the files are written");
        let variables = files.variables(0, departments());
        let variable = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
        let mut faults = huxiang::base::fault::Faults::default();
        let snapshot = Snapshot::load(&Folders::under(&folder.0), &variable, &mut faults);
        let snapshot = snapshot.unwrap_or_else(|| panic!("{}", faults.render()));
        let limits = DocumentLimits::of(&snapshot.config.limits);
        let gateway = runtime.block_on(Gateway::start(snapshot)).expect("the gateway starts");
        let body: Value = serde_json::from_str(&workload.body.replace("\"@ID@\"", "7")).expect("a request");
        let principal = Principal {
            id: "caller-1".to_owned(),
            issuer: "https://bench.invalid".to_owned(),
            roles: vec!["worker".to_owned()],
            actors: Vec::new(),
            claims: Map::new(),
        };
        let address = "127.0.0.1".parse().expect("an address");
        let identity = Identity::new(Some(principal), address, vec!["local".to_owned()], Declared::default());
        let given = body.get("variables").and_then(Value::as_object).cloned().unwrap_or_default();
        let text = body.get("query").and_then(Value::as_str).unwrap_or_default().to_owned();
        Self { runtime, gateway, identity, text, given, limits, _folder: folder }
    }

    fn snapshot(&self) -> &Snapshot {
        self.gateway.snapshot()
    }

    fn parsed(&self) -> Document {
        Document::parse(&self.text, &self.snapshot().contract, self.limits).expect("it is valid")
    }

    fn asking(&self) -> Asking {
        Asking::new(&self.identity, jiff::Timestamp::now())
    }

    fn variables(&self, document: &Document) -> Map<String, Value> {
        let operation = document.operation(None).expect("one operation");
        document.variables(&self.snapshot().contract, operation, &self.given).expect("they fit")
    }

    fn rights(&self, asking: &Asking) -> Rights {
        Rights::new(&self.snapshot().access, active_grants(&self.snapshot().access, asking))
    }

    fn planned(&self, document: &Document, variables: &Map<String, Value>, rights: &Arc<Rights>) -> Plan {
        let operation = document.operation(None).expect("one operation");
        let collected = document.collect(&self.snapshot().contract, operation, variables, self.limits);
        let permitted = permit::authorize(Arc::new(collected.expect("it is collected")), Arc::clone(rights));
        plan::build(self.snapshot(), &permitted).expect("a plan")
    }

    fn request(&self) -> GraphqlRequest {
        GraphqlRequest { query: Some(self.text.clone()), variables: self.given.clone(), ..GraphqlRequest::default() }
    }
}

/// A document that nobody sent before, until it is known to be valid for every role.
pub fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse and validate");
    for name in WORKLOADS {
        let stage = Stage::new(name);
        group.bench_function(BenchmarkId::from_parameter(name), |bench| bench.iter(|| stage.parsed()));
    }
}

/// Who asks, which grants count for them now, and what those give: anew for each request but the last, which is kept.
pub fn authorize(criterion: &mut Criterion) {
    let stage = Stage::new("portrait");
    let mut group = criterion.benchmark_group("authorize");
    group.bench_function("grants that count", |bench| {
        bench.iter(|| active_grants(&stage.snapshot().access, &stage.asking()));
    });
    let asking = stage.asking();
    group.bench_function("rights", |bench| bench.iter(|| stage.rights(&asking)));
}

/// Collected, pruned and planned.
pub fn plan(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("plan");
    for name in WORKLOADS {
        let stage = Stage::new(name);
        let document = stage.parsed();
        let (variables, rights) = (stage.variables(&document), Arc::new(stage.rights(&stage.asking())));
        group.bench_function(BenchmarkId::from_parameter(name), |bench| {
            bench.iter(|| stage.planned(&document, &variables, &rights));
        });
    }
}

/// Answers of departments, indexed, until the response is written.
pub fn project(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("project");
    for name in WORKLOADS {
        let stage = Stage::new(name);
        let document = stage.parsed();
        let (variables, asking) = (stage.variables(&document), stage.asking());
        let rights = Arc::new(stage.rights(&asking));
        let plan = stage.planned(&document, &variables, &rights);
        let roots = executed(&stage, &plan, &rights, &asking, &variables);
        let parts = projection::Parts {
            snapshot: stage.snapshot(),
            plan: &plan,
            asking: &asking,
            variables: &variables,
            roots: &roots,
            introspection: &Map::new(),
            request_id: "request-1",
            extensions: &Map::new(),
            called: &[],
            bytes_max: usize::MAX,
            whole: false,
            frame: None,
        };
        let response = projection::write(&parts);
        assert!(response.codes.is_empty(), "{:?}", response.codes);
        group.throughput(criterion::Throughput::Bytes(response.body.len() as u64));
        group.bench_function(BenchmarkId::from_parameter(name), |bench| bench.iter(|| projection::write(&parts)));
    }
}

/// What the departments answer to a plan.
fn executed(
    stage: &Stage,
    plan: &Plan,
    rights: &Rights,
    asking: &Asking,
    variables: &Map<String, Value>,
) -> Vec<Option<RootAnswer>> {
    let seal = CursorSeal::new(b"bench-bench-bench-bench-bench-bench");
    stage.runtime.block_on(async {
        let execution = Execution {
            snapshot: stage.snapshot(),
            plan,
            rights,
            asking,
            connectors: stage.gateway.connectors(),
            variables,
            context: CallContext::default(),
            caller_context: CallContext::default(),
            trace: &Trace::default(),
            deadline: tokio::time::Instant::now() + Duration::from_secs(10),
            calls: CallLog::new(usize::MAX),
            cursors: &seal,
            quotas: stage.gateway.quotas(),
            drifts: stage.gateway.drifts(),
        };
        execution.run().await
    })
}

/// All steps with the departments asked over loopback, and the record durable; without listening and the token.
pub fn whole(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("whole, departments included");
    for name in WORKLOADS {
        let stage = Stage::new(name);
        group.sample_size(20).bench_function(BenchmarkId::from_parameter(name), |bench| {
            bench.iter(|| {
                let asked = stage.gateway.answer(stage.identity.clone(), stage.request(), "request-1".to_owned(), None);
                let answer = stage.runtime.block_on(asked);
                assert!(answer.body.starts_with(b"{\"data\":{"));
            });
        });
    }
}
