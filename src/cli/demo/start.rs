//! Departments, keys, an audit store in a temporary folder, and the gateway before them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs::default_provider;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::Progress;
use super::ask::Client;
use super::query;
use super::roles::{self, DemoRole};
use crate::answer::Gateway;
use crate::cli::serve::Ready;
use crate::cli::{Stop, load};
use crate::model::contract::Contract;
use crate::model::snapshot::{Folders, Snapshot, Variables};

/// How long the tokens that are printed are valid.
const TOKENS_VALID: Duration = Duration::from_secs(12 * 3600);

/// A running demo.
pub struct Started {
    departments: departments::Running,
    gateway: Gateway,
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
    _folder: Folder,
}

impl Started {
    pub async fn new(port: u16, households_per_village: u32, progress: &Progress) -> Result<Self, Stop> {
        let options = departments::Options { households_per_village, ..departments::Options::default() };
        let what = format!(
            "{} departments and {} banks, each a server of its own",
            departments::registry::DEPARTMENTS.len() + 1,
            departments::registry::BANKS
        );
        let departments = progress
            .show(&what, async {
                departments::start(options)
                    .await
                    .map_err(|error| Stop::failed(format!("error: the departments cannot be started: {error}")))
            })
            .await?;
        let folder = Folder::new()?;
        let variables = variables(&departments, &folder, port)?;
        let (snapshot, beginning) = progress
            .show("contract, bindings, rules and roles", async {
                load::load_to_serve(&Folders::under(&root()), &|name| variable(&variables, name))
                    .map_err(|faults| load::refused(&faults))
            })
            .await?;
        let variables: Variables = Arc::new(move |name| variable(&variables, name));
        let starting = Ready::new(for_demo(snapshot), beginning, Folders::under(&root()), variables);
        let ready = progress.show("the gateway", starting).await?;
        let (address, gateway) = (ready.address, ready.gateway.clone());
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(ready.serve(async {
            let _ = stopped.await;
        }));
        Ok(Self { departments, gateway, address, stop, serving, _folder: folder })
    }

    pub fn contract(&self) -> &Contract {
        &self.gateway.snapshot().contract
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Asks over HTTP for the whole portrait.
    pub fn client(&self) -> Result<Client, Stop> {
        let contract = self.contract();
        let document = query::portrait(contract)
            .ok_or_else(|| Stop::failed("error: the contract has no household by its number"))?;
        Client::new(self.address, document, contract)
    }

    /// The demo's callers, each with a token.
    pub fn roles(&self) -> Result<Vec<DemoRole>, Stop> {
        let household = self
            .departments
            .world()
            .household(super::HOUSEHOLD)
            .ok_or_else(|| Stop::failed(format!("error: the world has no household {}", super::HOUSEHOLD)))?;
        roles::all(&household, self.gateway.snapshot(), TOKENS_VALID)
    }

    pub fn households(&self, division: &str) -> impl Iterator<Item = String> + use<> {
        self.departments.world().village_household_ids(division)
    }

    /// Lets the requests under way end; then the departments go, and the audit store with its folder.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.serving.await;
    }
}

/// GraphiQL and queries by GET are for trying out: off in the files, on here.
fn for_demo(mut snapshot: Snapshot) -> Snapshot {
    snapshot.config.graphql.get_queries = true;
    snapshot.config.graphql.graphiql = true;
    snapshot
}

/// The repository this was built from; where it is not there any more, the current folder.
fn root() -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR"));
    if built.join("schema").is_dir() { built.to_owned() } else { PathBuf::from(".") }
}

fn variable(variables: &BTreeMap<String, String>, name: &str) -> Option<String> {
    variables.get(name).cloned().or_else(|| std::env::var(name).ok())
}

/// What the files' `${NAME}` stand for: the departments' addresses and secrets, and keys made for this run.
fn variables(departments: &departments::Running, folder: &Folder, port: u16) -> Result<BTreeMap<String, String>, Stop> {
    let failed = |what: &str| Stop::failed(format!("error: {what} cannot be made"));
    let mut variables = departments.variables();
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).map_err(|_| failed("the demo issuer's keys"))?;
    let mut audit_key = [0_u8; 32];
    default_provider().secure_random.fill(&mut audit_key).map_err(|_| failed("the audit key"))?;
    let audit_key: String = audit_key.iter().map(|byte| format!("{byte:02x}")).collect();
    for (name, value) in [
        ("DEMO_ISSUER_PRIVATE_KEY", pair.serialize_pem()),
        ("DEMO_ISSUER_PUBLIC_KEY", pair.public_key_pem()),
        ("AUDIT_KEY", audit_key),
        ("HUXIANG_AUDIT", folder.path.join("audit.sqlite").display().to_string()),
        ("HUXIANG_LISTEN", format!("127.0.0.1:{port}")),
    ] {
        variables.insert(name.to_owned(), value);
    }
    Ok(variables)
}

/// A temporary folder, for this user only, removed at the end.
struct Folder {
    path: PathBuf,
}

impl Folder {
    fn new() -> Result<Self, Stop> {
        let failed = |error: String| Stop::failed(format!("error: no temporary folder can be made: {error}"));
        let mut random = [0_u8; 8];
        default_provider().secure_random.fill(&mut random).map_err(|_| failed("no random bytes".to_owned()))?;
        let name = format!("huxiang-demo-{:016x}", u64::from_le_bytes(random));
        let path = std::env::temp_dir().join(name);
        let mut builder = std::fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&path).map_err(|error| failed(error.to_string()))?;
        Ok(Self { path })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}
