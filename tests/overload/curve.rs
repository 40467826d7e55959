//! The whole gateway as a process of its own, over a department that takes its time, with few requests at once: under an open
//! loop, in which requests come at their times whether or not others are answered.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use serde_json::Value;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};

use super::live_support::{Live, Place, SCHEMA, binding};
use super::plot;

const DEPARTMENT: Duration = Duration::from_millis(100);
const AT_ONCE: usize = 4;
/// Requests a second that can be answered.
const CAPACITY: u32 = 40;
const CALLERS: u32 = 20;
const CONFIG: &str = "listen: ${HUXIANG_LISTEN}\nmetrics: {listen: \"${METRICS_LISTEN}\"}\nnetworks: {local: [127.0.0.0/8]}\n\
    proxies: [127.0.0.1]\naudit: {store: \"${AUDIT_STORE}\", key: \"${AUDIT_KEY}\"}\n\
    rates: {anonymous: {requests_per_minute: 10000000, upstream_calls_per_minute: 10000000}}\n\
    admission: {in_flight_max: 4, waiting_max: 8, waiting_ms_max: 1000}\n";
const QUERY: &str = r#"{"query":"{ person(id: \"1\") { name } }"}"#;

/// A department that counts who is at it.
struct Department {
    url: String,
    calls: Arc<AtomicUsize>,
    /// At once, at most.
    most: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Department {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn department() -> Department {
    let [now, calls, most] = [(); 3].map(|()| Arc::new(AtomicUsize::new(0)));
    let counts = (Arc::clone(&now), Arc::clone(&calls), Arc::clone(&most));
    let answer = move || {
        let (now, calls, most) = counts.clone();
        // What is begun is done, as departments do, whether or not anybody waits for it.
        let work = tokio::spawn(async move {
            calls.fetch_add(1, Ordering::SeqCst);
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            sleep(DEPARTMENT).await;
            now.fetch_sub(1, Ordering::SeqCst);
            r#"{"id":"1","told":"it"}"#
        });
        async move { work.await.expect("it ends") }
    };
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let routes = Router::new().route("/{version}/{what}/{id}", get(answer));
    let task = tokio::spawn(async move { axum::serve(listener, routes).await.expect("it serves") });
    Department { url, calls, most, task }
}

struct Stage {
    live: Arc<Live>,
    department: Department,
    metrics: String,
    _place: Place,
}

impl Stage {
    async fn start(name: &str) -> Self {
        let department = department().await;
        let place = Place::new(
            name,
            &[
                ("schema/people.graphql", SCHEMA),
                ("resolvers/people.yaml", &binding("1")),
                ("config/gateway.yaml", CONFIG),
            ],
        )
        .await;
        let port =
            std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
        let metrics = format!("127.0.0.1:{port}");
        let live = place.start("gateway", &[("PEOPLE_URL", &department.url), ("METRICS_LISTEN", &metrics)]).await;
        let stage = Self { live: Arc::new(live), department, metrics: format!("http://{metrics}"), _place: place };
        // What the first request costs apart.
        offer(&stage.live, 20, Duration::from_secs(1)).await;
        stage
    }

    async fn metric(&self, name: &str) -> u64 {
        let answer = self.live.client.get(format!("{}/metrics", self.metrics)).send().await.expect("metrics");
        let text = answer.text().await.expect("a text");
        let values = text.lines().filter(|line| line.starts_with(name)).filter_map(|line| line.rsplit(' ').next());
        values.map(|value| value.parse::<u64>().expect("a number")).sum()
    }
}

/// How one request ended, and when it was to begin.
enum Ended {
    Answered(Duration),
    /// With 503, the code and when to try again.
    Refused(Duration),
    Otherwise(String),
}

async fn ended(live: &Live, caller: u32, planned: Instant) -> Ended {
    let request = live.client.post(format!("{}/graphql", live.url)).header("content-type", "application/json");
    let request = request.header("x-forwarded-for", format!("127.1.0.{caller}")).body(QUERY);
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) => return Ended::Otherwise(error.to_string()),
    };
    let (status, retry) = (answer.status().as_u16(), answer.headers().contains_key("retry-after"));
    let text = answer.text().await.unwrap_or_default();
    let body: Value = serde_json::from_str(&text).unwrap_or_default();
    match status {
        200 if body["data"]["person"]["name"] == "it" => Ended::Answered(planned.elapsed()),
        503 if retry && body["errors"][0]["extensions"]["code"] == "OVERLOADED" => Ended::Refused(planned.elapsed()),
        _ => Ended::Otherwise(format!("{status} {text}")),
    }
}

/// What came of a load.
#[derive(Default)]
struct Figures {
    seconds: f64,
    /// Latencies, ascending.
    answered: Vec<Duration>,
    refused: Vec<Duration>,
    otherwise: Vec<String>,
    /// Of the gateway's process, while the load lasted, in MiB.
    memory: Vec<f64>,
}

impl Figures {
    fn useful(&self) -> f64 {
        f64::from(u32::try_from(self.answered.len()).expect("few")) / self.seconds
    }
}

fn share(sorted: &[Duration], percent: usize) -> Duration {
    sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

fn memory_mib(process: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
    line.trim().trim_end_matches(" kB").parse::<f64>().expect("KiB") / 1024.0
}

impl Figures {
    fn note(&mut self, ended: Ended) {
        match ended {
            Ended::Answered(latency) => self.answered.push(latency),
            Ended::Refused(latency) => self.refused.push(latency),
            Ended::Otherwise(what) => self.otherwise.push(what),
        }
    }
}

/// So many requests a second, each at its time, from a number of callers.
async fn offer(live: &Arc<Live>, per_second: u32, lasting: Duration) -> Figures {
    let began = Instant::now();
    let apart = Duration::from_secs(1) / per_second;
    let (mut asking, mut figures) = (JoinSet::new(), Figures::default());
    for n in 0.. {
        let planned = began + apart * n;
        if planned >= began + lasting {
            break;
        }
        sleep_until(planned).await;
        let live_of = Arc::clone(live);
        asking.spawn(async move { ended(&live_of, n % CALLERS, planned).await });
        while let Some(ended) = asking.try_join_next() {
            figures.note(ended.expect("it ends"));
        }
        if n % (per_second / 4).max(1) == 0 {
            figures.memory.push(memory_mib(live.process_id()));
        }
    }
    while let Some(ended) = asking.join_next().await {
        figures.note(ended.expect("it ends"));
    }
    figures.seconds = began.elapsed().as_secs_f64();
    figures.answered.sort();
    figures.refused.sort();
    figures
}

/// As many at once as are worked on, one after the other: what can be had at most.
async fn peak(live: &Arc<Live>, lasting: Duration) -> f64 {
    let began = Instant::now();
    let mut asking = JoinSet::new();
    for worker in 0..u32::try_from(AT_ONCE).expect("few") {
        let live = Arc::clone(live);
        asking.spawn(async move {
            let mut answered = 0;
            while began.elapsed() < lasting {
                answered += u32::from(matches!(ended(&live, worker, Instant::now()).await, Ended::Answered(_)));
            }
            answered
        });
    }
    let answered: u32 = asking.join_all().await.into_iter().sum();
    f64::from(answered) / began.elapsed().as_secs_f64()
}

/// What monitoring sees for five seconds: how often it looked, and how long it waited at most.
async fn watched(live: Arc<Live>, metrics: String) -> (usize, Duration) {
    let (began, mut looks, mut slowest) = (Instant::now(), 0, Duration::ZERO);
    while began.elapsed() < Duration::from_secs(5) {
        let health = [format!("{}/health/live", live.url), format!("{}/health/ready", live.url)];
        for url in health.into_iter().chain(["health/ready", "metrics"].map(|path| format!("{metrics}/{path}"))) {
            let looked = Instant::now();
            assert_eq!(live.client.get(&url).send().await.expect("an answer").status(), 200, "{url}");
            looks += 1;
            slowest = slowest.max(looked.elapsed());
        }
        sleep(Duration::from_millis(100)).await;
    }
    (looks, slowest)
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_ten_times_the_load_that_can_be_borne_as_much_is_answered_and_the_rest_is_refused_quickly() {
    let stage = Stage::start("overload").await;
    let before = stage.metric("huxiang_requests_turned_away_total").await;
    let peak = peak(&stage.live, Duration::from_secs(3)).await;
    let watching = tokio::spawn(watched(Arc::clone(&stage.live), stage.metrics.clone()));
    let figures = offer(&stage.live, CAPACITY * 10, Duration::from_secs(6)).await;
    let (looks, slowest) = watching.await.expect("monitoring is answered");
    assert!(
        looks >= 40 && slowest < Duration::from_secs(1),
        "{looks} looks at health and metrics, the slowest {slowest:?}"
    );
    let all = figures.answered.len() + figures.refused.len();
    assert!(figures.otherwise.is_empty(), "{} of {all}: {}", figures.otherwise.len(), figures.otherwise[0]);
    assert_eq!(all, 2_400, "each has an answer");
    let useful = figures.useful();
    assert!(useful > peak * 0.8, "{useful:.1} a second, of {peak:.1} at best");
    let most = stage.department.most.load(Ordering::SeqCst);
    assert!(most <= AT_ONCE, "{most} were worked on at once");
    let slowest = [share(&figures.answered, 99), share(&figures.refused, 99)];
    assert!(slowest.iter().all(|latency| *latency < Duration::from_millis(1_600)), "{slowest:?}");
    let (first, last) = figures.memory.split_at(figures.memory.len() / 2);
    let grown = median(last) - median(first);
    assert!(grown < 24.0, "memory grew by {grown:.1} MiB: {:?}", figures.memory);
    let counted = stage.metric("huxiang_requests_turned_away_total").await - before;
    assert_eq!(usize::try_from(counted).expect("few"), figures.refused.len(), "as counted in the metrics");
    assert_eq!(stage.metric("huxiang_requests_in_flight").await, 0);
    assert_eq!(stage.metric("huxiang_requests_waiting").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_goes_on_for_callers_that_went_away_and_keeps_its_turn_until_it_ends() {
    let stage = Stage::start("gone").await;
    let before = stage.department.calls.load(Ordering::SeqCst);
    let mut asking = JoinSet::new();
    for n in 0..60_u32 {
        let live = Arc::clone(&stage.live);
        asking.spawn(async move {
            sleep(Duration::from_millis(20) * n).await;
            let request = live.client.post(format!("{}/graphql", live.url)).header("content-type", "application/json");
            // Each gives up long before the department answers.
            let _ = request.body(QUERY).timeout(Duration::from_millis(30)).send().await;
        });
    }
    asking.join_all().await;
    assert!(stage.department.calls.load(Ordering::SeqCst) - before > AT_ONCE, "they came to the department");
    let most = stage.department.most.load(Ordering::SeqCst);
    assert!(most <= AT_ONCE, "{most} were worked on at once, for nobody");
    assert!(matches!(ended(&stage.live, 1, Instant::now()).await, Ended::Answered(_)), "then others have their turn");
}

/// Loads as parts of what can be borne.
const LOADS: [f64; 9] = [0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0];

/// Measures, prints the table and draws docs/overload.svg.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes two minutes, and writes docs/overload.svg"]
async fn the_curve() {
    let stage = Stage::start("curve").await;
    let peak = peak(&stage.live, Duration::from_secs(5)).await;
    println!("Peak: {peak:.1} a second\n");
    println!("| offered, of the peak | a second | answered a second | p50 | p99 | refused a second | p99 | MiB |");
    println!("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    let mut points = Vec::new();
    for load in LOADS {
        let per_second = (peak * load).round() as u32;
        let figures = offer(&stage.live, per_second, Duration::from_secs(12)).await;
        assert!(figures.otherwise.is_empty(), "{}", figures.otherwise[0]);
        let refused = figures.refused.len() as f64 / figures.seconds;
        let ms = |latencies: &[Duration], percent| share(latencies, percent).as_millis();
        println!(
            "| {load} | {per_second} | {:.1} | {} ms | {} ms | {refused:.1} | {} | {:.0} |",
            figures.useful(),
            ms(&figures.answered, 50),
            ms(&figures.answered, 99),
            if figures.refused.is_empty() { "–".to_owned() } else { format!("{} ms", ms(&figures.refused, 99)) },
            median(&figures.memory),
        );
        points.push(plot::Point {
            load,
            useful: figures.useful() / peak,
            p50_ms: ms(&figures.answered, 50) as f64,
            p99_ms: ms(&figures.answered, 99) as f64,
        });
        sleep(Duration::from_secs(1)).await;
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/overload.svg");
    std::fs::write(path, plot::svg(&points)).expect("the plot is written");
}
