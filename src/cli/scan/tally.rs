//! What a scan came to over all its pages: counts, what is missing, what was asked of whom.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::page::{Missing, Page};
use crate::cli::text;

/// Requests that are named one by one; of further ones, how many.
const REQUESTS_MAX: usize = 500;

/// Kept from run to run beside an export.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Tally {
    pub candidates: u64,
    /// How many there are in all, as the newest page tells.
    #[serde(default)]
    pub total: Option<u64>,
    pub evaluated: u64,
    pub matched: u64,
    pub undetermined: u64,
    /// A statistic keeps back how many match, and with it how many are undetermined where some are.
    #[serde(default)]
    pub keeps_back: bool,
    /// More match than are shown, of what was sorted.
    #[serde(default)]
    pub is_cut: bool,
    pub calls: u64,
    pub rows: u64,
    pub elapsed_ms: u64,
    /// How the newest page ended.
    pub ended: Option<String>,
    pub missing: Vec<Reason>,
    /// Why the newest page, or statistic, could not go on: how many lie behind is not known.
    pub broken: Vec<Reason>,
    /// Of rows that are shown, what of them is not: reason and how many rows.
    pub silent: Vec<(Missing, u64)>,
    pub masked: BTreeSet<String>,
    pub stages: Vec<Stage>,
    pub requests: Vec<String>,
    pub requests_more: u64,
}

/// Why some are undetermined.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Reason {
    #[serde(flatten)]
    what: Missing,
    /// Of how many; none: nobody knows.
    count: Option<u64>,
    message: Option<String>,
}

/// One step, over all pages.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stage {
    sources: Vec<String>,
    fields: Vec<String>,
    estimated: u64,
    least_ms: u64,
    calls: u64,
    ms: u64,
    asked: u64,
    left: u64,
}

fn number(of: &Value, name: &str) -> u64 {
    of.get(name).and_then(Value::as_u64).unwrap_or_default()
}

fn texts(of: &Value, name: &str) -> Vec<String> {
    let texts = of.get(name).and_then(Value::as_array).into_iter().flatten();
    texts.filter_map(Value::as_str).map(str::to_owned).collect()
}

impl Tally {
    pub fn page(&mut self, page: &Page) {
        self.coverage(&page.coverage);
        self.rows = self.rows.saturating_add(u64::try_from(page.rows.len()).unwrap_or(u64::MAX));
        self.masked.extend(page.masked.iter().cloned());
        for missing in page.rows.iter().flat_map(|row| &row.silent) {
            let same =
                |(known, _): &&mut (Missing, u64)| (&known.code, &known.source) == (&missing.code, &missing.source);
            match self.silent.iter_mut().find(same) {
                Some((known, rows)) => {
                    known.fields.extend(missing.fields.iter().cloned());
                    *rows += 1;
                }
                None => self.silent.push((missing.clone(), 1)),
            }
        }
        self.request(&page.request);
    }

    pub fn request(&mut self, id: &str) {
        if self.requests.len() < REQUESTS_MAX {
            self.requests.push(id.to_owned());
        } else {
            self.requests_more += 1;
        }
    }

    /// What one answer rests on, added to what those before rest on.
    pub fn coverage(&mut self, coverage: &Value) {
        self.candidates += number(coverage, "candidates");
        self.total = coverage.get("total").and_then(Value::as_u64);
        self.evaluated += number(coverage, "evaluated");
        self.matched += number(coverage, "matched");
        self.keeps_back |= coverage.get("matched").is_some_and(Value::is_null);
        self.undetermined += number(coverage, "undetermined");
        self.ended = coverage.get("ended").and_then(Value::as_str).map(str::to_owned);
        self.broken.clear();
        for missing in coverage.get("missing").and_then(Value::as_array).into_iter().flatten() {
            self.reason(missing);
        }
        for stage in coverage.get("plan").and_then(Value::as_array).into_iter().flatten() {
            self.calls += number(stage, "calls");
            self.stage(stage);
        }
    }

    fn reason(&mut self, missing: &Value) {
        let text = |name: &str| missing.get(name).and_then(Value::as_str).map(str::to_owned);
        let fields = texts(missing, "fields").into_iter().collect();
        let (code, source) = (text("code").unwrap_or_default(), text("source"));
        let what = Missing { code, state: text("state"), source, title: text("sourceTitle"), fields };
        let Some(count) = missing.get("count").and_then(Value::as_u64) else {
            self.broken.push(Reason { what, count: None, message: text("message") });
            return;
        };
        let same = |one: &&mut Reason| (&one.what.code, &one.what.source) == (&what.code, &what.source);
        match self.missing.iter_mut().find(same) {
            Some(known) => {
                known.count = known.count.map(|known| known.saturating_add(count));
                known.what.fields.extend(what.fields);
            }
            None => self.missing.push(Reason { what, count: Some(count), message: text("message") }),
        }
    }

    fn stage(&mut self, stage: &Value) {
        let (sources, fields) = (texts(stage, "sources"), texts(stage, "fields"));
        let same = |one: &&mut Stage| one.sources == sources && one.fields == fields;
        let at = match self.stages.iter_mut().find(same) {
            Some(known) => known,
            None => {
                self.stages.push(Stage {
                    sources,
                    fields,
                    estimated: 0,
                    least_ms: 0,
                    calls: 0,
                    ms: 0,
                    asked: 0,
                    left: 0,
                });
                let Some(newest) = self.stages.last_mut() else { return };
                newest
            }
        };
        at.estimated += number(stage, "estimatedCalls");
        at.least_ms += number(stage, "estimatedMs");
        at.calls += number(stage, "calls");
        at.ms += number(stage, "ms");
        at.asked += number(stage, "asked");
        at.left += number(stage, "left");
    }

    /// As far as was asked for, nothing is undetermined and nothing that is shown is missing.
    pub fn is_known(&self) -> bool {
        let told = self.missing.is_empty() && self.broken.is_empty() && self.silent.is_empty();
        self.undetermined == 0 && told && !self.broke_off() && !self.is_cut
    }

    /// All was looked at, and is known.
    pub fn is_whole(&self) -> bool {
        self.is_known() && self.ended.as_deref() == Some("LISTED")
    }

    /// The newest page ended before all was looked at, and there is no page behind it.
    fn broke_off(&self) -> bool {
        matches!(self.ended.as_deref(), Some("TIME" | "CALLS" | "STOPPED" | "CANCELLED"))
    }

    pub fn as_json(&self) -> Value {
        let missing: Vec<Value> = self.missing.iter().chain(&self.broken).map(Reason::as_json).collect();
        let silent = |(what, rows): &(Missing, u64)| {
            let mut of = what.as_json();
            if let Value::Object(of) = &mut of {
                of.insert("rows".to_owned(), json!(rows));
            }
            of
        };
        json!({
            "candidates": self.candidates, "total": self.total, "evaluated": self.evaluated,
            "matched": (!self.keeps_back).then_some(self.matched), "undetermined": self.undetermined_told(), "whole": self.is_whole(), "ended": self.ended,
            "calls": self.calls, "elapsedMs": self.elapsed_ms, "missing": missing,
            "notShown": self.silent.iter().map(silent).collect::<Vec<_>>(), "masked": self.masked,
            "plan": self.stages.iter().map(Stage::as_json).collect::<Vec<_>>(),
        })
    }

    /// None: there are some, and how many is kept back.
    fn undetermined_told(&self) -> Option<u64> {
        (!self.keeps_back || (self.missing.is_empty() && self.broken.is_empty())).then_some(self.undetermined)
    }

    /// In a line: how many, and how long it took.
    pub fn line(&self) -> String {
        let (looked_at, took) = (self.candidates, super::bar::span(Duration::from_millis(self.elapsed_ms)));
        match self.undetermined_told() {
            _ if !self.keeps_back => {
                format!(
                    "{looked_at} looked at, {} match, {} undetermined; {} calls, {took}",
                    self.matched, self.undetermined, self.calls
                )
            }
            Some(_) => format!("{looked_at} looked at, how many match is kept back; {took}"),
            None => format!("{looked_at} looked at, how many match and are undetermined is kept back; {took}"),
        }
    }

    /// What is not known, department by department; empty where all is.
    pub fn gaps(&self) -> String {
        let mut out = String::new();
        let reasons: Vec<&Reason> = self.missing.iter().chain(&self.broken).collect();
        if self.undetermined > 0 || !reasons.is_empty() {
            let count = self.undetermined_told().map_or("some".to_owned(), |count| count.to_string());
            out.push_str(&format!("{count} undetermined, for these reasons:\n"));
        }
        if self.is_cut {
            out.push_str("more match than are shown: ask for more with --first\n");
        }
        for reason in reasons {
            out.push_str(&format!("  {}\n", reason.told()));
        }
        if self.broke_off() {
            let ended = self.ended.as_deref().unwrap_or_default();
            out.push_str(&format!("it ended ({ended}) before all were looked at: what lies behind is not known\n"));
        }
        for (what, rows) in &self.silent {
            out.push_str(&format!("not shown of {rows} rows: {}\n", what.told()));
        }
        if !self.masked.is_empty() {
            let fields: Vec<&str> = self.masked.iter().map(String::as_str).collect();
            out.push_str(&format!("shown in part to your role: {}\n", fields.join(", ")));
        }
        out
    }

    /// Who was asked for what, in which order. `before`: nobody was yet.
    pub fn plan(&self, before: bool) -> String {
        let row = |stage: &Stage| {
            let sources = if stage.sources.is_empty() { "(nobody)".to_owned() } else { stage.sources.join(" ") };
            let fields = text::shorten(&stage.fields.join(" "), 60);
            let mut cells = vec![sources, fields, stage.estimated.to_string(), stage.least_ms.to_string()];
            if !before {
                let done =
                    [stage.calls.to_string(), stage.asked.to_string(), stage.left.to_string(), stage.ms.to_string()];
                cells.extend(done);
            }
            cells
        };
        let rows: Vec<Vec<String>> = self.stages.iter().map(row).collect();
        match before {
            true => text::table(&["ask", "for", "calls estimated", "at least ms"], &rows),
            false => {
                text::table(&["asked", "for", "calls estimated", "at least ms", "made", "of", "left", "ms"], &rows)
            }
        }
    }

    /// What `--plan` rests on, and the time that it takes at least by what departments allow a second. They are asked one after the
    /// other, but for those of one step.
    pub fn estimated(&self) -> String {
        let least = Duration::from_millis(self.stages.iter().map(|stage| stage.least_ms).sum());
        let least = match least.is_zero() {
            true => String::new(),
            false => format!("; by what departments allow a second they take at least {}", super::bar::span(least)),
        };
        match self.total {
            Some(total) => {
                format!("calls are estimated for all {total} that are listed{least}; the list alone was asked")
            }
            None => format!(
                "calls are estimated for the first stretch of those that are looked at{least}; nobody was asked"
            ),
        }
    }
}

impl Reason {
    fn told(&self) -> String {
        let who = self.what.title.clone().or_else(|| self.what.source.clone());
        let who = who.unwrap_or_else(|| "departments disagree".to_owned());
        let count = self.count.map_or("of how many is not known".to_owned(), |count| count.to_string());
        let fields: Vec<&str> = self.what.fields.iter().map(String::as_str).collect();
        let message = self.message.as_ref().map_or(String::new(), |message| format!(" ({message})"));
        format!("{who} {}: {count}, {}{message}", self.what.code, fields.join(" "))
    }

    fn as_json(&self) -> Value {
        let mut of = self.what.as_json();
        if let Value::Object(of) = &mut of {
            of.insert("count".to_owned(), json!(self.count));
            of.insert("message".to_owned(), json!(self.message));
        }
        of
    }
}

impl Stage {
    fn as_json(&self) -> Value {
        json!({
            "sources": self.sources, "fields": self.fields, "estimatedCalls": self.estimated, "estimatedMs": self.least_ms, "calls": self.calls,
            "ms": self.ms, "asked": self.asked, "left": self.left,
        })
    }
}
