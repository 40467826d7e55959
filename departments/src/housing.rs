//! 住建局: no interface at all, only read-only views in its database, known by the id number of the owner, or of the buyer.
//!
//! The statements work in SQLite and in PostgreSQL.

use serde_json::{Value, json};

use crate::photo;
use crate::world::{Date, Household, Member, World, yuan};

#[derive(Debug, Clone)]
pub struct House {
    /// Table housing-safety-grade: `1` to `4` for A to D.
    pub grade: &'static str,
    /// Hundredths of a square metre.
    pub area: i64,
    pub renovation: Option<Renovation>,
    pub photo_on: Option<Date>,
}

#[derive(Debug, Clone)]
pub struct Renovation {
    /// Table renovation-stage.
    pub stage: &'static str,
    pub grant_fen: i64,
    pub started_on: Date,
    pub finished_on: Option<Date>,
    pub programme: &'static str,
}

/// The house of the household, in its head's name.
pub fn house(household: &Household) -> Option<House> {
    if household.almost_nothing() {
        return None;
    }
    let mut roll = household.roll("housing/house");
    let poor = household.one_in(3, "housing/poor");
    let grade = if poor { roll.pick(&["3", "3", "4"]) } else { roll.pick(&["1", "1", "2"]) };
    let area = roll.amount_fen(4_500, 21_000);
    let photo_on = roll.date(2022, 2024);
    Some(House {
        grade,
        area,
        renovation: household.one_in(3, "housing/renovation").then(|| renovation(household)),
        photo_on: household.one_in(2, "housing/photo").then_some(photo_on),
    })
}

fn renovation(household: &Household) -> Renovation {
    let mut roll = household.roll("housing/renovation");
    let stage = roll.pick(&["10", "20", "30", "40", "50", "50"]);
    let started_on = roll.date(2020, 2023);
    Renovation {
        stage,
        grant_fen: roll.amount_fen(120, 450) * 10_000,
        started_on,
        finished_on: matches!(stage, "40" | "50").then(|| started_on.plus_days(120 + roll.below(200) as i64)),
        programme: roll.pick(&["农村困难家庭危房改造", "安居圆梦"]),
    }
}

/// A house or flat that a member bought, by the contract on record.
#[derive(Debug, Clone)]
pub struct Purchase {
    pub contract: String,
    pub place: String,
    /// Hundredths of a square metre.
    pub area: i64,
    pub amount_fen: i64,
    pub signed_on: Date,
}

/// Few have bought one, and seldom a second.
pub fn purchases(household: &Household, member: &Member) -> Vec<Purchase> {
    let mut roll = member.roll("housing/purchases");
    let may = !household.almost_nothing() && member.alive && (22..66).contains(&member.age());
    if !may || !roll.chance(14) {
        return Vec::new();
    }
    let count = if roll.chance(15) { 2 } else { 1 };
    let one = |at: usize| {
        let area = roll.amount_fen(6_800, 13_200);
        let signed_on = roll.date(household.today.y - 6, household.today.y - 1);
        Purchase {
            contract: format!("{}{:07}{}", signed_on.y, roll.below(10_000_000), at + 1),
            place: format!(
                "{}壶镇镇{}{}幢{}室",
                household.division.county,
                roll.pick(&["锦绣家园", "好溪雅苑", "贤母新村", "溪滨花城"]),
                roll.below(20) + 1,
                (roll.below(17) + 1) * 100 + roll.below(4) + 1
            ),
            area,
            // 4 500 to 9 800 yuan a square metre.
            amount_fen: area * roll.amount_fen(4_500, 9_800),
            signed_on,
        }
    };
    (0..count).map(one).collect()
}

const TABLES: &str = "\
DROP VIEW IF EXISTS v_nfxx;
DROP TABLE IF EXISTS t_nfxx;
CREATE TABLE t_nfxx (
  hzsfzh VARCHAR(18) PRIMARY KEY, aqdj CHAR(1) NOT NULL, jzmj NUMERIC(10,2),
  gzjd CHAR(2), gzbz NUMERIC(12,2), kgrq VARCHAR(10), jgrq VARCHAR(10), gzxm VARCHAR(60),
  zprq VARCHAR(10), zpgs VARCHAR(20), zp TEXT, czr VARCHAR(30)
);
";

const PURCHASE_TABLES: &str = "\
DROP VIEW IF EXISTS v_gfht;
DROP TABLE IF EXISTS t_gfht;
CREATE TABLE t_gfht (
  htbh VARCHAR(20) PRIMARY KEY, gfrsfzh VARCHAR(18) NOT NULL, gfrxm VARCHAR(60), zl VARCHAR(120), jzmj NUMERIC(10,2),
  htje NUMERIC(14,2), qdrq VARCHAR(10), czr VARCHAR(30)
);
CREATE INDEX i_gfht ON t_gfht (gfrsfzh);
";

const PURCHASE_VIEW: &str = "\
CREATE VIEW v_gfht AS SELECT gfrsfzh, gfrxm, zl, jzmj, htje, qdrq FROM t_gfht;
";

const VIEW: &str = "\
CREATE VIEW v_nfxx AS
  SELECT hzsfzh, aqdj, jzmj, gzjd, gzbz, kgrq, jgrq, gzxm, zprq, zpgs, zp FROM t_nfxx;
";

/// Rows of one statement.
const ROWS_MAX: usize = 200;

/// DDL and rows of the department's database for these divisions, statement by statement: of a whole province no more than one is
/// held at a time. Without photos, the houses are the same.
pub fn housing_sql(world: &World, divisions: &[String], photos: bool) -> impl Iterator<Item = String> {
    let houses = households(world, divisions).filter_map(move |household| row(&household, photos));
    let bought = households(world, divisions).flat_map(|household| {
        let of = |member| purchases(&household, member).iter().map(|one| purchase_row(member, one)).collect::<Vec<_>>();
        household.members.iter().flat_map(of).collect::<Vec<_>>()
    });
    [TABLES.to_owned(), PURCHASE_TABLES.to_owned()]
        .into_iter()
        .chain(inserted("t_nfxx", houses))
        .chain(inserted("t_gfht", bought))
        .chain([VIEW.to_owned(), PURCHASE_VIEW.to_owned()])
}

fn households(world: &World, divisions: &[String]) -> impl Iterator<Item = Household> {
    let ids = divisions.iter().flat_map(|division| world.village_household_ids(division));
    ids.filter_map(|id| world.household(&id))
}

fn inserted(table: &str, mut rows: impl Iterator<Item = String>) -> impl Iterator<Item = String> {
    std::iter::from_fn(move || {
        let some: Vec<String> = rows.by_ref().take(ROWS_MAX).collect();
        (!some.is_empty()).then(|| format!("INSERT INTO {table} VALUES\n{};\n", some.join(",\n")))
    })
}

fn purchase_row(member: &Member, purchase: &Purchase) -> String {
    format!(
        "('{}', '{}', '{}', '{}', {}, {}, '{}', '系统管理员')",
        purchase.contract,
        member.id_number,
        member.name,
        purchase.place,
        yuan(purchase.area),
        yuan(purchase.amount_fen),
        purchase.signed_on
    )
}

fn row(household: &Household, photos: bool) -> Option<String> {
    let house = house(household)?;
    let text = |value: Option<String>| value.map_or_else(|| "NULL".to_owned(), |text| format!("'{text}'"));
    let renovation = house.renovation.as_ref();
    let photo = house
        .photo_on
        .filter(|_| photos)
        .map(|on| photo::with_exif(&format!("{:04}:{:02}:{:02} 10:00:00", on.y, on.m, on.d)));
    let cells = [
        text(Some(household.head().id_number.clone())),
        text(Some(house.grade.to_owned())),
        yuan(house.area),
        text(renovation.map(|r| r.stage.to_owned())),
        renovation.map_or_else(|| "NULL".to_owned(), |r| yuan(r.grant_fen)),
        text(renovation.map(|r| r.started_on.to_string())),
        text(renovation.and_then(|r| r.finished_on).map(|on| on.to_string())),
        text(renovation.map(|r| r.programme.to_owned())),
        text(house.photo_on.map(|on| on.to_string())),
        text(house.photo_on.map(|_| "image/jpeg".to_owned())),
        text(photo),
        text(Some("系统管理员".to_owned())),
    ];
    Some(format!("({})", cells.join(", ")))
}

/// The items the department owns, as contract paths and values, and the purchases beside them.
pub fn expected(_world: &World, household: &Household) -> Value {
    let Some(house) = house(household) else { return json!({}) };
    let bought = household.members.iter().flat_map(|member| {
        purchases(household, member).into_iter().map(move |purchase| {
            json!({
                "name": member.name, "idNumber": member.id_number, "place": purchase.place, "area": yuan(purchase.area),
                "amount": yuan(purchase.amount_fen), "signedOn": purchase.signed_on.to_string(),
            })
        })
    });
    json!({
        "recognition.purchases": bought.collect::<Vec<_>>(),
        "housing.safetyGrade": match house.grade { "1" => "A", "2" => "B", "3" => "C", _ => "D" },
        "housing.safetyGradeCode": house.grade,
        "housing.floorArea": yuan(house.area),
        "housing.renovation": house.renovation.map(|renovation| json!({
            "stage": match renovation.stage {
                "10" => "APPLIED", "20" => "APPROVED", "30" => "UNDER_WAY", "40" => "FINISHED", _ => "ACCEPTED",
            },
            "stageCode": renovation.stage,
            "grant": yuan(renovation.grant_fen),
            "startedOn": renovation.started_on.to_string(),
            "finishedOn": renovation.finished_on.map(|on| on.to_string()),
            "programme": renovation.programme,
        })),
        "photos.house": house.photo_on.map(|on| json!({
            "takenOn": on.to_string(), "mediaType": "image/jpeg", "base64": photo::bare(),
        })),
    })
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection, Row, SqliteConnection};

    use super::*;
    use crate::ask;

    #[tokio::test]
    async fn the_view_holds_the_houses_of_the_villages() {
        let (world, household) = ask::world();
        let sql: String = housing_sql(&world, &["331122101348".to_owned()], true).collect();
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
        let bought = sqlx::query("SELECT gfrxm FROM v_gfht").fetch_all(&mut connection).await.unwrap();
        assert!((3..20).contains(&bought.len()), "{}", bought.len());
        let rows = sqlx::query("SELECT aqdj FROM v_nfxx").fetch_all(&mut connection).await.unwrap();
        assert_eq!(rows.len(), 20, "all but the household with almost nothing");
        let row = sqlx::query("SELECT aqdj FROM v_nfxx WHERE hzsfzh = ?")
            .bind(&household.head().id_number)
            .fetch_one(&mut connection)
            .await
            .unwrap();
        assert_eq!(row.get::<String, _>(0), house(&household).unwrap().grade);
    }

    #[tokio::test]
    async fn without_photos_the_houses_are_the_same() {
        let (world, _) = ask::world();
        let grades = |photos: bool| {
            let sql: String = housing_sql(&world, &["331122101".to_owned()], photos).collect();
            async move {
                let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
                sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
                let all = "SELECT hzsfzh || aqdj || coalesce(zprq, ''), zp IS NOT NULL FROM v_nfxx ORDER BY hzsfzh";
                let rows = sqlx::query(all).fetch_all(&mut connection).await.unwrap();
                let photos = rows.iter().filter(|row| row.get::<bool, _>(1)).count();
                (rows.iter().map(|row| row.get::<String, _>(0)).collect::<Vec<_>>(), photos)
            }
        };
        let (with, without) = (grades(true).await, grades(false).await);
        assert_eq!(with.0.len(), world.households_in("331122101") / 21 * 20, "a town takes several statements");
        assert_eq!(with.0, without.0);
        assert!(with.1 > 0 && without.1 == 0);
    }

    #[test]
    fn purchases_are_there_in_some_households() {
        ask::some(expected, &["recognition.purchases"]);
    }

    #[test]
    fn every_item_is_dense() {
        ask::dense(expected, &["housing.safetyGrade", "housing.floorArea", "housing.renovation", "photos.house"]);
    }
}
