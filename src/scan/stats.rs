//! What a statistic is asked for → the plan it runs: the scan's own, with one stage more, which reads what is reckoned.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::bound::of_statistic;
use super::condition::Condition;
use super::order::Order;
use super::permit::{self, Division, Permitted, Wanted};
use super::plan::{ScanPlan, Stage, Verdict};
use super::reckon::Asked;
use super::resume;
use crate::base::code::ErrorCode;
use crate::engine::authorize::{Asking, authorize};
use crate::engine::error::RequestError;
use crate::engine::execute::cursor::CursorSeal;
use crate::engine::operation::{Operation, Selection, What};
use crate::engine::plan::{self, FetchSet, NodeId, Plan};
use crate::model::binding::SourceId;
use crate::model::contract::scan::ScanRoot;
use crate::model::snapshot::Snapshot;

/// Arguments of statistics that are not the listing's.
const ARGUMENTS: [&str; 3] = ["groupBy", "measures", "resume"];

/// A statistic, once it is permitted.
#[derive(Debug)]
pub struct StatsPlan {
    /// The query, as callers know it.
    pub name: Arc<str>,
    pub asked: Asked,
    /// There is a condition, so that it may not hold.
    pub has_condition: bool,
    pub resume: Option<String>,
    /// Its root among those of the operation.
    pub root: usize,
}

/// Plans a statistic. Everything that is compared, grouped by and measured must be given in full to the caller for whole
/// divisions, in a role that may ask for statistics; else it is refused, before anything is asked.
pub(super) fn build(
    snapshot: &Snapshot,
    asking: &Asking,
    operation: &Arc<Operation>,
    variables: &Map<String, Value>,
    (scan, at): (&ScanRoot, usize),
    cursors: Option<&CursorSeal>,
) -> Result<ScanPlan, RequestError> {
    let contract = &snapshot.contract;
    let (Some(root), Some(name)) = (operation.roots.get(at), &scan.stats) else { return Err(super::plan::gone()) };
    let query = contract.queries.get(scan.query).ok_or_else(super::plan::gone)?;
    let filter = root.argument("where", variables);
    let mut condition = Condition::read(snapshot, scan, filter, permit::limits(snapshot))?;
    let (group_by, measures) = (root.argument("groupBy", variables), root.argument("measures", variables));
    let asked = Asked::read(snapshot, scan, group_by, measures)?;
    condition.slots.union(&asked.slots);
    let division = root.argument(&scan.division, variables).as_str().unwrap_or_default();
    let key = super::plan::key_of(&json!([&**name, filter, group_by, measures, division]).to_string());
    // Bounds that were reckoned with other ranges are none of these; nor are groups by other levels.
    let ranges: Vec<Value> = asked
        .numbers
        .iter()
        .map(|number| json!(number.range.map(|range| (range.min.to_string(), range.max.map(|max| max.to_string())))))
        .collect();
    let bound = json!([&**name, filter, group_by, measures, ranges, &*contract.entity(scan.entity).name]).to_string();
    let begun = root.argument("resume", variables).as_str();
    let caller = asking.principal();
    let under = |divisions: &[Division]| {
        let (Some(seal), Some(resume)) = (cursors, begun) else { return Ok(None) };
        resume::approval(seal, &of_statistic(&bound, divisions, caller.as_deref()), resume)
    };
    let wanted = Wanted { division, key: &key, under: &under };
    let permitted = permit::permit(snapshot, asking, scan, query, &condition, wanted, permit::For::Statistics)?;
    let Permitted { rights, divisions, candidates_max, approval, .. } = permitted;
    let mut listed = root.clone();
    listed.arguments.retain(|argument| !ARGUMENTS.contains(&&*argument.name));
    let reads: Vec<Selection> =
        condition.conjuncts.iter().flat_map(|part| part.reads.iter()).chain(&asked.reads).cloned().collect();
    let nodes =
        Selection { key: "nodes".into(), what: What::Nodes(scan.entity), arguments: Vec::new(), children: reads };
    let deciding = super::plan::operation_of(operation, &listed, scan.query, variables, vec![nodes]);
    let deciding = plan::build_hearing_all(snapshot, &authorize(deciding, Arc::clone(&rights)))?;
    let node = deciding.roots.iter().flatten().next().copied().ok_or_else(super::plan::gone)?;
    let mut stages = super::plan::stages(snapshot, &deciding, node, &condition.conjuncts);
    stages.push(reading(snapshot, &deciding, node, &asked, &stages));
    let answering = plan::build(snapshot, &authorize(Arc::clone(operation), Arc::clone(&rights)))?;
    Ok(ScanPlan {
        query: scan.query,
        rights,
        divisions,
        among: None,
        verdict: Verdict::Matched,
        first: 0,
        order: Order::default(),
        ordering: FetchSet::default(),
        approval,
        answer_calls: 0,
        candidates_max,
        named_max: 0,
        bound,
        after: None,
        deciding: Arc::new(deciding),
        node,
        stages,
        answering: Arc::new(answering),
        stats: Some(StatsPlan {
            name: Arc::clone(name),
            asked,
            has_condition: !condition.conjuncts.is_empty(),
            resume: begun.map(str::to_owned),
            root: at,
        }),
        condition,
    })
}

/// The last stage: of those that are left, what is grouped by and measured. It leaves nobody out.
fn reading(snapshot: &Snapshot, deciding: &Plan, node: NodeId, asked: &Asked, before: &[Stage]) -> Stage {
    let mut known = FetchSet::default();
    before.iter().for_each(|stage| known.extend(&stage.fetches));
    let fetches = FetchSet::of(snapshot, deciding, node, &asked.reads).without(&known);
    let mut sources: Vec<SourceId> = Vec::new();
    for (of, fetch) in fetches.iter() {
        let fetch = deciding.nodes.get(of).and_then(|node| node.fetches.get(fetch));
        let source = fetch.map(|fetch| snapshot.bindings.endpoint(fetch.endpoint).source);
        sources.extend(source.filter(|source| !sources.contains(source)));
    }
    Stage { fetches, conjuncts: Vec::new(), sources, fields: asked.fields().into_iter().collect(), passes: 1000 }
}

/// The root that is a statistic, and the scan that it is of.
pub(super) fn of<'s>(snapshot: &'s Snapshot, operation: &Operation) -> Option<(&'s ScanRoot, usize)> {
    let at = operation.scan?;
    match operation.roots.get(at)?.what {
        What::Stats(scan) => Some((snapshot.contract.scans.get(scan)?, at)),
        _ => None,
    }
}

/// Statistics are reckoned with what is known, and not refused for what is not; a group too many is.
pub(super) fn too_many_groups(most: usize) -> RequestError {
    let message = format!("there are more than {most} groups; group by less at once, or by fewer `digits`");
    RequestError::new(ErrorCode::LimitExceeded, message)
}
