//! Pairs of runs, and what they say.
//!
//! Load and departments share one core, what is measured has the other. CPU time is user and system time of its process
//! over a run, divided by the answers it gave. All contenders run at once and take turns, so that a ratio compares runs
//! that were next to each other.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::client::{Error, Question, ask, get, load};
use crate::gateway::Gateway;

#[derive(clap::Args)]
pub struct Run {
    /// Workloads, separated by commas: portrait, list, posts.
    #[arg(long, value_delimiter = ',', default_value = "portrait,list,posts")]
    workloads: Vec<String>,
    /// Contenders beside the gateway: hyper, reqwest.
    #[arg(long, value_delimiter = ',', default_value = "hyper,reqwest")]
    floors: Vec<String>,
    #[arg(long, default_value_t = 30)]
    rounds: usize,
    /// Length of a run.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// A gateway that is built already; without it, one is built with `--profile dist`.
    #[arg(long)]
    gateway: Option<PathBuf>,
    /// A second gateway, measured beside the first: the same with another build.
    #[arg(long)]
    other: Option<PathBuf>,
    /// Milliseconds that each answer of the departments takes.
    #[arg(long, default_value_t = 0)]
    delay: u64,
    /// Cores: that of load and departments, that of the contenders.
    #[arg(long, default_value = "0")]
    load_core: String,
    #[arg(long, default_value = "1")]
    core: String,
}

/// Of the workload: its name for the floors, connections, the calls an answer takes, what is asked.
fn workload(name: &str) -> Option<(&'static str, usize, u64, String)> {
    let fields = "{ status amount level officer updatedAt }";
    let departments = |to: usize| (1..=to).map(|n| format!("dept{n} {fields} ")).collect::<String>();
    let body = |query: String| serde_json::json!({ "query": query }).to_string();
    Some(match name {
        "portrait" => {
            let query = format!("query Portrait($id: Int!) {{ household(id: $id) {{ id {}}} }}", departments(12));
            ("b", 32, 12, serde_json::json!({"query": query, "variables": {"id": "@ID@"}}).to_string())
        }
        "list" => ("c", 16, 4, body(format!("{{ households {{ id name {}}} }}", departments(3)))),
        "posts" => ("a1", 32, 11, body("{ posts { id userId title user { id name email } } }".to_owned())),
        _ => return None,
    })
}

struct Contender {
    name: String,
    port: u16,
    process: Child,
    runs: Vec<Sample>,
    peak: Option<f64>,
}

impl Drop for Contender {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

struct Sample {
    cpu: f64,
    instructions: Option<f64>,
    per_second: f64,
    p50: f64,
    p99: f64,
    calls: f64,
}

fn spawn(core: &str, arguments: &[&str]) -> Result<Child, Error> {
    let this = std::env::current_exe()?;
    Ok(Command::new("taskset").args(["-c", core]).arg(this).args(arguments).stdout(Stdio::null()).spawn()?)
}

/// User and system time of a process so far, in seconds.
fn cpu_seconds(pid: u32) -> Result<f64, Error> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).unwrap_or_default();
    // Linux counts these in hundredths of a second on every architecture it runs on here (USER_HZ).
    Ok((ticks(11) + ticks(12)) / 100.0)
}

fn peak_megabytes(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / 1024.0)
}

/// `perf stat` over a process, where there is one that may.
struct Instructions(Option<Child>);

impl Instructions {
    fn begin(pid: u32) -> Self {
        let perf = Command::new("perf")
            .args(["stat", "-x,", "-e", "instructions", "-p", &pid.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        if perf.is_ok() {
            std::thread::sleep(Duration::from_millis(60));
        }
        Self(perf.ok())
    }

    fn end(self) -> Option<f64> {
        let child = self.0?;
        // It prints what it counted when it is interrupted.
        Command::new("kill").args(["-INT", &child.id().to_string()]).status().ok()?;
        let text = String::from_utf8(child.wait_with_output().ok()?.stderr).ok()?;
        text.lines().find(|line| line.contains("instructions"))?.split(',').next()?.parse().ok()
    }
}

async fn wait_for(port: u16, process: &mut Child) -> Result<(), Error> {
    let until = Instant::now() + Duration::from_secs(20);
    while Instant::now() < until {
        if let Some(status) = process.try_wait()? {
            return Err(format!("ended while starting: {status}").into());
        }
        if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    Err(format!("nothing listens at {port} after 20 s").into())
}

fn build() -> Result<PathBuf, Error> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    eprintln!("building the gateway: cargo build --profile dist --no-default-features");
    let status = Command::new("cargo")
        .args(["build", "--locked", "--profile", "dist", "--no-default-features"])
        .current_dir(&top)
        .status()?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| top.join("target"), PathBuf::from);
    if status.success() { Ok(target.join("dist/huxiang")) } else { Err("the gateway does not build".into()) }
}

pub fn run(run: &Run) -> Result<(), Error> {
    let gateway = run.gateway.clone().map_or_else(build, Ok)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // This thread is the load.
    let pid = std::process::id().to_string();
    Command::new("taskset").args(["-apc", &run.load_core, &pid]).stdout(Stdio::null()).status()?;
    println!(
        "{} rounds of {} s each; load and departments on core {}, contenders on core {}",
        run.rounds, run.seconds, run.load_core, run.core
    );
    for name in &run.workloads {
        tokio::task::LocalSet::new().block_on(&runtime, one(run, name, &gateway))?;
    }
    Ok(())
}

async fn one(run: &Run, name: &str, program: &Path) -> Result<(), Error> {
    let (floor, connections, calls, body) = workload(name).ok_or_else(|| format!("there is no workload `{name}`"))?;
    let folder = std::env::temp_dir().join(format!("huxiang-load-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    let files = Gateway::new(folder.clone())?;
    let question = Question { body, tokens: Rc::new(files.tokens.clone()), connections };
    let first_port = 20_000 + u16::try_from(std::process::id() % 20_000)?;
    let mut departments = Contender {
        name: "departments".to_owned(),
        port: first_port,
        process: spawn(&run.load_core, &["upstream", &first_port.to_string(), &run.delay.to_string()])?,
        runs: Vec::new(),
        peak: None,
    };
    wait_for(first_port, &mut departments.process).await?;
    let mut contenders = Vec::new();
    let upstream = format!("127.0.0.1:{first_port}");
    for client in &run.floors {
        let port = first_port + 1 + u16::try_from(contenders.len())?;
        let process = spawn(&run.core, &["floor", client, floor, &port.to_string(), &upstream])?;
        contenders.push(Contender { name: format!("floor, {client}"), port, process, runs: Vec::new(), peak: None });
    }
    for (name, program) in [("gateway", Some(program)), ("other", run.other.as_deref())] {
        let Some(program) = program else { continue };
        let port = first_port + 1 + u16::try_from(contenders.len())?;
        let process = files.start(&run.core, program, port, first_port)?;
        contenders.push(Contender { name: name.to_owned(), port, process, runs: Vec::new(), peak: None });
    }
    let mut expected: Option<serde_json::Value> = None;
    for contender in &mut contenders {
        wait_for(contender.port, &mut contender.process).await.map_err(|why| {
            let log = std::fs::read_to_string(folder.join("gateway.log")).unwrap_or_default();
            format!("{}: {why}\n{log}", contender.name)
        })?;
        let token = files.tokens.first().map_or("", String::as_str);
        let mut answer: serde_json::Value =
            serde_json::from_str(&ask(contender.port, token, &question.body.replace("\"@ID@\"", "7")).await?)?;
        // What the gateway says besides, of itself.
        answer.as_object_mut().and_then(|answer| answer.remove("extensions"));
        match &expected {
            None => expected = Some(answer),
            Some(first) if *first == answer => {}
            Some(first) => {
                let (first, answer) = (first.to_string(), answer.to_string());
                let cut = |text: &str| text.chars().take(600).collect::<String>();
                return Err(
                    format!("{} answers otherwise:\n{}\nnot\n{}", contender.name, cut(&answer), cut(&first)).into()
                );
            }
        }
        // Connections, caches and every caller's token are there before anything is measured.
        load(contender.port, &question, Duration::from_secs_f64(1.5)).await?;
    }
    let lasts = Duration::from_secs_f64(run.seconds);
    for round in 0..run.rounds {
        eprint!("\r{name}: round {} of {}", round + 1, run.rounds);
        // Not always the same one first.
        let length = contenders.len();
        for at in 0..length {
            let Some(contender) = contenders.get_mut((at + round) % length) else { continue };
            let pid = contender.process.id();
            get(first_port, "/__count").await?;
            let counter = Instructions::begin(pid);
            let before = cpu_seconds(pid)?;
            let load = load(contender.port, &question, lasts).await?;
            let cpu = cpu_seconds(pid)? - before;
            let instructions = counter.end();
            let calls: f64 = get(first_port, "/__count").await?.parse()?;
            if load.failed > 0 || load.answered == 0 {
                return Err(format!("{}: {} answers, {} failed", contender.name, load.answered, load.failed).into());
            }
            let answers = load.answered as f64;
            contender.runs.push(Sample {
                cpu: cpu * 1e6 / answers,
                instructions: instructions.map(|all| all / answers),
                per_second: answers / load.took.as_secs_f64(),
                p50: load.percentile(0.5),
                p99: load.percentile(0.99),
                calls: calls / answers,
            });
            contender.peak = peak_megabytes(pid);
        }
    }
    eprintln!();
    print(name, calls, &contenders);
    drop(contenders);
    drop(departments);
    let _ = std::fs::remove_dir_all(&folder);
    Ok(())
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let values = sorted(values);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The median of the pairs' ratios and the 95 % interval of that median, from its order statistics (no distribution is
/// assumed).
fn ratio(of: &[f64], to: &[f64]) -> (f64, f64, f64) {
    let ratios = sorted(of.iter().zip(to).map(|(of, to)| of / to));
    let n = ratios.len() as f64;
    let away = 1.96 * n.sqrt() / 2.0;
    let at = |place: f64| {
        ratios.get((place.max(0.0) as usize).min(ratios.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
    };
    (at(n / 2.0), at((n / 2.0 - away).floor()), at((n / 2.0 + away).ceil()))
}

fn print(name: &str, calls: u64, contenders: &[Contender]) {
    println!("\n{name} ({calls} calls a request)\n");
    println!("| | CPU µs/request | instructions/request | requests/s | p50 ms | p99 ms | calls/request | peak MB |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for contender in contenders {
        let of = |pick: fn(&Sample) -> f64| median(contender.runs.iter().map(pick));
        let instructions = contender.runs.iter().filter_map(|run| run.instructions).collect::<Vec<_>>();
        println!(
            "| {} | {:.0} | {} | {:.0} | {:.2} | {:.2} | {:.2} | {:.0} |",
            contender.name,
            of(|run| run.cpu),
            if instructions.is_empty() {
                "–".to_owned()
            } else {
                format!("{:.0}k", median(instructions.into_iter()) / 1000.0)
            },
            of(|run| run.per_second),
            of(|run| run.p50),
            of(|run| run.p99),
            of(|run| run.calls),
            contender.peak.unwrap_or(f64::NAN),
        );
    }
    println!();
    let figures = |name: &str| {
        let runs = &contenders.iter().find(|contender| contender.name == name)?.runs;
        Some(runs.iter().map(|run| (run.cpu, run.instructions)).collect::<Vec<_>>())
    };
    let Some(gateway) = figures("gateway") else { return };
    for other in contenders.iter().filter(|contender| contender.name != "gateway") {
        let Some(to) = figures(&other.name) else { continue };
        let cpu = |of: &[(f64, Option<f64>)]| of.iter().map(|pair| pair.0).collect::<Vec<_>>();
        let (middle, low, high) = ratio(&cpu(&gateway), &cpu(&to));
        print!("gateway / {}: CPU {middle:.2} ({low:.2} to {high:.2})", other.name);
        let counted = |of: &[(f64, Option<f64>)]| of.iter().filter_map(|pair| pair.1).collect::<Vec<_>>();
        if counted(&gateway).len() == gateway.len() && counted(&to).len() == to.len() {
            let (middle, low, high) = ratio(&counted(&gateway), &counted(&to));
            print!(", instructions {middle:.2} ({low:.2} to {high:.2})");
        }
        println!();
    }
}
