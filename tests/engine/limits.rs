//! Hostile requests end quickly, with an error that says which limit; the gateway goes on.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use departments::Options;
use serde_json::{Value, json};

use crate::support::served::Served;
use crate::support::{HOUSEHOLD, document, world, world_edited};

/// A debug build on a busy machine; what blows up takes far longer, or all memory.
const QUICK: Duration = Duration::from_secs(15);
/// No refusal needs more.
const REFUSAL_MAX: usize = 64 << 10;

async fn served() -> Served {
    Served::start(world().await).await
}

/// Asks, quickly, and gives the first error's code and message.
async fn refused(served: &Served, query: &str, variables: Value) -> (u16, String, String) {
    let began = Instant::now();
    let (status, answer) = served.ask(query, variables).await;
    let took = began.elapsed();
    let start: String = query.chars().take(60).collect();
    assert!(took < QUICK, "{start}… took {took:?}");
    let error = &answer["errors"][0];
    let text = answer.to_string();
    assert!(text.len() < REFUSAL_MAX, "{start}… is refused with {} bytes", text.len());
    let code = error["extensions"]["code"].as_str().unwrap_or_else(|| panic!("{start}… is answered: {text:.300}"));
    (status, code.to_owned(), error["message"].as_str().unwrap().to_owned())
}

async fn is_alive(served: &Served) {
    let (status, answer) =
        served.ask("query($id: ID!) { household(id: $id) { id } }", json!({ "id": HOUSEHOLD })).await;
    assert_eq!((status, &answer["data"]["household"]["id"]), (200, &json!(HOUSEHOLD)), "{answer}");
}

/// `{ household(id: …) { … } }`.
fn of_household(fields: &str) -> String {
    format!("{{ household(id: \"{HOUSEHOLD}\") {{ {fields} }} }}")
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_that_pass_a_limit_are_told_which() {
    let served = served().await;
    let many = |one: fn(usize) -> String, count: usize| (0..count).map(one).collect::<Vec<_>>().join(" ");
    let nested = |times: usize| {
        let open = "identity { members { household { ".repeat(times);
        of_household(&format!("{open} id {}", "} } }".repeat(times)))
    };
    let hostile: Vec<(&str, String, &str)> = vec![
        ("open braces", "{".repeat(200_000), "nested"),
        ("open brackets", format!("{{ household(id: {}", "[".repeat(200_000)), "nested"),
        ("open parentheses", "(".repeat(200_000), "nested"),
        (
            "a list in a list",
            format!("{{ household(id: {}{}) {{ id }} }}", "[".repeat(3_000), "]".repeat(3_000)),
            "nested",
        ),
        ("objects", format!("{{ household(id: {}1{}) {{ id }} }}", "{a:".repeat(500), "}".repeat(500)), "nested"),
        ("a list type", format!("query($a: {}Int{}) {{ __typename }}", "[".repeat(500), "]".repeat(500)), "nested"),
        ("fields", of_household(&many(|n| format!("f{n}"), 20_000)), "tokens"),
        ("aliases by the thousand", of_household(&many(|n| format!("a{n}:id"), 15_000)), "tokens"),
        ("aliases", of_household(&many(|n| format!("a{n}: id"), 201)), "alias"),
        ("directives", of_household(&format!("id {}", "@include(if: true) ".repeat(3_000))), "tokens"),
        ("depth", nested(6), "deep"),
        ("punctuation", "!".repeat(200_000), "tokens"),
        ("spreads", "...".repeat(60_000), "tokens"),
    ];
    for (what, document, word) in &hostile {
        let (status, code, message) = refused(&served, document, json!({})).await;
        assert_eq!((status, code.as_str()), (400, "LIMIT_EXCEEDED"), "{what}: {message}");
        assert!(message.contains(word) && message.chars().any(|c| c.is_ascii_digit()), "{what}: {message}");
    }
    is_alive(&served).await;
    // Just within: nothing of it is refused.
    let (status, answer) = served.ask(&of_household(&many(|n| format!("a{n}: id"), 199)), json!({})).await;
    assert_eq!((status, answer.get("errors")), (200, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn fragments_that_multiply_or_go_round_end_quickly() {
    let served = served().await;
    let mut bomb = of_household("...f0");
    for n in 0..40 {
        let _ = write!(bomb, " fragment f{n} on Household {{ a{n}: id ...f{next} ...f{next} }}", next = n + 1);
    }
    bomb.push_str(" fragment f40 on Household { id }");
    let (status, answer) = tokio::time::timeout(QUICK, served.ask(&bomb, json!({}))).await.expect("in time");
    assert!(status == 200 || answer["errors"][0]["extensions"]["code"] == "LIMIT_EXCEEDED", "{answer}");
    // Each level selects the next under two keys: fields double, not only spreads.
    let mut wide = of_household("identity { members { household { ...w0 } } }");
    for n in 0..20 {
        let next = if n == 19 { "id".to_owned() } else { format!("...w{}", n + 1) };
        let below = |key: &str| format!("{key}{n}: identity {{ members {{ household {{ {next} }} }} }}");
        let _ = write!(wide, " fragment w{n} on Household {{ {} {} }}", below("a"), below("b"));
    }
    let (_, code, message) = refused(&served, &wide, json!({})).await;
    assert_eq!(code, "LIMIT_EXCEEDED", "{message}");
    for (what, circle) in [
        ("itself", format!("{} fragment a on Household {{ ...a }}", of_household("...a"))),
        (
            "two",
            format!("{} fragment a on Household {{ ...b }} fragment b on Household {{ ...a }}", of_household("...a")),
        ),
        (
            "through fields",
            format!(
                "{} fragment a on Household {{ identity {{ members {{ household {{ ...a }} }} }} }}",
                of_household("...a")
            ),
        ),
        ("unused", format!("{} fragment a on Household {{ ...a }}", of_household("id"))),
    ] {
        let (status, code, _) = refused(&served, &circle, json!({})).await;
        assert_eq!((status, code.as_str()), (400, "VALIDATION_FAILED"), "{what}");
    }
    let chain: String = (0..1_500)
        .map(|n| format!(" fragment c{n} on Household {{ ...c{} }}", n + 1))
        .chain([" fragment c1500 on Household { id }".to_owned()])
        .collect();
    let (_, code, _) = refused(&served, &format!("{}{chain}", of_household("...c0")), json!({})).await;
    assert!(["LIMIT_EXCEEDED", "VALIDATION_FAILED"].contains(&code.as_str()), "{code}");
    is_alive(&served).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_that_are_nonsense_are_refused_with_few_words() {
    let served = served().await;
    let digits = "9".repeat(100_000);
    let wrong: Vec<(&str, String)> = vec![
        ("a huge int", format!("{{ households(division: \"33\", first: {digits}) {{ nodes {{ id }} }} }}")),
        ("a huge float", "{ households(division: \"33\", first: 1e999999) { nodes { id } } }".to_owned()),
        ("a long name", format!("{{ {} }}", "a".repeat(100_000))),
        ("a string without end", format!("{{ household(id: \"{}", "x".repeat(100_000))),
        ("a block string without end", format!("{{ household(id: \"\"\"{}", "x\n".repeat(50_000))),
        ("a comment alone", format!("#{}", "x".repeat(100_000))),
        ("zeros", "\0".repeat(5_000)),
        ("unknown fields", of_household(&(0..3_000).map(|n| format!("f{n} ")).collect::<String>())),
        (
            "conflicting fields",
            (0..600).fold("{".to_owned(), |mut text, n| {
                let _ = write!(text, " household(id: \"{n}\") {{ id }}");
                text
            }) + "}",
        ),
        ("operations", (0..900).map(|n| format!("query q{n} {{ __typename }} ")).collect()),
        ("one name for many", "query q { __typename } ".repeat(900)),
        (
            "variables",
            format!("query({}) {{ __typename }}", (0..1_500).map(|n| format!("$v{n}: Int ")).collect::<String>()),
        ),
        ("emoji", "😀".repeat(3_000)),
    ];
    for (what, document) in &wrong {
        let (status, code, _) = refused(&served, document, json!({})).await;
        let codes = ["PARSE_FAILED", "VALIDATION_FAILED", "LIMIT_EXCEEDED", "BAD_REQUEST"];
        assert!(status == 400 && codes.contains(&code.as_str()), "{what}: {status} {code}");
    }
    is_alive(&served).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_and_bodies_that_are_too_much_are_refused() {
    let served = served().await;
    let query = "query($id: ID!) { household(id: $id) { id } }";
    for (what, value) in [
        ("lists", format!("{}{}", "[".repeat(60_000), "]".repeat(60_000))),
        ("objects", format!("{}1{}", "{\"a\":".repeat(30_000), "}".repeat(30_000))),
        ("lists without end", "[".repeat(100_000)),
        ("a huge number", "9".repeat(100_000)),
        ("a lone surrogate", r#""\ud800""#.to_owned()),
    ] {
        let began = Instant::now();
        let body = format!(r#"{{"query":"{query}","variables":{{"id":{value}}}}}"#);
        let (status, answer) = served.post(body).await;
        assert!(began.elapsed() < QUICK && status == 400, "{what}: {status}");
        assert!(answer["errors"][0]["extensions"]["code"].is_string() && answer.get("data").is_none(), "{what}");
        assert!(answer.to_string().len() < REFUSAL_MAX, "{what}");
    }
    let (status, answer) = served.post(json!({ "query": " ".repeat(300_000) }).to_string()).await;
    assert_eq!((status, &answer["errors"][0]["extensions"]["code"]), (413, &json!("LIMIT_EXCEEDED")));
    is_alive(&served).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn introspection_that_goes_round_is_refused() {
    let served = served().await;
    let rings = format!("{{ __schema {{ types {{ {} name {} }} }} }}", "fields { type { ".repeat(4), "} }".repeat(4));
    let (status, code, _) = refused(&served, &rings, json!({})).await;
    assert_eq!((status, code.as_str()), (400, "LIMIT_EXCEEDED"));
    is_alive(&served).await;
}

/// The estimate of a document, as a gateway tells it that allows one call.
async fn estimate(query: &str, variables: &Value) -> usize {
    let options = Options { latency: false, rates: false, ..Options::default() };
    let world = world_edited(options, |snapshot| snapshot.config.limits.upstream_calls_max = 1).await;
    let (_, _, message) = refused(&Served::start(world).await, query, variables.clone()).await;
    message.split("about ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap().parse().unwrap()
}

/// The estimate cannot know how many people a household has; the count behind it does.
#[tokio::test(flavor = "multi_thread")]
async fn calls_to_departments_are_counted_and_end_at_the_limit_where_the_estimate_was_too_low() {
    let query = document::portrait(&world().await.gateway.snapshot().contract);
    let variables = json!({ "id": HOUSEHOLD });
    let allowed = estimate(&query, &variables).await;
    let options = Options { latency: false, rates: false, ..Options::default() };
    let world = world_edited(options, |snapshot| snapshot.config.limits.upstream_calls_max = allowed).await;
    let served = Served::start(world).await;
    let (status, answer) = served.ask(&query, variables).await;
    assert_eq!(status, 200);
    let codes: Vec<&Value> =
        answer["errors"].as_array().unwrap().iter().map(|error| &error["extensions"]["code"]).collect();
    assert!(codes.contains(&&json!("LIMIT_EXCEEDED")), "{codes:?}");
    assert_eq!(answer["data"]["household"]["id"], HOUSEHOLD);
    let made: u64 = served.world.departments.calls().values().sum();
    assert!(made <= u64::try_from(allowed).unwrap() + 2, "{made} calls, some of them for tokens");
}
