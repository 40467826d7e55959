//! 市场监管局: REST JSON; every request carries an HMAC-SHA256 in one header; truth is `"1"`/`"0"` in one place
//! and 是/否 in the next.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use axum::extract::{OriginalUri, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing::post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::server::{app_key, secret};
use crate::world::{Date, Household, World};

const ID: &str = "market-regulation";
const HEADER: &str = "X-MR-Authorization";
const IDS_MAX: usize = 100;
/// Seconds that a signature may be old.
const SIGNATURE_SECONDS: u64 = 300;

const TRADES: [&str; 6] = ["茶叶店", "农家乐", "烧饼店", "家庭农场", "食用菌种植场", "竹制品加工店"];

struct Business {
    name: String,
    credit_code: String,
    kind: &'static str,
    role: &'static str,
    registered: Date,
    active: bool,
    entered_twice: bool,
}

fn business(household: &Household, index: usize) -> Option<Business> {
    let first = household.members.iter().position(|member| member.alive && (18..75).contains(&member.age()));
    let member = household.members.get(index).filter(|_| first == Some(index) && household.one_in(3, "business"))?;
    let mut roll = member.roll("market-regulation");
    let cooperative = roll.chance(20);
    let trade = roll.pick(&TRADES);
    let (county, village) = (&household.division.county, &household.division.village);
    let name = match cooperative {
        true => format!("{county}{village}{}专业合作社", roll.pick(&["黄茶", "香菇", "高山蔬菜"])),
        false => format!("{county}{}{trade}", member.name),
    };
    Some(Business {
        name,
        credit_code: credit_code(
            if cooperative { "93" } else { "92" },
            &household.division.code[..6],
            roll.below(100_000_000) as u32,
        ),
        kind: if cooperative { "农民专业合作社" } else { "个体工商户" },
        role: if cooperative { "社员" } else { "经营者" },
        registered: roll.date(2012, 2024),
        active: roll.chance(75),
        entered_twice: roll.chance(20),
    })
}

/// A unified social credit code by GB 32100, its organisation code by GB 11714.
fn credit_code(category: &str, division: &str, number: u32) -> String {
    const SYMBOLS: &[u8] = b"0123456789ABCDEFGHJKLMNPQRTUWXY";
    let digits = format!("{number:08}");
    let weights = [3, 7, 9, 10, 5, 8, 4, 2];
    let sum: u32 = digits.bytes().zip(weights).map(|(digit, weight)| u32::from(digit - b'0') * weight).sum();
    let check = match 11 - sum % 11 {
        10 => 'X',
        11 => '0',
        digit => char::from(b'0' + digit as u8),
    };
    let body = format!("{category}{division}{digits}{check}");
    let value = |symbol: u8| SYMBOLS.iter().position(|known| *known == symbol).unwrap_or(0);
    let mut weight = 1;
    let mut sum = 0;
    for symbol in body.bytes() {
        sum += value(symbol) * weight;
        weight = weight * 3 % 31;
    }
    format!("{body}{}", char::from(SYMBOLS[(31 - sum % 31) % 31]))
}

/// The department's server.
pub fn router(world: World) -> Router {
    Router::new().route("/scztcx/v1/person", post(person)).with_state(world)
}

#[derive(Deserialize)]
struct Ask {
    zjhm: Vec<String>,
}

async fn person(
    State(world): State<World>,
    method: Method,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let header = headers.get(HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let fail = |status: StatusCode, text: &str| (status, Json(json!({"ret": "0", "reason": text}))).into_response();
    if !signed(header, method.as_str(), target, &body) {
        return fail(StatusCode::UNAUTHORIZED, "签名错误");
    }
    let Ok(ask) = serde_json::from_slice::<Ask>(&body) else {
        return fail(StatusCode::BAD_REQUEST, "报文格式错误");
    };
    if ask.zjhm.len() > IDS_MAX {
        return fail(StatusCode::BAD_REQUEST, "一次最多100人");
    }
    let lines = |id: &String| {
        let known = world.person(id);
        let line = |(household, index): (Household, usize)| {
            let business = business(&household, index)?;
            Some((household.members[index].name.clone(), business))
        };
        let Some((name, business)) = known.and_then(line) else { return Vec::new() };
        let entry = |valid: &str| {
            json!({
                "zjhm": id, "xm": name, "ztmc": business.name, "tyshxydm": business.credit_code,
                "ztlx": business.kind, "rylx": business.role, "clrq": business.registered.chinese(),
                "yxbz": valid, "sfcx": if business.active { "是" } else { "否" },
            })
        };
        // Entries made in error are never deleted, only marked.
        match business.entered_twice {
            true => vec![entry("0"), entry("1")],
            false => vec![entry("1")],
        }
    };
    let list: Vec<Value> = ask.zjhm.iter().flat_map(lines).collect();
    Json(json!({"ret": "1", "reason": "", "list": list})).into_response()
}

/// Whether `key_id:timestamp:base64(mac)` is right, and fresh.
fn signed(header: &str, method: &str, target: &str, body: &[u8]) -> bool {
    let mut parts = header.splitn(3, ':');
    let (Some(key), Some(timestamp), Some(given)) = (parts.next(), parts.next(), parts.next()) else { return false };
    let Ok(time) = timestamp.parse::<u64>() else { return false };
    let seconds = if time > 100_000_000_000 { time / 1_000 } else { time };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    if key != app_key(ID) || now.abs_diff(seconds) > SIGNATURE_SECONDS {
        return false;
    }
    STANDARD.decode(given).is_ok_and(|given| signature(method, target, timestamp, body).verify_slice(&given).is_ok())
}

fn signature(method: &str, target: &str, timestamp: &str, body: &[u8]) -> Hmac<Sha256> {
    let digest: String = Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect();
    let mut mac = Hmac::<Sha256>::new_from_slice(secret(ID).as_bytes()).expect("HMAC takes keys of any length");
    mac.update(format!("{method}\n{target}\n{timestamp}\n{digest}").as_bytes());
    mac
}

/// Item 48, from the facts alone.
pub fn expected(_world: &World, household: &Household) -> Value {
    let shown = |index: usize| {
        let business = business(household, index)?;
        Some(json!({
            "name": business.name, "creditCode": business.credit_code,
            "kind": business.kind, "role": business.role, "registeredOn": business.registered.to_string(),
            "active": business.active,
        }))
    };
    json!({"assets.businesses": (0..household.members.len()).filter_map(shown).collect::<Vec<_>>()})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask;

    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt as _;

    async fn send(world: World, body: &str, signed_body: &str) -> (StatusCode, Value) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().to_string();
        let path = "/scztcx/v1/person";
        let mac = signature("POST", path, &now, signed_body.as_bytes()).finalize().into_bytes();
        let request = Request::post(path)
            .header(HEADER, format!("{}:{now}:{}", app_key(ID), STANDARD.encode(mac)))
            .body(Body::from(body.to_owned()))
            .unwrap();
        let response = router(world).oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap())
    }

    #[tokio::test]
    async fn only_a_request_signed_as_it_was_sent_is_answered() {
        let (world, _) = ask::world();
        let owner = world
            .village_household_ids("331122101348")
            .filter_map(|id| world.household(&id))
            .find_map(|household| business(&household, 0).map(|_| household.head().id_number.clone()))
            .unwrap();
        let body = json!({"zjhm": [owner]}).to_string();
        let (_, answer) = send(world.clone(), &body, &body).await;
        assert_eq!(answer["ret"], "1");
        assert!(answer["list"].as_array().unwrap().iter().any(|entry| entry["yxbz"] == "1"));
        let (status, _) = send(world, &body, "{}").await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }

    #[test]
    fn credit_codes_obey_gb_32100_and_gb_11714() {
        // Huawei's, as the public register has it.
        assert_eq!(credit_code("91", "440300", 19_220_382), "914403001922038216");
    }

    #[test]
    fn every_item_is_answered_in_five_of_21_households() {
        ask::dense(expected, &["assets.businesses"]);
    }
}
