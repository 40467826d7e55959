//! 自然资源局: real estate, contracted land, parcels and homesteads, as OGC API Features (GeoJSON).
//!
//! Real estate, contracted land and parcels are known by the owner's id number, homesteads by agriculture's household number.
//! Filters are CQL2 text of one form only: `property IN ('a','b')`.

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::photo;
use crate::world::{Date, Household, Member, World};

/// A registered real-estate unit.
#[derive(Debug, Clone)]
pub struct Estate {
    pub unit_number: String,
    pub owner: String,
    pub owner_name: String,
    /// Raw code: `1` homestead and house, `2` flat, `3` shop.
    pub kind: &'static str,
    /// Square metres × 100.
    pub area: i64,
    pub place: String,
    pub registered_on: Date,
}

/// Where the house stands, as surveyed.
#[derive(Debug, Clone)]
pub struct Homestead {
    /// Degrees × 1 000 000, WGS 84.
    pub longitude: i64,
    pub latitude: i64,
    pub surveyed_on: Date,
    pub photographed: bool,
}

/// Units a person owns. The dead own until the heirs register; children own nothing.
pub fn estates(household: &Household, member: &Member) -> Vec<Estate> {
    let mut owned = Vec::new();
    let adult = member.age() >= 18;
    let head = household.members.first().is_some_and(|head| head.id_number == member.id_number);
    if !adult || household.almost_nothing() {
        return owned;
    }
    let mut roll = member.roll("natural-resources/estate");
    if head && roll.chance(80) {
        owned.push(estate(household, member, "1", 7_000, 18_000));
    }
    if roll.chance(8) {
        owned.push(estate(household, member, "2", 6_000, 13_000));
    }
    if roll.chance(3) {
        owned.push(estate(household, member, "3", 2_000, 9_000));
    }
    owned
}

fn estate(household: &Household, member: &Member, kind: &'static str, low: u64, high: u64) -> Estate {
    let mut roll = member.roll(&format!("natural-resources/unit/{kind}"));
    let county = household.id.get(..6).unwrap_or("331122");
    let unit_number = format!(
        "{county}{:03}{:03}GB{:05}F{:04}0001",
        roll.below(900) + 100,
        roll.below(900) + 100,
        roll.below(90_000) + 10_000,
        roll.below(9_000) + 1
    );
    let place = match kind {
        "1" => household.address.clone(),
        "2" => format!(
            "壶镇镇康庄路{}号{}幢{}室",
            roll.below(200) + 1,
            roll.below(20) + 1,
            (roll.below(6) + 1) * 100 + roll.below(4) + 1
        ),
        _ => format!("壶镇镇贤母路{}号", roll.below(400) + 1),
    };
    Estate {
        unit_number,
        owner: member.id_number.clone(),
        owner_name: member.name.clone(),
        kind,
        area: (low + roll.below(high - low)) as i64,
        place,
        registered_on: Date::new(2005 + roll.below(20) as i32, 1 + roll.below(12) as u32, 1 + roll.below(28) as u32),
    }
}

/// None for the few houses that were never surveyed.
pub fn homestead(household: &Household) -> Option<Homestead> {
    let mut roll = household.roll("natural-resources/homestead");
    if household.almost_nothing() || roll.chance(10) {
        return None;
    }
    // Around Huzhen; the village shifts the centre so that its houses lie together.
    let village: u64 = household.id.get(9..12).and_then(|code| code.parse().ok()).unwrap_or(0);
    Some(Homestead {
        longitude: 120_000_000 + (village * 397 % 300_000 + roll.below(9_000)) as i64,
        latitude: 28_600_000 + (village * 613 % 250_000 + roll.below(9_000)) as i64,
        surveyed_on: Date::new(2018 + roll.below(7) as i32, 1 + roll.below(12) as u32, 1 + roll.below(28) as u32),
        photographed: roll.chance(85),
    })
}

/// Land that a person holds a right of use of, beside what a house stands on.
#[derive(Debug, Clone)]
pub struct Parcel {
    pub number: String,
    /// GB/T 21010-2017: `0201` orchard, `0202` tea garden, `0301` forest, `0501` retail, `0601` industry.
    pub use_code: &'static str,
    /// Square metres × 100.
    pub area: i64,
    pub registered_on: Date,
}

/// Parcels of a person, the dead included until the heirs register: more often fields and forest of the head, seldom land
/// for a trade.
pub fn parcels(household: &Household, member: &Member) -> Vec<Parcel> {
    let head = household.head().id_number == member.id_number;
    let mut roll = member.roll("natural-resources/parcels");
    if household.almost_nothing() || member.age() < 18 {
        return Vec::new();
    }
    let county = household.id.get(..6).unwrap_or("331122");
    let mut parcel = |use_code, area| Parcel {
        number: format!("{county}{:03}{:03}GE{:05}", roll.below(900) + 100, roll.below(900) + 100, roll.below(90_000)),
        use_code,
        area,
        registered_on: roll.date(2008, household.today.y - 1),
    };
    let mut chance = member.roll("natural-resources/parcels/which");
    let mut held = Vec::new();
    if head && chance.chance(40) {
        held.push(parcel(chance.pick(&["0201", "0202", "0301"]), chance.amount_fen(20_000, 600_000)));
    }
    if chance.chance(4) {
        held.push(parcel(chance.pick(&["0501", "0601"]), chance.amount_fen(5_000, 90_000)));
    }
    held
}

fn parcel_feature(member: &Member, parcel: &Parcel) -> Value {
    json!({
        "type": "Feature", "id": parcel.number, "geometry": null,
        "properties": {
            "owner_id": member.id_number, "owner_name": member.name, "parcel_no": parcel.number,
            "use_code": parcel.use_code, "area_m2": hundredths(parcel.area),
            "registered": parcel.registered_on.to_string(),
        },
    })
}

pub fn router(world: World) -> Router {
    Router::new()
        .route("/collections", get(collections))
        .route("/collections/{collection}/items", get(items))
        .with_state(world)
}

async fn collections() -> Json<Value> {
    let collection = |id: &str, title: &str| json!({"id": id, "title": title, "itemType": "feature"});
    Json(json!({
        "links": [],
        "collections": [
            collection("real-estate", "不动产登记"), collection("homesteads", "宅基地"), collection("land", "土地承包地块"),
            collection("parcels", "土地使用权宗地"),
        ],
    }))
}

/// Features in one answer at most, as `limit` allows.
const LIMIT_MAX: usize = 2_000;

async fn items(
    State(world): State<World>,
    Path(collection): Path<String>,
    Query(parameters): Query<Vec<(String, String)>>,
) -> Response {
    let parameter = |name: &str| parameters.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str());
    let property = match collection.as_str() {
        "real-estate" | "land" | "parcels" => "owner_id",
        "homesteads" => "household_no",
        _ => return problem(StatusCode::NOT_FOUND, "NotFound", "there is no such collection"),
    };
    let limit = parameter("limit").map_or(Ok(10), str::parse::<usize>);
    let (Ok(limit), Some(keys)) = (limit, parameter("filter").and_then(|filter| in_list(filter, property))) else {
        return problem(StatusCode::BAD_REQUEST, "InvalidParameterValue", "filter must be property IN ('…','…')");
    };
    let mut features: Vec<Value> = keys.iter().flat_map(|key| features(&world, &collection, key)).collect();
    let matched = features.len();
    features.truncate(limit.min(LIMIT_MAX));
    let body = json!({
        "type": "FeatureCollection", "numberMatched": matched, "numberReturned": features.len(),
        "links": [], "features": features,
    });
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/geo+json"));
    (headers, body.to_string()).into_response()
}

fn problem(status: StatusCode, code: &str, description: &str) -> Response {
    (status, Json(json!({"code": code, "description": description}))).into_response()
}

// `property IN ('a','b')` → a, b.
fn in_list(filter: &str, property: &str) -> Option<Vec<String>> {
    let rest = filter.trim().strip_prefix(property)?.trim_start();
    let list = rest.strip_prefix("IN")?.trim().strip_prefix('(')?.strip_suffix(')')?;
    list.split(',').map(|text| Some(text.trim().strip_prefix('\'')?.strip_suffix('\'')?.to_owned())).collect()
}

fn features(world: &World, collection: &str, key: &str) -> Vec<Value> {
    if collection == "homesteads" {
        return world.household(key).and_then(|household| homestead_feature(&household)).into_iter().collect();
    }
    let Some((household, index)) = world.person(key) else { return Vec::new() };
    let member = &household.members[index];
    match collection {
        "real-estate" => estates(&household, member).iter().map(estate_feature).collect(),
        "parcels" => parcels(&household, member).iter().map(|parcel| parcel_feature(member, parcel)).collect(),
        _ => land(&household, member),
    }
}

fn estate_feature(estate: &Estate) -> Value {
    json!({
        "type": "Feature", "id": estate.unit_number, "geometry": null,
        "properties": {
            "owner_id": estate.owner, "owner_name": estate.owner_name, "unit_no": estate.unit_number,
            "use_code": estate.kind, "area_m2": hundredths(estate.area), "location": estate.place,
            "registered": estate.registered_on.to_string(),
        },
    })
}

// Coordinates are JSON numbers with six digits, which a text keeps exactly.
fn point(homestead: &Homestead) -> Value {
    let degrees = |millionths: i64| millionths as f64 / 1e6;
    json!({"type": "Point", "coordinates": [degrees(homestead.longitude), degrees(homestead.latitude)]})
}

fn homestead_feature(household: &Household) -> Option<Value> {
    let found = homestead(household)?;
    let surveyed = found.surveyed_on;
    let photo = found.photographed.then(|| {
        let taken = format!("{:04}:{:02}:{:02} 09:30:00", surveyed.y, surveyed.m, surveyed.d);
        json!({"taken": surveyed.compact(), "mime": "image/jpeg", "data": photo::with_exif(&taken)})
    });
    Some(json!({
        "type": "Feature", "id": format!("ZJD{}", household.id), "geometry": point(&found),
        "properties": {"household_no": household.id, "surveyed": surveyed.compact(), "photo": photo},
    }))
}

// One parcel for the head, in mu: natural resources confirms what agriculture contracts out.
fn land(household: &Household, member: &Member) -> Vec<Value> {
    let head = household.members.first().is_some_and(|head| head.id_number == member.id_number);
    let mut roll = member.roll("natural-resources/land");
    if !head || household.almost_nothing() || !roll.chance(75) {
        return Vec::new();
    }
    let (id, mu) = (format!("CB{}", household.id), hundredths(50 + roll.below(600) as i64));
    vec![json!({
        "type": "Feature", "id": id, "geometry": null,
        "properties": {"owner_id": member.id_number, "contract_no": id, "area_mu": mu},
    })]
}

fn hundredths(value: i64) -> String {
    format!("{}.{:02}", value / 100, value % 100)
}

/// Items 46 and P3, and the parcels beside them.
pub fn expected(_world: &World, household: &Household) -> Value {
    let mut answer = serde_json::Map::new();
    let list: Vec<Value> = household
        .members
        .iter()
        .flat_map(|member| estates(household, member))
        .map(|estate| {
            let kind = match estate.kind {
                "1" => "农村宅基地及房屋",
                "2" => "城镇住宅",
                _ => "商业用房",
            };
            json!({
                "unitNumber": estate.unit_number, "kind": kind, "area": hundredths(estate.area),
                "place": estate.place, "ownerName": estate.owner_name,
                "registeredOn": estate.registered_on.to_string(),
            })
        })
        .collect();
    let held = household.members.iter().flat_map(|member| {
        parcels(household, member).into_iter().map(move |parcel| {
            json!({
                "name": member.name, "idNumber": member.id_number, "number": parcel.number,
                "use": match parcel.use_code {
                    "0201" => "果园",
                    "0202" => "茶园",
                    "0301" => "乔木林地",
                    "0501" => "零售商业用地",
                    _ => "工业用地",
                },
                "area": hundredths(parcel.area), "registeredOn": parcel.registered_on.to_string(),
            })
        })
    });
    answer.insert("recognition.land".to_owned(), held.collect());
    if !list.is_empty() {
        answer.insert("assets.realEstate".to_owned(), Value::Array(list));
    }
    if let Some(found) = homestead(household) {
        let photo = found.photographed.then(
            || json!({"takenOn": found.surveyed_on.to_string(), "mediaType": "image/jpeg", "base64": photo::bare()}),
        );
        let location = json!({"point": point(&found), "surveyedOn": found.surveyed_on.to_string(), "photo": photo});
        answer.insert("photos.location".to_owned(), location);
    }
    Value::Object(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask;

    async fn collection(name: &str, filter: &str) -> (StatusCode, Value) {
        let (world, _) = ask::world();
        let path = format!("/collections/{name}/items");
        let (status, text) = ask::get(router(world), &path, &[("filter", filter), ("limit", "100")]).await;
        (status, serde_json::from_str(&text).unwrap())
    }

    #[tokio::test]
    async fn features_come_by_a_list_of_owners_or_households() {
        let (_, household) = ask::world();
        let ids: Vec<String> = household.members.iter().map(|member| format!("'{}'", member.id_number)).collect();
        let (_, answer) = collection("real-estate", &format!("owner_id IN ({})", ids.join(","))).await;
        let owned: usize = household.members.iter().map(|member| estates(&household, member).len()).sum();
        assert_eq!(
            (answer["type"].as_str(), answer["numberMatched"].as_u64()),
            (Some("FeatureCollection"), Some(owned as u64))
        );
        let (_, answer) = collection("homesteads", &format!("household_no IN ('{}')", household.id)).await;
        assert_eq!(answer["features"][0]["geometry"]["type"], "Point");
        let (status, answer) = collection("homesteads", "household_no = 'x'").await;
        assert_eq!((status, answer["code"].as_str()), (StatusCode::BAD_REQUEST, Some("InvalidParameterValue")));
    }

    #[test]
    fn parcels_are_there_in_some_households() {
        ask::some(expected, &["recognition.land"]);
    }

    #[test]
    fn real_estate_and_places_are_dense() {
        ask::dense(expected, &["assets.realEstate", "photos.location"]);
    }
}
