//! `huxiang scan`: the program itself, at gateways behind real listeners.
#![cfg(feature = "demo")]

mod export;
mod other;
mod shown;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use departments::Options;
use departments::expected::{at, portrait};
use huxiang::identify::mint;
use huxiang::model::snapshot::Snapshot;
use serde_json::{Map, Value, json};

use crate::support::served::Served;
use crate::support::{edit_limits, world_edited};
use crate::temporary::Temporary;

pub const TOWN: &str = "331122101";
pub const VILLAGE: &str = "331122101348";
pub const DIBAO: &str = r#"{"assistance": {"dibaoStatus": {"eq": "RECEIVING"}}}"#;
pub const DIBAO_AND_VEHICLE: &str =
    r#"{"assistance": {"dibaoStatus": {"eq": "RECEIVING"}}, "assets": {"vehicles": {"count": {"gt": 0}}}}"#;

/// A gateway that answers, and a token for it.
pub struct Asked {
    pub served: Served,
    pub folder: Temporary,
}

/// Households of a village: few enough that none is one about which departments disagree.
const HOUSEHOLDS: u32 = 7;

impl Asked {
    pub async fn start() -> Self {
        Self::start_edited(|_| {}).await
    }

    pub async fn start_edited(edit: impl FnOnce(&mut Snapshot)) -> Self {
        let options =
            Options { latency: false, rates: false, households_per_village: HOUSEHOLDS, ..Options::default() };
        let world = world_edited(options, |snapshot| {
            // Whatever else the machine does, no department is silent but those that a test makes so.
            edit_limits(snapshot, |_, limits| {
                limits.per_second_max = None;
                limits.timeout_ms = 30_000;
                (limits.first_byte_ms, limits.slow_ms) = (None, None);
            });
            snapshot.config.limits.request_timeout_ms = 60_000;
            edit(snapshot);
        });
        let served = Served::start(world.await).await;
        let folder = Temporary::new("scan");
        let asked = Self { served, folder };
        asked.write("token", &asked.token("supervisor", &json!({ "divisions": ["331122"] })));
        asked
    }

    pub fn token(&self, role: &str, claims: &Value) -> String {
        let issuer = &self.served.world.gateway.snapshot().config.issuers[0];
        let claims: Map<String, Value> = claims.as_object().cloned().unwrap();
        mint(issuer, &format!("{role}-1"), &[role.to_owned()], &claims, Duration::from_secs(600)).unwrap()
    }

    pub fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.join(name), text).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub fn is_there(&self, name: &str) -> bool {
        Path::new(&self.path(name)).exists()
    }

    pub fn command(&self, further: &[&str]) -> Command {
        self.command_for(&["--purpose", "supervision", "--case", "JD-2026-0001"], further)
    }

    pub fn command_for(&self, purpose: &[&str], further: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_huxiang"));
        let (url, token) = (format!("http://{}", self.served.address), self.path("token"));
        command.args(["scan", "--url", &url, "--token-file", &token]);
        command.args(purpose).args(further);
        command.env_remove("HUXIANG_TOKEN").env_remove("HUXIANG_GATEWAY");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs it to its end, while the gateway goes on answering.
    pub async fn run(&self, further: &[&str]) -> Done {
        finished(self.command(further)).await
    }

    /// Households of a division of which something holds, by the generator.
    pub fn expected(&self, division: &str, is_so: impl Fn(&Value) -> bool) -> Vec<String> {
        let of = self.served.world.departments.world();
        let all = of.village_household_ids(division);
        all.filter(|id| is_so(&portrait(of, id).expect("a household"))).collect()
    }
}

/// What it printed, and how it ended.
pub struct Done {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Done {
    pub fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }

    #[track_caller]
    pub fn ends_with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.out, self.err);
        self
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}\n{}", self.out, self.err))
    }
}

pub async fn finished(mut command: Command) -> Done {
    Done::of(tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap())
}

pub fn receives_dibao(portrait: &Value) -> bool {
    at(portrait, "assistance.dibaoStatus") == "RECEIVING"
}

pub fn has_a_vehicle(portrait: &Value) -> bool {
    at(portrait, "assets.vehicles").as_array().is_some_and(|vehicles| !vehicles.is_empty())
}

/// The lines of CSV, as cells: what a reader of RFC 4180 makes of it, written here anew.
pub fn cells(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                cell.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut cell)),
            '\n' if !quoted => {
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            c => cell.push(c),
        }
    }
    assert!(!quoted && row.is_empty() && cell.is_empty(), "it ends with a line");
    rows
}

/// Calls of every department since the logs were cleared.
pub fn calls(asked: &Asked) -> BTreeMap<String, usize> {
    let departments = &asked.served.world.departments;
    let sources = departments.calls().into_keys().map(|source| source.to_string());
    sources.map(|source| (source.clone(), departments.log(&source).len())).filter(|(_, calls)| *calls > 0).collect()
}
