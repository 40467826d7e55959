use std::sync::atomic::{AtomicU32, Ordering};

use axum::body::{Body, to_bytes};
use axum::http::Request;
use hmac::{Hmac, KeyInit, Mac};
use sm3::Sm3;
use tower::ServiceExt as _;

use super::*;
use crate::server::{app_key, secret};

async fn ask(path: &str, query: &[(&str, &str)], body: Option<Value>, secret: &str) -> Value {
    static NONCE: AtomicU32 = AtomicU32::new(0);
    let mut parameters: BTreeMap<String, String> =
        query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    for (name, value) in body.iter().filter_map(Value::as_object).flatten() {
        parameters.insert(name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    }
    let nonce = format!("n{}", NONCE.fetch_add(1, Ordering::Relaxed));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs().to_string();
    let mut mac = Hmac::<Sm3>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(sign::signed_text(parameters, &now, &nonce).as_bytes());
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let query: Vec<String> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let request = Request::builder()
        .method(if body.is_some() { "POST" } else { "GET" })
        .uri(format!("{path}?{}", query.join("&")))
        .header("content-type", "application/json")
        .header("x-app-key", app_key("agriculture"))
        .header("x-timestamp", now)
        .header("x-nonce", nonce)
        .header("x-sign", hex)
        .body(body.map_or_else(Body::empty, |body| Body::from(body.to_string())))
        .unwrap();
    let response = router(World::new(1, 21)).oneshot(request).await.unwrap();
    serde_json::from_slice(&to_bytes(response.into_body(), usize::MAX).await.unwrap()).unwrap()
}

#[tokio::test]
async fn signed_reads_are_answered_and_others_are_not() {
    let key = secret("agriculture");
    let one = ask("/api/nh/detail", &[("hbh", "331122101348000001")], None, &key).await;
    assert_eq!((one["code"].as_i64(), one["data"]["cy"].as_array().unwrap().len()), (Some(0), 6));
    let refused = ask("/api/nh/detail", &[("hbh", "331122101348000001")], None, "wrong").await;
    assert_eq!((refused["code"].as_i64(), refused["data"].is_null()), (Some(1401), true));
    let absent = ask("/api/nh/detail", &[("hbh", "331122101348000099")], None, &key).await;
    assert_eq!(absent["code"], 1404);
    let body = json!({"hbhs": ["331122101348000001", "331122101348000099", "331122101348000002"]});
    let batch = ask("/api/nh/batch", &[], Some(body), &key).await;
    assert_eq!(batch["data"].as_array().unwrap().len(), 2);
    let person = json!({"sfzhs": [one["data"]["hzsfzh"]]});
    let people = ask("/api/ry/batch", &[], Some(person), &key).await;
    assert_eq!(people["data"][0]["hbh"], "331122101348000001");
    let everybody = json!({"sfzhs": one["data"]["sfzhs"]});
    let machines = ask("/api/nj/batch", &[], Some(everybody), &key).await;
    let expected = expected(&World::new(1, 21), &World::new(1, 21).household("331122101348000001").unwrap());
    let told = expected["recognition.machinerySubsidies"].as_array().unwrap().len();
    assert_eq!((machines["code"].as_i64(), machines["data"].as_array().unwrap().len()), (Some(0), told));
    let code = one["data"]["znm"].as_str().unwrap();
    let found = ask("/api/nh/code", &[("znm", code)], None, &key).await;
    assert_eq!(found["data"]["hbh"], "331122101348000001");
}

#[tokio::test]
async fn the_list_goes_on_from_its_cursor_in_key_order() {
    let key = secret("agriculture");
    let first = ask("/api/nh/list", &[("xzqh", "331122101000"), ("size", "20")], None, &key).await;
    let next = first["data"]["next"].as_str().unwrap().to_owned();
    assert_eq!(first["data"]["rows"].as_array().unwrap().len(), 20);
    let query = [("xzqh", "331122101000"), ("size", "20"), ("after", next.as_str())];
    let second = ask("/api/nh/list", &query, None, &key).await;
    assert!(second["data"]["rows"][0]["hbh"].as_str().unwrap() > next.as_str());
    let end = ask("/api/nh/list", &[("xzqh", "331122101348"), ("size", "200")], None, &key).await;
    assert!(end["data"]["next"].is_null());
}

#[test]
fn every_item_is_dense() {
    crate::ask::dense(
        expected,
        &["registry.causes", "identity.members", "assets.farmland", "income.perCapita", "income.groupDividend"],
    );
}

#[test]
fn subsidies_for_machines_are_there_in_some_households() {
    crate::ask::some(expected, &["recognition.machinerySubsidies"]);
}
