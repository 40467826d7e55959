//! Pairs of runs.
//!
//! Load and departments share one core, what is measured has the other. CPU time is user and system time of its process
//! over a run, divided by the answers it gave. All contenders run at once and take turns, so that a ratio compares runs
//! that were next to each other.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use serde_json::Value;

use crate::client::{Error, Question, ask, first_port, get, load, one_by_one};
use crate::contender::{Contender, Instructions, Sample, Tailcall, cpu_seconds, own, peak_megabytes, tailcall};
use crate::gateway::Gateway;
use crate::report;
use crate::workload::{NAMES, Workload};

#[derive(clap::Args)]
pub struct Run {
    /// Workloads, separated by commas.
    #[arg(long, value_delimiter = ',', default_values_t = NAMES.map(str::to_owned))]
    workloads: Vec<String>,
    /// Contenders beside the gateway: hyper and reqwest (written by hand for the one query), plain (an async-graphql server
    /// as most would write it).
    #[arg(long, value_delimiter = ',', default_value = "hyper,reqwest")]
    beside: Vec<String>,
    /// Tailcall's program, measured too, with shared calls and without.
    #[arg(long)]
    tailcall: Option<PathBuf>,
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
    /// Milliseconds that each answer of the departments takes; without it, as the workload says.
    #[arg(long)]
    delay: Option<u64>,
    /// Cores: that of load and departments, that of the contenders.
    #[arg(long, default_value = "0")]
    load_core: String,
    #[arg(long, default_value = "1")]
    core: String,
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
    let workloads = run.workloads.iter().map(|name| {
        Workload::of(name)
            .ok_or_else(|| format!("there is no workload `{name}`; there are {}", NAMES.join(", ")).into())
    });
    let workloads = workloads.collect::<Result<Vec<_>, Error>>()?;
    let gateway = run.gateway.clone().map_or_else(build, Ok)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // This thread is the load.
    let pid = std::process::id().to_string();
    Command::new("taskset").args(["-apc", &run.load_core, &pid]).stdout(Stdio::null()).status()?;
    println!(
        "{} rounds of {} s each; load and departments on core {}, contenders on core {}",
        run.rounds, run.seconds, run.load_core, run.core
    );
    for workload in &workloads {
        tokio::task::LocalSet::new().block_on(&runtime, one(run, workload, &gateway))?;
    }
    Ok(())
}

/// All that take part, started: the departments first, then who is beside the gateway, then the gateway.
fn start(
    run: &Run,
    workload: &Workload,
    files: &Gateway,
    folder: &Path,
    program: &Path,
) -> Result<(Contender, Vec<Contender>), Error> {
    let mut port = first_port()?;
    let upstream = port;
    let address = format!("127.0.0.1:{upstream}");
    let delay = run.delay.unwrap_or(workload.delay).to_string();
    let process = own(&run.load_core, &["upstream", &upstream.to_string(), &delay])?;
    let departments = Contender::new("departments", upstream, process);
    let mut contenders = Vec::new();
    for name in &run.beside {
        port += 1;
        if name == "plain" {
            if workload.beside {
                let process = own(&run.core, &["plain", &port.to_string(), &address])?;
                contenders.push(Contender::new("async-graphql", port, process));
            }
        } else {
            let process = own(&run.core, &["floor", name, workload.floor, &port.to_string(), &address])?;
            contenders.push(Contender::new(format!("floor, {name}"), port, process));
        }
    }
    if let (Some(program), true) = (&run.tailcall, workload.beside) {
        for (name, sharing) in [("Tailcall", false), ("Tailcall, sharing", true)] {
            port += 1;
            let of = Tailcall { sharing, batch: workload.name == "list" };
            let process = tailcall(&run.core, program, folder, port, upstream, of)?;
            contenders.push(Contender::new(name, port, process));
        }
    }
    for (name, program) in [("gateway", Some(program)), ("other", run.other.as_deref())] {
        let Some(program) = program else { continue };
        port += 1;
        let process = files.start(&["taskset", "-c", &run.core], program, port, upstream)?;
        contenders.push(Contender::new(name, port, process));
    }
    Ok((departments, contenders))
}

/// Data alone, with numbers by their value: a gateway tells more of itself, and 2.0 is 2.
fn compared(answer: &str) -> Result<Value, Error> {
    fn plain(value: Value) -> Value {
        match value {
            Value::Number(number) => number.as_f64().map_or(Value::Null, Value::from),
            Value::Array(all) => all.into_iter().map(plain).collect(),
            Value::Object(all) => Value::Object(all.into_iter().map(|(name, value)| (name, plain(value))).collect()),
            other => other,
        }
    }
    let mut answer: Value = serde_json::from_str(answer)?;
    answer.as_object_mut().and_then(|answer| answer.remove("extensions"));
    Ok(plain(answer))
}

async fn one(run: &Run, workload: &Workload, program: &Path) -> Result<(), Error> {
    let folder = std::env::temp_dir().join(format!("huxiang-load-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("gateway");
    let files = Gateway::new(&from, folder.clone(), workload.files)?;
    let tokens = Rc::new(files.tokens.clone());
    let question = Question { body: workload.body.clone(), tokens, connections: workload.connections };
    let (mut departments, mut contenders) = start(run, workload, &files, &folder, program)?;
    departments.ready().await?;
    let mut expected: Option<Value> = None;
    for contender in &mut contenders {
        contender.ready().await.map_err(|why| {
            let log = std::fs::read_to_string(files.log(contender.port)).unwrap_or_default();
            format!("{}: {why}\n{log}", contender.name)
        })?;
        let token = files.tokens.first().map_or("", String::as_str);
        let answer = ask(contender.port, token, &question.body.replace("\"@ID@\"", "7")).await?;
        let answer = compared(&answer)?;
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
        if matches!(contender.name.as_str(), "gateway" | "other") {
            let tokens = &question.tokens;
            one_by_one(contender.port, tokens, r#"{"query":"{ __typename }"}"#, tokens.len()).await?;
        }
        load(contender.port, &question, Duration::from_secs_f64(1.5)).await?;
    }
    for round in 0..run.rounds {
        eprint!("\r{}: round {} of {}", workload.name, round + 1, run.rounds);
        // Not always the same one first.
        let length = contenders.len();
        for at in 0..length {
            let Some(contender) = contenders.get_mut((at + round) % length) else { continue };
            turn(contender, departments.port, &question, Duration::from_secs_f64(run.seconds)).await?;
        }
    }
    eprintln!();
    report::print(workload, run.delay.unwrap_or(workload.delay), &contenders);
    drop(contenders);
    drop(departments);
    let _ = std::fs::remove_dir_all(&folder);
    Ok(())
}

async fn turn(contender: &mut Contender, upstream: u16, question: &Question, lasts: Duration) -> Result<(), Error> {
    let pid = contender.process.id();
    get(upstream, "/__count").await?;
    let counter = Instructions::begin(pid);
    let before = cpu_seconds(pid)?;
    let load = load(contender.port, question, lasts).await?;
    let cpu = cpu_seconds(pid)? - before;
    let instructions = counter.end();
    let calls: f64 = get(upstream, "/__count").await?.parse()?;
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
    Ok(())
}
