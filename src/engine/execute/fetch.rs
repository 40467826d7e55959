//! One fetch node: which entities it is asked for, with which keys, in which batches.

use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use super::Execution;
use super::call::{Call, Called};
use super::groups::{Asked, Group, GroupKey, Groups, Place, Places};
use super::quota::Charges;
use super::rows::NOBODY;
use crate::base::code::{ErrorCode, ItemState};
use crate::base::pointer::Pointer;
use crate::engine::frame::{Failure, Part, Records, Remark, Row, RowAnswer, Said};
use crate::engine::plan::{FetchNode, Node, NodeId, Now, Stage};
use crate::engine::project::read::RowView;
use crate::model::access::{RowRights, SlotSet};
use crate::model::binding::{Endpoint, SourceId};
use crate::model::contract::SlotId;
use crate::model::rule::Truth;
use crate::model::snapshot::Snapshot;
use crate::source;

/// Why a fetch is made for an entity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Need {
    /// For what is shown or what rules read of it.
    pub own: bool,
    /// As the input of others that are made for the entity.
    pub inputs: bool,
}

impl Need {
    /// At the gate.
    pub const GATE: Self = Self { own: true, inputs: true };

    pub fn is_any(self) -> bool {
        self.own || self.inputs
    }
}

/// A row, why it is asked, and what is wanted of rows like it by each of their keys; none: they are not asked.
type Known<'r> = (&'r Row, Need, Option<Arc<[SlotId]>>);

/// Keys, and what is wanted by each.
type WantedByKey = SmallVec<[(Arc<str>, Arc<[SlotId]>); 1]>;

impl Execution<'_> {
    /// Asks one fetch for rows, given what its inputs' fetches answered. One answer a row, in order.
    // What is asked is known before anything is waited for: the future holds that alone.
    pub(super) fn fetch(
        &self,
        node: &Node,
        fetch: &FetchNode,
        rows: &[Row],
        answers: &[Option<&[RowAnswer]>],
        needed: impl Fn(usize) -> Need,
        charges: &Charges,
    ) -> impl Future<Output = Vec<RowAnswer>> + Send {
        let endpoint = self.snapshot.bindings.endpoint(fetch.endpoint);
        let mut groups = Groups::of(rows.len());
        let mut asked: Vec<Result<Places, RowAnswer>> = Vec::with_capacity(rows.len());
        let view = |at: usize, row| RowView::new(self.snapshot, self.plan, node, row, at, answers, fetch.stage);
        let mut known = None;
        for (at, row) in rows.iter().enumerate() {
            let need = needed(at);
            let ask = match need.is_any() {
                true => self.ask(&view(at, row), fetch, endpoint, need, &mut known),
                false => Err(RowAnswer::NotAsked),
            };
            asked.push(ask.map(|keys| keys.into_iter().map(|(key, of)| groups.add(&key, of)).collect()));
        }
        if fetch.stage == Stage::Relation {
            for (at, row) in rows.iter().enumerate().filter(|(at, _)| asked.get(*at).is_some_and(is_nobodys)) {
                let (key, of) = self.nobodys(fetch, endpoint, row, needed(at));
                if let Some(of) = of {
                    groups.add(&key, of);
                }
            }
        }
        let groups = groups.all;
        async move {
            let answered: SmallVec<[Answered; 1]> = match groups.as_slice() {
                [group] => smallvec![self.group(endpoint, group, charges).await],
                all => {
                    futures::future::join_all(all.iter().map(|group| self.group(endpoint, group, charges))).await.into()
                }
            };
            let one_by_one = self.snapshot.contract.slot(endpoint.key).subjects.is_some();
            let answer = |ask: Result<Places, RowAnswer>| match ask {
                Ok(places) => answer_of(&places, &groups, &answered, one_by_one),
                Err(why) => why,
            };
            let answers: Vec<RowAnswer> = asked.into_iter().map(answer).collect();
            self.drifts.look(self.snapshot, fetch, rows, &answers);
            answers
        }
    }

    /// What is asked at the gate in place of an entity that there is nothing to ask with: it is asked for nobody, so that
    /// the calls do not tell it from one that the caller has nothing to do with. Nothing is read of the answer.
    fn nobodys(&self, fetch: &FetchNode, endpoint: &Endpoint, row: &Row, need: Need) -> (Arc<str>, Option<GroupKey>) {
        let nobody: Arc<str> = NOBODY.into();
        let inputs: Arc<[(Arc<str>, String)]> =
            endpoint.with.iter().map(|(name, _)| (Arc::clone(name), NOBODY.to_owned())).collect();
        let Ok(instance) = self.instance(endpoint, None) else { return (nobody, None) };
        let wanted = self.wanted_by_key(fetch, endpoint, row, &[Arc::clone(&nobody)], need);
        let of = wanted.into_iter().next().map(|(_, wanted)| GroupKey { instance, inputs, wanted });
        (nobody, of)
    }

    /// What an entity asks with, or why it cannot be asked.
    /// `known`: the row before, and what is wanted of rows like it.
    fn ask<'r>(
        &self,
        view: &RowView<'r>,
        fetch: &FetchNode,
        endpoint: &Endpoint,
        need: Need,
        known: &mut Option<Known<'r>>,
    ) -> Result<Asked, RowAnswer> {
        let source = self.snapshot.bindings.source(endpoint.source);
        if source.withdrawn {
            return Err(RowAnswer::Missing(Failure::unavailable(ErrorCode::SourceWithdrawn, endpoint.source)));
        }
        let mut instance = None;
        if let Some(slot) = self.snapshot.bindings.territory_slot(&self.snapshot.contract, endpoint) {
            let division = view.texts(slot).map_err(|failure| RowAnswer::Missing(self.blamed(failure)))?;
            let code = division.first();
            // Where an entity without a division is cannot be known: neither inside nor outside. The gate asks all the
            // same: an entity that is not there must cost the calls of one that is nothing to the caller.
            if code.is_none() && fetch.stage == Stage::Answer {
                return Err(RowAnswer::Missing(Failure::undetermined(ErrorCode::InputMissing, endpoint.source)));
            }
            let inside = |code: &Arc<str>| source.territory.iter().any(|prefix| code.starts_with(prefix.as_str()));
            if !code.is_none_or(inside) {
                return Err(RowAnswer::Missing(Failure::undetermined(ErrorCode::OutsideTerritory, endpoint.source)));
            }
            instance = self.instance(endpoint, code).map_err(RowAnswer::Missing)?;
        }
        let keys = view.texts(endpoint.key).map_err(|failure| RowAnswer::Missing(self.blamed(failure)))?;
        if keys.is_empty() {
            return Err(RowAnswer::NoKey);
        }
        let mut inputs = Vec::with_capacity(endpoint.with.len());
        for (name, slot) in &endpoint.with {
            let texts = view.texts(*slot).map_err(|failure| RowAnswer::Missing(self.blamed(failure)))?;
            let Some(text) = texts.into_iter().next() else {
                return Err(RowAnswer::Missing(Failure::undetermined(ErrorCode::InputMissing, endpoint.source)));
            };
            inputs.push((Arc::clone(name), text.to_string()));
        }
        if let Some(requirement) = &endpoint.requires {
            let (facts, missing) = view.facts(&requirement.inputs);
            if requirement.when.evaluate(&facts, &self.asking.principal, self.asking.today) != Truth::True {
                let unmet = Failure::undetermined(ErrorCode::InputMissing, endpoint.source);
                return Err(RowAnswer::Missing(missing.map_or(unmet, |failure| self.blamed(failure))));
            }
        }
        let inputs: Arc<[(Arc<str>, String)]> = if inputs.is_empty() { Arc::default() } else { inputs.into() };
        let of = |wanted| GroupKey { instance, inputs: Arc::clone(&inputs), wanted };
        let keys: Asked = match known {
            Some((row, of_need, wanted)) if *of_need == need && row.is_like(view.row) => {
                let wanted = wanted.iter().flat_map(|wanted| keys.iter().map(move |key| (key, wanted)));
                wanted.map(|(key, wanted)| (Arc::clone(key), of(Arc::clone(wanted)))).collect()
            }
            _ => {
                let asked = self.wanted_by_key(fetch, endpoint, view.row, &keys, need);
                *known = Some((view.row, need, asked.first().map(|(_, wanted)| Arc::clone(wanted))));
                asked.into_iter().map(|(key, wanted)| (key, of(wanted))).collect()
            }
        };
        if keys.is_empty() { Err(RowAnswer::NotAsked) } else { Ok(keys) }
    }

    /// The instance that a division is of, where instances divide the territory. Without a division, as one is asked about
    /// nobody, it is any.
    fn instance(&self, endpoint: &Endpoint, division: Option<&Arc<str>>) -> Result<Option<usize>, Failure> {
        let source = self.snapshot.bindings.source(endpoint.source);
        if source.divided.is_none() {
            return Ok(None);
        }
        let covering = source.covering(division.map(AsRef::as_ref), self.asking.today);
        covering.map(Some).ok_or(Failure::undetermined(ErrorCode::OutsideTerritory, endpoint.source))
    }

    /// The keys an entity is asked by, and what is wanted by each. Where keys are those of single entities, each is asked
    /// by only for what may be had of it.
    fn wanted_by_key(
        &self,
        fetch: &FetchNode,
        endpoint: &Endpoint,
        row: &Row,
        keys: &[Arc<str>],
        need: Need,
    ) -> WantedByKey {
        let gate = fetch.stage == Stage::Relation;
        let mut hidden = if need.inputs { fetch.hidden.inputs.clone() } else { SlotSet::new() };
        let over = row.over_quota.contains(&endpoint.source);
        if !over {
            hidden.union(&fetch.hidden.by_rules(&row.rights, row.read_from_above.as_deref(), endpoint.source));
        }
        let whole = if gate || over { SlotSet::new() } else { row.rights.of_source(&fetch.shown, endpoint.source) };
        let of = |mut wanted: SlotSet, rights: &RowRights| -> Option<Arc<[SlotId]>> {
            wanted.union(&hidden);
            if !(gate || fetch.establishes) && wanted.is_empty() {
                return None;
            }
            if !endpoint.selects_fields {
                return Some(Arc::default());
            }
            self.with_codes(rights, row, &mut wanted);
            Some(wanted.iter().collect())
        };
        let Some(subjects) = row.subjects_by(endpoint.key).filter(|_| !gate && !over) else {
            let Some(wanted) = of(whole, &row.rights) else { return WantedByKey::new() };
            return keys.iter().map(|key| (Arc::clone(key), Arc::clone(&wanted))).collect();
        };
        let one_by_one = fetch.shown.intersection(self.snapshot.subjects.one_by_one_of(endpoint.id));
        let by_key = |key: &Arc<str>| {
            let rights = subjects.rights.get(key).unwrap_or(&row.rights);
            let mut wanted = whole.clone();
            wanted.union(&rights.of_source(&one_by_one, endpoint.source));
            Some((Arc::clone(key), of(wanted, rights)?))
        };
        keys.iter().filter_map(by_key).collect()
    }

    /// The codes by which what is wanted may have to be left out.
    fn with_codes(&self, rights: &RowRights, row: &Row, wanted: &mut SlotSet) {
        let contract = &self.snapshot.contract;
        let unread = row.rights.held.unread.values().chain(&row.read_from_above).flat_map(|unread| &unread.codes);
        for (left_out, clauses) in rights.held.codes.iter().chain(&row.rights.held.codes).chain(unread) {
            if wanted.contains(*left_out) {
                for codes in clauses.iter().flat_map(|clause| clause.iter()) {
                    wanted.insert(codes.slot);
                    contract.above(codes.slot).for_each(|above| wanted.insert(above));
                }
            }
        }
    }

    /// An input that is not available makes what needs it unavailable too, in the name of the source at fault.
    fn blamed(&self, failure: Failure) -> Failure {
        Failure {
            state: if failure.state == ItemState::Undetermined {
                ItemState::Undetermined
            } else {
                ItemState::Unavailable
            },
            code: ErrorCode::InputMissing,
            ..failure
        }
    }

    /// An answer of each instance that is asked.
    async fn group(&self, endpoint: &Endpoint, group: &Group, charges: &Charges) -> Answered {
        let charges = charges.get(&endpoint.source).map_or(&[][..], Vec::as_slice);
        let GroupKey { instance, inputs, wanted } = &group.of;
        let wanted: Arc<[Pointer]> = if endpoint.selects_fields {
            endpoint.mapping.wanted_pointers(&|slot| wanted.contains(&slot)).into()
        } else {
            Arc::default()
        };
        let Some((template, size)) = endpoint.template(group.keys.len()) else { return Answered::new() };
        let (_, connectors) = self.source_of(endpoint);
        let establishes = self.snapshot.bindings.establishes.get(endpoint.entity.index()) == Some(&Some(endpoint.id));
        let call = |connector, keys| Call {
            source: endpoint.source,
            name: &endpoint.name,
            connector,
            template,
            batch: endpoint.many.as_ref(),
            keys,
            inputs,
            wanted: &wanted,
            page: None,
            charges,
        };
        let asked = |(at, _): &(usize, _)| instance.is_none_or(|instance| instance == *at);
        let mut asked = connectors.iter().enumerate().filter(asked);
        let (first, second) = (asked.next(), asked.next());
        // Nearly always it is one call.
        if let (Some((instance, connector)), None) = (first, second)
            && group.keys.len() <= size
        {
            let call = call(connector, &group.keys);
            let called = Box::pin(self.call(&call)).await;
            let mut answer = InstanceAnswer::new(instance, group.keys.len());
            answer.add(0, group.keys.len(), called, endpoint, establishes);
            return smallvec![answer];
        }
        let calls = first.into_iter().chain(second).chain(asked).map(|(instance, connector)| {
            let call = &call;
            async move {
                let batches =
                    group.keys.chunks(size).map(|keys| async move { self.call(&call(connector, keys)).await });
                let mut answer = InstanceAnswer::new(instance, group.keys.len());
                for (batch, fetched) in futures::future::join_all(batches).await.into_iter().enumerate() {
                    answer.add(
                        batch * size,
                        group.keys.len().saturating_sub(batch * size).min(size),
                        fetched,
                        endpoint,
                        establishes,
                    );
                }
                answer
            }
        });
        futures::future::join_all(calls).await.into()
    }
}

/// Whether there was nothing to ask with, and no source is to blame for it.
fn is_nobodys(asked: &Result<Places, RowAnswer>) -> bool {
    match asked {
        Err(RowAnswer::NoKey) => true,
        Err(RowAnswer::Missing(failure)) => failure.state == ItemState::Undetermined,
        _ => false,
    }
}

/// What was answered by an entity's keys, one part an instance. `one_by_one`: whose each record is counts.
fn answer_of(places: &[Place], groups: &[Group], answered: &[Answered], one_by_one: bool) -> RowAnswer {
    let instances = answered.iter().map(SmallVec::len).max().unwrap_or(0);
    let of_instance = |at: usize| {
        let answers = places.iter().filter_map(move |place| {
            let key = groups.get(place.group)?.keys.get(place.key)?;
            let answer = answered.get(place.group)?.get(at)?;
            Some((key, answer, answer.keys.get(place.key)?))
        });
        part_of(at, answers, one_by_one)
    };
    RowAnswer::Parts((0..instances).map(of_instance).collect())
}

/// One instance's part. One key that failed makes it fail: half a list is not a list.
fn part_of<'a>(
    instance: usize,
    answers: impl Iterator<Item = (&'a Arc<str>, &'a InstanceAnswer, &'a KeyAnswer)>,
    one_by_one: bool,
) -> Part {
    let mut latest: Option<jiff::Timestamp> = None;
    let (mut failure, mut records) = (None, Records::new());
    let mut part = Part {
        instance,
        outcome: Ok(Records::new()),
        keys: Vec::new(),
        absent: 0,
        at: jiff::Timestamp::default(),
        fallback: false,
        remarks: Vec::new(),
    };
    for (key, answer, of_key) in answers {
        failure = failure.or(of_key.failed);
        part.fallback |= of_key.fallback;
        part.remarks.extend(of_key.remarks.iter().cloned());
        part.instance = answer.instance;
        latest = latest.max(Some(answer.at));
        records.extend(of_key.records.iter().cloned());
        part.absent += usize::from(of_key.records.is_empty());
        if one_by_one {
            part.keys.extend(std::iter::repeat_n(Arc::clone(key), of_key.records.len()));
        }
    }
    Part { outcome: failure.map_or(Ok(records), Err), at: latest.unwrap_or_default(), ..part }
}

/// What a group's calls brought, by instance that was asked: nearly always one.
type Answered = SmallVec<[InstanceAnswer; 1]>;

/// What one instance's calls brought.
struct InstanceAnswer {
    instance: usize,
    at: jiff::Timestamp,
    /// By place of the key in its group.
    keys: Vec<KeyAnswer>,
}

#[derive(Default)]
struct KeyAnswer {
    records: Records,
    failed: Option<Failure>,
    remarks: Vec<Remark>,
    /// The endpoint's fallback answered.
    fallback: bool,
}

impl InstanceAnswer {
    fn new(instance: usize, keys: usize) -> Self {
        let keys = std::iter::repeat_with(KeyAnswer::default).take(keys).collect();
        Self { instance, at: jiff::Timestamp::default(), keys }
    }

    /// What a call brought of the keys of one batch.
    fn add(
        &mut self,
        first: usize,
        count: usize,
        called: Result<Called, Failure>,
        endpoint: &Endpoint,
        establishes: bool,
    ) {
        let index = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
        let keys = self.keys.get_mut(first..first.saturating_add(count)).unwrap_or_default();
        let Called { fetched, at, fallback } = match called {
            Ok(called) => called,
            Err(failure) => {
                self.at = jiff::Timestamp::now();
                keys.iter_mut().for_each(|key| key.failed = Some(failure));
                return;
            }
        };
        self.at = at;
        keys.iter_mut().for_each(|key| key.fallback |= fallback);
        for record in fetched.records {
            if let Some(key) = keys.get_mut(index(record.key)) {
                key.records.push(record.json);
            }
        }
        for key in fetched.failed {
            if let Some(key) = keys.get_mut(index(key)) {
                key.failed = Some(Failure::unavailable(ErrorCode::SourceError, endpoint.source));
            }
        }
        // Where the record means that the entity is there, it is not told apart from one that is not.
        for key in fetched.refused.into_iter().filter(|_| !establishes) {
            if let Some(key) = keys.get_mut(index(key)) {
                key.failed = Some(Failure::refused(endpoint.source));
            }
        }
        for remark in fetched.remarks {
            let what = match remark.what {
                source::Said::Failed => Said::Failed(Failure::unavailable(ErrorCode::SourceError, endpoint.source)),
                source::Said::Refused => Said::Failed(Failure::refused(endpoint.source)),
                source::Said::Masked => Said::Masked,
            };
            let of = match remark.key {
                Some(key) => keys.get_mut(index(key)..).and_then(|keys| keys.get_mut(..1)).unwrap_or_default(),
                None => &mut *keys,
            };
            of.iter_mut().for_each(|key| key.remarks.push(Remark { path: remark.path.clone(), what }));
        }
        if fetched.next.is_some() {
            // The source has more pages than the binding allows: what is here is not the whole.
            let more = Failure::unavailable(ErrorCode::LimitExceeded, endpoint.source);
            keys.iter_mut().for_each(|key| key.failed = Some(more));
        }
    }
}

/// Marks which rows need which fetches of the answer stage: for what is shown, for what rules read, and for what other
/// needed fetches come after.
pub(super) fn needed(snapshot: &Snapshot, (id, node): (NodeId, &Node), rows: &[Row], now: Now<'_>) -> Vec<Vec<Need>> {
    let of_row = |fetch: &FetchNode, row: &Row| {
        let source = snapshot.bindings.endpoint(fetch.endpoint).source;
        let own = !row.over_quota.contains(&source) && wanted_for(snapshot, fetch, source, row);
        // What a later stage comes after is asked once, so with all that is read of it.
        Need { own, inputs: own && matches!(now, Now::Stage(_)) }
    };
    let of_rows = |(at, fetch): (usize, &FetchNode)| {
        if !now.has(id, at) {
            return vec![Need::default(); rows.len()];
        }
        let mut known: Option<(&Row, Need)> = None;
        let of = |row| match known {
            Some((before, need)) if before.is_like(row) => need,
            _ => {
                let need = of_row(fetch, row);
                known = Some((row, need));
                need
            }
        };
        rows.iter().map(of).collect()
    };
    let mut needed: Vec<Vec<Need>> = node.fetches.iter().enumerate().map(of_rows).collect();
    // A fetch stands behind those it comes after: the plan makes them first.
    for (at, fetch) in node.fetches.iter().enumerate().rev() {
        for before in &fetch.after {
            let Some(wanted) = needed.get(at).cloned() else { continue };
            if let Some(flags) = needed.get_mut(*before) {
                for (flag, wanted) in flags.iter_mut().zip(wanted) {
                    flag.inputs |= wanted.is_any();
                }
            }
        }
    }
    needed
}

fn wanted_for(snapshot: &Snapshot, fetch: &FetchNode, source: SourceId, row: &Row) -> bool {
    let one_by_one = snapshot.subjects.one_by_one_of(fetch.endpoint);
    !row.rights.of_source(&fetch.shown, source).is_empty()
        || row.subjects.iter().any(|subjects| fetch.shown.intersection(one_by_one).intersects(&subjects.of_some))
        || (fetch.establishes && row.is_related())
        || !fetch.hidden.by_rules(&row.rights, row.read_from_above.as_deref(), source).is_empty()
}
