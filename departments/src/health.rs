//! 卫健局: HL7 FHIR R4 over REST. Searches answer a `Bundle` of type `searchset`; patients are named by
//! `patient.identifier`, several joined by commas. A bundle without a match has no `entry` (FHIR forbids empty arrays).

use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Router, routing::get};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::world::{Household, Member, World};

const ID_SYSTEM: &str = "urn:oid:2.16.840.1.113883.2.23.3.1";
const ICD10: &str = "http://hl7.org/fhir/sid/icd-10";
const PATIENTS_MAX: usize = 50;

/// Illnesses that the county counts as major, by ICD-10.
const MAJOR: [(&str, &str); 8] = [
    ("C16.9", "胃恶性肿瘤"),
    ("C34.9", "支气管或肺恶性肿瘤"),
    ("C22.0", "肝细胞癌"),
    ("N18.5", "慢性肾脏病5期"),
    ("I63.9", "脑梗死"),
    ("I21.9", "急性心肌梗死"),
    ("M32.9", "系统性红斑狼疮"),
    ("D66", "遗传性因子Ⅷ缺乏(血友病A)"),
];
/// Now and then one of the mind, of which the department tells fewer people.
const PSYCHIATRIC: (&str, &str) = ("F20.0", "偏执型精神分裂症");
const DOCTORS: [&str; 8] = ["叶建平", "吴晓燕", "陈立新", "潘素珍", "刘海峰", "蓝美芬", "周国庆", "徐慧敏"];
const FOUND: [&str; 6] = [
    "血压控制平稳,继续服药",
    "空腹血糖偏高,已调整饮食建议",
    "术后恢复良好,建议三个月后复查",
    "行动不便,预约上门体检",
    "未按时服药,已向家属说明",
    "无新发症状",
];

const KINDS: [&str; 3] = ["上门随访", "电话随访", "门诊随访"];

/// The illness of one living person, where there is one: ICD-10 code, name, date (ISO).
fn illness(household: &Household, index: usize) -> Option<(&'static str, &'static str, String)> {
    let member = household.members.get(index).filter(|member| member.alive)?;
    let mut roll = member.roll("health/illness");
    let ill = (index == 0 && household.one_in(3, "major illness"))
        || (member.age() >= 60 && roll.chance(12) && !household.almost_nothing());
    ill.then(|| {
        let (counted, name) = roll.pick(&MAJOR);
        let psychiatric = member.roll("health/psychiatric").chance(12);
        let (code, name) = if psychiatric { PSYCHIATRIC } else { (counted, name) };
        (code, name, roll.date(2019, 2025).to_string())
    })
}

pub struct Doctor {
    pub name: &'static str,
    pub organisation: String,
    pub phone: String,
    pub signed_on: String,
}

/// The household's contracted family doctor.
pub fn doctor(household: &Household) -> Option<Doctor> {
    if household.sequence % 5 == 4 || household.almost_nothing() {
        return None;
    }
    let mut roll = household.roll("health/doctor");
    Some(Doctor {
        name: roll.pick(&DOCTORS),
        organisation: format!("{}卫生院", household.division.town),
        phone: format!("139003{:05}", roll.below(100_000)),
        signed_on: roll.date(2022, 2025).to_string(),
    })
}

struct Visit {
    on: String,
    by: &'static str,
    kind: &'static str,
    found: &'static str,
}

/// The family doctor's visits to one living person, oldest first.
fn visits(household: &Household, index: usize) -> Vec<Visit> {
    let Some(member) = household.members.get(index).filter(|member| member.alive) else { return Vec::new() };
    let Some(doctor) = doctor(household) else { return Vec::new() };
    if index != 0 && member.age() < 60 {
        return Vec::new();
    }
    let mut roll = member.roll("health/visits");
    let mut dates: Vec<String> = (0..2 + roll.below(5)).map(|_| roll.date(2024, 2025).to_string()).collect();
    dates.sort_unstable();
    dates.dedup();
    let visit = |on| Visit { on, by: doctor.name, kind: roll.pick(&KINDS), found: roll.pick(&FOUND) };
    dates.into_iter().map(visit).collect()
}

/// The department's server.
pub fn router(world: World) -> Router {
    Router::new().route("/fhir/{kind}", get(search)).with_state(world)
}

#[derive(Deserialize)]
struct Search {
    #[serde(rename = "patient.identifier")]
    identifiers: Option<String>,
    #[serde(rename = "_count")]
    count: Option<usize>,
}

async fn search(State(world): State<World>, Path(kind): Path<String>, Query(search): Query<Search>) -> Response {
    let outcome = |status: StatusCode, text: &str| {
        let issue = json!([{"severity": "error", "code": "invalid", "diagnostics": text}]);
        fhir(status, &json!({"resourceType": "OperationOutcome", "issue": issue}))
    };
    let resources: fn(&Household, usize) -> Vec<Value> = match kind.as_str() {
        "Condition" => conditions,
        "Encounter" => encounters,
        "CareTeam" => care_teams,
        _ => return outcome(StatusCode::NOT_FOUND, "resource type not supported"),
    };
    let Some(identifiers) = search.identifiers.filter(|text| !text.is_empty()) else {
        return outcome(StatusCode::BAD_REQUEST, "parameter patient.identifier is required");
    };
    // A token search value is `value` or `system|value`.
    let ids: Vec<&str> = identifiers.split(',').map(|token| token.rsplit('|').next().unwrap_or(token)).collect();
    if ids.len() > PATIENTS_MAX {
        return outcome(StatusCode::BAD_REQUEST, "at most 50 identifiers");
    }
    let mut found = Vec::new();
    for id in ids {
        if let Some((household, index)) = world.person(id) {
            found.extend(resources(&household, index));
        }
    }
    let total = found.len();
    found.truncate(search.count.unwrap_or(1_000));
    let mut bundle = json!({"resourceType": "Bundle", "type": "searchset", "total": total});
    if !found.is_empty() {
        let entry: Vec<Value> = found
            .into_iter()
            .map(|resource| {
                let url = format!("urn:{}/{}", kind, resource["id"].as_str().unwrap_or_default());
                json!({"fullUrl": url, "resource": resource, "search": {"mode": "match"}})
            })
            .collect();
        bundle["entry"] = Value::Array(entry);
    }
    fhir(StatusCode::OK, &bundle)
}

fn fhir(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/fhir+json; charset=utf-8")], body.to_string()).into_response()
}

fn subject(member: &Member) -> Value {
    json!({"identifier": {"system": ID_SYSTEM, "value": member.id_number}, "display": member.name})
}

fn resource_id(household: &Household, index: usize, number: usize) -> String {
    format!("{}-{index}-{number}", household.id)
}

fn conditions(household: &Household, index: usize) -> Vec<Value> {
    let resource = |(code, name, on): (&str, &str, String)| {
        json!({
            "resourceType": "Condition", "id": resource_id(household, index, 0),
            "clinicalStatus": {"coding": [{
                "system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active",
            }]},
            "code": {"coding": [{"system": ICD10, "code": code, "display": name}], "text": name},
            "subject": subject(&household.members[index]),
            "onsetDateTime": on,
        })
    };
    illness(household, index).map(resource).into_iter().collect()
}

fn encounters(household: &Household, index: usize) -> Vec<Value> {
    let resource = |(number, visit): (usize, Visit)| {
        json!({
            "resourceType": "Encounter", "id": resource_id(household, index, number), "status": "finished",
            "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "HH"},
            "subject": subject(&household.members[index]),
            "participant": [{"individual": {"display": visit.by}}],
            "type": [{"text": visit.kind}],
            "period": {"start": visit.on, "end": visit.on},
            "reasonCode": [{"text": visit.found}],
        })
    };
    visits(household, index).into_iter().enumerate().map(resource).collect()
}

fn care_teams(household: &Household, index: usize) -> Vec<Value> {
    if !household.members[index].alive {
        return Vec::new();
    }
    let resource = |doctor: Doctor| {
        json!({
            "resourceType": "CareTeam", "id": resource_id(household, index, 0), "status": "active",
            "subject": subject(&household.members[index]),
            "period": {"start": doctor.signed_on},
            "participant": [{"member": {"display": doctor.name}, "onBehalfOf": {"display": doctor.organisation}}],
            "managingOrganization": [{"display": doctor.organisation}],
            "telecom": [{"system": "phone", "value": doctor.phone}],
        })
    };
    doctor(household).map(resource).into_iter().collect()
}

/// Items 26 to 28, from the facts alone.
pub fn expected(_world: &World, household: &Household) -> Value {
    let members = || household.members.iter().enumerate();
    let major: Vec<Value> = members()
        .filter_map(|(index, member)| {
            let (code, name, on) = illness(household, index)?;
            Some(json!({
                "name": member.name, "idNumber": member.id_number, "code": code, "illness": name, "diagnosedOn": on,
            }))
        })
        .collect();
    let mut follow_ups: Vec<Value> = members()
        .flat_map(|(index, member)| {
            let line = |visit: Visit| {
                json!({
                    "name": member.name, "idNumber": member.id_number, "on": visit.on, "doctor": visit.by,
                    "kind": visit.kind, "finding": visit.found,
                })
            };
            visits(household, index).into_iter().map(line).collect::<Vec<_>>()
        })
        .collect();
    // The contract lists the latest first.
    follow_ups.sort_by(|a, b| b["on"].as_str().cmp(&a["on"].as_str()));
    let anyone = household.members.iter().any(|member| member.alive);
    let doctor = doctor(household).filter(|_| anyone).map(|doctor| {
        json!({
            "name": doctor.name, "organisation": doctor.organisation, "phone": doctor.phone,
            "signedOn": doctor.signed_on,
        })
    });
    json!({"health.majorIllnesses": major, "health.familyDoctor": doctor, "health.followUps": follow_ups})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask;

    #[tokio::test]
    async fn a_search_answers_a_bundle_of_the_patients_asked_for() {
        let (world, household) = ask::world();
        let ids: Vec<&str> = household.members.iter().map(|member| member.id_number.as_str()).collect();
        let query = [("patient.identifier", ids.join(","))];
        let query = query.each_ref().map(|(name, value)| (*name, value.as_str()));
        let (_, text) = ask::get(router(world.clone()), "/fhir/CareTeam", &query).await;
        let bundle: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(bundle["type"], "searchset");
        assert_eq!(bundle["entry"][0]["resource"]["subject"]["identifier"]["value"], ids[0]);
        let nobody = [("patient.identifier", "331122190001010000")];
        let (_, text) = ask::get(router(world.clone()), "/fhir/Condition", &nobody).await;
        let bundle: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&bundle["total"], bundle.get("entry")), (&json!(0), None));
        let (status, text) = ask::get(router(world), "/fhir/Condition", &[]).await;
        assert!(status == 400 && text.contains("OperationOutcome"), "{text}");
    }

    #[test]
    fn every_item_is_answered_in_five_of_21_households() {
        ask::dense(expected, &["health.majorIllnesses", "health.familyDoctor", "health.followUps"]);
    }
}
