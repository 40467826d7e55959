//! For tests: asks a department's router without a listener.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use serde_json::Value;
use tower::ServiceExt as _;

use crate::world::{Household, World};

/// The world tests look at, and its demo household.
pub fn world() -> (World, Household) {
    let world = World::new(1, 21);
    let household = world.household("331122101348000001").unwrap();
    (world, household)
}

/// GET with these parameters.
pub async fn get(router: Router, path: &str, query: &[(&str, &str)]) -> (StatusCode, String) {
    let query: Vec<String> = query.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    let request = Request::get(format!("{path}?{}", query.join("&"))).body(Body::empty()).unwrap();
    answer(router, request).await
}

/// POST of a JSON body.
pub async fn post(router: Router, path: &str, body: Value) -> (StatusCode, Value) {
    let request =
        Request::post(path).header(header::CONTENT_TYPE, "application/json").body(Body::from(body.to_string()));
    let (status, text) = answer(router, request.unwrap()).await;
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

async fn answer(router: Router, request: Request<Body>) -> (StatusCode, String) {
    let response = router.oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, String::from_utf8(bytes.to_vec()).unwrap())
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// Every one of `paths` has a value (a list: some elements) in at least 5 of the 21 households of three villages.
pub fn dense(expected: fn(&World, &Household) -> Value, paths: &[&str]) {
    let (world, _) = world();
    for village in ["331122101347", "331122101348", "331122101349"] {
        let households: Vec<Household> =
            world.village_household_ids(village).filter_map(|id| world.household(&id)).collect();
        assert_eq!(households.len(), 21, "{village}");
        for path in paths {
            let answered = households.iter().filter(|household| {
                let answer = expected(&world, household);
                answer
                    .get(path)
                    .is_some_and(|value| !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty()))
            });
            assert!(answered.count() >= 5, "{path} in {village}");
        }
    }
}

/// Every one of `paths`, a list, has elements in at least 2 and at most 15 of the 21 households of three villages: sparse, as
/// in life, and never quite missing.
pub fn some(expected: fn(&World, &Household) -> Value, paths: &[&str]) {
    let (world, _) = world();
    for village in ["331122101347", "331122101348", "331122101349"] {
        for path in paths {
            let households = world.village_household_ids(village).filter_map(|id| world.household(&id));
            let told = households
                .filter(|household| expected(&world, household)[*path].as_array().is_some_and(|list| !list.is_empty()));
            let count = told.count();
            assert!((2..=15).contains(&count), "{path} in {village}: {count}");
        }
    }
}
