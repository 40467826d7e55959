//! What stops nothing in a binding and will hurt in service: warnings of `huxiang source check`.

mod calls;
mod fields;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::binding::connection::sign::format::Scheme;
use super::binding::format::{Protocol, SourceFile};
use super::binding::{Endpoint, SourceId};
use super::snapshot::Parts;
use super::yaml;
use crate::base::fault::{Faults, Place, SourceText};

/// What is looked at, and where warnings go.
struct Adviser<'a> {
    parts: &'a Parts,
    file: &'a SourceFile,
    text: &'a Arc<SourceText>,
    source: SourceId,
    found: Faults,
}

/// The warnings of one source's file, which was compiled among `parts`.
pub fn warnings(parts: &Parts, file: &SourceFile, text: &Arc<SourceText>) -> Faults {
    let mut adviser = Adviser { parts, file, text, source: SourceId(0), found: Faults::default() };
    adviser.decisions();
    let Some(at) = parts.bindings.sources.iter().position(|source| *source.id == *file.source.value) else {
        return adviser.found;
    };
    adviser.source = SourceId(u32::try_from(at).unwrap_or(u32::MAX));
    adviser.limits();
    adviser.in_the_clear();
    adviser.shown_in_part();
    adviser.territory();
    let source = adviser.source;
    for endpoint in parts.bindings.endpoints.iter().filter(|endpoint| endpoint.source == source) {
        adviser.one_by_one(endpoint);
        adviser.in_a_row(endpoint);
        adviser.deadline(endpoint);
        adviser.of_the_first(endpoint);
    }
    adviser.listings();
    adviser.read_by_nobody();
    adviser.found
}

impl Adviser<'_> {
    fn warn(&mut self, place: Place, message: impl Into<String>, hint: impl Into<String>) {
        self.found.add(self.text, place, message, hint);
    }

    /// Where an endpoint's name stands.
    fn at(&self, endpoint: &Endpoint) -> Place {
        let written = self.file.endpoints.get(&*endpoint.name);
        written.map_or_else(Place::default, |written| yaml::key(self.text, &endpoint.name, written))
    }

    /// What a draft left open.
    fn decisions(&mut self) {
        const MARK: &str = "# decide:";
        // With what follows: a comment that only speaks of the mark has it in quotation marks.
        const OPEN: &str = "# decide: ";
        let mut open = self.text.text.lines().enumerate().filter_map(|(at, line)| Some((at + 1, line.find(OPEN)?)));
        let Some((line, at)) = open.next() else { return };
        let message = match open.count() {
            0 => "this is still to be decided".to_owned(),
            more => format!("this is still to be decided, and {more} more that are marked `{MARK}`"),
        };
        let before = self.text.line(line).and_then(|text| text.get(..at)).unwrap_or_default();
        let place = Place { line, column: before.chars().count() + 1, length: MARK.len() };
        self.warn(place, message, "decide it as the comment says, and delete the comment");
    }

    /// Limits that are not written, of which the department should be asked.
    fn limits(&mut self) {
        if self.file.protocol == Protocol::Audit {
            return;
        }
        let written: serde_json::Value = serde_saphyr::from_str(&self.text.text).unwrap_or_default();
        let limits = written.get("limits");
        let known = [("timeout_ms", "2 000 ms for a call"), ("in_flight_max", "64 calls at once")];
        let missing: Vec<_> = known.iter().filter(|(name, _)| limits.is_none_or(|l| l.get(name).is_none())).collect();
        if missing.is_empty() {
            return;
        }
        let names: Vec<String> = missing.iter().map(|(name, _)| format!("`limits.{name}`")).collect();
        let defaults: Vec<&str> = missing.iter().map(|(_, default)| *default).collect();
        let verb = if names.len() == 1 { "is" } else { "are" };
        let message = format!("{} {verb} not said: {} will be taken", names.join(" and "), defaults.join(" and "));
        let hint = "ask the department how long its answers take and how many calls it bears: `limits: {timeout_ms: 1000, \
                    in_flight_max: 16}`";
        self.warn(yaml::place_of(&self.file.source), message, hint);
    }

    /// An address that is written out without TLS.
    fn in_the_clear(&mut self) {
        let Some(url) = &self.file.base_url else { return };
        let Some(rest) = url.value.strip_prefix("http://") else { return };
        let host = rest.split(['/', ':']).next().unwrap_or_default();
        if matches!(host, "localhost" | "127.0.0.1" | "[") || host.starts_with("${") {
            return;
        }
        let hint = "use `https://`, or say in the gateway's documents what protects the way";
        self.warn(yaml::span(url), "answers, and secrets that are sent, go over the network in the clear", hint);
    }

    /// Another gateway shows values in part, and is not asked which.
    fn shown_in_part(&mut self) {
        let delegation = self.file.sign.as_ref().filter(|sign| sign.value.scheme.value == Scheme::Delegation);
        let Some(sign) = delegation.filter(|_| self.file.protocol == Protocol::Graphql && self.file.masked.is_none())
        else {
            return;
        };
        let message =
            "what the source shows in part is taken for the whole value: shown as such, read by rules, asked with";
        let hint = "where it is a gateway that masks: `masked: /extensions/masked`";
        self.warn(yaml::span(&sign.value.scheme), message, hint);
    }

    /// A territory that nothing is held against.
    fn territory(&mut self) {
        let Some(first) = self.file.territory.first() else { return };
        let contract = &self.parts.contract;
        let own = self.parts.bindings.endpoints.iter().filter(|endpoint| endpoint.source == self.source);
        let nowhere = own.filter(|endpoint| contract.entity(endpoint.entity).territory.is_none());
        let (mut endpoints, mut entities) = (BTreeSet::new(), BTreeSet::new());
        for endpoint in nowhere {
            endpoints.insert(endpoint.name.to_string());
            entities.insert(contract.entity(endpoint.entity).name.to_string());
        }
        if endpoints.is_empty() {
            return;
        }
        let message = format!(
            "`territory` does not bound {}: the contract does not say where a {} is",
            named(&endpoints),
            named(&entities)
        );
        self.warn(yaml::place_of(first), message, "add `@territory(by:)` to the type in the contract");
    }

    /// Listings without pages.
    fn listings(&mut self) {
        use super::contract::RootKind;
        for (name, query) in &self.file.queries {
            let field = self.parts.contract.query(name);
            let list = field.is_some_and(|field| matches!(field.kind, RootKind::List | RootKind::Connection));
            if !list || query.value.ask.value.pages.is_some() {
                continue;
            }
            let bytes = self.file.limits.answer_bytes_max >> 20;
            let message = format!("`{name}` is read in one answer, and one of more than {bytes} MiB fails as a whole");
            let place = yaml::key(self.text, name, query);
            self.warn(place, message, "say with `pages` how the department cuts long lists, where it does");
        }
    }
}

/// Names as code, the first few.
fn named(names: &BTreeSet<String>) -> String {
    const NAMED_MAX: usize = 3;
    let first: Vec<String> = names.iter().take(NAMED_MAX).map(|name| format!("`{name}`")).collect();
    match names.len().saturating_sub(NAMED_MAX) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}
