//! Instructions of a request's way, beside those that are committed (`counts.toml`): `.ci/run count`.
//!
//! Instructions hardly depend on the machine and on what else it does, as times do. They are counted by valgrind, which works
//! without rights and in containers, in user space. Each figure is the difference of two runs of different length, so
//! that neither start nor warming up is in it. docs/benchmarks.md says how to read and to renew them.

#[path = "../load/src/client.rs"]
#[allow(dead_code, reason = "the harness beside uses the rest")]
mod client;
#[path = "../load/src/gateway.rs"]
#[allow(dead_code, reason = "the harness beside uses the rest")]
mod gateway;
mod parts;
#[path = "../load/src/serve.rs"]
mod serve;
#[path = "../load/src/upstream.rs"]
mod upstream;
#[path = "../load/src/workload.rs"]
#[allow(dead_code, reason = "the harness beside uses the rest")]
mod workload;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use client::Error;
use gateway::Gateway;
use workload::Workload;

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What is counted, and the lengths of its two runs.
const COUNTED: [(&str, usize, usize); 7] = [
    ("portrait", 60, 180),
    ("list", 20, 60),
    ("posts", 30, 90),
    ("wide", 2, 6),
    ("token-first", 100, 300),
    ("token-seen", 1_000, 61_000),
    ("audit", 60, 460),
];

/// Percent that a figure may rise, and those that it may fall before it has to be renewed.
const RISE: f64 = 5.0;
const FALL: f64 = 10.0;

fn main() {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    // Cargo says so to every benchmark.
    arguments.retain(|argument| argument != "--bench");
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["part", name, times, folder] => {
            times.parse().map_err(Error::from).and_then(|times| parts::run(name, times, Path::new(folder)))
        }
        ["--gateway", program] => counted(Path::new(program)).and_then(|counted| check(&counted)),
        ["--gateway", program, "--renew"] => counted(Path::new(program)).and_then(|counted| renew(&counted)),
        _ => Err("counts --gateway target/release/huxiang [--renew]".into()),
    };
    if let Err(why) = done {
        eprintln!("{why}");
        std::process::exit(1);
    }
}

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches")
}

fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// Runs under valgrind, which writes what it counted to `log`.
fn wrapper(log: &Path) -> [String; 5] {
    [
        "valgrind".to_owned(),
        "--tool=cachegrind".to_owned(),
        "--cache-sim=no".to_owned(),
        "--cachegrind-out-file=/dev/null".to_owned(),
        format!("--log-file={}", log.display()),
    ]
}

fn read(log: &Path) -> Result<u64, Error> {
    let text = std::fs::read_to_string(log)?;
    let line =
        text.lines().find(|line| line.contains("refs:")).ok_or_else(|| format!("valgrind counted nothing:\n{text}"))?;
    let digits: String = line.rsplit(':').next().unwrap_or_default().chars().filter(char::is_ascii_digit).collect();
    Ok(digits.parse()?)
}

/// A process that is ended whatever happens.
struct Running(std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Everything that is counted, an operation each.
fn counted(program: &Path) -> Result<BTreeMap<String, u64>, Error> {
    let folder = std::env::temp_dir().join(format!("huxiang-counts-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    let port = client::first_port()?;
    std::thread::spawn(move || upstream::run(port, 0));
    std::fs::create_dir_all(&folder)?;
    let mut all = BTreeMap::new();
    for (name, short, long) in COUNTED {
        let began = Instant::now();
        let run = |times: usize| match Workload::of(name) {
            Some(workload) => requests(program, &folder.join(name), &workload, port, times),
            None => part(name, times, &folder),
        };
        let (less, more) = (run(short)?, run(long)?);
        let each = more.saturating_sub(less) / u64::try_from(long - short)?;
        eprintln!("{name}: {each} instructions ({:.0} s)", began.elapsed().as_secs_f64());
        all.insert(name.to_owned(), each);
    }
    std::fs::remove_dir_all(&folder)?;
    Ok(all)
}

/// So many requests of the gateway's program, one after another; what it has executed from its start to its end. Each run
/// has files and a store of its own.
fn requests(program: &Path, folder: &Path, workload: &Workload, upstream: u16, times: usize) -> Result<u64, Error> {
    let port = upstream + 1;
    let _ = std::fs::remove_dir_all(folder);
    let files = Gateway::new(&here().join("load/gateway"), folder.to_path_buf(), workload.files)?;
    let log = folder.join("valgrind.log");
    let wrapper = wrapper(&log);
    // One worker: what threads do to find each other work would be counted too.
    let wrapper: Vec<&str> =
        ["env", "TOKIO_WORKER_THREADS=1"].into_iter().chain(wrapper.iter().map(String::as_str)).collect();
    let mut gateway = Running(files.start(&wrapper, program, port, upstream)?);
    let asked = runtime()?.block_on(tokio::task::LocalSet::new().run_until(async {
        let until = Instant::now() + Duration::from_secs(60);
        while !client::listens(port).await {
            if let Some(status) = gateway.0.try_wait()? {
                return Err(format!("the gateway ended: {status}").into());
            }
            if Instant::now() > until {
                return Err(Error::from("the gateway does not listen after 60 s"));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let few = files.tokens.get(..10).unwrap_or_default();
        client::one_by_one(port, few, &workload.body, times).await
    }));
    asked.map_err(|why| {
        format!("{}: {why}\n{}", workload.name, std::fs::read_to_string(files.log(port)).unwrap_or_default())
    })?;
    let ended = Command::new("kill").args(["-TERM", &gateway.0.id().to_string()]).status()?;
    let status = gateway.0.wait()?;
    if !ended.success() || !status.success() {
        return Err(format!("the gateway did not end cleanly: {status}").into());
    }
    read(&log)
}

/// A part of this program.
fn part(name: &str, times: usize, folder: &Path) -> Result<u64, Error> {
    let log = folder.join("valgrind.log");
    let wrapper = wrapper(&log);
    let (first, rest) = wrapper.split_first().ok_or("nothing to run")?;
    let status = Command::new(first)
        .args(rest)
        .arg(std::env::current_exe()?)
        .args(["part", name, &times.to_string()])
        .arg(folder)
        .status()?;
    if !status.success() {
        return Err(format!("{name}: {status}").into());
    }
    read(&log)
}

fn committed() -> PathBuf {
    here().join("counts/counts.toml")
}

/// Lines `name = 123`, and comments.
fn figures() -> Result<BTreeMap<String, u64>, Error> {
    let text = std::fs::read_to_string(committed())?;
    let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, number) = line.split_once('=').ok_or_else(|| format!("counts.toml: no `=` in `{line}`"))?;
            Ok((name.trim().to_owned(), number.trim().replace('_', "").parse()?))
        })
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "percent to read")]
fn percent(now: u64, before: u64) -> f64 {
    (now as f64 / before as f64 - 1.0) * 100.0
}

fn check(counted: &BTreeMap<String, u64>) -> Result<(), Error> {
    let committed = figures()?;
    let mut faults = Vec::new();
    println!("{:<12} {:>12} {:>12} {:>8}", "", "committed", "now", "");
    for (name, now) in counted {
        let Some(before) = committed.get(name) else {
            faults.push(format!("{name} is not in counts.toml"));
            continue;
        };
        let change = percent(*now, *before);
        println!("{name:<12} {before:>12} {now:>12} {change:>+7.1}%");
        if change > RISE {
            faults.push(format!("{name} takes {change:.1} % more instructions than committed, {RISE} % are allowed"));
        } else if change < -FALL {
            faults.push(format!("{name} takes {:.1} % fewer instructions: commit that, so that it stays so", -change));
        }
    }
    if faults.is_empty() {
        return Ok(());
    }
    faults.push("where that is meant: `.ci/run count-renew` writes benches/counts/counts.toml anew".to_owned());
    Err(faults.join("\n").into())
}

fn renew(counted: &BTreeMap<String, u64>) -> Result<(), Error> {
    let mut text =
        String::from("# Instructions in user space, as valgrind counts them; `.ci/run count` holds to them.\n");
    for (name, _, _) in COUNTED {
        let number = counted.get(name).ok_or("not everything was counted")?;
        text.push_str(&format!("{name} = {number}\n"));
    }
    std::fs::write(committed(), &text)?;
    print!("{text}");
    Ok(())
}
