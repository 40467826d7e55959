//! Documents of a contract with a scan: which of them are one, and what their arguments come to.

use serde_json::{Value, json};

use crate::base::fault::{Faults, SourceText};
use crate::engine::operation::{Document, DocumentLimits, Operation, Selection};
use crate::model::contract::{Contract, load};

const CONTRACT: &str = r#"
directive @key(fields: String!) on OBJECT
directive @class(name: String!, level: Int!) on FIELD_DEFINITION | OBJECT
directive @finds(by: String!) on ARGUMENT_DEFINITION
directive @scan(division: String!, stats: String) on FIELD_DEFINITION
scalar Date
scalar Decimal
type Query {
  farm(id: ID!): Farm
  farms(place: ID! @finds(by: "place.code"), first: Int = 5, after: String): FarmConnection
    @scan(division: "place", stats: "counted")
}
type Farm @key(fields: "id") @class(name: "open", level: 1) {
  id: ID! area: Decimal since: Date place: Place! fields: [Field!] tenants: [String!]
}
type Place { code: String }
type Field { crop: String size: Int }
type FarmConnection { edges: [FarmEdge!]! nodes: [Farm!]! pageInfo: PageInfo! }
type FarmEdge { cursor: String! node: Farm! }
type PageInfo { hasNextPage: Boolean! }
"#;

const LIMITS: DocumentLimits = DocumentLimits { depth_max: 20, aliases_max: 20, tokens_max: 10_000, nesting_max: 50 };

fn contract() -> Contract {
    let mut faults = Faults::default();
    let whole = SourceText::new("schema", "");
    let contract = load::parse(vec![SourceText::new("contract.graphql", CONTRACT)], whole, &mut faults);
    assert!(faults.is_empty(), "{}", faults.render());
    contract.unwrap()
}

fn asked(text: &str, variables: Value) -> Result<(Document, Operation), String> {
    let contract = contract();
    let document = Document::parse(text, &contract, LIMITS).map_err(|error| error.message)?;
    let operation = document.operation(None).map_err(|error| error.message)?;
    let variables =
        document.variables(&contract, operation, variables.as_object().unwrap()).map_err(|error| error.message)?;
    let collected = document.collect(&contract, operation, &variables, LIMITS).map_err(|error| error.message)?;
    Ok((document, collected))
}

/// The arguments of the first root, as they would be read without any variables.
fn arguments(text: &str, variables: Value) -> Value {
    let (_, operation) = asked(text, variables).unwrap();
    let root: &Selection = &operation.roots[0];
    let none = serde_json::Map::new();
    let value = |name: &str| root.argument(name, &none).clone();
    root.arguments.iter().map(|argument| (argument.name.to_string(), value(&argument.name))).collect()
}

#[test]
fn variables_stand_anywhere_inside_what_a_scan_is_asked() {
    let text = r#"query ($area: Decimal!, $codes: [String!], $deep: FarmFilter, $left: Decimal, $id: ID!) {
      farms(place: "33", first: 3, among: [$id, "f2"], where: {
        or: [{area: {gt: $area, lt: $left}}, {place: {code: {in: $codes}}}, $deep] not: {id: {eq: $id}}
      }) { edges { cursor } }
    }"#;
    let variables =
        json!({"area": "12.50", "codes": "3301", "deep": {"fields": {"some": {"crop": {"eq": "oats"}}}}, "id": "f1"});
    assert_eq!(
        arguments(text, variables),
        json!({"place": "33", "first": 3, "among": ["f1", "f2"], "where": {
            "or": [
                {"area": {"gt": "12.50"}},
                {"place": {"code": {"in": ["3301"]}}},
                {"fields": {"some": {"crop": {"eq": "oats"}}}},
            ],
            "not": {"id": {"eq": "f1"}},
        }})
    );
}

#[test]
fn a_literal_and_a_variable_that_say_the_same_come_to_the_same() {
    let literal = r#"{ farms(place: "33", orderBy: {by: area}, where: {tenants: {none: {in: "x"}}, area: {lt: 12345678901234567.50}, id: {eq: 7}}) { edges { cursor } } }"#;
    let variable = "query ($order: [FarmOrder!], $where: FarmFilter) \
                    { farms(place: \"33\", orderBy: $order, where: $where) { edges { cursor } } }";
    let order = json!({"by": "area"});
    let filter = json!({"tenants": {"none": {"in": "x"}}, "area": {"lt": "12345678901234567.50"}, "id": {"eq": "7"}});
    let expected = arguments(literal, json!({}));
    assert_eq!(expected["orderBy"], json!([{"by": "area", "descending": false}]));
    assert_eq!(expected["where"]["tenants"], json!({"none": {"in": ["x"]}}));
    assert_eq!(expected["where"]["area"]["lt"], "12345678901234567.50", "numbers keep their digits");
    assert_eq!(arguments(variable, json!({"order": order, "where": filter})), expected);
}

#[test]
fn elsewhere_a_variable_is_the_whole_list_or_object_as_ever() {
    let text = r#"{ farms(place: "33", first: 3) { edges { cursor } } }"#;
    assert_eq!(arguments(text, json!({})), json!({"place": "33", "first": 3}));
}

#[test]
fn a_listing_is_a_scan_where_a_condition_or_its_coverage_is_asked() {
    let scan = |text: &str, variables: Value| {
        let (document, operation) = asked(text, variables).unwrap();
        (document.scans(), operation.scan.is_some())
    };
    let filter = json!({"id": {"exists": true}});
    let with = |more: &str| format!("{{ farms(place: \"33\"{more}) {{ edges {{ cursor missing {{ code }} }} }} }}");
    assert_eq!(scan(&with(""), json!({})), (false, false));
    assert_eq!(scan(&with(", first: 2, after: \"x\""), json!({})), (false, false));
    for more in
        [", where: {id: {exists: true}}", ", orderBy: [{by: area}]", ", among: [\"f1\"]", ", verdict: UNDETERMINED"]
    {
        assert_eq!(scan(&with(more), json!({})), (true, true), "{more}");
    }
    for more in [", where: null", ", orderBy: null, among: null, verdict: null"] {
        assert_eq!(scan(&with(more), json!({})), (true, false), "{more}: the plain listing, its plan not kept");
        assert_eq!(
            arguments(&with(more), json!({})),
            arguments(&with(""), json!({})),
            "{more}: its cursors are the same"
        );
    }
    let variable = "query ($w: FarmFilter) { farms(place: \"33\", where: $w) { edges { cursor } } }";
    assert_eq!(scan(variable, json!({})), (true, false));
    assert_eq!(scan(variable, json!({"w": null})), (true, false));
    assert_eq!(scan(variable, json!({"w": filter})), (true, true));
    let covered = "query ($c: Boolean!) { ...f } fragment f on Query { farms(place: \"33\") { coverage @include(if: $c) { matched } pageInfo { hasNextPage } } }";
    assert_eq!(scan(covered, json!({"c": true})), (true, true));
    assert_eq!(scan(covered, json!({"c": false})), (true, false));
    assert_eq!(scan("{ counted(place: \"33\", measures: {count: true}) { suppressed } }", json!({})), (true, true));
    assert_eq!(scan("{ farm(id: \"f1\") { id } }", json!({})), (false, false));
}

#[test]
fn statistics_have_their_arguments() {
    let text = r#"query ($by: FarmNumber!) {
      counted(place: "33", where: {since: {gteDaysAgo: 30}}, groupBy: [{by: since, dates: YEAR}], measures: [{sum: $by}]) { suppressed }
    }"#;
    assert_eq!(
        arguments(text, json!({"by": "area"})),
        json!({"place": "33", "where": {"since": {"gteDaysAgo": 30}}, "groupBy": [{"by": "since", "dates": "YEAR"}],
               "measures": [{"sum": "area"}]})
    );
}

#[test]
fn values_inside_conditions_are_checked_by_their_scalars() {
    let filter = |inside: &str| format!("{{ farms(place: \"33\", where: {inside}) {{ edges {{ cursor }} }} }}");
    for (inside, wrong) in [
        (r#"{area: {in: ["1", "many"]}}"#, "`area.in` must be a decimal number"),
        (r#"{not: {fields: {every: {crop: {startsWith: "oats"}}}}, since: {lt: "then"}}"#, "`since.lt` must be a date"),
    ] {
        let told = asked(&filter(inside), json!({})).unwrap_err();
        assert!(told.contains(wrong), "{told}");
    }
    let long = "9".repeat(300);
    let told = asked(&filter(&format!("{{id: {{eq: \"{long}\"}}}}")), json!({})).unwrap_err();
    assert!(told.contains("`id.eq` is longer than 256 bytes") && !told.contains(&long), "{told}");
    let variable = "query ($d: Date) { farms(place: \"33\", where: {since: {lt: $d}}) { edges { cursor } } }";
    let told = asked(variable, json!({"d": "then"})).unwrap_err();
    assert!(told.contains("`$d` must be a date"), "{told}");
}

#[test]
fn a_subscription_is_no_query_and_has_one_root() {
    let one = "subscription { farms(place: \"33\") { progress { done } } }";
    assert!(asked(one, json!({})).unwrap_err().contains("send it by POST, alone, with `Accept: text/event-stream`"));
    let two =
        "subscription { a: farms(place: \"33\") { progress { done } } b: farms(place: \"33\") { progress { done } } }";
    let told = asked(two, json!({})).unwrap_err();
    assert!(told.contains("only one top level field"), "{told}");
}
