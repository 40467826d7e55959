//! 教育局: plain GraphQL. Root fields take lists of id numbers; a pupil the bureau does not know is left out.

use async_graphql::{Context, EmptyMutation, EmptySubscription, Object, Request, Schema, SimpleObject};
use axum::extract::State;
use axum::{Json, Router, routing::post};
use serde_json::{Value, json};

use crate::money::yuan;
use crate::world::{Household, Member, World};

const IDS_MAX: usize = 200;

/// The stages by the bureau’s codes, and the contract's names.
const PRIMARY: (&str, &str) = ("21", "PRIMARY");
const JUNIOR: (&str, &str) = ("31", "JUNIOR_HIGH");
const SENIOR: (&str, &str) = ("34", "SENIOR_HIGH");
const VOCATIONAL: (&str, &str) = ("36", "SECONDARY_VOCATIONAL");
const COLLEGE: (&str, &str) = ("42", "HIGHER_VOCATIONAL");
const UNIVERSITY: (&str, &str) = ("41", "UNDERGRADUATE");

/// One pupil or student.
#[derive(SimpleObject, Clone)]
struct Student {
    id_number: String,
    name: String,
    school: String,
    /// Stage of schooling, two digits.
    stage_code: String,
    grade: String,
    boarding: bool,
    #[graphql(skip)]
    stage: &'static str,
}

/// One grant to one pupil.
#[derive(SimpleObject, Clone)]
struct Aid {
    id_number: String,
    name: String,
    programme: String,
    /// Yuan, two decimals.
    amount: String,
    year: i32,
}

/// School attendance of one child of compulsory-school age.
#[derive(SimpleObject, Clone)]
struct Attendance {
    id_number: String,
    absent_days: i32,
    dropout_warning: bool,
}

fn student(household: &Household, index: usize) -> Option<Student> {
    let member = pupil(household, index)?;
    let mut roll = member.roll("education");
    let age = member.age();
    let town = &household.division.town;
    let county = &household.division.county;
    let ((stage_code, stage), school, grade) = match age {
        6..12 => (PRIMARY, format!("{town}中心小学"), numeral("小学", age - 5)),
        12..15 => (JUNIOR, format!("{town}初级中学"), numeral("初中", age - 11)),
        15..18 if roll.chance(40) => (VOCATIONAL, format!("{county}职业中等专业学校"), numeral("中职", age - 14)),
        15..18 => (SENIOR, format!("{county}中学"), numeral("高中", age - 14)),
        _ if roll.chance(40) => (COLLEGE, "丽水职业技术学院".to_owned(), numeral("高职", (age - 17).min(3))),
        _ if roll.chance(60) => (UNIVERSITY, "丽水学院".to_owned(), numeral("本科", (age - 17).min(4))),
        _ => return None,
    };
    Some(Student {
        id_number: member.id_number.clone(),
        name: member.name.clone(),
        school,
        stage_code: stage_code.to_owned(),
        grade,
        boarding: age >= 12 && roll.chance(60),
        stage,
    })
}

fn pupil(household: &Household, index: usize) -> Option<&Member> {
    let members = if household.almost_nothing() { &[] } else { household.members.as_slice() };
    members.get(index).filter(|member| member.alive && (6..=22).contains(&member.age()))
}

fn numeral(stage: &str, year: i32) -> String {
    let names = ["一", "二", "三", "四", "五", "六"];
    format!("{stage}{}年级", names.get((year - 1).max(0) as usize).unwrap_or(&"六"))
}

fn aid(household: &Household, index: usize) -> Vec<Aid> {
    let Some(student) = student(household, index) else { return Vec::new() };
    let mut roll = household.members[index].roll("education/aid");
    let (programme, low, high) = match student.stage {
        "SECONDARY_VOCATIONAL" => ("雨露计划", 150_000, 250_000),
        "HIGHER_VOCATIONAL" | "UNDERGRADUATE" => ("国家助学金", 330_000, 500_000),
        "SENIOR_HIGH" => ("普通高中国家助学金", 100_000, 300_000),
        _ => ("义务教育家庭经济困难学生生活补助", 50_000, 150_000),
    };
    let line = |year| Aid {
        id_number: student.id_number.clone(),
        name: student.name.clone(),
        programme: programme.to_owned(),
        amount: yuan(roll.amount_fen(low, high)),
        year,
    };
    let year = household.today.y;
    [year - 1, year].into_iter().map(line).collect()
}

fn attendance(household: &Household, index: usize) -> Option<Attendance> {
    let student = student(household, index)?;
    if !matches!(student.stage, "PRIMARY" | "JUNIOR_HIGH") {
        return None;
    }
    let mut roll = household.members[index].roll("education/attendance");
    let absent_days = if roll.chance(8) { 15 + roll.below(20) } else { roll.below(6) } as i32;
    Some(Attendance { id_number: student.id_number, absent_days, dropout_warning: absent_days >= 15 })
}

/// The bureau's root queries.
struct Query;

#[Object]
impl Query {
    async fn students(&self, context: &Context<'_>, id_numbers: Vec<String>) -> async_graphql::Result<Vec<Student>> {
        answer(context, &id_numbers, |household, index| student(household, index).into_iter().collect())
    }

    async fn aid(&self, context: &Context<'_>, id_numbers: Vec<String>) -> async_graphql::Result<Vec<Aid>> {
        answer(context, &id_numbers, aid)
    }

    async fn attendance(
        &self,
        context: &Context<'_>,
        id_numbers: Vec<String>,
    ) -> async_graphql::Result<Vec<Attendance>> {
        answer(context, &id_numbers, |household, index| attendance(household, index).into_iter().collect())
    }
}

fn answer<T>(
    context: &Context<'_>,
    ids: &[String],
    of: fn(&Household, usize) -> Vec<T>,
) -> async_graphql::Result<Vec<T>> {
    if ids.len() > IDS_MAX {
        return Err("一次最多查询200人".into());
    }
    let world = context.data::<World>()?;
    let known = ids.iter().filter_map(|id| world.person(id));
    Ok(known.flat_map(|(household, index)| of(&household, index)).collect())
}

type Bureau = Schema<Query, EmptyMutation, EmptySubscription>;

/// The department's server.
pub fn router(world: World) -> Router {
    let schema = Schema::build(Query, EmptyMutation, EmptySubscription).data(world).limit_depth(8).finish();
    Router::new().route("/graphql", post(graphql)).with_state(schema)
}

async fn graphql(State(schema): State<Bureau>, Json(request): Json<Request>) -> Json<async_graphql::Response> {
    Json(schema.execute(request).await)
}

/// Items 32 to 34, from the facts alone.
pub fn expected(_world: &World, household: &Household) -> Value {
    let members = || 0..household.members.len();
    let students: Vec<Value> = members()
        .filter_map(|index| student(household, index))
        .map(|student| {
            json!({
                "name": student.name, "idNumber": student.id_number, "school": student.school,
                "stage": student.stage, "stageCode": student.stage_code, "grade": student.grade,
                "boarding": student.boarding,
            })
        })
        .collect();
    let aid: Vec<Value> = members()
        .flat_map(|index| aid(household, index))
        .map(|aid| {
            json!({
                "name": aid.name, "idNumber": aid.id_number, "programme": aid.programme, "amount": aid.amount,
                "year": aid.year,
            })
        })
        .collect();
    let warnings: Vec<bool> =
        members().filter_map(|index| attendance(household, index)).map(|child| child.dropout_warning).collect();
    let risk = (!warnings.is_empty()).then(|| warnings.contains(&true));
    json!({"education.students": students, "education.aid": aid, "education.dropoutRisk": risk})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask;

    #[tokio::test]
    async fn root_fields_take_lists_and_leave_out_whom_the_bureau_does_not_know() {
        let (world, household) = ask::world();
        let mut ids: Vec<&str> = household.members.iter().map(|member| member.id_number.as_str()).collect();
        ids.push("331122190001010000");
        let query = "query($ids: [String!]!) { students(idNumbers: $ids) { idNumber stageCode } }";
        let ask = json!({"query": query, "variables": {"ids": ids}});
        let (_, answer) = ask::post(router(world.clone()), "/graphql", ask).await;
        let known = expected(&world, &household)["education.students"].as_array().unwrap().len();
        assert!(known > 0);
        assert_eq!(answer["data"]["students"].as_array().unwrap().len(), known, "{answer}");
    }

    #[test]
    fn every_item_is_answered_in_five_of_21_households() {
        ask::dense(expected, &["education.students", "education.aid", "education.dropoutRisk"]);
    }
}
