use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::json;
use smallvec::smallvec;

use super::*;
use crate::base::code::ErrorCode;
use crate::base::fault::Faults;
use crate::base::json::{Held, Json};
use crate::engine::frame::{Part, Row, RowAnswer};
use crate::engine::operation::Operation;
use crate::engine::plan::{DerivedNeed, FetchNode, Given, Hidden, Node, Origin, Plan, Stage, enter};
use crate::identify::Identity;
use crate::model::access::hand::Unread;
use crate::model::access::{RelationId, RowRights, SlotSet};
use crate::model::contract::SlotId;
use crate::model::mask::Mask;
use crate::model::rule::{Compare, Expression, Filter, Truth};
use crate::model::snapshot::{Folders, Snapshot};

const CONTRACT: &str = r#"
directive @key(fields: String!) on OBJECT
directive @class(name: String!, level: Int!) on FIELD_DEFINITION | OBJECT
scalar Decimal
type Query { farm(id: ID!): Farm }
type Farm @key(fields: "id") @class(name: "open", level: 1) {
  id: ID!
  land: Land!
  herd: [Animal!]
  warning: Warning
  large: Boolean
}
type Land { area: Decimal grade: String soil: String }
type Animal { tag: String weight: Decimal }
type Warning { level: Level complete: Boolean }
enum Level { RED YELLOW GREEN UNRECOGNIZED }
"#;

const FILES: [(&str, &str); 8] = [
    ("schema/contract.graphql", CONTRACT),
    (
        "config/gateway.yaml",
        "listen: 127.0.0.1:0\nnetworks: {office: [10.0.0.0/8]}\naudit: {store: a.sqlite, key: \"${AUDIT_KEY}\"}\n",
    ),
    (
        "config/roles.yaml",
        "roles: {clerk: {title: Clerk, networks: [office], grants: [{relation: any, classes: [open]}]}}\n",
    ),
    ("config/rules/relations.yaml", "relations:\n  any: {on: Farm, when: \"true\"}\n"),
    (
        "config/rules/warning.yaml",
        r#"derived:
  large: {on: Farm, declassifies: a line, value: "farm.land.area > decimal('100')"}
  warning:
    on: Farm
    declassifies: a colour
    ladder: [RED, YELLOW]
    otherwise: GREEN
    rules:
      - {id: heavy, level: RED, zh: 重, en: Heavy, when: "farm.herd.exists(x, x.weight > decimal('900'))"}
      - {id: wide, level: YELLOW, zh: 广, en: Wide, when: "farm.land.area > decimal('50')"}
"#,
    ),
    (
        "resolvers/register.yaml",
        r#"source: register
title: Register
base_url: ${REGISTER_URL}
endpoints:
  farm:
    entity: Farm
    establishes: true
    one: {get: "/farm/{key}"}
    fields: {land.area: /area, land.soil: /soil}
    also: {land.grade: /grade}
"#,
    ),
    (
        "resolvers/survey.yaml",
        "source: survey\ntitle: Survey\nbase_url: ${SURVEY_URL}\nendpoints:\n  \
         farm: {entity: Farm, one: {get: \"/farm/{key}\"}, fields: {land.grade: /grade}}\n",
    ),
    (
        "resolvers/stable.yaml",
        "source: stable\ntitle: Stable\nbase_url: ${STABLE_URL}\nendpoints:\n  \
         farm: {entity: Farm, one: {get: \"/farm/{key}\"}, fields: {herd: {list: /herd, fields: {tag: /tag, weight: /kg}}}}\n",
    ),
];

/// Removed with its owner.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let root = std::env::temp_dir().join(format!("huxiang-facts-{name}-{}", std::process::id()));
        for (path, text) in FILES {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Self(root)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A gateway's files, and a plan that asks all three departments for a farm.
struct World {
    snapshot: Snapshot,
    plan: Plan,
    /// What the caller may have of the farm: at first, everything.
    rights: Arc<RowRights>,
}

/// What the register, the survey and the stable answer.
type Answers<'a> = [Result<&'a str, Failure>; 3];

const SOURCES: [&str; 3] = ["register", "survey", "stable"];

impl World {
    fn new(name: &str) -> Self {
        let folder = Folder::new(name);
        let variables = |variable: &str| match variable {
            "AUDIT_KEY" => Some("k".repeat(32)),
            _ => variable.ends_with("_URL").then(|| "http://127.0.0.1:1".to_owned()),
        };
        let mut faults = Faults::default();
        let snapshot = Snapshot::load(&Folders::under(&folder.0), &variables, &mut faults);
        let snapshot = snapshot.unwrap_or_else(|| panic!("{}", faults.render()));
        let plan = plan(&snapshot);
        let rights = RowRights { slots: all_slots(&snapshot), ..RowRights::default() };
        Self { snapshot, plan, rights: Arc::new(rights) }
    }

    fn failure(&self, source: &str, code: ErrorCode) -> Failure {
        let bindings = &self.snapshot.bindings;
        let mut sources = bindings.endpoints.iter().map(|endpoint| endpoint.source);
        let id = sources.find(|id| &*bindings.source(*id).id == source);
        Failure::unavailable(code, id.unwrap())
    }

    fn read<T>(&self, answers: &Answers<'_>, read: impl FnOnce(&RowView<'_>) -> T) -> T {
        let answers: Vec<[RowAnswer; 1]> = answers.iter().map(|answer| [of_source(*answer)]).collect();
        let answers: Vec<Option<&[RowAnswer]>> = answers.iter().map(|rows| Some(&rows[..])).collect();
        let row = row(Arc::clone(&self.rights));
        read(&RowView::new(&self.snapshot, &self.plan, &self.plan.nodes[0], &row, 0, &answers, Stage::Answer))
    }

    fn facts(&self, paths: &[&str], answers: &Answers<'_>) -> Facts {
        let asking = asking();
        let reads = reads(&self.snapshot, paths);
        self.read(answers, |view| view.facts_of(&reads, &asking))
    }

    fn truth(&self, filter: &Filter, facts: &Facts) -> Truth {
        let expression = Expression::filter(filter, "Farm", &self.snapshot.contract).unwrap();
        expression.evaluate(&facts.value, &json!({}), jiff::civil::date(2024, 6, 1))
    }
}

fn slot(snapshot: &Snapshot, path: &str) -> SlotId {
    let farm = snapshot.contract.entity_named("Farm").unwrap();
    snapshot.contract.slot_at(farm, path).unwrap()
}

/// Selections of dotted paths; one that ends on `.state` asks for the state of the field before it.
fn reads(snapshot: &Snapshot, paths: &[&str]) -> Vec<Selection> {
    let mut reads = Vec::new();
    for path in paths {
        let field = path.strip_suffix(".state").unwrap_or(path);
        let mut slots: Vec<SlotId> = snapshot.contract.above(slot(snapshot, field)).collect();
        slots.reverse();
        let mut level = &mut reads;
        for above in slots {
            level = &mut enter(level, snapshot, above).children;
        }
        let of = enter(level, snapshot, slot(snapshot, field));
        if field != *path {
            let state = reads_state(of);
            level.push(state);
        }
    }
    reads
}

fn all_slots(snapshot: &Snapshot) -> SlotSet {
    snapshot.contract.slots.iter().map(|slot| slot.id).collect()
}

fn plan(snapshot: &Snapshot) -> Plan {
    let all = all_slots(snapshot);
    let of_source = |source: &&str| {
        let is_its = |id| &*snapshot.bindings.source(id).id == *source;
        snapshot.bindings.endpoints.iter().find(|endpoint| is_its(endpoint.source)).unwrap().id
    };
    let fetch = |endpoint| FetchNode {
        endpoint,
        stage: Stage::Answer,
        shown: SlotSet::new(),
        hidden: Hidden { above: all.clone(), ..Hidden::default() },
        after: Vec::new(),
        establishes: false,
    };
    let derived = |path: &str, inputs: &[&str]| DerivedNeed {
        slot: slot(snapshot, path),
        reads: reads(snapshot, inputs),
        by_rule: Vec::new(),
    };
    let node = Node {
        entity: snapshot.contract.entity_named("Farm").unwrap(),
        origin: Origin::Query(0),
        shown: SlotSet::new(),
        refused: SlotSet::new(),
        relations: Vec::new(),
        gate: Vec::new(),
        subjects: Vec::new(),
        inherits: false,
        via: None,
        fetches: SOURCES.iter().map(of_source).map(fetch).collect(),
        children: Vec::new(),
        derived: vec![derived("large", &["land.area"]), derived("warning", &["herd.weight", "land.area"])],
        items: Vec::new(),
        claims: false,
        embedded: SlotSet::new(),
        given: Given::default(),
    };
    let operation = Operation { name: None, roots: Vec::new(), scan: None, introspects: false, frame: None };
    Plan { operation: Arc::new(operation), nodes: vec![node], roots: vec![Some(0)] }
}

fn of_source(answer: Result<&str, Failure>) -> RowAnswer {
    let text = match answer {
        Ok(text) => text,
        Err(failure) => return RowAnswer::Missing(failure),
    };
    let json = Arc::new(Json::read(text.to_owned()).unwrap());
    let part = Part {
        instance: 0,
        outcome: Ok(smallvec![Held::new(&json, json.root())]),
        keys: vec!["f1".into()],
        absent: 0,
        at: Timestamp::UNIX_EPOCH,
        fallback: false,
        remarks: Vec::new(),
    };
    RowAnswer::Parts(Arc::new([part]))
}

fn asking() -> Asking {
    Asking::new(&Identity::at("127.0.0.1".parse().unwrap()), Timestamp::UNIX_EPOCH)
}

fn row(rights: Arc<RowRights>) -> Row {
    Row {
        key: Some("f1".into()),
        embedded: None,
        rights,
        subjects: Arc::new([]),
        on_behalf_of: Arc::new([]),
        undecided: None,
        over_quota: Vec::new(),
        read_from_above: None,
    }
}

/// Reasons by dotted path.
fn told(facts: &Facts) -> Vec<(String, Failure)> {
    facts.missing.iter().map(|missing| (missing.path.join("."), missing.failure)).collect()
}

#[test]
fn every_reason_is_told_where_rules_are_told_the_first() {
    let world = World::new("reasons");
    let late = world.failure("survey", ErrorCode::SourceTimeout);
    let lost = world.failure("stable", ErrorCode::SourceUnreachable);
    let answers = [Ok(r#"{"area": "2.50"}"#), Err(late), Err(lost)];
    let facts = world.facts(&["id", "land.area", "land.grade", "herd.tag"], &answers);
    assert_eq!(facts.value, json!({"id": "f1", "land": {"area": "2.50"}}));
    assert_eq!(told(&facts), [("herd".to_owned(), lost), ("land.grade".to_owned(), late)]);

    let reads = reads(&world.snapshot, &["land.grade", "herd.tag"]);
    let (_, first) = world.read(&answers, |view| view.rule_facts(&reads, Mode::Rules(&Unread::default())));
    assert_eq!(first, Some(late));

    let input = |path: &str| path.split('.').map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(facts.reasons(&[input("land.area")]), BTreeSet::new());
    assert_eq!(facts.reasons(&[input("land.area"), input("herd.tag")]), BTreeSet::from([lost]));
    assert_eq!(facts.reasons(&[input("land")]), BTreeSet::from([late]));
}

/// Nothing of a department is known as nothing, whoever else is silent about the same section.
#[test]
fn a_section_tells_what_is_known_of_it() {
    let world = World::new("sections");
    let late = world.failure("survey", ErrorCode::SourceTimeout);
    let facts = world.facts(&["land.area", "land.grade"], &[Ok(r#"{"area": null}"#), Err(late), Ok("{}")]);
    assert_eq!(facts.value, json!({"land": {"area": null}}));
    let exists = |field: &str| {
        let filter = Filter::Field(field.to_owned(), Box::new(Filter::Exists(true)));
        world.truth(&Filter::Field("land".to_owned(), Box::new(filter)), &facts)
    };
    assert_eq!((exists("area"), exists("grade")), (Truth::False, Truth::Unknown));

    let lost = world.failure("register", ErrorCode::SourceUnreachable);
    let facts = world.facts(&["land.area", "land.grade"], &[Err(lost), Err(late), Ok("{}")]);
    assert_eq!(facts.value, json!({}), "nothing is known of it, nor that it is there");
    assert_eq!(told(&facts), [("land.area".to_owned(), lost), ("land.grade".to_owned(), late)]);
}

#[test]
fn what_departments_disagree_about_is_not_known_and_its_state_is() {
    let world = World::new("states");
    let late = world.failure("survey", ErrorCode::SourceTimeout);
    let conflict = Failure { state: ItemState::Conflict, code: ErrorCode::Conflict, source: None };
    let paths = ["land.grade", "land.grade.state"];
    let state = |states: &[ItemState]| {
        let filter = Filter::Field("grade".to_owned(), Box::new(Filter::State(states.to_vec())));
        Filter::Field("land".to_owned(), Box::new(filter))
    };
    let is_conflict = state(&[ItemState::Conflict]);
    for (register, survey, value, missing, truth) in [
        ("B", Ok(r#"{"grade": "A"}"#), json!({"grade.state": "CONFLICT"}), Some(conflict), Truth::True),
        ("A", Ok(r#"{"grade": "A"}"#), json!({"grade": "A", "grade.state": "ANSWERED"}), None, Truth::False),
        ("A", Ok(r#"{"grade": null}"#), json!({"grade": null, "grade.state": "NO_RECORD"}), None, Truth::False),
    ] {
        let register = format!(r#"{{"grade": "{register}"}}"#);
        let facts = world.facts(&paths, &[Ok(&register), survey, Ok("{}")]);
        assert_eq!(facts.value, json!({ "land": value }));
        let missing: Vec<_> = missing.into_iter().map(|failure| ("land.grade".to_owned(), failure)).collect();
        assert_eq!(told(&facts), missing);
        assert_eq!(world.truth(&is_conflict, &facts), truth);
    }
    let facts = world.facts(&paths, &[Ok(r#"{"grade": "A"}"#), Err(late), Ok("{}")]);
    assert_eq!((facts.value.clone(), told(&facts)), (json!({}), vec![("land.grade".to_owned(), late)]));
    assert_eq!(world.truth(&is_conflict, &facts), Truth::Unknown);
    // The second holder is silent: the first one's word stands, and whether both agree is not known.
    let lost = world.failure("register", ErrorCode::SourceUnreachable);
    let facts = world.facts(&paths, &[Err(lost), Ok(r#"{"grade": "A"}"#), Ok("{}")]);
    assert_eq!(facts.value, json!({"land": {"grade": "A"}}));
    assert_eq!(told(&facts), vec![("land.grade".to_owned(), lost)]);
    assert_eq!(world.truth(&state(&[ItemState::Answered]), &facts), Truth::Unknown);
}

#[test]
fn a_list_that_is_known_in_part_has_its_reason_once_and_no_state() {
    let world = World::new("lists");
    let herd = r#"{"herd": [{"tag": "a", "kg": "x"}, {"tag": "b", "kg": "800"}, {"tag": "c", "kg": "y"}]}"#;
    let facts = world.facts(&["herd.tag", "herd.weight", "herd.state"], &[Ok("{}"), Ok("{}"), Ok(herd)]);
    let bad = world.failure("stable", ErrorCode::ValueInvalid);
    assert_eq!(facts.value, json!({"herd": [{"tag": "a"}, {"tag": "b", "weight": "800"}, {"tag": "c"}]}));
    assert_eq!(told(&facts), [("herd.weight".to_owned(), bad)]);
    let facts = world.facts(&["herd.tag", "herd.state"], &[Ok("{}"), Ok("{}"), Ok(r#"{"herd": []}"#)]);
    assert_eq!(facts.value, json!({"herd": [], "herd.state": "ANSWERED"}));
}

#[test]
fn of_a_ladder_the_levels_are_told_that_it_may_come_to_and_why() {
    let world = World::new("levels");
    let lost = world.failure("stable", ErrorCode::SourceUnreachable);
    let late = world.failure("register", ErrorCode::SourceTimeout);
    let open = |failure: Failure| ("warning.level".to_owned(), Failure { state: ItemState::Undetermined, ..failure });
    let heavy = Ok(r#"{"herd": [{"kg": "950"}]}"#);
    for (register, stable, levels, missing) in [
        (Ok(r#"{"area": "60"}"#), Err(lost), json!(["RED", "YELLOW"]), vec![open(lost)]),
        (Ok(r#"{"area": "40"}"#), Err(lost), json!(["RED", "GREEN"]), vec![open(lost)]),
        (Err(late), heavy, json!(["RED"]), vec![]),
        (Err(late), Ok(r#"{"herd": []}"#), json!(["YELLOW", "GREEN"]), vec![open(late)]),
        (Ok(r#"{"area": "60"}"#), Ok(r#"{"herd": []}"#), json!(["YELLOW"]), vec![]),
    ] {
        let facts = world.facts(&["warning.level"], &[register, Ok("{}"), stable]);
        assert_eq!(facts.value, json!({"warning": {"level": levels}}));
        assert_eq!(told(&facts), missing);
        let yellow = Filter::Whichever(Box::new(Filter::Compare(Compare::Eq, json!("YELLOW"))));
        let level = Filter::Field("level".to_owned(), Box::new(yellow));
        let truth = match levels.as_array().map(Vec::as_slice) {
            Some([only]) if *only == "YELLOW" => Truth::True,
            Some(levels) if levels.contains(&json!("YELLOW")) => Truth::Unknown,
            _ => Truth::False,
        };
        assert_eq!(world.truth(&Filter::Field("warning".to_owned(), Box::new(level)), &facts), truth);
    }
}

#[test]
fn a_derived_value_is_there_where_it_is_known() {
    let world = World::new("values");
    let of = |register: Result<&str, Failure>| world.facts(&["large"], &[register, Ok("{}"), Ok("{}")]);
    assert_eq!(of(Ok(r#"{"area": "101"}"#)).value, json!({"large": true}));
    assert_eq!(of(Ok(r#"{"area": null}"#)).value, json!({"large": false}));
    let late = world.failure("register", ErrorCode::SourceTimeout);
    let facts = of(Err(late));
    assert_eq!(facts.value, json!({}));
    assert_eq!(told(&facts), [("large".to_owned(), Failure { state: ItemState::Undetermined, ..late })]);
}

/// To decide on what is refused or masked would tell it. What it makes of a derived field is told by that field's own grant.
#[test]
fn what_the_caller_may_not_read_in_full_is_not_known() {
    let mut world = World::new("rights");
    let answers = [Ok(r#"{"area": "101", "soil": "clay"}"#), Ok("{}"), Ok("{}")];
    let mut rights = RowRights { slots: all_slots(&world.snapshot), ..RowRights::default() };
    rights.slots.remove(slot(&world.snapshot, "land.area"));
    rights.masks.insert(slot(&world.snapshot, "land.soil"), Mask::Name);
    world.rights = Arc::new(rights);
    let facts = world.facts(&["id", "land.area", "land.soil", "large"], &answers);
    assert_eq!(facts.value, json!({"id": "f1", "large": true}));
    let paths: Vec<String> = told(&facts).into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, ["land.area", "land.soil"]);
}

/// A condition finds the entities that the caller finds; whether it finds one may not be known.
#[test]
fn an_entity_that_the_caller_has_nothing_to_do_with_is_not_there() {
    let world = World::new("finds");
    let asking = asking();
    let unread = Unread::default();
    let condition = Writer::new(&world.snapshot, Mode::Condition(&asking));
    let rules = Writer::new(&world.snapshot, Mode::Rules(&unread));
    let late = world.failure("survey", ErrorCode::SourceTimeout);
    let related = RowRights { relations: vec![RelationId(0)], ..RowRights::default() };
    let (none, some) = (Arc::new(RowRights::default()), Arc::new(related));
    for (rights, undecided, finds) in [
        (&some, None, Ok(true)),
        (&some, Some(late), Ok(true)),
        (&none, None, Ok(false)),
        (&none, Some(late), Err(late)),
    ] {
        let row = Row { undecided, ..row(Arc::clone(rights)) };
        assert_eq!(condition.finds(&row), finds);
        assert_eq!(rules.finds(&row), Ok(true));
    }
}
