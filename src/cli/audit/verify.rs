//! `huxiang audit verify`.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use clap::Args;

use super::super::{Done, Stop, text};
use super::{Auditor, AuditorArgs};
use crate::audit::{self, Kept, Kind, PublicKey, Report, Signer};

#[derive(Debug, Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    auditor: AuditorArgs,
    /// A copy of the store (its first segment's file; the others lie beside it): needs neither configuration nor token
    #[arg(long, value_name = "FILE")]
    store: Option<PathBuf>,
    /// The folder that checkpoints were kept in; otherwise the configured one
    #[arg(long, value_name = "DIR")]
    checkpoints: Option<PathBuf>,
    /// Their public key (PEM); otherwise that of the configured key. May be given more than once
    #[arg(long, value_name = "FILE")]
    public_key: Vec<PathBuf>,
}

/// Where the records and the checkpoints are, and whose signatures count.
struct Subject {
    store: PathBuf,
    checkpoints: Option<PathBuf>,
    keys: Vec<PublicKey>,
}

pub async fn run(args: &VerifyArgs) -> Done {
    let subject = subject(args).await?;
    let kept = match &subject.checkpoints {
        Some(folder) => Some(
            audit::read_checkpoints(folder, &subject.keys)
                .map_err(|error| Stop::failed(format!("error: {}: {error}", folder.display())))?,
        ),
        None => None,
    };
    let on_terminal = std::io::stderr().is_terminal();
    let mut progress = |records: u64| {
        if on_terminal {
            text::note(&format!("{records} records"));
        }
    };
    let report = audit::verify(&subject.store, kept.as_ref(), &mut progress)
        .await
        .map_err(|error| Stop::failed(format!("error: {error}")))?;
    told(&report, kept.as_ref());
    Ok(u8::from(!report.faults.is_empty()))
}

async fn subject(args: &VerifyArgs) -> Result<Subject, Stop> {
    let mut keys = args.public_key.iter().map(|file| public_key(file)).collect::<Result<Vec<_>, _>>()?;
    let (store, checkpoints) = match &args.store {
        Some(store) => (store.clone(), args.checkpoints.clone()),
        None => {
            let auditor = Auditor::check(&args.auditor).await?;
            auditor.record(Kind::Admin, "audit verify", &[]).await?;
            let configured = auditor.config.checkpoints.as_ref();
            let folder = args.checkpoints.clone().or_else(|| configured?.directory.clone());
            if let (true, Some(configured)) = (keys.is_empty(), configured) {
                let wrong = |error: String| Stop::failed(format!("error: {error}; give `--public-key FILE`"));
                let pem = configured.key.read().map_err(|error| wrong(error.to_string()))?;
                keys.push(Signer::from_pem(&pem).map_err(wrong)?.public_key());
            }
            (auditor.config.store, folder)
        }
    };
    if checkpoints.is_some() && keys.is_empty() {
        return Err(Stop::failed("error: checkpoints without a key prove nothing; give `--public-key FILE`"));
    }
    Ok(Subject { store, checkpoints, keys })
}

fn public_key(file: &Path) -> Result<PublicKey, Stop> {
    let failed = |error: String| Stop::failed(format!("error: {}: {error}", file.display()));
    let pem = std::fs::read(file).map_err(|error| failed(error.to_string()))?;
    PublicKey::from_pem(&pem).map_err(failed)
}

fn told(report: &Report, kept: Option<&Kept>) {
    for fault in &report.faults {
        text::out(&format!("FAULT  {fault}\n"));
    }
    let last = report.last.as_ref();
    text::out(&format!(
        "{} record{} in {} segment{}{}\n",
        report.records,
        if report.records == 1 { "" } else { "s" },
        report.segments,
        if report.segments == 1 { "" } else { "s" },
        last.map_or_else(String::new, |last| format!(
            ", {} to {}; the last one's hash is {}",
            report.first_seq.unwrap_or(0),
            last.seq,
            last.hash
        ))
    ));
    let to = report.signed_to;
    match (kept, to) {
        (None, _) => text::out(
            "without checkpoints: a tail that was cut off, or a chain written anew with right hashes, is not found\n",
        ),
        (Some(_), None) => text::out("no checkpoint was there to hold them against\n"),
        (Some(_), Some(to)) => text::out(&format!(
            "{} checkpoints fit; what was written after record {to} and cut off would not be found\n",
            report.checkpoints
        )),
    }
    for place in kept.map(|kept| kept.unreadable.as_slice()).unwrap_or_default() {
        text::out(&format!("note: {place} is no checkpoint (a crash can leave half a line)\n"));
    }
}
