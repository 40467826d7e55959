//! A scan's plan as text: what decides, in which order, and what it is reckoned to take. Snapshots in tests.

use std::fmt::Write as _;

use super::plan::{ScanPlan, Verdict};
use crate::model::snapshot::Snapshot;

/// Prints how a scan decides. It names fields and sources, and no value.
pub fn text(snapshot: &Snapshot, scan: &ScanPlan) -> String {
    let mut out = String::new();
    let name = snapshot.contract.queries.get(scan.query).map_or("", |query| &query.name);
    let binding = snapshot.bindings.queries.get(scan.query).and_then(Option::as_ref);
    let from = match (&scan.among, binding) {
        (Some(keys), _) => format!("{} keys", keys.len()),
        (None, Some(binding)) => format!("the listing of {}", snapshot.bindings.source(binding.source).id),
        (None, None) => "nobody lists them".to_owned(),
    };
    let verdict = match scan.verdict {
        Verdict::Matched => "matched",
        Verdict::Undetermined => "undetermined",
    };
    let divisions = scan.divisions.len();
    let _ = match &scan.stats {
        Some(stats) => {
            let measures: Vec<String> = stats.asked.measures.iter().map(|of| stats.asked.name(*of)).collect();
            let measures = measures.join(", ");
            writeln!(out, "statistic {} over {name}: {from}, in {divisions} divisions; {measures}", stats.name)
        }
        None => {
            writeln!(out, "scan {name}: {from}, in {divisions} divisions; shows up to {} {verdict}", scan.first)
        }
    };
    let rows = scan.stretch(snapshot, usize::MAX, None);
    let _ = writeln!(out, "{rows} entities at a time:");
    for (at, stage) in scan.stages.iter().enumerate() {
        let sources: Vec<&str> = stage.sources.iter().map(|source| &*snapshot.bindings.source(*source).id).collect();
        let sources = if sources.is_empty() { "what is known already".to_owned() } else { sources.join(", ") };
        let calls = stage.calls(snapshot, &scan.deciding, rows);
        let passes = stage.passes / 10;
        let _ = writeln!(
            out,
            "  {}. {sources}: {}; {calls} calls, {passes} of 100 guessed to pass",
            at + 1,
            stage.fields.join(", ")
        );
    }
    if scan.stats.is_none() {
        let _ = writeln!(out, "then, of what is found:\n");
    }
    out
}
