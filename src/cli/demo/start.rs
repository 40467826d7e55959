//! Departments, keys, an audit store in a temporary folder, and the gateway before them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use departments::world::Household;
use rcgen::KeyPair;
use rustls::crypto::aws_lc_rs::default_provider;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::ask::Client;
use super::query;
use super::roles::{self, DemoRole, SOURCES_CLAIM};
use super::{DemoArgs, Progress};
use crate::answer::Gateway;
use crate::cli::serve::Ready;
use crate::cli::{Stop, load};
use crate::model::config::{RegistryConfig, RegistryStore};
use crate::model::snapshot::{Folders, Snapshot, Variables};
use crate::serve::reload::Beginning;

/// Of larger divisions, the housing department's file would be mostly photos.
const COUNTY_DIGITS: usize = 6;

/// A running demo.
pub struct Started {
    departments: departments::Running,
    serving: Serving,
    division: Option<String>,
    _folder: Folder,
}

/// A gateway that answers at its address.
pub struct Serving {
    gateway: Gateway,
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Serving {
    pub async fn start(
        (snapshot, beginning): (Snapshot, Beginning),
        folders: Folders,
        variables: Variables,
    ) -> Result<Self, Stop> {
        let ready = Ready::new(for_demo(snapshot), beginning, folders, variables).await?;
        let (address, gateway) = (ready.address, ready.gateway.clone());
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(ready.serve(async {
            let _ = stopped.await;
        }));
        Ok(Self { gateway, address, stop, task })
    }

    pub fn snapshot(&self) -> &Snapshot {
        self.gateway.snapshot()
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Asks over HTTP for the whole portrait.
    pub fn client(&self) -> Result<Client, Stop> {
        let contract = &self.snapshot().contract;
        let document = query::portrait(contract)
            .ok_or_else(|| Stop::failed("error: the contract has no household by its number"))?;
        Client::new(self.address, document, contract)
    }

    /// Lets the requests under way end.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}

impl Started {
    /// `above`: the public key of a gateway that asks in its callers' names, where there is one.
    pub async fn new(port: u16, args: &DemoArgs, above: Option<&KeyPair>, progress: &Progress) -> Result<Self, Stop> {
        let mut options = departments::Options {
            households_per_village: args.households_per_village,
            // Nobody reads them here, and a scan makes many.
            keep_requests: false,
            ..departments::Options::default()
        };
        if let Some(division) = &args.division {
            options.photos = division.len() >= COUNTY_DIGITS;
            options.villages = vec![division.clone()];
        }
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
        let mut variables = departments.variables();
        variables.extend(made_here(&folder.path, port)?);
        let (mut snapshot, beginning) = progress
            .show("contract, bindings, rules and roles", async {
                load::load_to_serve(&Folders::under(&root()), &|name| variable(&variables, name))
                    .map_err(|faults| load::refused(&faults))
            })
            .await?;
        // Empty as yet: the files alone are what it begins with.
        let store = RegistryStore::File(folder.path.join("registry.sqlite"));
        snapshot.config.registry = Some(RegistryConfig { store, claim: SOURCES_CLAIM.to_owned() });
        if let Some(above) = above {
            super::levels::taking_tokens_of(&mut snapshot.config, above);
        }
        let variables: Variables = Arc::new(move |name| variable(&variables, name));
        let starting = Serving::start((snapshot, beginning), Folders::under(&root()), variables);
        let serving = progress.show("the gateway", starting).await?;
        Ok(Self { departments, serving, division: args.division.clone(), _folder: folder })
    }

    pub fn serving(&self) -> &Serving {
        &self.serving
    }

    /// The household that is shown.
    pub fn household(&self) -> Result<Household, Stop> {
        let household = self.departments.world().household(super::HOUSEHOLD);
        household.ok_or_else(|| Stop::failed(format!("error: the world has no household {}", super::HOUSEHOLD)))
    }

    /// Those who bring a source into service, each with a token.
    pub fn registrars(&self) -> Result<Vec<DemoRole>, Stop> {
        roles::with_tokens(roles::registrars(), self.serving.snapshot())
    }

    /// The demo's callers, each with a token.
    pub fn roles(&self) -> Result<Vec<DemoRole>, Stop> {
        roles::all(&self.household()?, self.division.as_deref(), self.serving.snapshot())
    }

    pub fn households(&self, division: &str) -> impl Iterator<Item = String> + use<> {
        self.departments.world().village_household_ids(division)
    }

    /// Lets the requests under way end; then the departments go, and the audit store with its folder.
    pub async fn stop(self) {
        self.serving.stop().await;
    }
}

/// GraphiQL and queries by GET are for trying out: off in the files, on here.
fn for_demo(mut snapshot: Snapshot) -> Snapshot {
    snapshot.config.graphql.get_queries = true;
    snapshot.config.graphql.graphiql = true;
    snapshot
}

/// The repository this was built from; where it is not there any more, the current folder.
pub fn root() -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR"));
    if built.join("schema").is_dir() { built.to_owned() } else { PathBuf::from(".") }
}

pub fn variable(variables: &BTreeMap<String, String>, name: &str) -> Option<String> {
    variables.get(name).cloned().or_else(|| std::env::var(name).ok())
}

/// Of what the files' `${NAME}` stand for, keys and places made for this run of a gateway.
pub fn made_here(folder: &Path, port: u16) -> Result<Vec<(String, String)>, Stop> {
    let pair = key_pair()?;
    let mut audit_key = [0_u8; 32];
    let failed = |_| Stop::failed("error: the audit key cannot be made");
    default_provider().secure_random.fill(&mut audit_key).map_err(failed)?;
    let audit_key: String = audit_key.iter().map(|byte| format!("{byte:02x}")).collect();
    let made = [
        ("DEMO_ISSUER_PRIVATE_KEY", pair.serialize_pem()),
        ("DEMO_ISSUER_PUBLIC_KEY", pair.public_key_pem()),
        ("AUDIT_KEY", audit_key),
        ("HUXIANG_AUDIT", folder.join("audit.sqlite").display().to_string()),
        ("HUXIANG_LISTEN", format!("127.0.0.1:{port}")),
    ];
    Ok(made.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// A key that tokens are signed with.
pub fn key_pair() -> Result<KeyPair, Stop> {
    KeyPair::generate_for(&rcgen::PKCS_ED25519).map_err(|_| Stop::failed("error: keys cannot be made"))
}

/// A temporary folder, for this user only, removed at the end.
pub struct Folder {
    pub path: PathBuf,
}

impl Folder {
    pub fn new() -> Result<Self, Stop> {
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
