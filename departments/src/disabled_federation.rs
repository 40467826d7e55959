//! 残联: REST JSON, one person a call and no batch; slow. Takes few calls a second (the registry says how many).

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing::get};
use serde_json::{Value, json};

use crate::money::yuan;
use crate::world::{Date, Household, World};

/// Kinds of disability by GB/T 26341.
const KINDS: [(&str, &str); 7] = [
    ("1", "VISUAL"),
    ("2", "HEARING"),
    ("3", "SPEECH"),
    ("4", "PHYSICAL"),
    ("5", "INTELLECTUAL"),
    ("6", "PSYCHIATRIC"),
    ("7", "MULTIPLE"),
];
/// Grades by GB/T 26341, the most severe first.
const GRADES: [(&str, &str); 4] = [("1", "ONE"), ("2", "TWO"), ("3", "THREE"), ("4", "FOUR")];

/// Of a certificate.
const TERM_DAYS: i64 = 10 * 365;

struct Certificate {
    /// The holder's id number, the kind and the grade: 20 characters.
    number: String,
    kind: (&'static str, &'static str),
    grade: (&'static str, &'static str),
    issued: Date,
    until: Date,
    living_fen: Option<i64>,
    nursing_fen: Option<i64>,
}

fn certificate(household: &Household, index: usize) -> Option<Certificate> {
    let member = household.members.get(index).filter(|member| member.alive)?;
    let mut roll = member.roll("disabled-federation");
    // The head of every third household, severely; now and then someone else.
    let head = index == 0 && household.one_in(3, "disability");
    if !(head || roll.chance(4) && !household.almost_nothing()) {
        return None;
    }
    let kind = roll.pick(&KINDS);
    let grade = roll.pick(if head { &GRADES[..2] } else { &GRADES });
    let severe = matches!(grade.0, "1" | "2");
    let issued = roll.date(2018, 2023);
    // Some run out within two months, and have to be renewed.
    let issued = match head && household.one_in(5, "disability/ends") {
        true => household.today.plus_days(5 + roll.below(50) as i64 - TERM_DAYS),
        false => issued,
    };
    Some(Certificate {
        number: format!("{}{}{}", member.id_number, kind.0, grade.0),
        kind,
        grade,
        until: issued.plus_days(TERM_DAYS),
        issued,
        living_fen: (head || roll.chance(60)).then_some(if severe { 34_500 } else { 28_800 }),
        nursing_fen: severe.then(|| if grade.0 == "1" { 50_000 } else { 25_000 }),
    })
}

/// The department's server.
pub fn router(world: World) -> Router {
    Router::new().route("/api/cert/{id}", get(person)).with_state(world)
}

async fn person(State(world): State<World>, Path(id): Path<String>) -> Response {
    let found = world.person(&id).and_then(|(household, index)| {
        certificate(&household, index).map(|certificate| (household.members[index].name.clone(), certificate))
    });
    let Some((name, certificate)) = found else {
        return (StatusCode::NOT_FOUND, Json(json!({"status": "none", "msg": "未查到持证记录"}))).into_response();
    };
    let body = json!({"status": "ok", "person": {
        "cardId": id, "name": name, "certNo": certificate.number,
        "kind": certificate.kind.0, "level": certificate.grade.0,
        "issueDate": certificate.issued.slashed(), "validUntil": certificate.until.slashed(),
        "livingAllowance": certificate.living_fen.map(yuan), "careAllowance": certificate.nursing_fen.map(yuan),
    }});
    Json(body).into_response()
}

/// Items 29 to 31, from the facts alone.
pub fn expected(_world: &World, household: &Household) -> Value {
    let held: Vec<(usize, Certificate)> =
        (0..household.members.len()).filter_map(|index| Some((index, certificate(household, index)?))).collect();
    let shown = |(index, held): &(usize, Certificate)| {
        let member = &household.members[*index];
        json!({
            "name": member.name, "idNumber": member.id_number, "number": held.number,
            "kind": held.kind.1, "kindCode": held.kind.0, "grade": held.grade.1, "gradeCode": held.grade.0,
            "issuedOn": held.issued.to_string(), "expiresOn": held.until.to_string(),
        })
    };
    let sum = |of: fn(&Certificate) -> Option<i64>| held.iter().filter_map(|(_, held)| of(held)).reduce(|a, b| a + b);
    json!({
        "disability.certificates": held.iter().map(shown).collect::<Vec<_>>(),
        "disability.livingSubsidy": sum(|held| held.living_fen).map(yuan),
        "disability.nursingSubsidy": sum(|held| held.nursing_fen).map(yuan),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask;

    #[tokio::test]
    async fn a_person_without_a_certificate_is_not_found() {
        let (world, household) = ask::world();
        let asked: Vec<_> = (0..household.members.len())
            .map(|index| (household.members[index].id_number.clone(), certificate(&household, index).is_some()))
            .collect();
        for (id, holds) in asked {
            let (status, _) = ask::get(router(world.clone()), &format!("/api/cert/{id}"), &[]).await;
            assert_eq!(status == StatusCode::OK, holds);
        }
    }

    #[test]
    fn every_item_is_answered_in_five_of_21_households() {
        ask::dense(expected, &["disability.certificates", "disability.livingSubsidy", "disability.nursingSubsidy"]);
    }
}
