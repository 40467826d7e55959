//! What is measured: a process of its own on a core of its own, and what it has used so far.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::client::{Error, listens};

pub struct Contender {
    pub name: String,
    pub port: u16,
    pub process: Child,
    pub runs: Vec<Sample>,
    pub peak: Option<f64>,
}

impl Drop for Contender {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// One run. CPU in microseconds, and instructions, of one request.
pub struct Sample {
    pub cpu: f64,
    pub instructions: Option<f64>,
    pub per_second: f64,
    pub p50: f64,
    pub p99: f64,
    pub calls: f64,
}

impl Contender {
    pub fn new(name: impl Into<String>, port: u16, process: Child) -> Self {
        Self { name: name.into(), port, process, runs: Vec::new(), peak: None }
    }

    /// Until it listens.
    pub async fn ready(&mut self) -> Result<(), Error> {
        let until = Instant::now() + Duration::from_secs(20);
        while Instant::now() < until {
            if let Some(status) = self.process.try_wait()? {
                return Err(format!("ended while starting: {status}").into());
            }
            if listens(self.port).await {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        Err(format!("nothing listens at {} after 20 s", self.port).into())
    }
}

/// A part of this program, on a core.
pub fn own(core: &str, arguments: &[&str]) -> Result<Child, Error> {
    let this = std::env::current_exe()?;
    Ok(Command::new("taskset").args(["-c", core]).arg(this).args(arguments).stdout(Stdio::null()).spawn()?)
}

/// Tailcall, with identical calls that are under way shared (`dedupe`) or not. Its batch setting switches a loader for all
/// callers on for every call, so only `list`, which needs it, has it.
pub fn tailcall(
    core: &str,
    program: &Path,
    folder: &Path,
    port: u16,
    upstream: u16,
    of: Tailcall,
) -> Result<Child, Error> {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("contenders/tailcall.graphql");
    let mut config = std::fs::read_to_string(from)?;
    config = config.replace("@PORT@", &port.to_string()).replace("@UPSTREAM@", &format!("127.0.0.1:{upstream}"));
    config = config.replace("@DEDUPE@", if of.sharing { ", dedupe: true" } else { "" });
    config = config.replace("@BATCH@", if of.batch { ", batch: {delay: 1, maxSize: 1000}" } else { "" });
    if !of.batch {
        config = config.lines().filter(|line| !line.contains("batchKey:")).map(|line| format!("{line}\n")).collect();
    }
    let path = folder.join(format!("tailcall-{port}.graphql"));
    std::fs::write(&path, config)?;
    Ok(Command::new("taskset")
        .args(["-c", core])
        .arg(program)
        .arg("start")
        .arg(path)
        .env("TC_TRACKER", "false")
        .env("TAILCALL_TRACKER", "false")
        .env("TAILCALL_LOG_LEVEL", "error")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?)
}

#[derive(Clone, Copy)]
pub struct Tailcall {
    pub sharing: bool,
    pub batch: bool,
}

/// User and system time of a process so far, in seconds.
pub fn cpu_seconds(pid: u32) -> Result<f64, Error> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).unwrap_or_default();
    // Linux counts these in hundredths of a second on every architecture it runs on here (USER_HZ).
    Ok((ticks(11) + ticks(12)) / 100.0)
}

pub fn peak_megabytes(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / 1024.0)
}

/// `perf stat` over a process, where there is one that may.
pub struct Instructions(Option<Child>);

impl Instructions {
    pub fn begin(pid: u32) -> Self {
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

    pub fn end(self) -> Option<f64> {
        let child = self.0?;
        // It prints what it counted when it is interrupted.
        Command::new("kill").args(["-INT", &child.id().to_string()]).status().ok()?;
        let text = String::from_utf8(child.wait_with_output().ok()?.stderr).ok()?;
        text.lines().find(|line| line.contains("instructions"))?.split(',').next()?.parse().ok()
    }
}
