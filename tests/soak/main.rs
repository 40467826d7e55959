//! The gateway for long: half of the load it can bear, while departments fall ill and are started anew and files change.
//!
//! `SOAK_MINUTES=30 cargo test --release --test soak -- --ignored --nocapture` measures what docs/reliability.md tells;
//! `SOAK_PER_SECOND=5` sets the load. Every run prints its seed; `SEED=…` runs it again.
//! A crate of its own: it is run alone, and counts what a process takes.

mod client;
mod disturb;
mod process;
mod scans;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/temporary.rs"]
mod temporary;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use departments::{Fault, Options};
use huxiang::base::code::ErrorCode;
use process::{Ended, Process, Sample};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

/// A month of it, or some seconds.
struct Course {
    lasting: Duration,
    /// None: half of what can be had.
    per_second: Option<f64>,
    sample_every: Duration,
    disturb_every: Duration,
    reload_every: Duration,
    allowed: Growth,
    /// Whether it is seen that what was taken under load is let go of without any: takes the time idle connections are kept.
    rests: bool,
}

/// From the second fifth to the last: the memory's medians, and what the others are not below for nine tenths of the time:
/// connections come and go with the departments' illnesses, and what leaks raises the least there is. Under a load of hundreds a
/// second they sway by more than these; then by a tenth of the memory, or a quarter of the others: `rests` sees to what stays.
struct Growth {
    memory_mib: f64,
    files: f64,
    tasks: f64,
}

/// Descriptors and tasks at rest, above what the process had when it was ready: files of the audit store, threads of databases.
const AT_REST_MAX: u32 = 20;

/// What came of the requests.
#[derive(Default)]
struct Tally {
    statuses: BTreeMap<u16, usize>,
    codes: BTreeMap<String, usize>,
    /// Answered with nothing missing.
    whole: usize,
    without_reason: Vec<String>,
    slowest: Duration,
}

impl Tally {
    fn note(&mut self, ended: Ended) {
        match ended {
            Ended::Answered { status, body, took } => {
                *self.statuses.entry(status).or_default() += 1;
                self.slowest = self.slowest.max(took);
                match reasons(status, &body) {
                    Ok(codes) if codes.is_empty() => self.whole += 1,
                    Ok(codes) => codes.into_iter().for_each(|code| *self.codes.entry(code).or_default() += 1),
                    Err(fault) => self.without_reason.push(fault),
                }
            }
            Ended::Lost(error) => self.without_reason.push(error),
        }
    }

    fn count(&self) -> usize {
        self.statuses.values().sum()
    }
}

/// The codes of an answer. Nothing is missing without one, and each is of the closed list.
fn reasons(status: u16, body: &Value) -> Result<Vec<String>, String> {
    let errors = body["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
    let known = |code: &str| ErrorCode::ALL.iter().any(|known| known.as_str() == code);
    let codes: Vec<String> =
        errors.iter().map(|error| error["extensions"]["code"].as_str().unwrap_or_default().to_owned()).collect();
    if let Some(unknown) = codes.iter().find(|code| !known(code)) {
        return Err(format!("{status}: an error with the code `{unknown}`"));
    }
    let has_data = body.get("data").is_some_and(|data| !data.is_null());
    if has_data == (status == 200) && (has_data || !codes.is_empty()) {
        Ok(codes)
    } else {
        Err(format!("{status} with {codes:?}, data: {has_data}"))
    }
}

/// Asks at the times of an open loop until told to stop; all that was begun has ended then.
async fn load(process: Arc<Process>, per_second: f64, stop: Arc<AtomicBool>) -> Tally {
    let (mut tally, mut asking) = (Tally::default(), JoinSet::new());
    let (began, apart) = (Instant::now(), Duration::from_secs_f64(1.0 / per_second));
    for n in 0_u32.. {
        sleep_until(began + apart * n).await;
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let process = Arc::clone(&process);
        asking.spawn(async move { process.ask(n).await });
        while let Some(ended) = asking.try_join_next() {
            tally.note(ended.expect("it ends"));
        }
    }
    while let Some(ended) = asking.join_next().await {
        tally.note(ended.expect("it ends"));
    }
    tally
}

/// Requests a second that are answered where a few ask all the time.
async fn capacity(process: &Arc<Process>, lasting: Duration) -> f64 {
    let began = Instant::now();
    let mut asking = JoinSet::new();
    for worker in 0..8_u32 {
        let process = Arc::clone(process);
        asking.spawn(async move {
            let mut n = worker * 1_000;
            while began.elapsed() < lasting {
                process.ask(n).await;
                n += 1;
            }
            n - worker * 1_000
        });
    }
    let answered: u32 = asking.join_all().await.into_iter().sum();
    f64::from(answered) / began.elapsed().as_secs_f64()
}

/// Of these, the one that so many percent are below.
fn percentile(values: impl Iterator<Item = f64>, percent: usize) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() * percent / 100).copied().unwrap_or_default()
}

/// A percentile of the second fifth of the samples, and of the last.
fn growth(samples: &[Sample], percent: usize, of: impl Fn(&Sample) -> f64) -> (f64, f64) {
    let fifth = samples.len() / 5;
    let part = |from: usize| percentile(samples.iter().skip(from).take(fifth).map(&of), percent);
    (part(fifth), part(samples.len() - fifth))
}

async fn sampled(process: &Process, course: &Course) -> Vec<Sample> {
    let (mut samples, began) = (Vec::new(), Instant::now());
    println!("| minute | MiB | descriptors | tasks | version of the files |\n| ---: | ---: | ---: | ---: | ---: |");
    let mut told = None;
    while began.elapsed() < course.lasting {
        sleep(course.sample_every).await;
        let sample = process.sample().await;
        let minute = began.elapsed().as_secs() / 60;
        if told != Some(minute) {
            told = Some(minute);
            let Sample { memory_mib, files, tasks, version } = sample;
            println!("| {minute} | {memory_mib:.0} | {files} | {tasks} | {version} |");
        }
        samples.push(sample);
    }
    samples
}

/// Once all departments are well, a portrait lacks nothing for their sake; breakers and pauses pass within some seconds.
async fn recovers(process: &Process) {
    let began = Instant::now();
    loop {
        let Ended::Answered { status, body, .. } = process.portrait().await else { panic!("no answer") };
        let codes = reasons(status, &body).expect("reasons");
        let is_there = status == 200 && !body["data"]["household"].is_null();
        if is_there && !codes.iter().any(|code| code.starts_with("SOURCE_")) {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(90), "still {status} {codes:?}");
        sleep(Duration::from_millis(500)).await;
    }
}

/// Once nobody asks any more, as much is open and under way as at the beginning.
async fn rests(process: &Process, ready: &Sample) {
    let began = Instant::now();
    loop {
        let now = process.sample().await;
        if now.files <= ready.files + AT_REST_MAX && now.tasks <= ready.tasks + AT_REST_MAX {
            println!(
                "at rest after {:?}: {} descriptors ({} when it was ready), {} tasks ({}), {:.0} MiB ({:.0})",
                began.elapsed(),
                now.files,
                ready.files,
                now.tasks,
                ready.tasks,
                now.memory_mib,
                ready.memory_mib
            );
            return;
        }
        let kept = format!("{} descriptors of {}, {} tasks of {}", now.files, ready.files, now.tasks, ready.tasks);
        assert!(began.elapsed() < Duration::from_secs(180), "it does not let go of what it took: {kept}");
        sleep(Duration::from_secs(2)).await;
    }
}

/// At SIGTERM, requests under way are answered, and the process ends in order.
async fn drains(process: &Arc<Process>, departments: &departments::Running) {
    departments.set_fault("police", Fault::Slow(Duration::from_millis(600)));
    let began = Instant::now();
    let mut asking = JoinSet::new();
    // Where this test was too slow to see them under way, more are sent.
    while process.metric("huxiang_requests_in_flight").await < 8.0 {
        assert!(began.elapsed() < Duration::from_secs(60), "they are not under way");
        while let Some(ended) = asking.try_join_next() {
            answered(ended.expect("it ends"));
        }
        while asking.len() < 8 {
            let process = Arc::clone(process);
            asking.spawn(async move { process.portrait().await });
        }
        sleep(Duration::from_millis(10)).await;
    }
    process.terminate();
    asking.join_all().await.into_iter().for_each(answered);
    assert_eq!(process.ended().await, Some(0), "{}", process.log());
}

fn answered(ended: Ended) {
    match ended {
        Ended::Answered { status, body, .. } => {
            assert_eq!(status, 200, "{body}");
            reasons(status, &body).expect("reasons");
        }
        Ended::Lost(error) => panic!("a request under way was cut: {error}"),
    }
}

async fn soak(name: &str, course: Course) {
    let options = Options { households_per_village: 12, ..Options::default() };
    let departments = Arc::new(departments::start(options).await.expect("the departments start"));
    // The test holds a caller's and a department's end of every connection.
    huxiang::base::open_files::raise_limit();
    let process = Arc::new(Process::start(name, &departments).await);
    let ready = process.sample().await;
    recovers(&process).await;
    let per_second = match course.per_second {
        Some(per_second) => per_second,
        None => capacity(&process, Duration::from_secs(10)).await / 2.0,
    };
    println!("{per_second:.1} requests a second");
    let stop = Arc::new(AtomicBool::new(false));
    let asking = tokio::spawn(load(Arc::clone(&process), per_second, Arc::clone(&stop)));
    let disturbing = tokio::spawn(disturb::ill(Arc::clone(&departments), course.disturb_every, Arc::clone(&stop)));
    let changing = tokio::spawn(disturb::files(process.root().to_owned(), course.reload_every, Arc::clone(&stop)));
    let samples = sampled(&process, &course).await;
    stop.store(true, Ordering::SeqCst);
    let ills = disturbing.await.expect("it ends");
    changing.await.expect("it ends");
    let tally = asking.await.expect("it ends");
    println!(
        "{} requests; statuses {:?}; whole {}; codes {:?}",
        tally.count(),
        tally.statuses,
        tally.whole,
        tally.codes
    );
    let again = process.sent_again();
    println!("{again} crossed the closing of an idle connection, and were sent again");
    println!("slowest {:?}; departments fell ill: {ills:?}", tally.slowest);
    let versions = samples.last().map_or(0, |sample| sample.version);
    assert!(versions > 2, "the files changed while it ran: version {versions}");
    let Growth { memory_mib, files, tasks } = course.allowed;
    for (what, (first, last), allowed, share) in [
        ("MiB", growth(&samples, 50, |sample| sample.memory_mib), memory_mib, 0.1),
        ("descriptors", growth(&samples, 10, |sample| f64::from(sample.files)), files, 0.25),
        ("tasks", growth(&samples, 10, |sample| f64::from(sample.tasks)), tasks, 0.25),
    ] {
        let allowed = f64::max(allowed, first * share);
        println!("{what}: {first:.0} in the second fifth, {last:.0} in the last");
        assert!(last - first <= allowed, "{what} grew from {first:.0} to {last:.0}; {allowed:.0} more are allowed");
    }
    let fault = tally.without_reason.first();
    assert_eq!(fault, None, "{} beside {} answers\n{}", tally.without_reason.len(), tally.count(), process.log());
    assert!(again <= 2 + tally.count() / 1_000, "{again} connections were closed under a request: more than by chance");
    assert!(
        tally.whole > 0 && tally.codes.keys().any(|code| code.starts_with("SOURCE_")),
        "faults were seen, and not only"
    );
    recovers(&process).await;
    if course.rests {
        rests(&process, &ready).await;
    }
    drains(&process, &departments).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn for_some_seconds_every_request_has_an_answer_or_a_reason_and_the_end_drains() {
    let course = Course {
        lasting: Duration::from_secs(15),
        per_second: Some(6.0),
        sample_every: Duration::from_millis(500),
        disturb_every: Duration::from_millis(400),
        reload_every: Duration::from_millis(2_500),
        // It is still warming up.
        allowed: Growth { memory_mib: 96.0, files: 150.0, tasks: 250.0 },
        rests: false,
    };
    soak("short", course).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes SOAK_MINUTES (30)"]
async fn for_long_nothing_grows() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<f64>().ok());
    let course = Course {
        lasting: Duration::from_secs_f64(number("SOAK_MINUTES").unwrap_or(30.0) * 60.0),
        per_second: number("SOAK_PER_SECOND"),
        sample_every: Duration::from_secs(5),
        disturb_every: Duration::from_millis(1_500),
        reload_every: Duration::from_secs(20),
        allowed: Growth { memory_mib: 24.0, files: 100.0, tasks: 100.0 },
        rests: true,
    };
    soak("long", course).await;
}
