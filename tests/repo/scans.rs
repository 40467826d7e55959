//! What `@scan` makes of contracts: of the household contract, on which it is put here, and of small ones.

use std::path::{Path, PathBuf};

use apollo_compiler::schema::ExtendedType;
use huxiang::base::fault::{Faults, SourceText};
use huxiang::model::contract::scan::{About, Member, Operator, Range, SeenScans};
use huxiang::model::contract::{Contract, Shape, SlotId, load};
use huxiang::model::rule::Compare;

const DIRECTIVES: &str = r#"
"""The listing can be scanned. 该列表可扫描。"""
directive @scan(division: String!, stats: String) on FIELD_DEFINITION
"""What the number is at least and at most. 数值的上下限。"""
directive @range(min: Decimal = "0", max: Decimal) on FIELD_DEFINITION
"#;

fn loaded(files: Vec<(PathBuf, String)>) -> Contract {
    let files = files.into_iter().map(|(path, text)| SourceText::new(path, text)).collect();
    let mut faults = Faults::default();
    let contract = load::parse(files, SourceText::new("schema", ""), &mut faults);
    assert!(faults.is_empty(), "{}", faults.render());
    contract.unwrap()
}

/// The demo's contract, its listing of households scanned.
fn demo() -> Contract {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema");
    let mut files: Vec<(PathBuf, String)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), std::fs::read_to_string(path).unwrap()))
        .collect();
    files.sort();
    let mut seen = 0;
    for (path, text) in &mut files {
        let listing = "): HouseholdConnection @list(firstMax: 200)";
        if text.contains(listing) && !text.contains("@scan") {
            *text =
                text.replace(listing, &format!("{listing} @scan(division: \"division\", stats: \"householdStats\")"));
            seen += 1;
        }
        if path.ends_with("directives.graphql") && !text.contains("directive @scan") {
            text.push_str(DIRECTIVES);
        }
    }
    assert!(seen <= 1);
    loaded(files)
}

#[test]
fn what_is_made_is_described_in_english_and_chinese() {
    let contract = demo();
    let mut bad = Vec::new();
    let mut check = |what: String, description: Option<&str>| {
        let text = description.unwrap_or_default();
        let english = text.split_whitespace().next().is_some_and(|word| word.is_ascii());
        let chinese = text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
        if !(english && chinese && text.ends_with('。')) {
            bad.push(what);
        }
    };
    let mut inputs = 0;
    for (name, kind) in contract.published.types.iter().filter(|(_, kind)| !kind.is_built_in()) {
        check(name.to_string(), kind.description().map(|text| &**text));
        match kind {
            ExtendedType::Object(object) => {
                for field in object.fields.values() {
                    check(format!("{name}.{}", field.name), field.description.as_deref());
                    for argument in &field.arguments {
                        check(format!("{name}.{}({})", field.name, argument.name), argument.description.as_deref());
                    }
                }
            }
            ExtendedType::InputObject(input) => {
                inputs += 1;
                for field in input.fields.values() {
                    check(format!("{name}.{}", field.name), field.description.as_deref());
                }
            }
            ExtendedType::Enum(kind) => {
                for value in kind.values.values() {
                    check(format!("{name}.{}", value.value), value.description.as_deref());
                }
            }
            _ => {}
        }
    }
    assert!(bad.is_empty(), "{bad:?}");
    assert!(inputs > 50, "{inputs}");
    if let Ok(path) = std::env::var("PRINT_SCANS") {
        std::fs::write(path, contract.published.to_string()).unwrap();
    }
}

const FARMS: &str = r#"
directive @key(fields: String!) on OBJECT
directive @class(name: String!, level: Int!) on FIELD_DEFINITION | OBJECT
directive @territory(by: String!) on OBJECT
directive @item(no: ID!, zh: String!) on FIELD_DEFINITION
directive @itemStates on FIELD_DEFINITION
directive @hidden on FIELD_DEFINITION
directive @finds(by: String!) on ARGUMENT_DEFINITION
directive @scan(division: String!, stats: String) on FIELD_DEFINITION
directive @range(min: Decimal = "0", max: Decimal) on FIELD_DEFINITION
scalar Date
scalar DateTime
scalar Decimal
scalar GeoJSON
scalar Seal
type Query {
  farm(id: ID!): Farm
  farms(place: ID! @finds(by: "place.code"), first: Int): FarmConnection @scan(division: "place", stats: "counted")
}
type Farm @key(fields: "id") @territory(by: "place.code") @class(name: "open", level: 1) {
  id: ID!
  area: Decimal @item(no: "1", zh: "面积") @range(max: "900.5")
  seen: DateTime
  seal: Seal
  outline: GeoJSON
  inner: String @hidden
  open: Boolean
  place: Place!
  other: Place
  map: Map
  fields: [Field!] @item(no: "2", zh: "地块")
  kinds: [Kind!]
  marks: [Mark!]
  owner: Owner
  owners: [Owner!]
  items(no: [ID!]): [ItemInfo!]! @itemStates
}
type Place { code: String since: Date }
type Map { outline: GeoJSON }
type Field { crop: String size: Int @range(min: -5) strips: [Strip!] }
type Strip { width: Int }
interface Mark { at: String }
type Spot implements Mark { at: String }
type Owner @key(fields: "number") @class(name: "person", level: 3) { number: ID! born: Date farm: Farm }
type ItemInfo { no: ID! state: ItemState! }
enum ItemState { ANSWERED NO_RECORD CONFLICT }
enum Kind { A B }
type FarmConnection { edges: [FarmEdge!]! pageInfo: PageInfo! }
type FarmEdge { cursor: String! node: Farm! }
type PageInfo { hasNextPage: Boolean! }
"#;

fn farms() -> Contract {
    loaded(vec![(PathBuf::from("contract.graphql"), FARMS.to_owned())])
}

fn inputs(contract: &Contract, name: &str) -> Vec<String> {
    let found = contract.published.get_input_object(name).unwrap_or_else(|| panic!("{name}"));
    found.fields.values().map(|field| format!("{}: {}", field.name, field.ty)).collect()
}

fn values(contract: &Contract, name: &str) -> Vec<String> {
    contract.published.get_enum(name).unwrap().values.keys().map(ToString::to_string).collect()
}

#[test]
fn everything_that_can_be_compared_has_a_filter_and_nothing_else() {
    let contract = farms();
    let farm = ["and: [FarmFilter!]", "or: [FarmFilter!]", "not: FarmFilter", "id: IdFilter", "area: DecimalFilter"]
        .into_iter()
        .chain([
            "seen: DateFilter",
            "seal: SealFilter",
            "open: BooleanFilter",
            "place: PlaceFilter",
            "other: PlaceFilter",
        ])
        .chain(["fields: FieldListFilter", "kinds: KindListFilter", "owner: OwnerFilter", "owners: OwnerListFilter"]);
    assert_eq!(inputs(&contract, "FarmFilter"), farm.collect::<Vec<_>>());
    assert_eq!(inputs(&contract, "SealFilter"), ["exists: Boolean", "itemState: ScanStateFilter"]);
    assert_eq!(inputs(&contract, "BooleanFilter"), ["eq: Boolean", "exists: Boolean", "itemState: ScanStateFilter"]);
    let list = ["some: StripFilter", "every: StripFilter", "none: StripFilter", "count: IntFilter"];
    assert_eq!(inputs(&contract, "StripListFilter")[..4], list);
    assert_eq!(inputs(&contract, "KindListFilter")[0], "some: KindFilter");
    let date = inputs(&contract, "DateFilter");
    assert!(date.contains(&"gteDaysAgo: Int".to_owned()) && date.contains(&"in: [Date!]".to_owned()), "{date:?}");
    for none in ["MapFilter", "MarkListFilter", "SpotFilter", "GeoJSONFilter"] {
        assert!(!contract.published.types.contains_key(none), "{none}");
    }
}

#[test]
fn fields_of_an_entity_are_sorted_grouped_and_measured_by_their_paths() {
    let contract = farms();
    assert_eq!(values(&contract, "FarmSortable"), ["area", "seen", "place_since", "other_since"]);
    assert_eq!(
        values(&contract, "FarmGroupable"),
        ["seen", "open", "place_code", "place_since", "other_since", "kinds"],
        "enumerations, booleans, dates, and the territory alone of all texts"
    );
    assert_eq!(values(&contract, "FarmNumber"), ["area"], "numbers inside lists are not of the entity");
    let filters = &contract.scans[0].filter;
    let entity = contract.entity_named("Farm").unwrap();
    let slot = contract.slot_at(entity, "other.since");
    assert!(slot.is_some());
    assert_eq!(filters.slot_of_value("FarmSortable", "other_since"), slot);
    assert_eq!(filters.slot_of_value("FarmSortable", "kinds"), None);
}

#[test]
fn a_condition_is_read_down_the_contract() {
    let contract = farms();
    let scan = contract.scan_of(1).unwrap();
    assert_eq!((&*scan.division, scan.stats.as_deref()), ("place", Some("counted")));
    let (entity, filters) = (scan.entity, &scan.filter);
    let slot = |path: &str| contract.slot_at(entity, path).unwrap();
    let root = filters.of_entity(entity).unwrap();
    let member = |filter: &str, field: &str, about| filters.member(&contract, filter, field, about);
    let field = |slot, about, filter: &str| Some(Member::Field { slot, about, filter: filter.into() });

    assert_eq!(member(root, "and", About::Entity(entity)), Some(Member::And));
    // One filter type, two places.
    for place in ["place", "other"] {
        let about = About::Slot(slot(place));
        assert_eq!(member(root, place, About::Entity(entity)), field(slot(place), about, "PlaceFilter"));
        let since = slot(&format!("{place}.since"));
        assert_eq!(member("PlaceFilter", "since", about), field(since, About::Slot(since), "DateFilter"));
    }
    assert_eq!(
        member("DateFilter", "gte", About::Slot(slot("seen"))),
        Some(Member::Operator(Operator::Compare(Compare::Ge)))
    );
    assert_eq!(
        member("DateFilter", "ltDaysAgo", About::Slot(slot("seen"))),
        Some(Member::Operator(Operator::WithinDays))
    );

    let fields = About::Slot(slot("fields"));
    assert_eq!(member(root, "fields", About::Entity(entity)), field(slot("fields"), fields, "FieldListFilter"));
    assert_eq!(member("FieldListFilter", "some", fields), Some(Member::Some(fields, "FieldFilter".into())));
    let strips = slot("fields.strips");
    assert_eq!(member("FieldFilter", "strips", fields), field(strips, About::Slot(strips), "StripListFilter"));
    assert_eq!(
        member("FieldListFilter", "count", fields),
        Some(Member::Count(About::Count(slot("fields")), "IntFilter".into()))
    );

    let owner = contract.entity_named("Owner").unwrap();
    assert_eq!(member(root, "owner", About::Entity(entity)), field(slot("owner"), About::Entity(owner), "OwnerFilter"));
    let owners = About::Slot(slot("owners"));
    assert_eq!(
        member("OwnerListFilter", "none", owners),
        Some(Member::None(About::Entity(owner), "OwnerFilter".into()))
    );
    let back = contract.slot_at(owner, "farm").unwrap();
    assert_eq!(member("OwnerFilter", "farm", About::Entity(owner)), field(back, About::Entity(entity), "FarmFilter"));
    assert_eq!(member(root, "nothing", About::Entity(entity)), None);

    assert!(contract.is_item(slot("area")) && contract.is_item(slot("fields")));
    assert!(!contract.is_item(slot("fields.crop")) && !contract.is_item(slot("seen")));
    let shape = &contract.slot(slot("owners")).shape;
    assert_eq!(*shape, Shape::EntityList(owner));
}

#[test]
fn ranges_are_those_that_are_written() {
    let contract = farms();
    let entity = contract.entity_named("Farm").unwrap();
    let range = |path: &str| contract.slot(contract.slot_at(entity, path).unwrap()).range;
    let number = |text: &str| text.parse().unwrap();
    assert_eq!(range("area"), Some(Range { min: number("0"), max: Some(number("900.5")) }));
    assert_eq!(range("fields.size"), Some(Range { min: number("-5"), max: None }));
    assert_eq!(range("fields.strips.width"), None);
}

/// Operators of the filters of what may not be compared are gone with it, and what is above it too.
#[test]
fn only_what_may_be_compared_is_seen() {
    let contract = farms();
    let entity = contract.entity_named("Farm").unwrap();
    let seen = |paths: &[&str]| {
        let slots: Vec<SlotId> = paths.iter().map(|path| contract.slot_at(entity, path).unwrap()).collect();
        let seen = SeenScans::new(&contract, |slot| slots.contains(&slot));
        let fields = contract.published.get_input_object("FarmFilter").unwrap().fields.keys();
        let fields: Vec<String> =
            fields.filter(|field| seen.input("FarmFilter", field)).map(ToString::to_string).skip(3).collect();
        (fields.join(" "), seen.field("Query", "counted"), seen.argument("Query", "farms", "where"))
    };
    let nothing = (String::new(), Some(false), false);
    assert_eq!(seen(&[]), nothing);
    assert_eq!(seen(&["inner"]), nothing, "what is hidden is nobody's to ask");
    assert_eq!(seen(&["place.since"]), nothing, "what it stands in must be given too");
    assert_eq!(seen(&["place", "place.since"]), ("place".to_owned(), Some(true), true));
    assert_eq!(seen(&["fields.crop", "fields"]), ("fields".to_owned(), Some(true), true));
    let seen = SeenScans::new(&contract, |_| true);
    assert_eq!((seen.field("Query", "farms"), seen.field("Farm", "area")), (None, None), "those are no scan's to hide");
    assert!(seen.argument("Query", "farms", "first"));
}

#[test]
fn a_contract_without_items_and_codes_has_texts_in_their_place() {
    let text = FARMS
        .replace(" @item(no: \"1\", zh: \"面积\")", "")
        .replace(" @item(no: \"2\", zh: \"地块\")", "")
        .replace("  items(no: [ID!]): [ItemInfo!]! @itemStates\n", "")
        .replace("type ItemInfo { no: ID! state: ItemState! }\nenum ItemState { ANSWERED NO_RECORD CONFLICT }\n", "");
    let contract = loaded(vec![(PathBuf::from("contract.graphql"), text)]);
    assert_eq!(inputs(&contract, "IdFilter"), ["eq: ID", "ne: ID", "in: [ID!]", "exists: Boolean"]);
    let missing = contract.published.get_object("ScanMissing").unwrap();
    assert_eq!(
        (missing.fields["state"].ty.to_string(), missing.fields["code"].ty.to_string()),
        ("String!".into(), "String!".into())
    );
}
