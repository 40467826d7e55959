//! 人社局: REST JSON behind OAuth 2.0 client credentials (RFC 6749 section 4.4), long answers cut by an opaque cursor.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing::post};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::money::yuan;
use crate::server::{app_key, secret};
use crate::world::{Household, Member, World};

const ID: &str = "human-resources";
/// Seconds that a token lives.
const TOKEN_SECONDS: u64 = 600;
/// Records of one page at most.
const PAGE_MAX: usize = 100;

/// Employment by GB/T 2261.4; each with the employers one meets here.
type Work = (&'static str, &'static str, &'static [&'static str]);
const WORK: [Work; 5] = [
    ("24", "EMPLOYED", &["丽水山泉茶业有限公司", "壶镇缝纫机零件厂", "温州鞋业有限公司", "义乌小商品仓储有限公司"]),
    ("27", "FARMING", &[]),
    ("51", "FLEXIBLE", &[]),
    ("54", "SELF_EMPLOYED", &[]),
    ("70", "UNEMPLOYED", &[]),
];
const POSTS: [&str; 5] = ["生态护林员", "乡村保洁员", "河道巡查员", "农村公路护路员", "养老服务协理员"];
const PROVIDERS: [&str; 3] = ["丽水技师学院", "丽水市农业农村培训中心", "浙江省扶贫培训基地"];
const COURSES: [&str; 6] = ["茶叶加工工", "家政服务员", "电工(低压)", "中式烹调师", "养老护理员", "电子商务师"];

struct Worker {
    status_code: &'static str,
    status: &'static str,
    employer: Option<&'static str>,
    place: Option<String>,
    wage_fen: Option<i64>,
    since: Option<String>,
}

fn adult(household: &Household, index: usize) -> Option<&Member> {
    household.members.get(index).filter(|member| member.alive && member.age() >= 18 && !household.almost_nothing())
}

fn worker(household: &Household, index: usize) -> Option<Worker> {
    // Those who study are education's.
    let member = adult(household, index).filter(|member| (23..65).contains(&member.age()))?;
    let mut roll = member.roll("human-resources");
    let (status_code, status, employers) = match public_post(household, index) {
        // Who holds a public welfare post is in flexible employment.
        Some(_) => WORK[2],
        None => roll.pick(&WORK),
    };
    let employer = (!employers.is_empty()).then(|| roll.pick(employers));
    let place = match employer {
        Some(_) => Some(roll.pick(&["浙江省丽水市", "浙江省温州市", "浙江省金华市"]).to_string()),
        None if status_code == "70" => None,
        None => Some(household.division.county.clone()),
    };
    let wage_fen = (status_code != "70").then(|| roll.amount_fen(180_000, 620_000));
    let since = (status_code != "70").then(|| roll.date(2018, 2024).to_string());
    Some(Worker { status_code, status, employer, place, wage_fen, since })
}

struct Post {
    post: &'static str,
    unit: String,
    wage_fen: i64,
    since: String,
    until: String,
}

fn public_post(household: &Household, index: usize) -> Option<Post> {
    let member = adult(household, index).filter(|member| member.age() < 70)?;
    let mut roll = member.roll("human-resources/post");
    let first = household.members.iter().position(|member| member.alive && (18..70).contains(&member.age()));
    (first == Some(index) && household.one_in(3, "public post")).then(|| {
        let since = roll.date(2022, 2025);
        Post {
            post: roll.pick(&POSTS),
            unit: format!("{}人民政府", household.division.town),
            wage_fen: roll.amount_fen(60_000, 180_000),
            since: since.to_string(),
            until: since.plus_days(3 * 365).to_string(),
        }
    })
}

struct Course {
    course: &'static str,
    provider: &'static str,
    from: String,
    to: String,
    certificate: Option<String>,
}

fn courses(household: &Household, index: usize) -> Vec<Course> {
    let Some(member) = adult(household, index).filter(|member| member.age() < 65) else { return Vec::new() };
    let mut roll = member.roll("human-resources/training");
    let count = if roll.chance(45) { 1 + roll.below(2) } else { 0 };
    let one = |_| {
        let course = roll.pick(&COURSES);
        let from = roll.date(2022, 2025);
        Course {
            course,
            provider: roll.pick(&PROVIDERS),
            from: from.to_string(),
            to: from.plus_days(3 + roll.below(9) as i64).to_string(),
            certificate: roll.chance(70).then(|| format!("{course}职业技能等级证书(五级)")),
        }
    };
    (0..count).map(one).collect()
}

struct Pension {
    kind: &'static str,
    monthly_fen: i64,
    since: String,
}

fn pension(household: &Household, index: usize) -> Option<Pension> {
    let member = adult(household, index).filter(|member| member.age() >= 60)?;
    let mut roll = member.roll("human-resources/pension");
    let since = format!("{:04}-{:02}", member.birth.y + 60, member.birth.m);
    Some(match roll.chance(80) {
        true => Pension { kind: "城乡居民基本养老保险", monthly_fen: roll.amount_fen(19_000, 46_000), since },
        false => {
            Pension { kind: "企业职工基本养老保险", monthly_fen: roll.amount_fen(190_000, 380_000), since }
        }
    })
}

struct Benefit {
    monthly_fen: i64,
    since: String,
    until: String,
}

/// Of most of the unemployed, for three months to two years, which may be over; of a few others, from before their work now.
fn unemployment_benefit(household: &Household, index: usize) -> Option<Benefit> {
    let member = adult(household, index)?;
    let unemployed = worker(household, index)?.status == "UNEMPLOYED";
    let mut roll = member.roll("human-resources/unemployment");
    let (chance, ago) = if unemployed { (80, 20) } else { (12, 1_200) };
    let since = household.today.plus_days(-ago - roll.below(400) as i64);
    roll.chance(chance).then(|| Benefit {
        monthly_fen: roll.amount_fen(152_000, 201_000),
        since: since.to_string(),
        until: since.plus_days(90 + 30 * roll.below(22) as i64).to_string(),
    })
}

/// The department's server.
pub fn router(world: World) -> Router {
    Router::new()
        .route("/oauth2/token", post(token))
        .route("/api/v2/workers/search", post(search_workers))
        .route("/api/v2/posts/search", post(search_posts))
        .route("/api/v2/trainings/search", post(search_trainings))
        .route("/api/v2/pensions/search", post(search_pensions))
        .route("/api/v2/unemployment/search", post(search_unemployment))
        .with_state(world)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn mac(expiry: u64) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(format!("{}/{expiry}", secret(ID))))
}

async fn token(headers: HeaderMap, body: String) -> Response {
    let refuse = |error: &str| (StatusCode::UNAUTHORIZED, Json(json!({"error": error}))).into_response();
    let form = |name: &str| {
        body.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    if form("grant_type") != Some("client_credentials") {
        return (StatusCode::BAD_REQUEST, Json(json!({"error": "unsupported_grant_type"}))).into_response();
    }
    let basic = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| STANDARD.decode(value.to_str().ok()?.strip_prefix("Basic ")?).ok())
        .and_then(|bytes| String::from_utf8(bytes).ok());
    let known = match &basic {
        Some(pair) => *pair == format!("{}:{}", app_key(ID), secret(ID)),
        None => form("client_id") == Some(&app_key(ID)) && form("client_secret") == Some(&secret(ID)),
    };
    if !known {
        return refuse("invalid_client");
    }
    let expiry = now() + TOKEN_SECONDS;
    let token = format!("{expiry}.{}", mac(expiry));
    Json(json!({"access_token": token, "token_type": "Bearer", "expires_in": TOKEN_SECONDS})).into_response()
}

fn authorized(headers: &HeaderMap) -> bool {
    let token = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .and_then(|token| token.split_once('.'));
    token.is_some_and(|(expiry, sign)| expiry.parse().is_ok_and(|expiry: u64| expiry > now() && sign == mac(expiry)))
}

#[derive(Deserialize)]
struct Search {
    ids: Vec<String>,
    cursor: Option<String>,
    limit: Option<usize>,
}

fn search(
    world: &World,
    headers: &HeaderMap,
    search: &Search,
    write: impl Fn(&Household, usize) -> Vec<Value>,
) -> Response {
    if !authorized(headers) {
        return (StatusCode::UNAUTHORIZED, Json(json!({"error": "invalid_token"}))).into_response();
    }
    // The cursor hides how many records were given so far.
    let start = match search.cursor.as_deref().filter(|cursor| !cursor.is_empty()) {
        None => Some(0),
        Some(cursor) => URL_SAFE_NO_PAD
            .decode(cursor)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok()?.strip_prefix("after:")?.parse::<usize>().ok()),
    };
    let Some(start) = start.filter(|_| search.ids.len() <= 200) else {
        return (StatusCode::BAD_REQUEST, Json(json!({"error": "invalid_request"}))).into_response();
    };
    let limit = search.limit.unwrap_or(20).clamp(1, PAGE_MAX);
    let mut records = search
        .ids
        .iter()
        .filter_map(|id| world.person(id))
        .flat_map(|(household, index)| write(&household, index))
        .skip(start);
    let page: Vec<Value> = records.by_ref().take(limit).collect();
    let next = records.next().map(|_| URL_SAFE_NO_PAD.encode(format!("after:{}", start + limit)));
    Json(json!({"items": page, "nextCursor": next})).into_response()
}

/// A record with the person's number and name, as every record here begins.
fn record(household: &Household, index: usize, rest: Value) -> Value {
    let member = &household.members[index];
    let mut record = json!({"idCard": member.id_number, "personName": member.name});
    if let (Some(to), Value::Object(from)) = (record.as_object_mut(), rest) {
        to.extend(from);
    }
    record
}

async fn search_workers(State(world): State<World>, headers: HeaderMap, Json(body): Json<Search>) -> Response {
    search(&world, &headers, &body, |household, index| {
        let line = |worker: Worker| {
            record(
                household,
                index,
                json!({
                    "statusCode": worker.status_code, "employerName": worker.employer, "workPlace": worker.place,
                    "monthlyWage": worker.wage_fen.map(yuan), "startDate": worker.since,
                }),
            )
        };
        worker(household, index).map(line).into_iter().collect()
    })
}

async fn search_posts(State(world): State<World>, headers: HeaderMap, Json(body): Json<Search>) -> Response {
    search(&world, &headers, &body, |household, index| {
        let line = |post: Post| {
            record(
                household,
                index,
                json!({
                    "postName": post.post, "unitName": post.unit, "subsidyMonthly": yuan(post.wage_fen),
                    "startDate": post.since, "endDate": post.until,
                }),
            )
        };
        public_post(household, index).map(line).into_iter().collect()
    })
}

async fn search_trainings(State(world): State<World>, headers: HeaderMap, Json(body): Json<Search>) -> Response {
    search(&world, &headers, &body, |household, index| {
        let line = |course: Course| {
            record(
                household,
                index,
                json!({
                    "courseName": course.course, "orgName": course.provider, "beginDate": course.from,
                    "endDate": course.to, "certificateName": course.certificate,
                }),
            )
        };
        courses(household, index).into_iter().map(line).collect()
    })
}

async fn search_pensions(State(world): State<World>, headers: HeaderMap, Json(body): Json<Search>) -> Response {
    search(&world, &headers, &body, |household, index| {
        let line = |pension: Pension| {
            record(
                household,
                index,
                json!({
                    "insuranceName": pension.kind, "monthlyAmount": yuan(pension.monthly_fen),
                    "startMonth": pension.since.replace('-', ""),
                }),
            )
        };
        pension(household, index).map(line).into_iter().collect()
    })
}

async fn search_unemployment(State(world): State<World>, headers: HeaderMap, Json(body): Json<Search>) -> Response {
    search(&world, &headers, &body, |household, index| {
        let line = |benefit: Benefit| {
            record(
                household,
                index,
                json!({
                    "monthlyBenefit": yuan(benefit.monthly_fen), "startDate": benefit.since, "endDate": benefit.until,
                }),
            )
        };
        unemployment_benefit(household, index).map(line).into_iter().collect()
    })
}

/// Items 35 to 38 and unemployment benefits, from the facts alone.
pub fn expected(_world: &World, household: &Household) -> Value {
    let each = |of: &dyn Fn(usize) -> Vec<Value>| -> Vec<Value> {
        let named = |index: usize, mut fact: Value| {
            fact["name"] = json!(household.members[index].name);
            fact["idNumber"] = json!(household.members[index].id_number);
            fact
        };
        (0..household.members.len())
            .flat_map(|index| of(index).into_iter().map(|fact| named(index, fact)).collect::<Vec<_>>())
            .collect()
    };
    let workers = each(&|index| {
        let fact = |worker: Worker| {
            json!({
                "status": worker.status, "statusCode": worker.status_code, "employer": worker.employer,
                "place": worker.place, "monthlyWage": worker.wage_fen.map(yuan), "since": worker.since,
            })
        };
        worker(household, index).map(fact).into_iter().collect()
    });
    let posts = each(&|index| {
        let fact = |post: Post| {
            json!({
                "post": post.post, "unit": post.unit, "monthlyPay": yuan(post.wage_fen), "since": post.since,
                "until": post.until,
            })
        };
        public_post(household, index).map(fact).into_iter().collect()
    });
    let training = each(&|index| {
        let fact = |course: Course| {
            json!({
                "course": course.course, "provider": course.provider, "startedOn": course.from,
                "finishedOn": course.to, "certificate": course.certificate,
            })
        };
        courses(household, index).into_iter().map(fact).collect()
    });
    let pensions = each(&|index| {
        let fact = |pension: Pension| json!({"kind": pension.kind, "monthly": yuan(pension.monthly_fen), "since": pension.since});
        pension(household, index).map(fact).into_iter().collect()
    });
    let benefits = each(&|index| {
        let fact = |benefit: Benefit| json!({"monthly": yuan(benefit.monthly_fen), "since": benefit.since, "until": benefit.until});
        unemployment_benefit(household, index).map(fact).into_iter().collect()
    });
    json!({
        "employment.workers": workers, "employment.publicPosts": posts, "employment.training": training,
        "employment.pensions": pensions, "recognition.unemploymentBenefits": benefits,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask;

    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt as _;

    async fn send(router: &Router, path: &str, authorization: &str, body: String) -> (StatusCode, Value) {
        let request = Request::post(path)
            .header(header::AUTHORIZATION, authorization)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body))
            .unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap())
    }

    #[tokio::test]
    async fn a_token_opens_the_search_and_the_cursor_leads_through_all_pages() {
        let (world, household) = ask::world();
        let router = router(world);
        let basic = format!("Basic {}", STANDARD.encode(format!("{}:{}", app_key(ID), secret(ID))));
        let (_, token) = send(&router, "/oauth2/token", &basic, "grant_type=client_credentials".into()).await;
        let bearer = format!("Bearer {}", token["access_token"].as_str().unwrap());
        let ids: Vec<&str> = household.members.iter().map(|member| member.id_number.as_str()).collect();
        let path = "/api/v2/pensions/search";
        let (_, first) = send(&router, path, &bearer, json!({"ids": ids, "limit": 1}).to_string()).await;
        let cursor = first["nextCursor"].as_str().unwrap();
        let (_, second) =
            send(&router, path, &bearer, json!({"ids": ids, "limit": 1, "cursor": cursor}).to_string()).await;
        assert_ne!(first["items"][0]["idCard"], second["items"][0]["idCard"]);
        assert!(second["nextCursor"].is_null());
        let (status, _) = send(&router, path, "Bearer 9999999999.forged", json!({"ids": ids}).to_string()).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        let (status, _) = send(&router, "/oauth2/token", "Basic eDp5", "grant_type=client_credentials".into()).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }

    #[test]
    fn unemployment_benefits_are_there_in_some_households() {
        ask::some(expected, &["recognition.unemploymentBenefits"]);
    }

    #[test]
    fn every_item_is_answered_in_five_of_21_households() {
        let items = ["workers", "publicPosts", "training", "pensions"];
        ask::dense(expected, &items.map(|item| format!("employment.{item}")).each_ref().map(String::as_str));
    }
}
