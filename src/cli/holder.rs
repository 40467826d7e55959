//! Who holds a part (operator, security officer, auditor) at the command line: shown by a token, as at the admin API.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use clap::Args;

use super::{RootArgs, Stop, load};
use crate::base::fault::Faults;
use crate::engine::authorize::Asking;
use crate::identify::{Identity, Verifier};
use crate::model::config::GatewayConfig;
use crate::model::config::admin::Part;
use crate::model::snapshot::Snapshot;

/// Bytes of a file with a token.
const TOKEN_FILE_BYTES_MAX: u64 = 64 << 10;

/// The token of whoever does it. Arguments stand in lists of processes, so it comes from elsewhere.
#[derive(Debug, Args)]
pub struct HolderArgs {
    /// A file that holds the token (`-`: standard input); without it, the variable HUXIANG_TOKEN
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// What the commands of a part stand on.
pub struct Held {
    pub config: GatewayConfig,
    pub verifier: Verifier,
    pub identity: Identity,
}

/// Checks the token as the gateway does, from the address 127.0.0.1, and that one of its roles has the part.
pub async fn hold(root: &RootArgs, args: &HolderArgs, part: Part) -> Result<Held, Stop> {
    let config = config(root)?;
    // The departments' variables need not be set here.
    let snapshot = load::to_look_at(root)?;
    let verifier = Verifier::open(&config).await.map_err(|error| Stop::failed(format!("error: {error}")))?;
    for fault in verifier.refresh().await {
        super::text::note(&format!("warning: {fault}"));
    }
    let header = format!("Bearer {}", token(args)?);
    let checked = verifier.authenticate(Some(header.as_bytes()), None).await;
    let principal = checked.map_err(|error| Stop::refused(format!("error: {error}")))?;
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let identity = Identity { principal, networks: config.networks.of(address), ..Identity::at(address) };
    let parts = parts(&snapshot, &identity);
    if !parts.contains(&part) {
        let message = "error: the token has no role that may do this from here\n  = hint: roles get their parts under \
                       `admin` in config/gateway.yaml, and a token may hold only one of operator, security officer and \
                       auditor; the command counts as coming from 127.0.0.1";
        return Err(Stop::refused(message));
    }
    Ok(Held { config, verifier, identity })
}

/// The gateway's own configuration, every variable of it set.
fn config(root: &RootArgs) -> Result<GatewayConfig, Stop> {
    let folders = load::folders(root);
    let base = folders.config.parent().unwrap_or(std::path::Path::new("."));
    let mut faults = Faults::default();
    let variables = |name: &str| std::env::var(name).ok();
    GatewayConfig::load(&folders.config.join("gateway.yaml"), base, &variables, &mut faults)
        .ok_or_else(|| load::refused(&faults))
}

/// As at the admin API: roles that count from here, and of the three separate parts none to who holds two.
fn parts(snapshot: &Snapshot, identity: &Identity) -> Vec<Part> {
    let Some(admin) = &snapshot.config.admin else { return Vec::new() };
    let asking = Asking::new(identity, jiff::Timestamp::now());
    let all = admin.parts(asking.roles.iter().map(String::as_str));
    let counting: Vec<&str> = snapshot.access.counting(asking.presented()).map(|role| &*role.name).collect();
    let mut parts: Vec<Part> = admin.parts(counting.into_iter()).into_iter().collect();
    if all.iter().filter(|part| part.is_separate()).count() > 1 {
        parts.retain(|part| !part.is_separate());
    }
    parts
}

/// The token in HUXIANG_TOKEN; none, where that is not set. What fills it may have failed unseen: an empty one is told.
pub fn from_environment() -> Result<Option<String>, Stop> {
    let Ok(token) = std::env::var("HUXIANG_TOKEN") else { return Ok(None) };
    if token.trim().is_empty() {
        let hint = "look at what fills it: `export HUXIANG_TOKEN=$(…)` says nothing where the command inside fails";
        return Err(Stop::failed(format!("error: HUXIANG_TOKEN is set, and empty\n  = hint: {hint}")));
    }
    Ok(Some(token))
}

impl HolderArgs {
    /// The token, as it was given.
    pub fn token(&self) -> Result<String, Stop> {
        token(self)
    }
}

fn token(args: &HolderArgs) -> Result<String, Stop> {
    use std::io::Read as _;
    let failed = |error: std::io::Error| Stop::failed(format!("error: the token cannot be read: {error}"));
    let mut text = String::new();
    match &args.token_file {
        Some(path) if path.as_os_str() == "-" => {
            std::io::stdin().take(TOKEN_FILE_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
        }
        Some(path) => {
            let file = std::fs::File::open(path).map_err(failed)?;
            file.take(TOKEN_FILE_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
        }
        None => {
            text = from_environment()?.ok_or_else(|| {
                Stop::failed("error: no token is given\n  = hint: --token-file FILE, or set HUXIANG_TOKEN")
            })?;
        }
    }
    match (text.trim(), &args.token_file) {
        ("", Some(path)) => {
            Err(Stop::failed(format!("error: {} holds no token\n  = hint: it holds the token alone", path.display())))
        }
        (token, _) => Ok(token.to_owned()),
    }
}
