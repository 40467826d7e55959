//! The gateway itself over the demo's departments, in this process: asked as a supervisor asks, and held to the reference.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use departments::{Fault, Options};
use huxiang::model::config::rates::Rate;
use huxiang::model::snapshot::Snapshot;
use serde_json::Value;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};
use tokio::runtime::Runtime;

use crate::agreement::{Answer, Coverage, Page, Question, hold, shortened};
use crate::draw::{Asked, Case, Drawing};
use crate::laws::cases;
use crate::reference::{Bounds, Reckoned};
use crate::smaller::smaller;
use crate::sources::Sources;
use crate::support::{World, ask, edit_limits, supervisor, world_edited};
use crate::{HOUSEHOLDS, files, number};

/// Cases that are told, where many differ, and how many of these are made smaller first.
const TOLD: usize = 20;
const TOLD_SMALLER: usize = 6;

/// The gateway, with departments of which some may be silent.
struct Stage {
    runtime: Runtime,
    world: World,
    silent: Sources,
    /// The views that housing is asked by, each with what makes it.
    housing: Vec<(String, String)>,
}

/// One for all tests, each of which has its departments to itself while it holds it.
fn stage() -> MutexGuard<'static, Stage> {
    static STAGE: OnceLock<Mutex<Stage>> = OnceLock::new();
    STAGE.get_or_init(|| Mutex::new(Stage::start())).lock().unwrap_or_else(PoisonError::into_inner)
}

/// What ends a page, or leaves a source alone, though no department is silent: a busy machine would decide what is known.
fn unhindered(snapshot: &mut Snapshot) {
    let limits = &mut snapshot.config.limits;
    (limits.request_timeout_ms, limits.upstream_calls_max) = (300_000, 1_000_000);
    snapshot.config.rates.principal = Rate::default();
    // What is too small to be told cannot be compared.
    snapshot.config.scans.group_min = 0;
    edit_limits(snapshot, |_, limits| {
        (limits.timeout_ms, limits.first_byte_ms, limits.slow_ms) = (60_000, None, None);
        limits.per_second_max = None;
        limits.breaker.enabled = false;
    });
}

impl Stage {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let options =
            Options { households_per_village: HOUSEHOLDS, latency: false, rates: false, ..Options::default() };
        let world = runtime.block_on(world_edited(options, unhindered));
        let housing = runtime.block_on(async {
            let mut file = connection(&world).await;
            let views = "SELECT name, sql FROM sqlite_master WHERE type = 'view'";
            sqlx::query_as(views).fetch_all(&mut file).await.unwrap()
        });
        Self { runtime, world, silent: Sources::new(), housing }
    }

    /// Makes these sources silent, each in a way of its own, and the others well.
    fn silence(&mut self, silent: &Sources, way: u64) {
        // First those that are well again: one bank among them may be silent with all of them now.
        for source in self.silent.difference(silent).chain(silent.difference(&self.silent)) {
            let is_silent = silent.contains(source);
            if source == "housing" {
                let drop = |name: &String| format!("DROP VIEW {name}");
                let views = self.housing.iter();
                let statements: Vec<String> =
                    views.map(|(name, made)| if is_silent { drop(name) } else { made.clone() }).collect();
                self.runtime.block_on(async {
                    let mut file = connection(&self.world).await;
                    sqlx::raw_sql(sqlx::AssertSqlSafe(statements.join(";"))).execute(&mut file).await.unwrap();
                    file.close().await.unwrap();
                });
                continue;
            }
            let ways = [Fault::Http500, Fault::Nonsense, Fault::Empty, Fault::Truncated];
            let fault = ways[usize::try_from(way % 4).unwrap()];
            self.world.departments.set_fault(source, if is_silent { fault } else { Fault::None });
        }
        self.silent.clone_from(silent);
    }

    fn ask(&mut self, case: &Case, question: &Question) -> Answer {
        self.silence(&case.silent, case.number);
        let supervisor = supervisor();
        let asked = ask(&self.world.gateway, &supervisor, &question.document, question.variables.clone());
        let answer = read(&self.runtime.block_on(asked));
        if number("CASE").is_some() {
            println!("{} → {answer:?}", question.variables);
        }
        answer
    }
}

/// To the housing department's file, which the gateway itself may only read.
async fn connection(world: &World) -> sqlx::SqliteConnection {
    let options = SqliteConnectOptions::new().filename(world.departments.housing_file());
    options.disable_statement_logging().connect().await.unwrap()
}

fn read(response: &Value) -> Answer {
    if let Some(error) = response["errors"].get(0) {
        let code = error["extensions"]["code"].as_str().unwrap_or_default();
        let is_nothing = response["data"].as_object().is_none_or(|roots| roots.values().all(Value::is_null));
        let refused = is_nothing && code.starts_with("SOURCE_");
        return if refused { Answer::Refused } else { Answer::Error(response["errors"].to_string()) };
    }
    let (found, stats) = (&response["data"]["found"], &response["data"]["stats"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let sources = |missing: &Value| -> Sources {
        list(missing).iter().filter_map(|one| one["source"].as_str().map(str::to_owned)).collect()
    };
    let coverage = |found: &Value| {
        let count =
            |name: &str| found["coverage"][name].as_u64().and_then(|count| usize::try_from(count).ok()).unwrap();
        Coverage {
            candidates: count("candidates"),
            evaluated: count("evaluated"),
            matched: count("matched"),
            undetermined: count("undetermined"),
            missing: sources(&found["coverage"]["missing"]),
        }
    };
    if stats.is_object() {
        return Answer::Statistic(reckoned(stats), coverage(stats));
    }
    let edges = list(&found["edges"]);
    Answer::Scan(Page {
        shown: edges.iter().map(|edge| text(&edge["node"]["id"])).collect(),
        why: edges.iter().map(|edge| (text(&edge["node"]["id"]), sources(&edge["missing"]))).collect(),
        coverage: coverage(found),
        next: (found["pageInfo"]["hasNextPage"] == true).then(|| text(&found["pageInfo"]["endCursor"])),
    })
}

/// The groups whose keys are known: the reference has those of whom they are not in the bounds of all others.
fn reckoned(stats: &Value) -> Reckoned {
    let number = |value: &Value| value.as_str().map(|text| text.parse().unwrap());
    let is_known = |group: &&Value| {
        let mut key = group["key"].as_array().into_iter().flatten();
        key.all(|part| matches!(part["state"].as_str(), Some("ANSWERED" | "NO_RECORD")))
    };
    let one = |group: &Value| {
        let key = group["key"].as_array().into_iter().flatten().map(|part| part["value"].as_str().map(str::to_owned));
        let values = group["values"].as_array().into_iter().flatten();
        let bounds = values.map(|value| Bounds { lower: number(&value["lower"]), upper: number(&value["upper"]) });
        (key.collect(), bounds.collect())
    };
    stats["groups"].as_array().into_iter().flatten().filter(is_known).map(one).collect()
}

/// Matched, undetermined and why, counts, pages, order and single keys; groups and their bounds: with and without silent
/// departments.
#[test]
fn the_gateway_finds_what_the_reference_finds_in_all_that_is_drawn() {
    let files = files();
    let drawing = Drawing::over(files);
    let stage = std::cell::RefCell::new(stage());
    let differs =
        |case: &Case| hold(files, case, &|case, question| stage.borrow_mut().ask(case, question)).err().map(shortened);
    let (mut agreed, mut told) = (0, Vec::new());
    let mut differing = 0;
    for case in cases(&drawing) {
        let Some(error) = differs(&case) else {
            agreed += 1;
            continue;
        };
        differing += 1;
        if told.len() < TOLD {
            let number = case.number;
            let (least, error) = if told.len() < TOLD_SMALLER { smaller(case, error, differs) } else { (case, error) };
            let asked = shortened(format!("{:?}", least.asked));
            told.push(format!("CASE={number}: {error}\n  {asked}\n  silent: {:?}", least.silent));
        }
    }
    let seed = number("SEED").unwrap_or(1);
    println!("SEED={seed}: {agreed} scans and statistics agree");
    assert!(told.is_empty(), "SEED={seed}: {differing} of {} differ\n{}", agreed + differing, told.join("\n"));
}

/// The departments really are silent, and the reference really notices: where they are well again it expects too much.
#[test]
fn a_gateway_whose_departments_are_not_silent_differs_where_the_reference_has_them_so() {
    let files = files();
    let drawing = Drawing::over(files);
    let mut stage = stage();
    let is_open = |case: &Case| match &case.asked {
        Asked::Scan(scan) => files.scan(scan, &case.silent).is_ok_and(|found| !found.undetermined.is_empty()),
        Asked::Statistic(_) => false,
    };
    let silent = (0..200).map(|number| drawing.case(1, number)).filter(|case| !case.silent.is_empty());
    let case = silent.into_iter().find(is_open).unwrap();
    let stage = std::cell::RefCell::new(&mut *stage);
    let well = |case: &Case, question: &Question| {
        let well = Case { silent: Sources::new(), ..case.clone() };
        stage.borrow_mut().ask(&well, question)
    };
    let error = hold(files, &case, &well).unwrap_err();
    assert!(!error.contains("Error("), "it answers, and otherwise: {error}");
}
