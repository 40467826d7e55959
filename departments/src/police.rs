//! 公安局: the household register and motor vehicles, by SOAP 1.1 in GBK.
//!
//! One person a call. With a name the register is verified first: a name that is not the number's answers
//! verdict `01` and nothing else. Elements without a value are `xsi:nil`. What cannot be read is a fault.

mod xml;

use std::collections::BTreeMap;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};

use crate::world::{Date, Household, Member, Role, World};

pub const NAMESPACE: &str = "http://gaj.example.gov.cn/rkgl/v1";

/// The household's registration, the same for all its members.
#[derive(Debug, Clone)]
pub struct Residence {
    /// Table register-type.
    pub kind: &'static str,
    pub place: String,
    pub registered_on: Date,
    /// People in this register now.
    pub count: usize,
}

pub fn residence(household: &Household) -> Residence {
    let mut roll = household.roll("police/residence");
    Residence {
        kind: if roll.chance(95) { "10" } else { "20" },
        place: household.address.clone(),
        registered_on: roll.date(1994, 2015),
        count: household.members.iter().filter(|member| member.in_register).count(),
    }
}

#[derive(Debug, Clone)]
pub struct Vehicle {
    pub plate: String,
    /// Table vehicle-kind.
    pub kind: &'static str,
    pub registered_on: Date,
    pub status: &'static str,
    pub owner: String,
}

/// Vehicles of one member.
pub fn vehicles(household: &Household, member: &Member) -> Vec<Vehicle> {
    let owns = match member.role {
        Role::Head => household.one_in(2, "police/vehicles"),
        Role::Spouse | Role::GrownChild => member.age() >= 18 && member.roll("police/owns").chance(20),
        _ => false,
    };
    if !owns || !member.alive || household.almost_nothing() {
        return Vec::new();
    }
    let mut roll = member.roll("police/vehicles");
    let count = 1 + u64::from(roll.chance(25));
    (0..count)
        .map(|_| Vehicle {
            plate: plate(&household.division.code, roll.below(90_000) + 10_000),
            kind: roll.pick(&["K33", "K31", "M21", "M21", "H31", "N11", "T21"]),
            registered_on: roll.date(2012, 2024),
            status: roll.pick(&["正常", "正常", "正常", "逾期未检验", "注销"]),
            owner: member.police_name.clone(),
        })
        .collect()
}

fn plate(division: &str, number: u64) -> String {
    let letter = match division.get(..4) {
        Some("3301") => 'A',
        Some("3302") => 'B',
        Some("3303") => 'C',
        Some("3304") => 'F',
        Some("3305") => 'E',
        Some("3306") => 'D',
        Some("3307") => 'G',
        Some("3308") => 'H',
        Some("3309") => 'L',
        Some("3310") => 'J',
        _ => 'K',
    };
    format!("浙{letter}{number}")
}

/// Tables life-status and identity-verdict.
const DEAD: &str = "2";
const ALIVE: &str = "1";
const MATCH: &str = "00";
const MISMATCH: &str = "01";
const NOT_FOUND: &str = "02";

pub fn router(world: World) -> Router {
    Router::new().route("/services/RkglService", post(service)).with_state(world)
}

async fn service(State(world): State<World>, headers: HeaderMap, body: Bytes) -> Response {
    let Some((operation, inputs)) = xml::read(&body) else {
        return fault("soapenv:Client", "报文无法解析");
    };
    let action = headers.get("soapaction").and_then(|value| value.to_str().ok()).unwrap_or("").trim_matches('"');
    if !action.is_empty() && !action.ends_with(&operation) {
        return fault("soapenv:Client", "SOAPAction 与报文不符");
    }
    let Some(id_number) = inputs.get("sfzh") else { return fault("soapenv:Client", "缺少公民身份号码") };
    match operation.as_str() {
        "QueryRegister" => register(&world, id_number, &inputs),
        "QueryVehicle" => owned(&world, id_number),
        _ => fault("soapenv:Client", "无此服务"),
    }
}

fn register(world: &World, id_number: &str, inputs: &BTreeMap<String, String>) -> Response {
    let verdict = |code: &str| {
        answer(
            "QueryRegisterResponse",
            &format!("<rk:ry><rk:sfzh>{}</rk:sfzh><rk:hyjg>{code}</rk:hyjg></rk:ry>", xml::escaped(id_number)),
        )
    };
    let Some((household, at)) = world.person(id_number) else {
        return match inputs.contains_key("xm") {
            true => verdict(NOT_FOUND),
            false => answer("QueryRegisterResponse", ""),
        };
    };
    let member = &household.members[at];
    match inputs.get("xm") {
        Some(name) if *name != member.police_name => verdict(MISMATCH),
        asked => answer("QueryRegisterResponse", &registered(&household, member, asked.map(|_| MATCH))),
    }
}

fn registered(household: &Household, member: &Member, verdict: Option<&str>) -> String {
    let residence = residence(household);
    let day = |day: Option<Date>| day.map(Date::compact);
    let mut out = String::from("<rk:ry>");
    let mut element = |name: &str, value: Option<&str>| match value {
        Some(value) => out.push_str(&format!("<rk:{name}>{}</rk:{name}>", xml::escaped(value))),
        None => out.push_str(&format!("<rk:{name} xsi:nil=\"true\"/>")),
    };
    element("sfzh", Some(&member.id_number));
    element("hyjg", verdict);
    element("xm", Some(&member.police_name));
    element("zhbz", Some(if member.in_register { "1" } else { "0" }));
    element("rkzt", Some(if member.alive { ALIVE } else { DEAD }));
    element("swrq", day(member.death_on).as_deref());
    element("qcrq", day(member.moved_on).as_deref());
    element("hklb", Some(residence.kind));
    element("hjdz", Some(&residence.place));
    element("djrq", Some(&residence.registered_on.compact()));
    element("hkrs", Some(&residence.count.to_string()));
    element("hzxm", Some(&household.head().police_name));
    out.push_str("</rk:ry>");
    out
}

fn owned(world: &World, id_number: &str) -> Response {
    let vehicles = world.person(id_number).map(|(household, at)| vehicles(&household, &household.members[at]));
    let list: String = vehicles
        .unwrap_or_default()
        .iter()
        .map(|vehicle| {
            format!(
                "<rk:cl><rk:hphm>{}</rk:hphm><rk:cllx>{}</rk:cllx><rk:ccdjrq>{}</rk:ccdjrq><rk:zt>{}</rk:zt>\
                 <rk:syr>{}</rk:syr></rk:cl>",
                vehicle.plate,
                vehicle.kind,
                vehicle.registered_on.compact(),
                vehicle.status,
                vehicle.owner
            )
        })
        .collect();
    answer("QueryVehicleResponse", &list)
}

fn answer(operation: &str, inner: &str) -> Response {
    let body = format!("<rk:{operation} xmlns:rk=\"{NAMESPACE}\">{inner}</rk:{operation}>");
    envelope(StatusCode::OK, &body)
}

fn fault(code: &str, text: &str) -> Response {
    let body = format!("<soapenv:Fault><faultcode>{code}</faultcode><faultstring>{text}</faultstring></soapenv:Fault>");
    envelope(StatusCode::INTERNAL_SERVER_ERROR, &body)
}

fn envelope(status: StatusCode, body: &str) -> Response {
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"GBK\"?>\
         <soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">\
         <soapenv:Header/><soapenv:Body>{body}</soapenv:Body></soapenv:Envelope>"
    );
    let bytes = encoding_rs::GBK.encode(&text).0.into_owned();
    (status, [(header::CONTENT_TYPE, "text/xml; charset=GBK")], bytes).into_response()
}

/// The police's fields of a Person of the contract.
pub fn expected_person(member: &Member) -> Value {
    let matches = member.name == member.police_name;
    let known = |value: Value| if matches { value } else { Value::Null };
    json!({
        "inRegister": known(json!(member.in_register)),
        "lifeStatus": known(json!(if member.alive { "ALIVE" } else { "DECEASED" })),
        "lifeStatusCode": known(json!(if member.alive { ALIVE } else { DEAD })),
        "movedOn": known(json!(member.moved_on.map(|day| day.to_string()))),
        "deathOn": known(json!(member.death_on.map(|day| day.to_string()))),
        "verified": if matches { "MATCH" } else { "IDENTITY_MISMATCH" },
        "verifiedCode": if matches { MATCH } else { MISMATCH },
    })
}

/// The items the department owns, as contract paths and values; of `identity.members` agriculture tells.
pub fn expected(_world: &World, household: &Household) -> Value {
    let residence = residence(household);
    let vehicles: Vec<Value> = household
        .members
        .iter()
        .flat_map(|member| vehicles(household, member))
        .map(|vehicle| {
            json!({
                "plate": vehicle.plate,
                "kind": match vehicle.kind {
                    "K33" | "K31" => "CAR", "M21" => "MOTORCYCLE", "H31" => "TRUCK", "N11" => "TRICYCLE", _ => "TRACTOR",
                },
                "kindCode": vehicle.kind,
                "registeredOn": vehicle.registered_on.to_string(),
                "status": vehicle.status,
                "ownerName": vehicle.owner,
            })
        })
        .collect();
    json!({
        "identity.residence": {
            "registerType": if residence.kind == "10" { "FAMILY" } else { "COLLECTIVE" },
            "registerTypeCode": residence.kind,
            "place": residence.place,
            "registeredOn": residence.registered_on.to_string(),
        },
        "assets.vehicles": vehicles,
    })
}

#[cfg(test)]
mod tests;
