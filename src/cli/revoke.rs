//! `huxiang token revoke` and `huxiang token revoked`: the security officer's commands.

use clap::Args;
use jiff::Timestamp;

use super::holder::{Held, HolderArgs, hold};
use super::{Done, RootArgs, Stop, runtime, text};
use crate::audit::{self, AuditStore, SubjectKey, timestamp};
use crate::identify::{RevocationOrder, Revoked, check_reason};
use crate::model::config::admin::Part;

#[derive(Debug, Args)]
pub struct RevokeArgs {
    #[command(flatten)]
    root: RootArgs,
    #[command(flatten)]
    holder: HolderArgs,
    /// The issuer of what is revoked, as in config/gateway.yaml
    #[arg(long)]
    issuer: String,
    #[command(flatten)]
    what: What,
    /// With --jti: when the token expires; without it, the longest life of the issuer's tokens is taken
    #[arg(long, value_name = "TIME", requires = "jti")]
    expires: Option<Timestamp>,
    /// With --principal: tokens issued until then (such as 2026-01-31T08:00:00+08:00); without it, until now
    #[arg(long, value_name = "TIME", requires = "principal")]
    before: Option<Timestamp>,
    /// Why; it stands in the audit record and in the list. No personal data
    #[arg(long)]
    reason: String,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct What {
    /// One token, by its `jti`
    #[arg(long, value_name = "ID")]
    jti: Option<String>,
    /// All tokens of a principal, by its id
    #[arg(long, value_name = "ID")]
    principal: Option<String>,
    /// All tokens signed by a key, by its id (`kid`), for good
    #[arg(long, value_name = "KID")]
    key: Option<String>,
}

#[derive(Debug, Args)]
pub struct RevokedArgs {
    #[command(flatten)]
    root: RootArgs,
    #[command(flatten)]
    holder: HolderArgs,
    /// For machines
    #[arg(long)]
    json: bool,
}

pub fn revoke(args: &RevokeArgs) -> Done {
    check_reason(&args.reason).map_err(|error| Stop::failed(format!("error: {error}")))?;
    runtime()?.block_on(async {
        let Held { config, verifier, identity } = hold(&args.root, &args.holder, Part::SecurityOfficer).await?;
        let failed = |error: &dyn std::fmt::Display| Stop::failed(format!("error: {error}"));
        let store = AuditStore::open(&config.audit).await.map_err(|error| failed(&error))?;
        let key = SubjectKey::new(config.audit.key.clone());
        let who = identity.principal.as_ref().ok_or_else(|| Stop::refused("error: the token names nobody"))?;
        let order = RevocationOrder {
            issuer: args.issuer.clone(),
            what: args.what()?,
            by: (who.issuer.clone(), who.id.clone()),
            reason: args.reason.clone(),
        };
        let done = audit::revoke(&verifier, &store, &key, &identity, "command-line", order).await;
        let entry = done.map_err(|error| Stop::refused(format!("error: {error}")))?;
        let until = entry.until.map_or_else(|| "for good".to_owned(), |at| format!("until {}", time(at)));
        text::out(&format!("revoked, {until}; gateways on this list refuse it within a second\n"));
        Ok(0)
    })
}

impl RevokeArgs {
    fn what(&self) -> Result<Revoked, Stop> {
        let seconds = |at: Option<Timestamp>| at.map(|at| u64::try_from(at.as_second()).unwrap_or(0));
        let What { jti, principal, key } = &self.what;
        match (jti, principal, key) {
            (Some(id), None, None) => Ok(Revoked::Token { id: id.clone(), expires: seconds(self.expires) }),
            (None, Some(id), None) => Ok(Revoked::Principal { id: id.clone(), before: seconds(self.before) }),
            (None, None, Some(id)) => Ok(Revoked::Key { id: id.clone() }),
            _ => Err(Stop::failed("error: give one of --jti, --principal and --key")),
        }
    }
}

pub fn list(args: &RevokedArgs) -> Done {
    runtime()?.block_on(async {
        let Held { verifier, .. } = hold(&args.root, &args.holder, Part::SecurityOfficer).await?;
        let failed = |error: &dyn std::fmt::Display| Stop::failed(format!("error: {error}"));
        let list = verifier.revocations().map_err(|error| failed(&error))?;
        let entries = list.list().await.map_err(|error| failed(&error))?;
        if args.json {
            let json = serde_json::to_string_pretty(&entries).map_err(|error| failed(&error))?;
            text::out(&format!("{json}\n"));
            return Ok(0);
        }
        let rows: Vec<Vec<String>> = entries
            .into_iter()
            .map(|entry| {
                let until = entry.until.map_or_else(|| "for good".to_owned(), time);
                let kind = entry.kind.as_str().to_lowercase();
                vec![kind, entry.issuer, entry.value, time(entry.before), until, entry.by_id, entry.reason]
            })
            .collect();
        text::out(&text::table(&["kind", "issuer", "value", "before", "until", "by", "reason"], &rows));
        Ok(0)
    })
}

/// As everywhere, at +08:00.
fn time(seconds: u64) -> String {
    let at = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    at.map(timestamp).unwrap_or_default()
}
