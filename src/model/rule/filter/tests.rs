use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value, json};

use super::*;
use crate::model::rule::tests::{Contract, compile, today};
use crate::model::rule::{TEXT_MAX, Truth};

use Truth::{False, True, Unknown};

fn made(filter: &Filter) -> Result<Expression, FilterFault> {
    Expression::filter(filter, "Household", &Contract)
}

fn truth(filter: &Filter, facts: &Value) -> Truth {
    let expression = made(filter).unwrap_or_else(|fault| panic!("{filter:?}: {fault:?}"));
    expression.evaluate(facts, &json!({}), today())
}

/// A filter of what stands at a dotted path.
fn at(path: &str, filter: Filter) -> Filter {
    path.rsplit('.').fold(filter, |inner, name| Filter::Field(name.to_owned(), Box::new(inner)))
}

fn compare(operator: Compare, value: Value) -> Filter {
    Filter::Compare(operator, value)
}

fn eq(value: Value) -> Filter {
    compare(Compare::Eq, value)
}

fn not(filter: Filter) -> Filter {
    Filter::Not(Box::new(filter))
}

/// Facts with one value at a dotted path; `None`: the path leads to nothing known, its objects are there.
fn facts(path: &str, value: Option<&Value>) -> Value {
    let mut names = path.rsplit('.');
    let last = names.next().unwrap_or_default();
    let inner = value.map_or_else(|| json!({}), |value| json!({ last: value }));
    names.fold(inner, |inner, name| json!({ name: inner }))
}

/// The table of the module: each filter of a value that it holds for, one that it does not hold for, nothing, and what
/// is not known.
#[test]
fn what_is_nothing_is_decided_and_what_is_absent_is_unknown() {
    use Compare::{Eq, Ge, Gt, Le, Lt, Ne};
    let counted = |filter| Filter::Count(Box::new(filter));
    let members = |state: bool| json!([{ "livesTogether": true }, { "livesTogether": state }]);
    let lives = |value: bool| Box::new(at("livesTogether", eq(json!(value))));
    let rows = [
        ("registry.category", eq(json!("DIBAO")), json!("DIBAO"), json!("MARGINAL"), False),
        ("registry.category", compare(Ne, json!("DIBAO")), json!("MARGINAL"), json!("DIBAO"), True),
        ("registry.category", Filter::In(vec![json!("DIBAO")]), json!("DIBAO"), json!("MARGINAL"), False),
        ("registry.memberCount", eq(json!(3)), json!(3), json!(4), False),
        ("registry.memberCount", Filter::In(vec![json!(2), json!(3)]), json!(3), json!(4), False),
        ("medical.selfPaid", compare(Lt, json!("10.5")), json!("10.49"), json!("10.50"), False),
        ("medical.selfPaid", compare(Le, json!("10.5")), json!("10.50"), json!("10.51"), False),
        ("medical.selfPaid", compare(Gt, json!(10)), json!("10.01"), json!("10.00"), False),
        ("medical.selfPaid", compare(Ge, json!("10")), json!("10"), json!("9.99"), False),
        ("medical.insured", compare(Eq, json!(false)), json!(false), json!(true), False),
        ("medical.insured", Filter::Exists(true), json!(false), Value::Null, False),
        ("medical.insured", Filter::Exists(false), Value::Null, json!(false), True),
        ("registry.grid", Filter::StartsWith("g".to_owned()), json!("g7"), json!("h"), False),
        ("registry.recognizedOn", Filter::WithinDays(31), json!("2024-05-02"), json!("2024-05-01"), False),
        ("registry.recognizedOn", Filter::DaysAgo(31), json!("2024-05-01"), json!("2024-05-02"), False),
        ("identity.members", Filter::Some(lives(false)), members(false), members(true), False),
        ("identity.members", Filter::Every(lives(true)), members(true), members(false), True),
        ("identity.members", Filter::None(lives(false)), members(true), members(false), True),
        ("identity.members", counted(eq(json!(2))), members(true), json!([]), False),
        ("identity.members", counted(compare(Lt, json!(1))), json!([]), members(true), True),
        ("help.cadre", Filter::Exists(true), json!({}), Value::Null, False),
        ("help.cadre", at("id", eq(json!("c1"))), json!({"id": "c1"}), json!({"id": "c2"}), False),
        ("help.cadre", not(at("id", eq(json!("c1")))), json!({"id": null}), json!({"id": "c1"}), True),
        ("help.cadre", at("id", Filter::Exists(false)), json!({"id": null}), json!({"id": "c1"}), True),
    ];
    for (path, filter, yes, no, null) in rows {
        let (filter, opposite) = (at(path, filter.clone()), not(at(path, filter)));
        for (value, is, is_not) in [
            (Some(&yes), True, False),
            (Some(&no), False, True),
            (Some(&Value::Null), null, if null == True { False } else { True }),
            (None, Unknown, Unknown),
        ] {
            let facts = facts(path, value);
            assert_eq!(truth(&filter, &facts), is, "{filter:?} of {facts}");
            assert_eq!(truth(&opposite, &facts), is_not, "{opposite:?} of {facts}");
        }
        assert_eq!(truth(&filter, &json!({})), Unknown, "{filter:?} of nothing that is known");
    }
}

#[test]
fn a_list_is_known_as_far_as_its_elements_are() {
    let lives = |value: bool| Box::new(at("livesTogether", eq(json!(value))));
    let of = |filter: Filter, members: Value| {
        truth(&at("identity.members", filter), &facts("identity.members", Some(&members)))
    };
    let (yes, no, open) = (json!({"livesTogether": true}), json!({"livesTogether": false}), json!({}));
    assert_eq!(of(Filter::Some(lives(true)), json!([open, yes])), True);
    assert_eq!(of(Filter::Some(lives(true)), json!([open, no])), Unknown);
    assert_eq!(of(Filter::Every(lives(true)), json!([open, no])), False);
    assert_eq!(of(Filter::Every(lives(true)), json!([open, yes])), Unknown);
    assert_eq!(of(Filter::None(lives(true)), json!([open, yes])), False);
    assert_eq!(of(Filter::None(lives(true)), json!([open, no])), Unknown);
    assert_eq!(of(Filter::Count(Box::new(eq(json!(2)))), json!([open, open])), True);
    for (filter, empty) in [(Filter::Some(lives(true)), False), (Filter::Every(lives(true)), True)] {
        assert_eq!(of(filter, json!([])), empty);
    }
    // Null in an element is a value.
    assert_eq!(of(Filter::Every(lives(true)), json!([{"livesTogether": null}])), False);
    assert_eq!(
        of(Filter::Some(Box::new(at("livesTogether", Filter::Exists(false)))), json!([{"livesTogether": null}])),
        True
    );
    let causes =
        |filter: Filter, causes: Value| truth(&at("registry.causes", filter), &facts("registry.causes", Some(&causes)));
    let ill = || Box::new(eq(json!("ILLNESS")));
    assert_eq!(causes(Filter::Some(ill()), json!(["DISABILITY", "ILLNESS"])), True);
    assert_eq!(causes(Filter::None(ill()), json!(["DISABILITY"])), True);
}

#[test]
fn lists_in_one_another_keep_their_elements_apart() {
    let ill = Filter::Some(Box::new(eq(json!("ILLNESS"))));
    let born = at("birthDate", compare(Compare::Lt, json!("1950-01-01")));
    // The list inside is looked through first, and the element around it after that.
    let member = Filter::All(vec![at("household.registry.causes", ill), born]);
    let filter = at("identity.members", Filter::Some(Box::new(member)));
    let (made, same) = (made(&filter).unwrap(), compile(&cel(&filter, "household", 0)).unwrap());
    let member =
        |birth: &str, causes: &[&str]| json!({"birthDate": birth, "household": {"registry": {"causes": causes}}});
    for (members, is) in [
        (vec![member("2000-01-01", &["ILLNESS"]), member("1945-05", &["DISABILITY", "ILLNESS"])], True),
        (vec![member("1940-01-01", &[]), member("2000-01-01", &["ILLNESS"])], False),
    ] {
        let facts = json!({"identity": {"members": members}});
        assert_eq!(made.evaluate(&facts, &json!({}), today()), is);
        assert_eq!(same.evaluate(&facts, &json!({}), today()), is);
    }
    let inputs: Vec<String> = made.inputs().iter().map(|path| path.join(".")).collect();
    assert_eq!(inputs, ["identity.members.birthDate", "identity.members.household.registry.causes"]);
    assert_eq!(made.inputs(), same.inputs());
}

#[test]
fn days_are_counted_from_today_and_a_partial_date_goes_as_far_as_it_goes() {
    let on = |filter: &Filter, day: &str| {
        truth(&at("registry.recognizedOn", filter.clone()), &facts("registry.recognizedOn", Some(&json!(day))))
    };
    let (within, ago) = (Filter::WithinDays(90), Filter::DaysAgo(90));
    for day in ["2024-03-02", "2024-03-03", "2024-03-04", "2024-06-01", "2024-07-01", "2019-01-01"] {
        let cel = |text: &str| {
            let expression = compile(&format!("daysBetween(household.registry.recognizedOn, today) {text}")).unwrap();
            expression.evaluate(&facts("registry.recognizedOn", Some(&json!(day))), &json!({}), today())
        };
        assert_eq!(on(&within, day), cel("< 90"), "{day}");
        assert_eq!(on(&ago, day), cel(">= 90"), "{day}");
    }
    assert_eq!(on(&ago, "2023"), True);
    assert_eq!(on(&within, "2024-04"), True);
    assert_eq!(on(&ago, "2024-03"), Unknown);
    assert_eq!(on(&within, "2024-03"), Unknown);
}

/// A level that is one of several is decided on where it makes no difference which.
#[test]
fn what_is_so_of_each_possible_level_is_so() {
    let level = |filter: Filter| at("risk.warning.level", Filter::Whichever(Box::new(filter)));
    let possible = |levels: &[&str]| facts("risk.warning.level", Some(&json!(levels)));
    let red_or_yellow = level(Filter::In(vec![json!("RED"), json!("YELLOW")]));
    assert_eq!(truth(&red_or_yellow, &possible(&["RED", "YELLOW"])), True);
    assert_eq!(truth(&red_or_yellow, &possible(&["RED", "GREEN"])), Unknown);
    assert_eq!(truth(&red_or_yellow, &possible(&["GREEN"])), False);
    let yellow = level(eq(json!("YELLOW")));
    assert_eq!(truth(&yellow, &possible(&["RED", "GREEN"])), False, "what lies between is not among them");
    assert_eq!(truth(&yellow, &possible(&["RED", "YELLOW"])), Unknown);
    assert_eq!(truth(&not(yellow.clone()), &possible(&["RED", "GREEN"])), True);
    let both = level(Filter::Any(vec![eq(json!("RED")), eq(json!("YELLOW"))]));
    assert_eq!(truth(&both, &possible(&["RED", "YELLOW"])), True, "told apart one by one");
    for nothing in [json!({}), possible(&[]), facts("risk.warning.level", Some(&Value::Null))] {
        assert_eq!(truth(&yellow, &nothing), Unknown, "{nothing}");
    }
    assert_eq!(truth(&level(Filter::Exists(true)), &possible(&["RED", "GREEN"])), True);
}

#[test]
fn a_state_is_a_fact_of_its_own() {
    let filter = at("identity.members", Filter::State(vec![ItemState::Conflict]));
    let state = |state: &str| json!({"identity": {"members.state": state}});
    assert_eq!(truth(&filter, &state("CONFLICT")), True);
    assert_eq!(truth(&filter, &state("ANSWERED")), False);
    assert_eq!(truth(&filter, &json!({"identity": {"members": []}})), Unknown);
    let expression = made(&filter).unwrap();
    assert_eq!(
        (expression.inputs(), expression.states()),
        (
            &[vec!["identity".to_owned(), "members".to_owned()]][..],
            &[vec!["identity".to_owned(), "members".to_owned()]][..]
        )
    );
    assert!(made(&at("identity.members", Filter::State(vec![ItemState::Unavailable]))).is_err());
}

#[test]
fn what_does_not_fit_is_refused_with_its_field_and_without_its_value() {
    let members = |filter: Filter| at("identity.members", filter);
    let born = |value: Value| at("birthDate", compare(Compare::Lt, value));
    for (filter, path, part) in [
        (Filter::All(Vec::new()), "", "says nothing"),
        (at("registry", Filter::Any(Vec::new())), "registry", "says nothing"),
        (at("registry.gird", eq(json!("77"))), "registry", "no field `gird`"),
        (at("registry.category", eq(json!("77"))), "registry.category", "must be a value of `Category`"),
        (at("registry.category", compare(Compare::Lt, json!("DIBAO"))), "registry.category", "no order"),
        (at("registry.category", Filter::In(Vec::new())), "registry.category", "no value"),
        (at("registry.category", eq(Value::Null)), "registry.category", "ask `exists`"),
        (at("registry.memberCount", eq(json!("77"))), "registry.memberCount", "must be an Int"),
        (at("registry.recognizedOn", eq(json!("1977"))), "registry.recognizedOn", "a whole date"),
        (at("registry.recognizedOn", Filter::DaysAgo(4_000_000)), "registry.recognizedOn", "days ago"),
        (at("medical.selfPaid", eq(json!("7.7e7"))), "medical.selfPaid", "fits exactly"),
        (at("medical.selfPaid", Filter::WithinDays(7)), "medical.selfPaid", "days ago"),
        (at("medical.selfPaid", Filter::StartsWith("77".to_owned())), "medical.selfPaid", "does not start"),
        (at("medical", eq(json!("77"))), "medical", "as a whole"),
        (at("registry.grid.code", Filter::Exists(true)), "registry.grid", "has no fields"),
        (members(born(json!("1977-07-07"))), "identity.members", "ask `some`"),
        (members(Filter::Some(Box::new(born(json!(77))))), "identity.members.birthDate", "a whole date"),
        (members(Filter::Exists(true)), "identity.members", "`count`"),
        (at("registry.grid", Filter::Count(Box::new(eq(json!(7))))), "registry.grid", "has no count"),
        (at("registry", Filter::Some(Box::new(eq(json!(7))))), "registry", "not a list"),
        (members(Filter::Whichever(Box::new(eq(json!(7))))), "identity.members", "one of several"),
        (Filter::State(vec![ItemState::Conflict]), "", "only a field"),
        (at("medical", Filter::State(Vec::new())), "medical", "no state"),
    ] {
        let fault = made(&filter).err().unwrap_or_else(|| panic!("{filter:?} was made"));
        assert_eq!(fault.path.join("."), path, "{fault:?}");
        assert!(fault.message.contains(part) && !fault.message.contains("77"), "{fault:?}");
    }
}

#[test]
fn a_filter_is_bounded_in_depth_and_wide_ones_stay_flat() {
    let insured = || at("medical.insured", eq(json!(true)));
    let nested = |levels: usize| (0..levels).fold(insured(), |inner, _| not(inner));
    assert_eq!(truth(&nested(28), &facts("medical.insured", Some(&json!(true)))), True);
    assert!(made(&nested(NESTING_MAX)).is_err());
    assert!(made(&nested(5_000)).is_err());
    let wide = Filter::All((0..5_000).map(|_| insured()).collect());
    assert_eq!(truth(&wide, &facts("medical.insured", Some(&json!(true)))), True);
    let widened = |inner| Filter::All(std::iter::once(inner).chain((0..511).map(|_| insured())).collect());
    let fault = made(&(0..12).fold(insured(), |inner, _| widened(inner))).unwrap_err();
    assert!(fault.message.contains("too deep"), "{fault:?}");
}

/// Too much to look at is not known, as for rules.
#[test]
fn long_lists_run_into_the_budget() {
    let members: Vec<Value> = (0..100_000).map(|_| json!({"livesTogether": false})).collect();
    let filter = at("identity.members", Filter::Some(Box::new(at("livesTogether", eq(json!(true))))));
    assert_eq!(truth(&filter, &json!({"identity": {"members": members}})), Unknown);
}

/// The expression that says the same, as an author of rules would write it.
fn cel(filter: &Filter, subject: &str, locals: usize) -> String {
    let of = |part: &Filter| cel(part, subject, locals);
    let joined = |parts: &[Filter], by: &str| format!("({})", parts.iter().map(of).collect::<Vec<_>>().join(by));
    let body = |part: &Filter| {
        let local = format!("x{locals}");
        (local.clone(), cel(part, &local, locals + 1))
    };
    let literal = |value: &Value| match value {
        Value::String(text) if subject.ends_with("selfPaid") => format!("decimal('{text}')"),
        Value::String(text) if subject.ends_with("On") || subject.ends_with("Date") => format!("date('{text}')"),
        Value::String(text) => format!("'{text}'"),
        other => other.to_string(),
    };
    let day = |days: u32| today().checked_sub(jiff::Span::new().days(i64::from(days))).unwrap();
    match filter {
        Filter::All(parts) => joined(parts, " && "),
        Filter::Any(parts) => joined(parts, " || "),
        Filter::Not(part) => format!("!{}", of(part)),
        Filter::Field(name, part) => cel(part, &format!("{subject}.{name}"), locals),
        Filter::Exists(true) => format!("({subject} != null)"),
        Filter::Exists(false) => format!("({subject} == null)"),
        Filter::Compare(operator, value) => {
            let operator = match operator {
                Compare::Eq => "==",
                Compare::Ne => "!=",
                Compare::Lt => "<",
                Compare::Le => "<=",
                Compare::Gt => ">",
                Compare::Ge => ">=",
            };
            format!("({subject} {operator} {})", literal(value))
        }
        Filter::In(values) => {
            let values: Vec<String> = values.iter().map(literal).collect();
            format!("({subject} != null && {subject} in [{}])", values.join(", "))
        }
        Filter::StartsWith(start) => format!("({subject} != null && {subject}.startsWith('{start}'))"),
        Filter::WithinDays(days) => format!("({subject} > date('{}'))", day(*days)),
        Filter::DaysAgo(days) => format!("({subject} <= date('{}'))", day(*days)),
        Filter::Some(part) => {
            let (local, body) = body(part);
            format!("({subject} != null && {subject}.exists({local}, {body}))")
        }
        Filter::Every(part) => {
            let (local, body) = body(part);
            format!("({subject} == null || {subject}.all({local}, {body}))")
        }
        Filter::None(part) => {
            let (local, body) = body(part);
            format!("({subject} == null || !{subject}.exists({local}, {body}))")
        }
        Filter::Count(part) => cel(part, &format!("({subject} == null ? 0 : size({subject}))"), locals),
        Filter::Whichever(_) | Filter::State(_) => panic!("expressions have no word for it"),
    }
}

fn comparison() -> impl Strategy<Value = Compare> {
    use Compare::{Eq, Ge, Gt, Le, Lt, Ne};
    prop::sample::select(vec![Eq, Ne, Lt, Le, Gt, Ge])
}

/// Filters of a single value, of those that are given.
fn of_value(values: &[&'static str], ordered: bool) -> BoxedStrategy<Filter> {
    let value = || prop::sample::select(values.iter().map(|value| json!(value)).collect::<Vec<_>>());
    let fits = move |operator| ordered || matches!(operator, Compare::Eq | Compare::Ne);
    let operator = comparison().prop_map(move |operator| if fits(operator) { operator } else { Compare::Ne });
    prop_oneof![
        4 => (operator, value()).prop_map(|(operator, value)| Filter::Compare(operator, value)),
        2 => prop::collection::vec(value(), 1..3).prop_map(Filter::In),
        1 => any::<bool>().prop_map(Filter::Exists),
    ]
    .boxed()
}

const AMOUNTS: [&str; 4] = ["0", "10.50", "10.5", "30000"];
const DAYS: [&str; 3] = ["2024-05-20", "2021-03-15", "1950-01-01"];

fn any_date() -> BoxedStrategy<Filter> {
    let days = prop_oneof![Just(0_u32), Just(12), Just(30), Just(1_200)];
    let ago = (days, any::<bool>()).prop_map(|(days, within)| match within {
        true => Filter::WithinDays(days),
        false => Filter::DaysAgo(days),
    });
    prop_oneof![2 => of_value(&DAYS, true), 1 => ago].boxed()
}

/// Filters of a list, given those of its elements.
fn of_list(element: BoxedStrategy<Filter>) -> BoxedStrategy<Filter> {
    let part = prop_oneof![3 => element.clone(), 1 => element.prop_map(not)].prop_map(Box::new);
    let count = (comparison(), 0..3_i32).prop_map(|(operator, count)| Filter::Compare(operator, json!(count)));
    prop_oneof![
        part.clone().prop_map(Filter::Some),
        part.clone().prop_map(Filter::Every),
        part.prop_map(Filter::None),
        count.prop_map(|count| Filter::Count(Box::new(count))),
    ]
    .boxed()
}

fn any_filter() -> BoxedStrategy<Filter> {
    let person = prop_oneof![
        any::<bool>().prop_map(|value| at("livesTogether", eq(json!(value)))),
        any_date().prop_map(|filter| at("birthDate", filter)),
        (any_date(), any::<bool>()).prop_map(|(filter, value)| {
            Filter::All(vec![at("birthDate", filter), at("livesTogether", eq(json!(value)))])
        }),
    ];
    let count = prop_oneof![
        (comparison(), 0..4_i32).prop_map(|(operator, count)| Filter::Compare(operator, json!(count))),
        Just(Filter::Exists(false)),
    ];
    let start = prop::sample::select(vec!["g", "g7", ""]).prop_map(|start| Filter::StartsWith(start.to_owned()));
    let grid = prop_oneof![of_value(&["g7", "h"], false), start];
    let category = of_value(&["DIBAO", "MARGINAL"], false);
    let one = prop_oneof![
        category.prop_map(|filter| at("registry.category", filter)),
        grid.prop_map(|filter| at("registry.grid", filter)),
        count.prop_map(|filter| at("registry.memberCount", filter)),
        any_date().prop_map(|filter| at("registry.recognizedOn", filter)),
        of_value(&AMOUNTS, true).prop_map(|filter| at("medical.selfPaid", filter)),
        any::<bool>().prop_map(|value| at("medical.insured", eq(json!(value)))),
        of_list(of_value(&["ILLNESS", "DISABILITY"], false)).prop_map(|filter| at("registry.causes", filter)),
        of_list(person.boxed()).prop_map(|filter| at("identity.members", filter)),
    ];
    one.prop_recursive(3, 8, 3, |inner| {
        let parts = || prop::collection::vec(inner.clone(), 1..4);
        prop_oneof![parts().prop_map(Filter::All), parts().prop_map(Filter::Any), inner.prop_map(not)]
    })
    .boxed()
}

/// Absent, null, or one of these.
fn maybe(values: Vec<Value>) -> BoxedStrategy<Option<Value>> {
    prop_oneof![1 => Just(None), 1 => Just(Some(Value::Null)), 3 => prop::sample::select(values).prop_map(Some)].boxed()
}

fn object(fields: Vec<(&'static str, BoxedStrategy<Option<Value>>)>) -> BoxedStrategy<Value> {
    let (names, values): (Vec<_>, Vec<_>) = fields.into_iter().unzip();
    let known = move |values: Vec<Option<Value>>| {
        let known = names.iter().zip(values).filter_map(|(name, value)| Some(((*name).to_owned(), value?)));
        Value::Object(known.collect::<Map<_, _>>())
    };
    values.prop_map(known).boxed()
}

fn any_facts() -> BoxedStrategy<Value> {
    let texts = |values: &[&str]| values.iter().map(|value| json!(value)).collect::<Vec<_>>();
    let dates = || maybe(texts(&["2024-05-20", "2024-05-21", "2024-05", "2021-03", "2021", "1950-01-01"]));
    let person = object(vec![("birthDate", dates()), ("livesTogether", maybe(vec![json!(true), json!(false)]))]);
    let members = prop_oneof![
        1 => Just(None),
        1 => Just(Some(Value::Null)),
        4 => prop::collection::vec(person, 0..3).prop_map(|members| Some(Value::Array(members))),
    ];
    let registry = object(vec![
        ("category", maybe(texts(&["DIBAO", "MARGINAL"]))),
        ("grid", maybe(texts(&["g7", "h"]))),
        ("memberCount", maybe(vec![json!(0), json!(3)])),
        ("recognizedOn", dates()),
        ("causes", maybe(vec![json!([]), json!(["ILLNESS"]), json!(["ILLNESS", "DISABILITY"]), json!([null])])),
    ]);
    let medical = object(vec![
        ("selfPaid", maybe(texts(&["0.00", "10.5", "10.51", "30000"]))),
        ("insured", maybe(vec![json!(true), json!(false)])),
    ]);
    let section = |of: BoxedStrategy<Value>| {
        prop_oneof![1 => Just(None), 1 => Just(Some(Value::Null)), 8 => of.prop_map(Some)].boxed()
    };
    let identity = object(vec![("members", members.boxed())]);
    object(vec![("registry", section(registry)), ("medical", section(medical)), ("identity", section(identity))])
}

/// Facts with what is absent in them filled in from others, as far as those know it.
fn completed(facts: &Value, from: &Value) -> Value {
    match (facts, from) {
        (Value::Object(known), Value::Object(others)) => {
            let mut all = known.clone();
            for (name, other) in others {
                let value = known.get(name).map_or_else(|| other.clone(), |known| completed(known, other));
                all.insert(name.clone(), value);
            }
            Value::Object(all)
        }
        (Value::Array(known), Value::Array(others)) => {
            let filled = known
                .iter()
                .enumerate()
                .map(|(at, element)| others.get(at).map_or_else(|| element.clone(), |other| completed(element, other)));
            Value::Array(filled.collect())
        }
        _ => facts.clone(),
    }
}

/// Laws that hold of what is drawn hold of something only where all that a filter may come to is drawn.
#[test]
fn what_is_drawn_comes_to_every_truth() {
    let mut runner = TestRunner::deterministic();
    let mut drawn = [0_usize; 3];
    for _ in 0..500 {
        let (filter, facts) = (any_filter(), any_facts()).new_tree(&mut runner).unwrap().current();
        drawn[match truth(&filter, &facts) {
            True => 0,
            False => 1,
            Unknown => 2,
        }] += 1;
    }
    assert!(drawn.iter().all(|count| *count > 50), "{drawn:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_filter_and_the_expression_that_says_the_same_come_to_the_same(filter in any_filter(), facts in any_facts()) {
        let text = cel(&filter, "household", 0);
        prop_assume!(text.len() <= TEXT_MAX);
        let expression = compile(&text).unwrap_or_else(|fault| panic!("{text}: {fault:?}"));
        prop_assert_eq!(truth(&filter, &facts), expression.evaluate(&facts, &json!({}), today()), "{}", text);
        let filter = made(&filter).unwrap();
        prop_assert_eq!(filter.inputs(), expression.inputs(), "{}", text);
    }

    #[test]
    fn the_opposite_is_the_opposite(filter in any_filter(), facts in any_facts()) {
        let opposite = match truth(&filter, &facts) { True => False, False => True, Unknown => Unknown };
        prop_assert_eq!(truth(&not(filter), &facts), opposite);
    }

    /// What is decided while something is absent is so whatever that is.
    #[test]
    fn nothing_that_becomes_known_changes_what_was_decided(
        filter in any_filter(), facts in any_facts(), other in any_facts(),
    ) {
        let now = truth(&filter, &facts);
        let later = completed(&facts, &other);
        prop_assert!(now == Unknown || now == truth(&filter, &later), "{:?} of {} and then of {}", filter, facts, later);
    }

    #[test]
    fn whichever_it_is_agrees_with_each_that_it_may_be(
        filter in of_value(&["RED", "YELLOW", "GREEN"], false),
        possible in prop::sample::subsequence(vec!["RED", "YELLOW", "GREEN"], 1..=3),
    ) {
        let level = |filter: Filter| at("risk.warning.level", filter);
        let each = |value: &&str| truth(&level(filter.clone()), &facts("risk.warning.level", Some(&json!(value))));
        let of_each: Vec<Truth> = possible.iter().map(each).collect();
        let same = of_each.iter().all(|truth| *truth == of_each[0]);
        let whole = level(Filter::Whichever(Box::new(filter.clone())));
        let whole = truth(&whole, &facts("risk.warning.level", Some(&json!(possible))));
        prop_assert_eq!(whole, if same { of_each[0] } else { Unknown });
    }
}
