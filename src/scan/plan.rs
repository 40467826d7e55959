//! What a scan is asked for → the plans it runs: one that decides, in stages, and one that answers what was found.
//!
//! Holds the caller's values, so it is made for one request and kept by nobody.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::bound::OfPages;
use super::condition::{Condition, Conjunct};
use super::order::Order;
use super::permit::{self, Approval, Division, For, Permitted, Wanted};
use super::stats::{self, StatsPlan};
use super::steps::gone_as_far;
use crate::base::code::ErrorCode;
use crate::engine::authorize::{Asking, authorize};
use crate::engine::error::RequestError;
use crate::engine::execute::cursor::CursorSeal;
use crate::engine::operation::{Argument, ArgumentValue, Operation, Selection, What};
use crate::engine::plan::cost::{self, Assumed, FIRST_DEFAULT};
use crate::engine::plan::{self, FetchSet, NodeId, Plan};
use crate::model::access::Rights;
use crate::model::binding::{Bindings, Source, SourceId};
use crate::model::contract::scan::{self, ScanRoot};
use crate::model::contract::{Contract, RootKind};
use crate::model::snapshot::Snapshot;

/// Entities that are looked at together, at most.
const STRETCH_MAX: usize = 200;
/// And at least, where so many cost no more calls than one.
const ALONG: usize = 20;
/// Members and their like of one entity, as far as nobody knows before.
const MEMBERS_EACH: usize = 4;

/// Which entities are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Matched,
    Undetermined,
}

impl Verdict {
    /// As the contract names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Matched => "MATCHED",
            Self::Undetermined => "UNDETERMINED",
        }
    }
}

/// What a scan is asked for, once it is permitted.
#[derive(Debug)]
pub struct ScanPlan {
    /// The listing, in the contract's queries.
    pub query: usize,
    pub rights: Arc<Rights>,
    pub condition: Condition,
    /// The divisions that are listed, each as a prefix of codes; of keys, the one they must lie in.
    pub divisions: Vec<Division>,
    /// The keys that are looked at instead of a listing.
    pub among: Option<Vec<Arc<str>>>,
    pub verdict: Verdict,
    pub first: usize,
    /// Where it sorts anything, all candidates are looked at.
    pub order: Order,
    /// What is fetched of matches to sort them, where no stage has.
    pub ordering: FetchSet,
    /// Entities that may be looked at and shown, over all pages.
    pub candidates_max: usize,
    pub named_max: usize,
    /// What cursors of the scan are bound to, beside the caller: everything that decides what is found.
    pub bound: String,
    pub approval: Option<Approval>,
    pub after: Option<String>,
    /// Decides on the condition.
    pub deciding: Arc<Plan>,
    pub node: NodeId,
    pub stages: Vec<Stage>,
    /// Answers what was found.
    pub answering: Arc<Plan>,
    /// Calls that answering a full page is reckoned to take.
    pub answer_calls: usize,
    /// Where it is counted, and nobody is shown.
    pub stats: Option<StatsPlan>,
}

/// Parts of the condition that are decided together.
#[derive(Debug, Default)]
pub struct Stage {
    pub fetches: FetchSet,
    /// In [`Condition::conjuncts`].
    pub conjuncts: Vec<usize>,
    pub sources: Vec<SourceId>,
    /// Slots that are compared, by their paths.
    pub fields: Vec<String>,
    /// How many of a thousand entities it is guessed to let through.
    pub passes: u32,
}

/// The root that is a scan, and what the contract says of it.
fn scanned<'o>(contract: &'o Contract, operation: &'o Operation) -> Option<(&'o ScanRoot, &'o Selection)> {
    let root = operation.roots.get(operation.scan?)?;
    let What::Query(query) = root.what else { return None };
    Some((contract.scan_of(query)?, root))
}

impl ScanPlan {
    /// Plans the scan that an operation asks for. Everything that is compared must be given in full to the caller for whole
    /// divisions; else it is refused, before anything is asked. `cursors` opens the one that it goes on from; of a plan that
    /// nobody runs, none.
    pub fn build(
        snapshot: &Snapshot,
        asking: &Asking,
        operation: &Arc<Operation>,
        variables: &Map<String, Value>,
        cursors: Option<&CursorSeal>,
    ) -> Result<Option<Self>, RequestError> {
        let contract = &snapshot.contract;
        if let Some(of) = stats::of(snapshot, operation) {
            return stats::build(snapshot, asking, operation, variables, of, cursors).map(Some);
        }
        let Some((scan, root)) = scanned(contract, operation) else { return Ok(None) };
        let limits = permit::limits(snapshot);
        let condition = Condition::read(snapshot, scan, root.argument("where", variables), limits)?;
        let order = Order::read(snapshot, scan, root.argument("orderBy", variables))?;
        let division = root.argument(&scan.division, variables).as_str().unwrap_or_default();
        let query = contract.queries.get(scan.query).ok_or_else(gone)?;
        let mut condition = condition;
        condition.slots.union(&order.slots);
        // Everything that decides what is found; not how it is paged.
        let of = |name: &str| root.argument(name, variables);
        let bound = json!([&*query.name, of("where"), of("orderBy"), of("among"), division]).to_string();
        let key = key_of(&bound);
        let among = keys(root.argument("among", variables), limits.values_max)?;
        let verdict = match root.argument("verdict", variables).as_str() {
            Some("UNDETERMINED") => Verdict::Undetermined,
            _ => Verdict::Matched,
        };
        let after = root.argument("after", variables).as_str().map(str::to_owned);
        let caller = asking.principal();
        let before = OnceCell::new();
        let under = |divisions: &[Division]| {
            let (Some(seal), Some(cursor)) = (cursors, after.as_deref()) else { return Ok(None) };
            let (among, caller) = (among.as_deref(), caller.as_deref());
            let reached = OfPages { scan: &bound, verdict, divisions, among, caller }.reached(seal, cursor)?;
            let _ = before.set(reached.candidates);
            Ok(reached.approval)
        };
        let wanted = Wanted { division, key: &key, under: &under };
        let permitted = permit::permit(snapshot, asking, scan, query, &condition, wanted, For::Page)?;
        let Permitted { rights, divisions, candidates_max, named_max, approval } = permitted;
        let origin = match &among {
            None => scan.query,
            Some(_) => {
                condition.within(snapshot, scan.entity, &divisions)?;
                let by_key = |query: &crate::model::contract::RootField| {
                    query.entity == scan.entity && matches!(query.kind, RootKind::ByKey { .. })
                };
                contract.queries.iter().position(by_key).ok_or_else(|| {
                    let entity = &contract.entity(scan.entity).name;
                    let message =
                        format!("`among` needs a query that finds one `{entity}` by its key, and there is none");
                    RequestError::new(ErrorCode::ValidationFailed, message)
                })?
            }
        };
        let mut first_max = query.first_max;
        if !order.is_empty() {
            first_max = first_max.min(snapshot.config.scans.top_max);
            let beside = if after.is_some() { Some("after") } else { None };
            let beside = beside.or((verdict == Verdict::Undetermined).then_some("verdict: UNDETERMINED"));
            if let Some(beside) = beside {
                let message = format!("`{beside}` and `orderBy` do not go together: leave one of them out");
                return Err(RequestError::new(ErrorCode::ValidationFailed, message));
            }
        }
        let first = first_of(root.argument("first", variables), first_max)?;
        let mut reads: Vec<Selection> =
            condition.conjuncts.iter().map(|part| &part.reads).chain([&order.reads]).flatten().cloned().collect();
        // Of entities of which nothing is read nobody finds out how the caller stands to them, and none would be there.
        plan::enter(&mut reads, snapshot, contract.entity(scan.entity).key);
        let of = |children| operation_of(operation, root, origin, variables, children);
        let nodes =
            Selection { key: "nodes".into(), what: What::Nodes(scan.entity), arguments: Vec::new(), children: reads };
        let deciding = plan::build_hearing_all(snapshot, &authorize(of(vec![nodes]), Arc::clone(&rights)))?;
        let node = deciding.roots.iter().flatten().next().copied().ok_or_else(gone)?;
        let mut compared = condition.slots.clone();
        compared.insert(contract.entity(scan.entity).key);
        let answering =
            plan::build_found(snapshot, &authorize(of(root.children.clone()), Arc::clone(&rights)), &compared)?;
        let stages = stages(snapshot, &deciding, node, &condition.conjuncts);
        // Of few keys no more are shown than there are.
        let shown = among.as_ref().map_or(first, |keys| first.min(keys.len()));
        let answer_calls = cost::total(snapshot, &answering, assumed(shown));
        let ordering = FetchSet::of(snapshot, &deciding, node, &order.reads);
        let plan = Self {
            query: scan.query,
            rights,
            condition,
            divisions,
            among,
            verdict,
            first,
            order,
            ordering,
            candidates_max,
            named_max,
            bound,
            approval,
            after,
            deciding: Arc::new(deciding),
            node,
            stages,
            answering: Arc::new(answering),
            answer_calls,
            stats: None,
        };
        // Told before anything is noted: an approval is not used up for it. Of one that is, that is told.
        let is_used_up = asking.approved.as_ref().is_some_and(|approved| approved.is_used_up);
        if !is_used_up && before.get().is_some_and(|candidates| *candidates >= plan.candidates_max) {
            return Err(gone_as_far(&plan));
        }
        Ok(Some(plan))
    }

    /// The root selection with this division in place of the one that was asked for.
    pub fn listing(&self, contract: &Contract, root: &Selection, division: &Division) -> Selection {
        let mut root = root.clone();
        let name = contract.scan_of(self.query).map(|scan| &scan.division);
        for argument in root.arguments.iter_mut().filter(|argument| Some(&argument.name) == name) {
            argument.value = ArgumentValue::Given(Value::String(division.code.clone()));
        }
        root
    }

    /// Ids of all sources that may be asked for it, sorted.
    pub fn sources(&self, bindings: &Bindings) -> Vec<Arc<str>> {
        let fetches = self.deciding.nodes.iter().flat_map(|node| &node.fetches);
        let of_fetches = fetches.map(|fetch| bindings.endpoint(fetch.endpoint).source);
        let listed = bindings.queries.get(self.query).and_then(Option::as_ref).map(|binding| binding.source);
        let ids: BTreeSet<Arc<str>> =
            of_fetches.chain(listed).map(|source| Arc::clone(&bindings.source(source).id)).collect();
        ids.into_iter().collect()
    }

    /// How many entities are looked at together: as many as are likely to fill the page, by how many of a thousand are known to
    /// match (none: by what is guessed), and no more than the systems that are asked take at once.
    pub fn stretch(&self, snapshot: &Snapshot, missing: usize, passes: Option<usize>) -> usize {
        let guessed = || {
            self.stages.iter().fold(1000_usize, |passes, stage| {
                passes.saturating_mul(usize::try_from(stage.passes).unwrap_or(1000)) / 1000
            })
        };
        let likely = missing.saturating_mul(1000).div_ceil(passes.unwrap_or_else(guessed).max(1));
        let sets = self.stages.iter().map(|stage| &stage.fetches).chain([&self.ordering]);
        let at_once = sets.map(|set| self.at_once(snapshot, set)).min().unwrap_or(STRETCH_MAX);
        // What lies behind a full page was asked in vain: of sources that take many at once that costs nothing.
        let along = if self.calls(snapshot, ALONG) <= self.calls(snapshot, 1) { ALONG } else { 1 };
        likely.clamp(along, STRETCH_MAX).min(at_once).max(1)
    }

    /// The time that deciding on so many takes at least, and answering so many of them, by what sources allow a second.
    pub fn least(&self, snapshot: &Snapshot, rows: usize, answered: usize) -> Duration {
        let deciding: Duration = self.stages.iter().map(|stage| stage.least(snapshot, &self.deciding, rows)).sum();
        let answering = cost::by_source(snapshot, &self.answering, assumed(answered)).into_iter();
        let paced = answering.map(|(source, calls)| paced(snapshot.bindings.source(source), calls));
        deciding + paced.max().filter(|_| answered > 0).unwrap_or_default()
    }

    /// Entities of which a stage can be asked before a call would wait half of its time.
    fn at_once(&self, snapshot: &Snapshot, fetches: &FetchSet) -> usize {
        let of_fetch = |(node, fetch): (NodeId, usize)| {
            let fetch = self.deciding.nodes.get(node)?.fetches.get(fetch)?;
            let source = snapshot.bindings.source(snapshot.bindings.endpoint(fetch.endpoint).source);
            let limits = source.connections.iter().map(|connection| &connection.limits);
            let calls = limits.filter_map(|limits| {
                let per_second = u64::from(limits.per_second_max?);
                usize::try_from(per_second.saturating_mul(limits.timeout_ms) / 2_000).ok()
            });
            let calls = calls.min()?.max(1);
            let mut rows = STRETCH_MAX;
            while rows > 1 && cost::calls(snapshot, &self.deciding, node, fetch, assumed(rows)) > calls {
                rows /= 2;
            }
            Some(rows)
        };
        fetches.iter().filter_map(of_fetch).min().unwrap_or(STRETCH_MAX)
    }

    /// What so many entities are reckoned to take, stage by stage: calls, if as many pass as is guessed, and the time that so many
    /// take at least by what sources allow a second.
    pub fn estimate(&self, snapshot: &Snapshot, rows: usize) -> Vec<(usize, Duration)> {
        let stretch = self.stretch(snapshot, usize::MAX, None).min(rows.max(1));
        let stretches = rows.div_ceil(stretch);
        let mut left = stretch;
        let of_stage = |stage: &Stage| {
            let of_source = stage.calls_by_source(snapshot, &self.deciding, left);
            let calls = of_source.values().sum::<usize>().saturating_mul(stretches);
            let paced = of_source
                .into_iter()
                .map(|(source, calls)| paced(snapshot.bindings.source(source), calls.saturating_mul(stretches)));
            let least = paced.max().unwrap_or_default();
            let passes = usize::try_from(stage.passes).unwrap_or(1000);
            left = left.saturating_mul(passes).div_ceil(1000);
            (calls, least)
        };
        self.stages.iter().map(of_stage).collect()
    }

    /// Calls that so many entities are reckoned to take, if every one came through all stages.
    pub fn calls(&self, snapshot: &Snapshot, rows: usize) -> usize {
        let sets = self.stages.iter().map(|stage| &stage.fetches).chain([&self.ordering]);
        sets.map(|set| calls_of(snapshot, &self.deciding, set, rows)).sum::<usize>().saturating_add(1)
    }
}

impl Stage {
    /// What it takes at least, by what sources allow a second. They are asked at once.
    pub fn least(&self, snapshot: &Snapshot, deciding: &Plan, rows: usize) -> Duration {
        let paced = |(source, calls): (SourceId, usize)| paced(snapshot.bindings.source(source), calls);
        self.calls_by_source(snapshot, deciding, rows).into_iter().map(paced).max().unwrap_or_default()
    }

    fn calls_by_source(&self, snapshot: &Snapshot, deciding: &Plan, rows: usize) -> BTreeMap<SourceId, usize> {
        let mut of_source: BTreeMap<SourceId, usize> = BTreeMap::new();
        for (node, at) in self.fetches.iter() {
            if let Some(fetch) = deciding.nodes.get(node).and_then(|of| of.fetches.get(at)) {
                let source = snapshot.bindings.endpoint(fetch.endpoint).source;
                *of_source.entry(source).or_default() += cost::calls(snapshot, deciding, node, fetch, assumed(rows));
            }
        }
        of_source
    }

    pub fn calls(&self, snapshot: &Snapshot, deciding: &Plan, rows: usize) -> usize {
        calls_of(snapshot, deciding, &self.fetches, rows)
    }
}

/// The time that so many calls to a source take by what all of its systems together allow a second; none where one says nothing.
fn paced(source: &Source, calls: usize) -> Duration {
    let rates = source.connections.iter().map(|connection| connection.limits.per_second_max);
    let per_second = rates.sum::<Option<u32>>().filter(|rate| *rate > 0);
    per_second.map_or(Duration::ZERO, |rate| Duration::from_secs(calls.try_into().unwrap_or(u64::MAX)) / rate)
}

fn calls_of(snapshot: &Snapshot, deciding: &Plan, fetches: &FetchSet, rows: usize) -> usize {
    let of = |(node, fetch): (NodeId, usize)| {
        let fetch = deciding.nodes.get(node)?.fetches.get(fetch)?;
        Some(cost::calls(snapshot, deciding, node, fetch, assumed(rows)))
    };
    fetches.iter().filter_map(of).sum()
}

fn assumed(rows: usize) -> Assumed {
    Assumed { listed: rows, members: rows.saturating_mul(MEMBERS_EACH) }
}

/// The key of an approval of a scan, of what decides on what is found.
pub(super) fn key_of(bound: &str) -> String {
    Sha256::digest(bound.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Cannot happen: the contract was checked when it was read.
pub(super) fn gone() -> RequestError {
    RequestError::new(ErrorCode::Internal, "the scan has no listing; tell the operator the request id".to_owned())
}

fn first_of(value: &Value, most: usize) -> Result<usize, RequestError> {
    if value.is_null() {
        return Ok(FIRST_DEFAULT.min(most));
    }
    let first = value.as_u64().and_then(|first| usize::try_from(first).ok()).filter(|first| *first <= most);
    first.ok_or_else(|| RequestError::new(ErrorCode::ValidationFailed, format!("`first` is between 0 and {most}")))
}

/// The keys of `among`.
fn keys(value: &Value, most: usize) -> Result<Option<Vec<Arc<str>>>, RequestError> {
    let Value::Array(list) = value else { return Ok(None) };
    if list.len() > most {
        let message = format!("`among` names more than {most} keys; ask in several requests");
        return Err(RequestError::new(ErrorCode::LimitExceeded, message));
    }
    let mut seen = BTreeSet::new();
    let text = |key: &Value| match key {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let keys = list.iter().filter_map(text).filter(|key| seen.insert(key.clone()));
    Ok(Some(keys.map(Arc::from).collect()))
}

/// The operation of one root that finds the same entities, with these selections of them.
pub(super) fn operation_of(
    operation: &Operation,
    root: &Selection,
    origin: usize,
    variables: &Map<String, Value>,
    children: Vec<Selection>,
) -> Arc<Operation> {
    let passed_on = |argument: &&Argument| {
        !scan::ARGUMENTS.contains(&&*argument.name) && !matches!(&*argument.name, "first" | "after")
    };
    let given = |argument: &Argument| Argument {
        name: Arc::clone(&argument.name),
        value: ArgumentValue::Given(root.argument(&argument.name, variables).clone()),
    };
    let arguments = root.arguments.iter().filter(passed_on).map(given).collect();
    let root = Selection { key: Arc::clone(&root.key), what: What::Query(origin), arguments, children };
    Arc::new(Operation {
        name: operation.name.clone(),
        roots: vec![root],
        scan: Some(0),
        introspects: false,
        frame: operation.frame.clone(),
    })
}

/// The order in which the parts of a condition are decided: what leaves out most for its calls comes first, and what needs no
/// further call comes with it.
pub(super) fn stages(snapshot: &Snapshot, deciding: &Plan, node: NodeId, conjuncts: &[Conjunct]) -> Vec<Stage> {
    let needs: Vec<FetchSet> =
        conjuncts.iter().map(|part| FetchSet::of(snapshot, deciding, node, &part.reads)).collect();
    let mut left: Vec<usize> = (0..conjuncts.len()).collect();
    let mut known = FetchSet::default();
    let mut stages: Vec<Stage> = Vec::new();
    // What is no candidate is not asked about: whether a key is anybody's, and of the divisions that are asked for.
    let establishing = FetchSet::establishing(deciding, node);
    let bounding: Vec<usize> =
        left.iter().copied().filter(|at| conjuncts.get(*at).is_some_and(|part| part.bounds)).collect();
    if !bounding.is_empty() || establishing != FetchSet::default() {
        let mut fetches = establishing;
        bounding.iter().filter_map(|at| needs.get(*at)).for_each(|needed| fetches.extend(needed));
        known.extend(&fetches);
        left.retain(|at| !bounding.contains(at));
        stages.push(stage_of(snapshot, deciding, conjuncts, fetches, bounding));
    }
    while !left.is_empty() {
        let price = |at: &usize| {
            let more = needs.get(*at).map(|needed| needed.without(&known)).unwrap_or_default();
            let calls = Stage { fetches: more, ..Stage::default() }.calls(snapshot, deciding, STRETCH_MAX);
            let leaves_out = conjuncts.get(*at).map_or(1, |part| 1001_u32.saturating_sub(part.passes));
            // Calls for each entity that is left out; the order in which they were written decides between equals.
            (calls.saturating_mul(1000) / usize::try_from(leaves_out).unwrap_or(1).max(1), *at)
        };
        let Some(next) = left.iter().copied().min_by_key(price) else { break };
        let fetches = needs.get(next).map(|needed| needed.without(&known)).unwrap_or_default();
        known.extend(&fetches);
        let is_known = |at: &usize| needs.get(*at).is_none_or(|needed| needed.without(&known) == FetchSet::default());
        let (now, later): (Vec<usize>, Vec<usize>) = left.into_iter().partition(is_known);
        left = later;
        stages.push(stage_of(snapshot, deciding, conjuncts, fetches, now));
    }
    stages
}

fn stage_of(snapshot: &Snapshot, deciding: &Plan, conjuncts: &[Conjunct], fetches: FetchSet, now: Vec<usize>) -> Stage {
    let mut sources: Vec<SourceId> = Vec::new();
    for (of, fetch) in fetches.iter() {
        let fetch = deciding.nodes.get(of).and_then(|node| node.fetches.get(fetch));
        let source = fetch.map(|fetch| snapshot.bindings.endpoint(fetch.endpoint).source);
        sources.extend(source.filter(|source| !sources.contains(source)));
    }
    let parts: Vec<&Conjunct> = now.iter().filter_map(|at| conjuncts.get(*at)).collect();
    let fields: BTreeSet<String> =
        parts.iter().flat_map(|part| part.expression.inputs()).map(|path| path.join(".")).collect();
    let passes = parts.iter().fold(1000, |passes, part| passes * part.passes / 1000);
    Stage { fetches, conjuncts: now, sources, fields: fields.into_iter().collect(), passes }
}
