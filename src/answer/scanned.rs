//! A scan on its way: paid for stretch by stretch, and recorded with what it looked at.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use tokio::sync::watch;

use super::{Asked, Executed, Inner, Planned, Ready, Response, Running};
use crate::audit::{Access, AuditRecord};
use crate::engine::error::RequestError;
use crate::engine::execute::CallLog;
use crate::model::contract::Shape;
use crate::scan::run::Scanned;
use crate::scan::{self, Bounds, Concerned, ScanPlan};

impl Inner {
    /// Scans, and answers what was found. A scan takes no more calls than a request may; where they end, its page does.
    pub(super) async fn scanned(
        &self,
        asked: &Asked<'_>,
        planned: &Planned,
        scan: &ScanPlan,
        gone: watch::Receiver<bool>,
    ) -> Result<Executed, RequestError> {
        let calls_max = self.calls_max(planned) / asked.request.others.saturating_add(1);
        let Ready { periods, .. } = self.ready(asked, planned)?;
        // A stream keeps its place over its turns.
        let _under = match asked.stream {
            Some(stream) => stream.enter(&self.kept.scans, asked.identity).map(|()| None)?,
            None => Some(self.kept.scans.enter(asked.identity)?),
        };
        let mut noted = self.note(asked, planned).await?;
        let deadline = self.deadline();
        let running = |plan, calls| Running { plan, calls, deadline };
        let deciding = self.execution(asked, planned, &periods, running(&scan.deciding, CallLog::new(calls_max)));
        let pays = |calls: usize| {
            let calls = u64::try_from(calls).unwrap_or(u64::MAX);
            let paid = self.kept.calls.take(asked.identity, calls);
            paid.map_err(|busy| RequestError::rate_limited("calls to departments", busy.retry_after_s))
        };
        let answering = |left: CallLog| self.execution(asked, planned, &periods, running(&scan.answering, left));
        let bounds = Bounds { pays: &pays, gone };
        let scanned = match &scan.stats {
            Some(stats) => scan::count(scan, stats, deciding, bounds).await,
            None => scan::run::run(scan, deciding, answering, bounds).await,
        };
        noted.details.push(("scan".to_owned(), self.told_of_scan(scan, &scanned)));
        if let Some(stream) = asked.stream.filter(|_| scanned.root.is_ok()) {
            noted.frame = Some(stream.turned(scan, &scanned, calls_max.saturating_sub(scanned.log.left())));
        }
        noted.concerned = scanned.concerned;
        let error = match scanned.root {
            Ok(root) => {
                let ready = Ready { introspection: Map::new(), periods };
                let at = scan.stats.as_ref().map_or(0, |stats| stats.root);
                let mut roots: Vec<_> = planned.plan.operation.roots.iter().map(|_| None).collect();
                if let Some(place) = roots.get_mut(at) {
                    *place = Some(root);
                }
                return Ok(self.project(asked, planned, ready, noted, roots, scanned.log));
            }
            Err(error) => error,
        };
        // Departments may have been asked all the same, which is on record.
        let response = Response { body: Vec::new(), codes: vec![error.code], too_much: Some(error) };
        Ok(Executed { roots: vec![None], log: scanned.log, response, noted })
    }

    /// Those of whom the condition was told to hold, and those that were asked for by their keys: what was compared was used
    /// of them, whether they are shown or not.
    pub(super) fn concerned(&self, record: &mut AuditRecord, planned: &Planned, concerned: &Concerned) {
        let Some(scan) = planned.scan.as_ref().filter(|_| !concerned.keys.is_empty()) else { return };
        let contract = &self.snapshot.contract;
        let Some(entity) = contract.queries.get(scan.query).map(|query| query.entity) else { return };
        let above = contract.entity(entity).via.and_then(|via| match contract.slot(via).shape {
            Shape::Entity(above) => Some((above, &concerned.above)),
            _ => None,
        });
        // What stands above is named where anything of it was compared.
        for (is_above, entity, keys) in
            [(false, entity, &concerned.keys)].into_iter().chain(above.map(|(above, keys)| (true, above, keys)))
        {
            let own = scan.condition.slots.iter().filter(|slot| contract.slot(*slot).entity == entity);
            let access =
                Access { entity: contract.entity(entity).name.to_string(), used: self.names(own), ..Access::default() };
            if keys.is_empty() || (is_above && access.used.is_empty()) {
                continue;
            }
            let subject = |key: &Arc<str>| self.kept.subjects.subject(&access.entity, key);
            record.add_all(keys.iter().map(subject).collect(), access.clone());
        }
    }

    /// What the record says of a scan: what was compared and how, keyed, and how many were looked at. Candidates are counted
    /// and not named; those that were shown are in the record as those of any request.
    fn told_of_scan(&self, scan: &ScanPlan, scanned: &Scanned) -> Value {
        let coverage = &scanned.coverage;
        let subjects = &self.kept.subjects;
        let name = self.snapshot.contract.queries.get(scan.query).map(|query| query.name.to_string());
        let compared = scan.stages.iter().flat_map(|stage| stage.fields.iter().cloned());
        let fields: Vec<String> = compared.chain(scan.order.paths().iter().map(|path| path.join("."))).collect();
        let divisions: Vec<String> =
            scan.divisions.iter().map(|division| subjects.argument("division", division.prefix.as_str())).collect();
        let mut missing: Map<String, Value> = Map::new();
        for (source, code, count) in coverage.codes() {
            let source = source.map_or("", |source| &*self.snapshot.bindings.source(source).id);
            let of_source = missing.entry(source).or_insert_with(|| json!({}));
            if let Value::Object(of_source) = of_source {
                of_source.insert(code.as_str().to_owned(), json!(count));
            }
        }
        let statistics = scan.stats.as_ref().map(|stats| {
            let groups: Vec<String> = stats.asked.groups.iter().map(|group| group.path.join(".")).collect();
            let measures = stats.asked.measures.iter().map(|measure| stats.asked.name(*measure));
            json!({
                "query": &*stats.name,
                "groups": groups,
                "measures": measures.collect::<Vec<String>>(),
                "resumed": stats.resume.is_some(),
            })
        });
        json!({
            "query": name,
            "statistics": statistics,
            "divisions": divisions,
            "condition": subjects.argument("where", &scan.bound),
            "fields": fields,
            "among": scan.among.as_ref().map(Vec::len),
            "candidates": coverage.candidates,
            "evaluated": coverage.evaluated(),
            "matched": coverage.matched,
            "undetermined": coverage.undetermined,
            "notNamed": scanned.concerned.others,
            "missing": missing,
            "ended": coverage.ended.map(scan::coverage::Ended::as_str),
        })
    }
}
