use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::{ConvertError, Converted, combine, convert, image};
use crate::base::fault::{Faults, Place, SourceText};
use crate::model::binding::conversion::codes::{CodeTable, CodeTables};
use crate::model::binding::conversion::{Combine, Conversion, Kind};
use crate::model::binding::format::FullField;

fn sexes() -> Kind {
    Kind::Enum(["MALE", "FEMALE", "UNRECOGNIZED"].map(str::to_owned).to_vec().into())
}

fn tables() -> CodeTables {
    let mut tables = CodeTables::default();
    let pairs = [("1", "MALE"), ("2", "FEMALE")];
    tables.insert("sex", CodeTable::of(pairs.map(|(code, value)| (code.to_owned(), value.to_owned()))));
    tables
}

fn compiled(kind: Kind, yaml: &str) -> (Conversion, Faults) {
    let field: FullField = serde_saphyr::from_str(yaml).unwrap();
    let mut faults = Faults::default();
    let text = SourceText::new("resolvers/x.yaml", yaml);
    let place = Place { line: 1, column: 1, length: 0 };
    let conversion = Conversion::compile(&field, kind, &tables(), &text, place, &mut faults);
    (conversion, faults)
}

fn run(raw: &str, conversion: &Conversion) -> Result<(String, Converted), ConvertError> {
    let mut out = b"x".to_vec();
    let converted = convert(raw, conversion, &mut out);
    let text = String::from_utf8(out).unwrap().strip_prefix('x').unwrap().to_owned();
    if converted.is_err() {
        assert_eq!(text, "");
    }
    converted.map(|converted| (text, converted))
}

/// What is written, or `"!"` for an error.
fn to(kind: Kind, yaml: &str, raw: &str) -> String {
    let (conversion, faults) = compiled(kind, yaml);
    assert!(faults.is_empty(), "{}", faults.render());
    run(raw, &conversion).map_or_else(|_| "!".to_owned(), |(text, _)| text)
}

fn plain(kind: Kind, raw: &str) -> String {
    to(kind, "{}", raw)
}

#[test]
fn blanks_and_the_bindings_nulls_are_null_in_every_kind() {
    for kind in [Kind::Text, Kind::Id, Kind::Int, Kind::Decimal, Kind::Boolean, Kind::Date, Kind::DateTime, sexes()] {
        for raw in ["null", "\"\"", "\"  \"", " null "] {
            assert_eq!(plain(kind.clone(), raw), "null", "{kind:?} {raw}");
        }
        assert_eq!(to(kind.clone(), "{'null': ['-', 9999]}", "\"-\""), "null");
        assert_eq!(to(kind, "{'null': ['-', 9999]}", "9999"), "null");
    }
}

#[test]
fn money_is_shifted_exactly() {
    let decimal = |yaml: &str, raw: &str| to(Kind::Decimal, yaml, raw);
    assert_eq!(decimal("{unit: fen}", "1250"), "\"12.50\"");
    assert_eq!(decimal("{unit: fen}", "\"-5\""), "\"-0.05\"");
    assert_eq!(decimal("{unit: wan}", "\"1.2345\""), "\"12345\"");
    assert_eq!(decimal("{unit: wan}", "\"1.23456\""), "\"12345.6\"");
    assert_eq!(decimal("{unit: jiao}", "7"), "\"0.7\"");
    assert_eq!(decimal("{}", "12.50"), "\"12.50\"");
    assert_eq!(decimal("{}", "0.1000000000000000055"), "\"0.1000000000000000055\"");
    assert_eq!(decimal("{}", "1.25e3"), "\"1250\"");
    assert_eq!(decimal("{}", "125E-2"), "\"1.25\"");
    assert_eq!(decimal("{}", "\"１２３．４\""), "\"123.4\"");
    assert_eq!(decimal("{thousands: true}", "\"1,234,567.80\""), "\"1234567.80\"");
    assert_eq!(decimal("{thousands: true, unit: fen}", "\"１，２３４\""), "\"12.34\"");
    for wrong in ["\"1,5\"", "\"12abc\"", "\"1_000\"", "1e999", "1e400", "\"1e999999999999\"", "true", "{}", "[1]"] {
        assert_eq!(decimal("{}", wrong), "!", "{wrong}");
    }
    for wrong in ["\"1,5\"", "\"1,2345\"", "\",123\"", "\"1.234,567\""] {
        assert_eq!(decimal("{thousands: true}", wrong), "!", "{wrong}");
    }
    assert_eq!(decimal("{}", &"9".repeat(40)), "!");
    assert_eq!(decimal("{unit: wan}", &"9".repeat(28)), "!");
}

#[test]
fn ints_are_whole_and_have_32_bits() {
    assert_eq!(plain(Kind::Int, "3"), "3");
    assert_eq!(plain(Kind::Int, "\"3.0\""), "3");
    assert_eq!(plain(Kind::Int, "-2147483648"), "-2147483648");
    assert_eq!(plain(Kind::Int, "2147483648"), "!");
    assert_eq!(plain(Kind::Int, "3.5"), "!");
    assert_eq!(plain(Kind::Int, "true"), "!");
}

#[test]
fn ids_keep_all_their_digits() {
    assert_eq!(plain(Kind::Id, "331122197501011234567"), "\"331122197501011234567\"");
    assert_eq!(plain(Kind::Id, "\"007\""), "\"007\"");
    assert_eq!(plain(Kind::Text, "1.50"), "\"1.50\"");
    assert_eq!(plain(Kind::Text, "{}"), "!");
    assert_eq!(plain(Kind::Text, "\"a\\ud800b\""), "!");
    assert_eq!(plain(Kind::Text, "\"\\ud83d\\ude00\\n\""), "\"😀\\n\"");
}

#[test]
fn codes_give_enumeration_values_and_unknown_codes_are_unrecognized() {
    let (conversion, faults) = compiled(sexes(), "{codes: sex}");
    assert!(faults.is_empty());
    let value = |text: &str| Ok((text.to_owned(), Converted::Value));
    assert_eq!(run("\"1\"", &conversion), value("\"MALE\""));
    assert_eq!(run("2", &conversion), value("\"FEMALE\""));
    assert_eq!(run("\"FEMALE\"", &conversion), value("\"FEMALE\""));
    assert_eq!(run("\"9\"", &conversion), Ok(("\"UNRECOGNIZED\"".to_owned(), Converted::Unrecognized)));
    assert_eq!(run("{}", &conversion), Err(ConvertError::new("an enumeration's value is a text")));
    assert_eq!(to(sexes(), "{map: {M: MALE, F: FEMALE}}", "\"M\""), "\"MALE\"");
}

#[test]
fn booleans_are_what_the_binding_says() {
    assert_eq!(plain(Kind::Boolean, "true"), "true");
    assert_eq!(plain(Kind::Boolean, "\"0\""), "false");
    assert_eq!(plain(Kind::Boolean, "\"是\""), "!");
    assert_eq!(to(Kind::Boolean, "{yes: 是, no: 否}", "\"是\""), "true");
    assert_eq!(to(Kind::Boolean, "{yes: 是, no: 否}", "\"不\""), "!");
    assert_eq!(to(Kind::Boolean, "{yes: ['1', '2']}", "3"), "false");
    assert_eq!(to(Kind::Boolean, "{no: 0}", "7"), "true");
}

#[test]
fn dates_are_read_by_their_pattern_and_stay_partial() {
    let date = |yaml: &str, raw: &str| to(Kind::Date, yaml, raw);
    assert_eq!(date("{date: yyyyMMdd}", "20210305"), "\"2021-03-05\"");
    assert_eq!(date("{date: yyyyMM}", "\"202103\""), "\"2021-03\"");
    assert_eq!(date("{date: yyyy/M/d}", "\"2021/3/5\""), "\"2021-03-05\"");
    assert_eq!(date("{date: yyyy年M月d日}", "\"2021年12月5日\""), "\"2021-12-05\"");
    assert_eq!(date("{date: yyyyMMddHHmmss}", "\"20210305235959\""), "\"2021-03-05\"");
    assert_eq!(date("{date: epoch-ms}", "1614902400000"), "\"2021-03-05\"");
    assert_eq!(date("{}", "\"2021-03\""), "\"2021-03\"");
    assert_eq!(date("{}", "\"2021\""), "\"2021\"");
    assert_eq!(date("{}", "\"2021-03-05T20:00:00Z\""), "\"2021-03-06\"");
    for wrong in ["\"20210230\"", "\"00000000\"", "\"2021-03-05\"", "\"202103051\"", "\"２０２１０３０５\"", "true"]
    {
        assert_eq!(date("{date: yyyyMMdd}", wrong), "!", "{wrong}");
    }
    for wrong in ["\"2021-13\"", "\"2021-3-5\"", "\"2021-03-05T25:00\"", "\"2021-03T10:00\"", "\"2021-03-05+99:99\""] {
        assert_eq!(date("{}", wrong), "!", "{wrong}");
    }
}

#[test]
fn times_are_in_the_offset_of_the_contract() {
    let time = |yaml: &str, raw: &str| to(Kind::DateTime, yaml, raw);
    assert_eq!(time("{date: 'yyyy-MM-dd HH:mm:ss'}", "\"2021-03-05 01:02:03\""), "\"2021-03-05T01:02:03+08:00\"");
    assert_eq!(time("{date: epoch-ms}", "1614902400000"), "\"2021-03-05T08:00:00+08:00\"");
    assert_eq!(time("{}", "\"2021-03-05T01:02:03.5Z\""), "\"2021-03-05T09:02:03+08:00\"");
    assert_eq!(time("{}", "\"2021-03-05T01:02:03-0500\""), "\"2021-03-05T14:02:03+08:00\"");
    assert_eq!(time("{}", "\"2021-03-05T01:02\""), "\"2021-03-05T01:02:00+08:00\"");
    assert_eq!(time("{}", "\"2021-03-05\""), "!");
    assert_eq!(time("{date: epoch-ms}", "99999999999999999"), "!");
}

#[test]
fn geometries_are_checked_and_passed_on() {
    let point = "{\"type\":\"Point\",\"coordinates\":[120.07,28.65]}";
    assert_eq!(plain(Kind::GeoJson, point), point);
    assert_eq!(plain(Kind::GeoJson, &json!(point).to_string()), point);
    for wrong in [
        "{\"type\":\"Point\",\"coordinates\":[28.65,120.07]}",
        "{\"type\":\"Point\",\"coordinates\":[1]}",
        "{\"type\":\"Point\",\"coordinates\":[1e999,1]}",
        "{\"type\":\"Blob\",\"coordinates\":[1,1]}",
        "{\"type\":\"Polygon\",\"coordinates\":[1,1]}",
        "[120,28]",
        "{\"type\":",
        "1",
    ] {
        assert_eq!(plain(Kind::GeoJson, wrong), "!", "{wrong}");
    }
    assert_eq!(plain(Kind::GeoJson, &"[".repeat(100_000)), "!");
}

fn segment(marker: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len() + 2).unwrap().to_be_bytes();
    [&[0xFF, marker], length.as_slice(), body].concat()
}

fn chunk(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    [&u32::try_from(body.len()).unwrap().to_be_bytes(), kind.as_slice(), body, &[1, 2, 3, 4]].concat()
}

#[test]
fn jpegs_lose_their_metadata_and_nothing_else() {
    let jfif = segment(0xE0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0");
    let table = segment(0xDB, &[7; 65]);
    let scan = [segment(0xDA, &[1, 2, 3]), vec![0x12, 0xFF, 0x00, 0x34, 0xFF, 0xD0, 0x56]].concat();
    let icc = segment(0xE2, b"ICC_PROFILE\0\x01\x01rest");
    let exif = segment(0xE1, b"Exif\0\0GPS here");
    let clean = [b"\xFF\xD8".as_slice(), &jfif, &icc, &table, &scan, &table, &scan, b"\xFF\xD9"].concat();
    let dirty = [
        b"\xFF\xD8".as_slice(),
        &jfif,
        &exif,
        &icc,
        &segment(0xFE, b"by me"),
        &segment(0xE2, b"MPF\0x"),
        &table,
        &scan,
        b"\xFF",
        &table,
        &segment(0xED, b"Photoshop"),
        &scan,
        b"\xFF\xD9",
        b"trailing GPS",
    ]
    .concat();
    let (conversion, faults) = compiled(Kind::Text, "{image: true}");
    assert!(faults.is_empty());
    let (text, _) = run(&json!(STANDARD.encode(&dirty)).to_string(), &conversion).unwrap();
    assert_eq!(text, json!(STANDARD.encode(&clean)).to_string());
    let uri = format!("data:image/jpeg;base64,{}", STANDARD.encode(&dirty));
    assert_eq!(run(&json!(uri).to_string(), &conversion).unwrap().0, text);
    for length in 0..dirty.len() - 12 {
        assert!(image::stripped(&dirty[..length]).is_err(), "{length}");
    }
}

#[test]
fn pngs_lose_their_texts() {
    let signature = b"\x89PNG\r\n\x1a\n".as_slice();
    let (head, data, end) = (chunk(b"IHDR", &[0; 13]), chunk(b"IDAT", b"data"), chunk(b"IEND", b""));
    let dirty = [
        signature,
        &head,
        &chunk(b"tEXt", b"Author\0me"),
        &chunk(b"eXIf", b"gps"),
        &chunk(b"tIME", b"now"),
        &data,
        &end,
        b"trailing",
    ]
    .concat();
    assert_eq!(image::stripped(&dirty).unwrap(), [signature, &head, &data, &end].concat());
    assert!(image::stripped(b"GIF89a").is_err());
    assert!(image::stripped(&[signature, b"\xFF\xFF\xFF\xFFIDAT"].concat()).is_err());
}

#[test]
fn values_of_several_records_are_combined() {
    let combined = |values: &[&str], how: Combine, kind: Kind| {
        let mut out = Vec::new();
        combine::combine(values.iter().copied(), how, &kind, &mut out)
            .map(|()| String::from_utf8(out).unwrap())
            .unwrap_or_else(|_| "!".to_owned())
    };
    let money = ["\"0.10\"", "null", "\"0.2\""];
    assert_eq!(combined(&money, Combine::Sum, Kind::Decimal), "\"0.30\"");
    assert_eq!(combined(&money, Combine::First, Kind::Decimal), "\"0.10\"");
    assert_eq!(combined(&["\"9\"", "\"10\""], Combine::Max, Kind::Decimal), "\"10\"");
    assert_eq!(combined(&["9", "10", "null"], Combine::Min, Kind::Int), "9");
    assert_eq!(combined(&["2000000000", "2000000000"], Combine::Sum, Kind::Int), "!");
    assert_eq!(combined(&["true", "null"], Combine::All, Kind::Boolean), "true");
    assert_eq!(combined(&["true", "false"], Combine::All, Kind::Boolean), "false");
    assert_eq!(combined(&["true", "false"], Combine::Any, Kind::Boolean), "true");
    assert_eq!(combined(&["null", "null"], Combine::Any, Kind::Boolean), "null");
    assert_eq!(combined(&[], Combine::Sum, Kind::Decimal), "null");
    assert_eq!(combined(&["\"2021-03\"", "\"2020-12-31\""], Combine::Max, Kind::Date), "\"2021-03\"");
    assert_eq!(combined(&["\"UNRECOGNIZED\"", "\"MALE\"", "\"FEMALE\""], Combine::Max, sexes()), "\"FEMALE\"");
    assert_eq!(combined(&["\"FEMALE\"", "\"UNRECOGNIZED\""], Combine::Min, sexes()), "\"FEMALE\"");
}

#[test]
fn options_that_do_not_fit_are_faults() {
    for (kind, yaml) in [
        (Kind::Text, "{unit: fen}"),
        (Kind::Decimal, "{unit: cent}"),
        (Kind::Decimal, "{date: yyyyMMdd}"),
        (Kind::Date, "{date: yyMMdd}"),
        (Kind::Date, "{date: yyyydd}"),
        (Kind::Date, "{date: dd.yyyy}"),
        (Kind::DateTime, "{date: yyyyMMdd}"),
        (sexes(), "{codes: sexx}"),
        (sexes(), "{map: {M: MAN}}"),
        (sexes(), "{map: {M: MALE}, codes: sex}"),
        (Kind::Decimal, "{codes: sex}"),
        (Kind::Boolean, "{map: {J: ja}}"),
        (Kind::Text, "{yes: '1'}"),
        (Kind::Text, "{thousands: true}"),
        (Kind::Decimal, "{image: true}"),
    ] {
        assert!(!compiled(kind.clone(), yaml).1.is_empty(), "{kind:?} {yaml}");
    }
}

#[test]
fn code_tables_are_read_from_csv_and_their_faults_have_lines() {
    let folder = std::env::temp_dir().join(format!("huxiang-codes-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("a.csv"), "code,value,zh\n1,MALE,男\n\"2\",FEMALE,\"女, \"\"F\"\"\"\n").unwrap();
    std::fs::write(folder.join("b.csv"), "code,value,zh\n1,X\n2,Y,乙\n2,Z,丙\n").unwrap();
    let mut faults = Faults::default();
    let tables = CodeTables::load(&folder, &mut faults);
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(tables.get("a").unwrap().get("2").unwrap().zh, "女, \"F\"");
    let lines: Vec<usize> = faults.sorted().iter().map(|fault| fault.place.line).collect();
    assert_eq!(lines, [2, 4]);
}

fn kinds() -> Vec<Kind> {
    vec![
        Kind::Text,
        Kind::Id,
        Kind::Int,
        Kind::Decimal,
        Kind::Boolean,
        Kind::Date,
        Kind::DateTime,
        Kind::Enum(Arc::from(["A".to_owned(), "UNRECOGNIZED".to_owned()])),
        Kind::GeoJson,
        Kind::Any,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_text_converts_to_sound_json_or_an_error(text in "\\PC{0,30}", tail in "[-+0-9.eE:TZ, ]{0,24}") {
        for raw in [json!(text).to_string(), json!(tail).to_string(), text, tail] {
            for kind in kinds() {
                for yaml in ["{}", "{thousands: true}", "{image: true}", "{date: yyyyMMdd}", "{date: epoch-ms}"] {
                    let (conversion, _) = compiled(kind.clone(), yaml);
                    if let Ok((json, _)) = run(&raw, &conversion) {
                        prop_assert!(serde_json::from_str::<Value>(&json).is_ok(), "{raw} {json}");
                    }
                }
            }
        }
    }

    #[test]
    fn decimals_that_fit_come_through_digit_by_digit(mantissa in any::<i64>(), scale in 0_u32..20) {
        let value = Decimal::new(mantissa, scale);
        let expected = format!("\"{value}\"");
        prop_assert_eq!(plain(Kind::Decimal, &value.to_string()), expected.clone());
        prop_assert_eq!(plain(Kind::Decimal, &expected), expected);
        let fen = to(Kind::Decimal, "{unit: fen}", &value.to_string());
        let yuan: Decimal = fen.trim_matches('"').parse().unwrap();
        prop_assert_eq!(yuan * Decimal::ONE_HUNDRED, value);
    }
}
