//! Scans over many: the gateway as a process of its own, `huxiang scan` as another, and departments whose world is generated from
//! its ids as it is asked for. It prints what docs/benchmarks.md tells.
//!
//! `cargo test --release --test soak -- --ignored --nocapture a_county`, `… a_province`. `SCAN_DIVISION` takes another division,
//! `SCAN_WHERE` another condition.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use departments::Options;
use departments::expected::{at, portrait};
use serde_json::{Value, json};

use crate::process::Process;

const MEMORY_MAX_MIB: f64 = 1_024.0;
const DIBAO_AND_VEHICLE: &str =
    r#"{"assistance": {"dibaoStatus": {"eq": "RECEIVING"}}, "assets": {"vehicles": {"count": {"gt": 0}}}}"#;

/// What is scanned, and how departments bear it.
struct Course {
    division: String,
    households_per_village: u32,
    condition: String,
    latency: bool,
    rates: bool,
}

/// What came of it.
struct Came {
    found: Vec<String>,
    coverage: Value,
    seconds: f64,
    peak_mib: f64,
    estimated: Duration,
    households: usize,
}

async fn output(mut command: Command, shows_progress: bool) -> String {
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command.stderr(if shows_progress { Stdio::inherit() } else { Stdio::null() });
    let output = tokio::task::spawn_blocking(move || command.output().expect("it runs")).await.expect("it ends");
    // 3: some are undetermined.
    assert!(
        matches!(output.status.code(), Some(0 | 3)),
        "{:?} {}",
        output.status,
        String::from_utf8_lossy(&output.stdout)
    );
    String::from_utf8(output.stdout).expect("a text")
}

async fn run(course: &Course) -> Came {
    let Course { division, households_per_village, condition, latency, rates } = course;
    let options = Options {
        households_per_village: *households_per_village,
        latency: *latency,
        rates: *rates,
        villages: vec![division.clone()],
        photos: false,
        keep_requests: false,
        ..Options::default()
    };
    let departments = departments::start(options).await.expect("the departments start");
    let households = departments.world().households_in(division);
    let process = Process::start_for("scan", &departments, division, |files| {
        files.edit("config/roles.yaml", |text| {
            // Further than one scan of the demo's supervisor may go.
            text.replace("candidates_max: 20000, named_max: 5000", "candidates_max: 1000000, named_max: 1000000")
        })
    })
    .await;
    let scan = ["--division", division, "--where", condition];
    let plan = output(process.scan(&[&scan[..], &["--plan", "--json"]].concat()), true).await;
    let plan: Vec<Value> = serde_json::from_str(&plan).expect("a plan");
    let estimated = plan.iter().map(|stage| stage["estimatedMs"].as_u64().expect("a time")).sum();
    departments.clear_logs();
    let file = process.root().join("found.jsonl");
    let to = file.display().to_string();
    let began = Instant::now();
    output(process.scan(&[&scan[..], &["--page", "200", "--jsonl", &to]].concat()), true).await;
    let seconds = began.elapsed().as_secs_f64();
    let text = std::fs::read_to_string(&file).expect("a file");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let coverage = lines.last().expect("a last line")["watermark"]["coverage"].clone();
    let node = |line: &Value| line["node"]["id"].as_str().map(str::to_owned);
    let came = Came {
        found: lines.iter().filter_map(node).collect(),
        coverage,
        seconds,
        peak_mib: process.peak_mib(),
        estimated: Duration::from_millis(estimated),
        households,
    };
    println!("{division}: {condition}");
    println!(
        "{households} households in {seconds:.1} s; {} match; estimated beforehand: at least {:.1} s; peak {:.0} MiB",
        came.found.len(),
        came.estimated.as_secs_f64(),
        came.peak_mib
    );
    println!("calls by source: {:?}", departments.calls());
    for (source, calls) in departments.calls() {
        let registered = departments::registry::DEPARTMENTS.iter().find(|one| one.id == source);
        if let Some(rate) = registered.and_then(|one| one.per_second_max).filter(|_| *rates) {
            let least = calls as f64 / rate as f64;
            println!(
                "{source}: its {calls} calls take {least:.1} s by its rate; the scan took {:.2} times that",
                seconds / least
            );
        }
    }
    for stage in coverage_plan(&came.coverage) {
        println!("  {stage}");
    }
    for stage in plan {
        println!("  beforehand: {} {} calls, {} ms", stage["sources"], stage["estimatedCalls"], stage["estimatedMs"]);
    }
    // Whatever else: everybody was looked at, the list said how many, and whoever is undetermined is so because departments of the
    // made-up world disagree, and not by the gateway's own doing.
    assert_eq!((&came.coverage["candidates"], &came.coverage["evaluated"]), (&json!(households), &json!(households)));
    assert_eq!((&came.coverage["total"], &came.coverage["ended"]), (&json!(households), &json!("LISTED")));
    let missing = came.coverage["missing"].as_array().expect("reasons");
    assert!(missing.iter().all(|reason| reason["code"] == "CONFLICT"), "{missing:?}");
    assert!(came.peak_mib < MEMORY_MAX_MIB, "{} MiB", came.peak_mib);
    let world = departments.world();
    let matches = |id: &String| {
        let portrait = portrait(world, id).expect("a household");
        at(&portrait, "assistance.dibaoStatus") == "RECEIVING"
            && at(&portrait, "assets.vehicles").as_array().is_some_and(|vehicles| !vehicles.is_empty())
    };
    if condition == DIBAO_AND_VEHICLE {
        let every = (households / 5_000).max(1);
        let some = world.village_household_ids(division).step_by(every);
        for id in some.filter(|id| world.household(id).is_some_and(|household| household.exception.is_none())) {
            assert_eq!(came.found.binary_search(&id).is_ok(), matches(&id), "{id}");
        }
    }
    came
}

fn coverage_plan(coverage: &Value) -> impl Iterator<Item = String> {
    coverage["plan"].as_array().into_iter().flatten().map(|stage| {
        format!(
            "{} {}: {} calls, {} ms, of {} left {}",
            stage["sources"], stage["fields"], stage["calls"], stage["ms"], stage["asked"], stage["left"]
        )
    })
}

fn given(name: &str, or: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| or.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn villages_are_scanned_to_their_end_as_fast_as_a_slow_department_lets_and_nobody_is_asked_of_twice() {
    let course = Course {
        division: "33112210134".to_owned(),
        households_per_village: 3,
        condition: r#"{"assistance": {"dibaoStatus": {"eq": "RECEIVING"}}, "disability": {"exists": true}}"#.to_owned(),
        latency: true,
        rates: true,
    };
    let came = run(&course).await;
    // What is decided behind a full page, or cut off by a request's time, is decided again: seldom.
    let asked = came.coverage["plan"][0]["asked"].as_u64().expect("a count") as f64;
    assert!(asked <= 1.3 * came.households as f64 + 1.0, "{asked} looked at for {}", came.households);
    assert!(came.households > 5 && !came.found.is_empty() && came.estimated > Duration::ZERO);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes"]
async fn a_county_with_the_departments_own_latencies_and_rates() {
    let course = Course {
        division: given("SCAN_DIVISION", "331122"),
        households_per_village: 16,
        condition: given("SCAN_WHERE", DIBAO_AND_VEHICLE),
        latency: true,
        rates: true,
    };
    run(&course).await;
}

/// 25 547 villages of 20 households and more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes many minutes"]
async fn a_province_of_half_a_million_households() {
    let course = Course {
        division: given("SCAN_DIVISION", "33"),
        households_per_village: 20,
        condition: given("SCAN_WHERE", DIBAO_AND_VEHICLE),
        latency: false,
        rates: true,
    };
    let came = run(&course).await;
    println!("{:.0} households a second", came.households as f64 / came.seconds);
}
