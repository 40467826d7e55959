//! `huxiang audit`: what the auditor does with the records, beside a running gateway or without one.

mod export;
mod prove;
mod verify;

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::holder::from_environment;
use super::load::{self, Environment, PLACEHOLDER};
use super::{Done, RootArgs, Stop, text};
use crate::audit::{self, AuditRecord, AuditStore, Kind, Signer, SubjectKey};
use crate::base::fault::Faults;
use crate::identify::{Declared, Identity, Verifier};
use crate::model::config::admin::Part;
use crate::model::config::{AuditConfig, GatewayConfig};

#[derive(Debug, Args)]
pub struct AuditArgs {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Check every record's hash and place, every segment and every signed checkpoint; name the first that is wrong
    Verify(verify::VerifyArgs),
    /// Print records, as JSON lines or CSV; that is recorded too
    Export(export::ExportArgs),
    /// Say whether a saved answer is the one that a record tells of
    Prove(prove::ProveArgs),
    /// Make the key that signs checkpoints; its public key goes beside it, as FILE.pub
    Keygen {
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// Who asks: only the auditor may.
#[derive(Debug, Args)]
pub struct AuditorArgs {
    #[command(flatten)]
    root: RootArgs,
    /// The auditor's token; better in the variable HUXIANG_TOKEN, where nobody sees it
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
}

pub fn run(args: &AuditArgs) -> Done {
    match &args.command {
        AuditCommand::Verify(args) => super::runtime()?.block_on(verify::run(args)),
        AuditCommand::Export(args) => super::runtime()?.block_on(export::run(args)),
        AuditCommand::Prove(args) => super::runtime()?.block_on(prove::run(args)),
        AuditCommand::Keygen { file } => keygen(file),
    }
}

/// An auditor whose token was checked, and what the configuration says of the records.
struct Auditor {
    identity: Identity,
    config: AuditConfig,
}

impl Auditor {
    /// Refuses whoever is not the auditor, and whoever is another administrator too. At the machine itself there is no
    /// network to count from.
    async fn check(args: &AuditorArgs) -> Result<Self, Stop> {
        let config = config(&args.root)?;
        let token = match &args.token {
            Some(token) => Some(token.clone()),
            None => from_environment()?,
        };
        let token = token.ok_or_else(|| {
            Stop::refused("error: give the auditor's token: `--token TOKEN`, or the variable HUXIANG_TOKEN")
        })?;
        let verifier = Verifier::load(&config).map_err(|error| Stop::failed(format!("error: {error}")))?;
        for fault in verifier.refresh().await {
            text::note(&format!("warning: an issuer's keys cannot be fetched: {fault}"));
        }
        let header = format!("Bearer {}", token.trim());
        let principal = verifier
            .authenticate(Some(header.as_bytes()), None)
            .await
            .map_err(|error| Stop::refused(format!("error: {error}")))?;
        let roles = principal.as_ref().map(|principal| principal.roles.as_slice()).unwrap_or_default();
        let Some(admin) = &config.admin else {
            return Err(Stop::refused(
                "error: nobody is the auditor: name its roles in config/gateway.yaml, `admin: {auditor: […]}`",
            ));
        };
        let mut parts = admin.parts(roles.iter().map(String::as_str));
        parts.retain(|part| part.is_separate());
        if !parts.contains(&Part::Auditor) {
            return Err(Stop::refused("error: this is for the auditor; the token has no role of that part"));
        }
        if parts.len() > 1 {
            return Err(Stop::refused(
                "error: the token has roles of two administrators' parts, and so has neither; get one with one",
            ));
        }
        let identity = Identity::new(principal, IpAddr::V4(Ipv4Addr::LOCALHOST), Vec::new(), Declared::default());
        Ok(Self { identity, config: config.audit })
    }

    /// The key of the digests; a placeholder would make digests that nobody finds anything by.
    fn key(&self) -> Result<SubjectKey, Stop> {
        if &*self.config.key == PLACEHOLDER.as_bytes() {
            return Err(Stop::failed("error: the audit key is not set; set the variable that `audit.key` names"));
        }
        Ok(SubjectKey::new(self.config.key.clone()))
    }

    /// Leaves a record of what the auditor does, before anything is shown.
    async fn record(&self, kind: Kind, operation: &str, details: &[(&str, serde_json::Value)]) -> Result<(), Stop> {
        // Checkpoints are the gateway's to sign.
        let config = AuditConfig { checkpoints: None, ..self.config.clone() };
        let failed = |error: audit::AuditError| Stop::failed(format!("error: {error}; so nothing is shown"));
        let store = AuditStore::open(&config).await.map_err(failed)?;
        let mut record = AuditRecord::event(kind, &format!("cli-{}", request_id()), &self.identity, operation);
        for (name, value) in details {
            record = record.with(name, value.clone());
        }
        store.append(record).await.map(drop).map_err(failed)
    }
}

/// `gateway.yaml` alone; variables that are not set have placeholders.
fn config(root: &RootArgs) -> Result<GatewayConfig, Stop> {
    let folders = load::folders(root);
    let environment = Environment::with_placeholders(&folders);
    let mut faults = Faults::default();
    let base = folders.config.parent().unwrap_or(Path::new("."));
    let file = folders.config.join("gateway.yaml");
    GatewayConfig::load(&file, base, &|name| environment.get(name), &mut faults).ok_or_else(|| load::refused(&faults))
}

fn request_id() -> String {
    let mut bytes = [0_u8; 8];
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn keygen(file: &Path) -> Done {
    let failed = |path: &Path, error: std::io::Error| Stop::failed(format!("error: {}: {error}", path.display()));
    let key = audit::new_key().map_err(|error| Stop::failed(format!("error: {error}")))?;
    let public =
        Signer::from_pem(key.as_bytes()).map_err(|error| Stop::failed(format!("error: {error}")))?.public_key();
    let mut beside = file.as_os_str().to_owned();
    beside.push(".pub");
    let beside = PathBuf::from(beside);
    write_new(&beside, public.to_pem().as_bytes()).map_err(|error| failed(&beside, error))?;
    write_new(file, key.as_bytes()).map_err(|error| failed(file, error))?;
    text::note(&format!(
        "{}: the private key, for `audit.checkpoints.key`; {}: the public key, for the auditor (key {})",
        file.display(),
        beside.display(),
        public.id
    ));
    Ok(0)
}

/// A file that is not there yet, for its owner alone.
fn write_new(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
