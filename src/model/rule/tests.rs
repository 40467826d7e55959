use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::base::fault::{Faults, SourceText};

/// A small contract: type → field → (type, list, kind).
pub(super) struct Contract;

const FIELDS: &[(&str, &str, &str, bool, FieldKind)] = &[
    ("Household", "id", "ID", false, FieldKind::Scalar),
    ("Household", "registry", "Registry", false, FieldKind::Object),
    ("Household", "identity", "Identity", false, FieldKind::Object),
    ("Household", "medical", "Medical", false, FieldKind::Object),
    ("Household", "help", "Help", false, FieldKind::Object),
    ("Household", "risk", "Risk", false, FieldKind::Object),
    ("Registry", "grid", "String", false, FieldKind::Scalar),
    ("Registry", "division", "Division", false, FieldKind::Object),
    ("Registry", "category", "Category", false, FieldKind::Enum),
    ("Registry", "causes", "Cause", true, FieldKind::Enum),
    ("Registry", "recognizedOn", "Date", false, FieldKind::Scalar),
    ("Registry", "memberCount", "Int", false, FieldKind::Scalar),
    ("Division", "code", "String", false, FieldKind::Scalar),
    ("Identity", "members", "Person", true, FieldKind::Object),
    ("Person", "idNumber", "IdNumber", false, FieldKind::Scalar),
    ("Person", "birthDate", "Date", false, FieldKind::Scalar),
    ("Person", "livesTogether", "Boolean", false, FieldKind::Scalar),
    ("Person", "household", "Household", false, FieldKind::Object),
    ("Medical", "insured", "Boolean", false, FieldKind::Scalar),
    ("Medical", "selfPaid", "Decimal", false, FieldKind::Scalar),
    ("Medical", "aid", "Decimal", false, FieldKind::Scalar),
    ("Help", "cadre", "Cadre", false, FieldKind::Object),
    ("Cadre", "id", "ID", false, FieldKind::Scalar),
    ("Risk", "warning", "Warning", false, FieldKind::Object),
    ("Warning", "level", "WarningLevel", false, FieldKind::Enum),
];

impl FieldTypes for Contract {
    fn field(&self, type_name: &str, field: &str) -> Option<FieldType> {
        FIELDS.iter().find(|f| f.0 == type_name && f.1 == field).map(|f| FieldType {
            name: f.2.to_owned(),
            list: f.3,
            kind: f.4,
        })
    }
    fn fields(&self, type_name: &str) -> Vec<String> {
        FIELDS.iter().filter(|f| f.0 == type_name).map(|f| f.1.to_owned()).collect()
    }
    fn enum_values(&self, type_name: &str) -> Option<Vec<String>> {
        let values: &[&str] = match type_name {
            "Category" => &["DIBAO", "MARGINAL", "UNRECOGNIZED"],
            "Cause" => &["ILLNESS", "DISABILITY", "UNRECOGNIZED"],
            "WarningLevel" => &["RED", "YELLOW", "GREEN", "UNRECOGNIZED"],
            _ => return None,
        };
        Some(values.iter().map(|value| (*value).to_owned()).collect())
    }
}

fn claims() -> BTreeMap<String, ClaimType> {
    [
        ("id", ClaimType::String),
        ("household", ClaimType::String),
        ("divisions", ClaimType::StringList),
        ("grids", ClaimType::StringList),
    ]
    .into_iter()
    .map(|(name, ty)| (name.to_owned(), ty))
    .collect()
}

pub(super) fn compile(text: &str) -> Result<Expression, RuleFault> {
    let claims = claims();
    let scope = Scope {
        entity_variable: "household",
        entity_type: "Household",
        principal: &claims,
        fields: &Contract,
        thresholds: None,
    };
    Expression::compile(text, &scope)
}

pub(super) fn today() -> jiff::civil::Date {
    jiff::civil::date(2024, 6, 1)
}

fn truth_as(text: &str, entity: Value, principal: Value) -> Truth {
    let expression = compile(text).unwrap_or_else(|fault| panic!("{text}: {fault:?}"));
    expression.evaluate(&entity, &principal, today())
}

fn truth(text: &str, entity: Value) -> Truth {
    truth_as(text, entity, json!({}))
}

fn fault(text: &str) -> RuleFault {
    compile(text).err().unwrap_or_else(|| panic!("{text} was accepted"))
}

/// The part of the text that a fault points at.
fn pointed(text: &str) -> String {
    let fault = fault(text);
    text.chars().skip(fault.offset).take(fault.length).collect()
}

#[test]
fn inputs_are_the_longest_paths_read_and_include_list_elements() {
    let text = "has(household.registry.division) && household.registry.division.code.startsWith('33') \
                && household.identity.members.exists(m, m.livesTogether && yearsBetween(m.birthDate, today) > 60) \
                && size(household.registry.causes) > 0 && household.registry.grid in principal.grids";
    let expression = compile(text).unwrap();
    let inputs: Vec<String> = expression.inputs().iter().map(|path| path.join(".")).collect();
    assert_eq!(
        inputs,
        [
            "identity.members.birthDate",
            "identity.members.livesTogether",
            "registry.causes",
            "registry.division.code",
            "registry.grid"
        ]
    );
    assert_eq!(expression.principal_claims(), ["grids"]);
}

#[test]
fn a_list_whose_elements_are_not_looked_at_is_an_input_itself() {
    let expression = compile("household.identity.members.exists(m, true)").unwrap();
    assert_eq!(expression.inputs(), [["identity", "members"]]);
    assert!(compile("true").unwrap().inputs().is_empty());
}

#[test]
fn what_is_absent_is_unknown_and_only_where_the_answer_depends_on_it() {
    let none = || json!({});
    assert_eq!(truth("household.medical.insured", none()), Truth::Unknown);
    assert_eq!(truth("!household.medical.insured", none()), Truth::Unknown);
    assert_eq!(truth("household.medical.insured && false", none()), Truth::False);
    assert_eq!(truth("false && household.medical.insured", none()), Truth::False);
    assert_eq!(truth("household.medical.insured || true", none()), Truth::True);
    assert_eq!(truth("household.medical.insured || false", none()), Truth::Unknown);
    assert_eq!(truth("household.registry.grid == 'a'", json!({"registry": {}})), Truth::Unknown);
    assert_eq!(truth("has(household.registry.grid)", json!({"registry": {}})), Truth::Unknown);
    let members = json!({"identity": {"members": [{"livesTogether": false}, {}]}});
    assert_eq!(truth("household.identity.members.exists(m, m.livesTogether)", members.clone()), Truth::Unknown);
    assert_eq!(truth("household.identity.members.all(m, m.livesTogether)", members.clone()), Truth::False);
    assert_eq!(truth("household.identity.members.exists_one(m, m.livesTogether)", members), Truth::Unknown);
}

#[test]
fn null_is_not_greater_nor_less_and_equals_only_the_literal() {
    let entity = || json!({"id": "1", "medical": {"selfPaid": null, "insured": null}, "help": {"cadre": null}});
    assert_eq!(truth("household.medical.selfPaid < decimal('1')", entity()), Truth::False);
    assert_eq!(truth("household.medical.selfPaid >= decimal('1')", entity()), Truth::False);
    assert_eq!(truth("household.medical.selfPaid == null", entity()), Truth::True);
    assert_eq!(truth("household.medical.selfPaid != null", entity()), Truth::False);
    assert_eq!(truth("has(household.medical.selfPaid)", entity()), Truth::False);
    assert_eq!(truth("household.medical.selfPaid + decimal('1') > decimal('0')", entity()), Truth::False);
    assert_eq!(truth("household.medical.insured", entity()), Truth::False);
    assert_eq!(truth("!household.medical.insured", entity()), Truth::False);
}

#[test]
fn a_missing_cadre_is_nobodys_cadre() {
    let entity = json!({"help": {"cadre": null}});
    assert_eq!(truth("household.help.cadre.id == principal.id", entity.clone()), Truth::False);
    assert_eq!(truth_as("household.help.cadre.id == principal.id", entity, json!({"id": null})), Truth::False);
}

#[test]
fn relations_of_the_demo_hold_for_those_who_stand_in_them() {
    let entity = json!({"id": "H1", "registry": {"division": {"code": "331122103"}, "grid": "g7"}});
    let jurisdiction = "principal.divisions.exists(d, household.registry.division.code.startsWith(d))";
    let to = |text: &str, principal: Value| truth_as(text, entity.clone(), principal);
    assert_eq!(to(jurisdiction, json!({"divisions": ["3302", "331122"]})), Truth::True);
    assert_eq!(to(jurisdiction, json!({"divisions": ["3302"]})), Truth::False);
    assert_eq!(to(jurisdiction, json!({})), Truth::False);
    assert_eq!(to("household.registry.grid in principal.grids", json!({"grids": ["g7"]})), Truth::True);
    assert_eq!(to("household.registry.grid in principal.grids", json!({"grids": []})), Truth::False);
    assert_eq!(to("household.id == principal.household", json!({"household": "H1"})), Truth::True);
}

#[test]
fn decimals_are_exact() {
    let entity = json!({"medical": {"selfPaid": "0.10", "aid": "0.20"}});
    let sum = "household.medical.selfPaid + household.medical.aid == decimal('0.3')";
    assert_eq!(truth(sum, entity.clone()), Truth::True);
    assert_eq!(truth("household.medical.selfPaid * household.medical.aid == decimal('0.02')", entity), Truth::True);
    let large = json!({"medical": {"selfPaid": "79228162514264337593543950335", "aid": "1"}});
    assert_eq!(truth("household.medical.selfPaid + household.medical.aid > decimal('0')", large), Truth::Unknown);
    let fine = json!({"medical": {"selfPaid": "79228162514264337593543950335", "aid": "0.4"}});
    assert_eq!(truth("household.medical.selfPaid - household.medical.aid > decimal('0')", fine), Truth::Unknown);
}

#[test]
fn a_product_is_exact_or_not_known() {
    let product = |l: &str, r: &str, is: &str| {
        let entity = json!({"medical": {"selfPaid": l, "aid": r}});
        truth(&format!("household.medical.selfPaid * household.medical.aid == decimal('{is}')"), entity)
    };
    assert_eq!(product("0.001", "0.002", "0.000002"), Truth::True);
    assert_eq!(product("0", "0.5", "0"), Truth::True);
    assert_eq!(product("0.5", "0.00", "0"), Truth::True);
    assert_eq!(product("0.300000000000001", "0.300000000000001", "0.09"), Truth::Unknown);
    // What is too small for 28 places is not nothing.
    assert_eq!(product("0.000000000000001", "0.000000000000001", "0"), Truth::Unknown);
    let difference = json!({"medical": {"selfPaid": "1.50", "aid": "1.5"}});
    assert_eq!(truth("household.medical.selfPaid - household.medical.aid == decimal('0')", difference), Truth::True);
}

#[test]
fn whole_numbers_are_counted_and_reckoned_with() {
    let of = |count: Value| {
        json!({"id": 7, "registry": {"memberCount": count, "grid": "g7", "causes": ["ILLNESS", "DISABILITY"]},
        "medical": {"selfPaid": 5}})
    };
    for (text, three, null) in [
        ("household.registry.memberCount + 1 == 4", Truth::True, Truth::False),
        ("household.registry.memberCount - 1 == 2", Truth::True, Truth::False),
        ("household.registry.memberCount * 2 == 6", Truth::True, Truth::False),
        ("-household.registry.memberCount == -3", Truth::True, Truth::False),
        ("decimal(household.registry.memberCount) == decimal('3')", Truth::True, Truth::False),
        // A number where the contract has a Decimal or a text is read as such.
        ("-household.medical.selfPaid == decimal('-5')", Truth::True, Truth::True),
        ("household.id == '7'", Truth::True, Truth::True),
        ("size(household.registry.grid) == 2", Truth::True, Truth::True),
        ("size(household.registry.causes) == 2", Truth::True, Truth::True),
        ("size(['a', 'b', 'c']) == household.registry.memberCount", Truth::True, Truth::False),
    ] {
        assert_eq!(truth(text, of(json!(3))), three, "{text}");
        assert_eq!(truth(text, of(Value::Null)), null, "{text}");
    }
}

/// Nothing is known to be so of what is null, and it is known that it is not: the answer is "no", not "unknown".
#[test]
fn what_is_reckoned_of_null_is_null() {
    let entity = || {
        json!({"registry": {"grid": null, "causes": null, "recognizedOn": null, "memberCount": null},
        "medical": {"selfPaid": null}})
    };
    for text in [
        "size(household.registry.grid) == 0",
        "size(household.registry.causes) == 0",
        "household.registry.grid.startsWith('g')",
        "'g'.startsWith(household.registry.grid)",
        "yearsBetween(household.registry.recognizedOn, today) >= 0",
        "daysBetween(today, household.registry.recognizedOn) >= 0",
        "-household.medical.selfPaid <= decimal('0')",
        "'ILLNESS' in household.registry.causes",
        "household.registry.grid in principal.grids",
        "household.registry.grid in ['g7']",
    ] {
        assert_eq!(truth(text, entity()), Truth::False, "{text}");
        if !text.contains(['=']) {
            assert_eq!(truth(&format!("!({text})"), entity()), Truth::False, "!({text})");
        }
    }
}

#[test]
fn exactly_one_is_neither_none_nor_two() {
    let one = |members: Value| {
        let entity = json!({"identity": {"members": members}});
        truth("household.identity.members.exists_one(m, m.livesTogether)", entity)
    };
    let (yes, no, unknown) = (|| json!({"livesTogether": true}), || json!({"livesTogether": false}), || json!({}));
    assert_eq!(one(json!([])), Truth::False);
    assert_eq!(one(json!([no()])), Truth::False);
    assert_eq!(one(json!([no(), yes(), no()])), Truth::True);
    assert_eq!(one(json!([yes(), yes()])), Truth::False);
    assert_eq!(one(json!([yes(), unknown()])), Truth::Unknown);
    assert_eq!(one(json!([yes(), unknown(), yes()])), Truth::False, "two are too many, whatever the third");
}

#[test]
fn partial_dates_are_compared_as_far_as_they_go() {
    let entity = || json!({"registry": {"recognizedOn": "2021-03"}});
    assert_eq!(truth("household.registry.recognizedOn < date('2021-04-01')", entity()), Truth::True);
    assert_eq!(truth("household.registry.recognizedOn < date('2021-03-01')", entity()), Truth::False);
    assert_eq!(truth("household.registry.recognizedOn < date('2021-03-15')", entity()), Truth::Unknown);
    assert_eq!(truth("household.registry.recognizedOn == date('2020-03-15')", entity()), Truth::False);
    assert_eq!(truth("household.registry.recognizedOn != date('2020-03-15')", entity()), Truth::True);
    assert_eq!(truth("household.registry.recognizedOn != date('2021-03-15')", entity()), Truth::Unknown);
    let whole = json!({"registry": {"recognizedOn": "2021-03-05"}});
    assert_eq!(truth("household.registry.recognizedOn != date('2021-03-05')", whole), Truth::False);
    assert_eq!(truth("yearsBetween(household.registry.recognizedOn, today) == 3", entity()), Truth::True);
    assert_eq!(truth("daysBetween(household.registry.recognizedOn, today) > 1", entity()), Truth::Unknown);
}

#[test]
fn enumerations_are_compared_with_their_values_only() {
    let entity = json!({"registry": {"category": "DIBAO", "causes": ["ILLNESS"]}});
    assert_eq!(truth("household.registry.category in ['DIBAO', 'MARGINAL']", entity.clone()), Truth::True);
    assert_eq!(truth("'ILLNESS' in household.registry.causes", entity.clone()), Truth::True);
    assert_eq!(truth("household.registry.causes.all(c, c != 'ILLNESS')", entity), Truth::False);
    assert_eq!(pointed("household.registry.category == 'DIBA'"), "'DIBA'");
    assert_eq!(fault("household.registry.category == 'DIBA'").hint, "did you mean `DIBAO`?");
    assert_eq!(pointed("household.registry.category in ['DIBAO', 'X']"), "'X'");
}

#[test]
fn faults_point_at_the_offending_part() {
    assert_eq!(pointed("true && household.registri.grid == 'a'"), "registri");
    assert_eq!(fault("household.registri.grid == 'a'").hint, "did you mean `registry`?");
    assert_eq!(pointed("'低保' == household.registry.grit"), "grit");
    assert_eq!(pointed("'低保' == household.registry.grid && )"), ")");
    assert_eq!(pointed("true &&\n '低保' == ] "), "]");
    assert_eq!(pointed("principal.idd == 'a'"), "idd");
    assert_eq!(pointed("houshold.id == 'a'"), "houshold");
    assert_eq!(fault("household.medical.selfPaid > 30000").hint, "write `decimal('30000')`");
    assert_eq!(fault("household.registry.recognizedOn > '2024-01-01'").hint, "write `date('2024-01-01')`");
    assert_eq!(fault("1.5 > 1.0").hint, "write `decimal('1.5')`");
    assert!(fault("household.medical.selfPaid").message.contains("a condition is a Boolean"));
    assert!(fault("household.identity.members.idNumber == 'x'").message.contains("a list"));
    assert!(fault("matches(household.id, 'x')").message.contains("no function"));
    assert!(fault("household.registry.causes[0] == 'ILLNESS'").message.contains("no order"));
    for text in ["", "  ", "true &&", "(true", "'open", "a ? b", "{'a': 1}", "x.y{z: 1}", "has(household)"] {
        fault(text);
    }
}

#[test]
fn hostile_texts_are_refused_and_do_not_exhaust_the_stack() {
    for text in [
        "(".repeat(3_999),
        "!".repeat(3_999),
        "-".repeat(3_999),
        "[".repeat(2_000),
        format!("true{}", "?true:true".repeat(390)),
        format!("1{} == 1", "+1".repeat(1_900)),
        format!("household{} == 1", ".a".repeat(1_900)),
        format!("true{}", " in [true]".repeat(390)),
        "a.exists(x,".repeat(300),
        "\u{0}true".to_owned(),
        "é".repeat(3_999),
        "x".repeat(100_000),
    ] {
        assert!(compile(&text).is_err());
    }
    assert!(compile(&format!("true{}", " && true".repeat(480))).is_ok());
}

#[test]
fn long_lists_run_into_the_budget_and_not_into_the_clock() {
    let members: Vec<Value> = (0..2_000).map(|n| json!({"idNumber": n.to_string()})).collect();
    let text = "household.identity.members.all(a, household.identity.members.all(b, \
                household.identity.members.all(c, a.idNumber != 'x' || b.idNumber == c.idNumber)))";
    assert_eq!(truth(text, json!({"identity": {"members": members}})), Truth::Unknown);
}

const FILE: &str = r#"relations:
  any: {on: Household, when: "true"}
  paired: {on: Household, when: "household.help.cadre.id == principal.id"}
derived:
  risk.warning:
    on: Household
    declassifies: "A colour tells little of its inputs."
    ladder: [RED, YELLOW]
    otherwise: GREEN
    rules:
      - {id: medical, level: RED, zh: 医疗, en: Medical, when: "household.medical.selfPaid >= decimal('30000')"}
      - id: uninsured
        level: YELLOW
        zh: 未参保
        en: Not insured
        when: >-
          has(household.medical.insured)
          && !household.medical.insured
"#;

fn loaded(text: &str) -> (Rules, Faults) {
    let mut faults = Faults::default();
    let file = SourceText::new("config/rules/x.yaml", text);
    let rules = load(&[file], &Contract, &claims(), &mut faults);
    (rules, faults)
}

#[test]
fn a_ladder_takes_the_highest_level_and_says_what_it_could_not_tell() {
    let (rules, faults) = loaded(FILE);
    assert!(faults.is_empty(), "{}", faults.render());
    assert_eq!(rules.relations.iter().map(|r| r.name.as_str()).collect::<Vec<_>>(), ["any", "paired"]);
    let Derived::Ladder(ladder) = &rules.derived[0] else { panic!("a ladder") };
    let decide = |entity: Value| {
        let decision = ladder.decide(&entity, &json!({}), today());
        (decision.level, decision.complete, decision.fired.len(), decision.undetermined.len())
    };
    let level = |name: &str| Some(name.to_owned());
    let both = json!({"medical": {"selfPaid": "30000.00", "insured": false}});
    assert_eq!(decide(both), (level("RED"), true, 2, 0));
    assert_eq!(decide(json!({"medical": {"selfPaid": "1", "insured": true}})), (level("GREEN"), true, 0, 0));
    assert_eq!(decide(json!({"medical": {"insured": false}})), (level("YELLOW"), false, 1, 1));
    assert_eq!(decide(json!({"medical": {"insured": true}})), (None, false, 0, 1));
}

#[test]
fn faults_of_rules_files_are_placed_inside_the_expression() {
    let text = FILE
        .replace("&& !household.medical.insured", "&& !household.medical.insurd")
        .replace("help.cadre.id ==", "help.cadr.id ==")
        .replace("[RED, YELLOW]", "[RED, YELOW]");
    let (rules, faults) = loaded(&text);
    let places: Vec<String> = faults
        .sorted()
        .iter()
        .map(|fault| {
            let line = text.lines().nth(fault.place.line - 1).unwrap();
            line.chars().skip(fault.place.column - 1).take(fault.place.length.max(4)).collect()
        })
        .collect();
    assert_eq!(places, ["cadr", "YELO", "YELL", "insurd"], "{}", faults.render());
    assert!(rules.derived.is_empty());
    let (_, faults) = loaded("relations:\n  any: {on: Household, wenn: 'true'}\n");
    assert_eq!(faults.sorted()[0].place.line, 2, "{}", faults.render());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,60}") {
        let _ = compile(&text);
    }

    #[test]
    fn arbitrary_tokens_never_panic(
        tokens in prop::collection::vec(
            prop::sample::select(vec![
                "household", ".", "registry", "medical", "selfPaid", "(", ")", "[", "]", "'a'", "1", "&&", "||", "!",
                "==", "<", "+", "-", "*", "in", "exists", "all", "x", ",", "decimal", "date", "today", "null", "has",
                "?", ":", "\"", "\\", "'''", "r'", "1.0", "1u", "{", "}", "/", "%", "\n", "低", "size", "true",
            ]),
            0..25,
        )
    ) {
        if let Ok(expression) = compile(&tokens.join(" ")) {
            expression.evaluate(&json!({}), &json!({}), today());
        }
    }

    #[test]
    fn any_json_is_evaluated_without_a_panic(text in "[0-9a-zA-Z.\\-]{0,12}", number in any::<i64>()) {
        for value in [json!(text), json!(number), json!([text]), json!({"code": number}), json!(null), json!(1.5)] {
            let entity = json!({"id": value, "registry": {"recognizedOn": value, "division": value, "causes": value},
                "medical": {"selfPaid": value}});
            truth("household.id == 'x' || household.registry.recognizedOn < today \
                || daysBetween(household.registry.recognizedOn, today) > 3 \
                || household.registry.division.code == 'a' || 'ILLNESS' in household.registry.causes \
                || household.medical.selfPaid * household.medical.selfPaid > decimal('1')", entity);
        }
    }
}

#[test]
fn a_choice_may_come_to_null_in_place_of_its_value() {
    let amount = "household.medical.selfPaid == null ? null : household.medical.selfPaid < decimal('10')";
    let field = FieldType { name: "Boolean".to_owned(), list: false, kind: FieldKind::Scalar };
    let claims = claims();
    let scope = Scope {
        entity_variable: "household",
        entity_type: "Household",
        principal: &claims,
        fields: &Contract,
        thresholds: None,
    };
    let choice = ValueExpression::compile(amount, &field, &scope).unwrap();
    for (held, value) in [(json!(null), json!(null)), (json!("9"), json!(true)), (json!("10"), json!(false))] {
        let household = json!({"medical": {"selfPaid": held}});
        assert_eq!(choice.evaluate(&household, &json!({}), today()), Some(value));
    }
}
