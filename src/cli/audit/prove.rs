//! `huxiang audit prove`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::super::{Done, Stop, text};
use super::{Auditor, AuditorArgs};
use crate::audit::{Kind, Reader};

#[derive(Debug, Args)]
pub struct ProveArgs {
    #[command(flatten)]
    auditor: AuditorArgs,
    /// The record's number
    #[arg(long, value_name = "SEQ")]
    record: i64,
    /// The answer, byte for byte as it was received
    #[arg(long, value_name = "FILE")]
    answer: PathBuf,
}

pub async fn run(args: &ProveArgs) -> Done {
    let auditor = Auditor::check(&args.auditor).await?;
    let key = auditor.key()?;
    let answer = std::fs::read(&args.answer)
        .map_err(|error| Stop::failed(format!("error: {}: {error}", args.answer.display())))?;
    let entry = Reader::new(&auditor.config.store).entry(args.record).await;
    let entry = entry.map_err(|error| Stop::failed(format!("error: {error}")))?;
    let entry = entry.ok_or_else(|| Stop::refused(format!("error: there is no record {}", args.record)))?;
    let is_it = entry.record.answer.is_some_and(|digest| digest == key.answer(&answer));
    let details = [("record", json!(args.record)), ("is_the_answer", json!(is_it))];
    auditor.record(Kind::Admin, "audit prove", &details).await?;
    let said = if is_it { "is" } else { "is NOT" };
    text::out(&format!("this {said} the answer that record {} of {} tells of\n", args.record, entry.record.time));
    Ok(u8::from(!is_it))
}
