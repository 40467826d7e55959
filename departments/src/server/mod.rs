//! Runs the departments: each its own listener, latency, request log and faults.

mod fault;
mod file;
mod front;
mod listen;
mod log;
mod rate;
mod tls;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;

pub use fault::Fault;
use file::Directory;
use front::Front;
#[allow(unused_imports, reason = "departments that take GBK read with it")]
pub(crate) use front::text as text_of;
use listen::Listening;
use log::Log;
pub use log::Logged;
use rate::Rate;

use crate::registry::{BANKS, DEPARTMENTS};
use crate::world::{Date, Roll, World};

#[derive(Debug, Clone)]
pub struct Options {
    pub seed: u64,
    pub households_per_village: u32,
    /// `false`: departments answer at once, for tests.
    pub latency: bool,
    /// `false`: departments take any number of calls a second, for tests.
    pub rates: bool,
    pub bind: IpAddr,
    /// Villages (12 digits), or larger divisions by the beginning of their codes, that the housing department's SQL file holds.
    pub villages: Vec<String>,
    /// `false`: that file holds no photos, which are most of it where it is of many.
    pub photos: bool,
    /// `false`: what was asked is counted and not kept, so that memory does not grow with it; [`Running::log`] is empty then.
    pub keep_requests: bool,
    /// `true`: what each department answers is kept, see [`Running::answers`].
    pub keep_answers: bool,
    /// The day the world is looked at, for tests of what changes from day to day; none: the day it is.
    pub today: Option<Date>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 1,
            households_per_village: 21,
            latency: true,
            rates: true,
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            villages: ["331122101347", "331122101348", "331122101349"].map(str::to_owned).to_vec(),
            photos: true,
            keep_requests: true,
            keep_answers: false,
            today: None,
        }
    }
}

/// All departments; they stop when this is dropped.
pub struct Running {
    world: World,
    servers: BTreeMap<String, Server>,
    log: Log,
    variables: BTreeMap<String, String>,
    housing: PathBuf,
    _directory: Directory,
}

/// How a department bears its callers.
struct Habits {
    latency_ms: (u64, u64),
    mutual_tls: bool,
    per_second_max: Option<usize>,
}

struct Server {
    listening: Listening,
    fault: Arc<Mutex<Fault>>,
}

/// What a department knows the gateway by (app key, client id, key id); variables `<ID>_APP_KEY`,
/// `<ID>_CLIENT_ID`, `<ID>_KEY_ID` and `<ID>_USER` hold it.
pub fn app_key(id: &str) -> String {
    format!("gateway-{id}")
}

/// The secret that goes with [`app_key`]; variables `<ID>_SECRET`, `<ID>_CLIENT_SECRET`, `<ID>_API_KEY` and
/// `<ID>_PASSWORD` hold it. Made up from the id: the demo guards made-up people.
pub fn secret(id: &str) -> String {
    let mut roll = Roll::new(0, id, "secret");
    format!("demo{:016x}{:016x}", roll.next_u64(), roll.next_u64())
}

/// Starts all departments and the banks, each on a free port.
pub async fn start(options: Options) -> io::Result<Running> {
    let today = options.today.unwrap_or_else(Date::today);
    let world = World::on(today, options.seed, options.households_per_village);
    let directory = Directory::make()?;
    let housing = directory.path().join("housing.sqlite");
    file::write_database(&housing, crate::housing::housing_sql(&world, &options.villages, options.photos)).await?;
    let mut running = Running {
        servers: BTreeMap::new(),
        log: Log::default(),
        variables: BTreeMap::from([("HOUSING_URL".to_owned(), format!("sqlite:{}?mode=ro", housing.display()))]),
        housing,
        _directory: directory,
        world: world.clone(),
    };
    for department in DEPARTMENTS {
        let habits = Habits {
            latency_ms: department.latency_ms,
            mutual_tls: department.mutual_tls,
            per_second_max: department.per_second_max,
        };
        running.add((department.id, department.id), (department.router)(world.clone()), habits, &options).await?;
    }
    for instance in 1..=BANKS {
        let (source, name) = (format!("banks/{instance:02}"), format!("bank-{instance:02}"));
        let habits = Habits { latency_ms: crate::banks::latency_ms(instance), mutual_tls: false, per_second_max: None };
        running.add((&source, &name), crate::banks::router(world.clone(), instance), habits, &options).await?;
    }
    Ok(running)
}

impl Running {
    /// Starts one server; its variables begin with `name`.
    async fn add(
        &mut self,
        (source, name): (&str, &str),
        router: Router,
        habits: Habits,
        options: &Options,
    ) -> io::Result<()> {
        let prefix = name.to_uppercase().replace('-', "_");
        let mutual_tls = habits.mutual_tls;
        let fault = Arc::new(Mutex::new(Fault::None));
        let front = Front {
            source: Arc::from(source),
            log: self.log.clone(),
            fault: Arc::clone(&fault),
            latency_ms: options.latency.then_some(habits.latency_ms),
            rate: habits.per_second_max.filter(|_| options.rates).map(|max| Arc::new(Rate::per_second(max))),
            keep_requests: options.keep_requests,
            keep_answers: options.keep_answers,
        };
        let certificates = if mutual_tls { Some(tls::make(options.bind)?) } else { None };
        let acceptor = certificates.as_ref().map(|made| made.acceptor.clone());
        let listening = listen::listen(SocketAddr::new(options.bind, 0), front.before(router), acceptor).await?;
        let scheme = if mutual_tls { "https" } else { "http" };
        let mut set = |suffix: &str, value: String| self.variables.insert(format!("{prefix}_{suffix}"), value);
        set("URL", format!("{scheme}://{}", listening.address));
        for suffix in ["APP_KEY", "CLIENT_ID", "KEY_ID", "USER"] {
            set(suffix, app_key(name));
        }
        for suffix in ["SECRET", "CLIENT_SECRET", "API_KEY", "KEY", "PASSWORD"] {
            set(suffix, secret(name));
        }
        if let Some(made) = certificates {
            let files = &self._directory;
            set("CA", files.write(&format!("{name}-ca.pem"), &made.ca)?);
            set("CLIENT_CERT", files.write(&format!("{name}-client.pem"), &made.client_cert)?);
            set("CLIENT_KEY", files.write(&format!("{name}-client.key"), &made.client_key)?);
        }
        self.servers.insert(source.to_owned(), Server { listening, fault });
        Ok(())
    }

    pub fn world(&self) -> &World {
        &self.world
    }

    /// What the bindings' `${NAME}` stand for.
    pub fn variables(&self) -> BTreeMap<String, String> {
        self.variables.clone()
    }

    /// Sources that run: department ids, `banks/01` to `banks/73`, and `housing`.
    pub fn sources(&self) -> Vec<String> {
        self.servers.keys().cloned().chain(["housing".to_owned()]).collect()
    }

    /// Requests since the start or the last [`Running::clear_logs`]; banks are `banks/07`. Statements of the
    /// SQL source cannot be seen at its file: `housing` is always empty.
    pub fn log(&self, source: &str) -> Vec<Logged> {
        self.log.of(source)
    }

    /// The bodies a source answered with since the start, in order, with [`Options::keep_answers`]. GBK is decoded.
    pub fn answers(&self, source: &str) -> Vec<String> {
        self.log.answers_of(source).iter().map(|body| front::text(body)).collect()
    }

    /// The file of the housing department's SQL view.
    pub fn housing_file(&self) -> &std::path::Path {
        &self.housing
    }

    /// Number of requests a source, for the sources that got any.
    pub fn calls(&self) -> BTreeMap<String, u64> {
        self.log.calls()
    }

    pub fn clear_logs(&self) {
        self.log.clear();
    }

    /// The source's listener is closed and its connections are cut; `banks` means all 73. Blocks until it is
    /// so, which takes a multi-thread runtime.
    pub fn stop(&self, source: &str) {
        self.switch(source, false);
    }

    /// The source is there again on its port.
    pub fn resume(&self, source: &str) {
        self.switch(source, true);
    }

    fn switch(&self, source: &str, up: bool) {
        if source == "housing" {
            let away = self.housing.with_extension("away");
            let (from, to) = if up { (&away, &self.housing) } else { (&self.housing, &away) };
            if let Err(error) = std::fs::rename(from, to) {
                tracing::warn!(%error, "the housing file stays where it is");
            }
            return;
        }
        for server in self.matching(source) {
            server.listening.set(up);
        }
    }

    /// Makes an HTTP source ill, or well again with [`Fault::None`]; `banks` means all 73.
    pub fn set_fault(&self, source: &str, fault: Fault) {
        for server in self.matching(source) {
            *server.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
        }
    }

    fn matching(&self, source: &str) -> impl Iterator<Item = &Server> {
        let prefix = format!("{source}/");
        let found: Vec<&Server> = self
            .servers
            .iter()
            .filter(|(id, _)| *id == source || id.starts_with(&prefix))
            .map(|(_, server)| server)
            .collect();
        if found.is_empty() {
            tracing::warn!(source, "no such source runs here");
        }
        found.into_iter()
    }
}

#[cfg(test)]
mod tests;
