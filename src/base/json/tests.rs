use proptest::prelude::*;
use serde_json::value::RawValue;

use super::*;

/// A value from its parts, as serde_json would have read it.
fn rebuilt(value: JsonValue<'_>) -> serde_json::Value {
    if value.is_object() {
        return value.members().map(|(name, value)| (name.content().unwrap().into_owned(), rebuilt(value))).collect();
    }
    if value.is_list() {
        return value.elements().map(rebuilt).collect();
    }
    serde_json::from_str(value.raw()).unwrap()
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<i32>().prop_map(|eighths| (f64::from(eighths) / 8.0).into()),
        any::<String>().prop_map(Into::into),
        "[\"\\\\ -~\u{0}-\u{20}户é]{0,20}".prop_map(Into::into),
    ];
    leaf.prop_recursive(5, 60, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Into::into),
            prop::collection::vec((any::<String>(), inner), 0..8)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn every_value_of_a_text_is_found_where_it_stands(value in json(), pretty: bool) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        let read = Json::read(format!(" {text}\n")).unwrap();
        prop_assert_eq!(rebuilt(read.root()), value);
        prop_assert_eq!(read.root().raw(), text);
    }

    #[test]
    fn a_member_is_found_by_its_name_among_any_others(
        members in prop::collection::vec((prop_oneof!["[ab\"\\\\]{0,2}", any::<String>()], any::<u8>()), 0..12),
        escaped: bool,
        other in prop_oneof!["[ab]{0,3}", any::<String>()],
    ) {
        let name = |name: &str| match escaped {
            true => name.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect(),
            false => { let text = serde_json::to_string(name).unwrap(); text[1..text.len() - 1].to_owned() },
        };
        let text: Vec<String> = members.iter().map(|(own, value)| format!("\"{}\":{value}", name(own))).collect();
        let read = Json::read(format!("{{{}}}", text.join(","))).unwrap();
        for asked in members.iter().map(|(own, _)| own).chain([&other]) {
            let last = members.iter().rev().find(|(own, _)| own == asked).map(|(_, value)| value.to_string());
            prop_assert_eq!(read.root().member(asked).map(|value| value.raw().to_owned()), last);
        }
    }

    #[test]
    fn what_is_json_is_so_for_others_too(text in "[\\[\\]{}:,\"\\\\truefalsn0-9eE+.u \n\t-]{0,24}") {
        prop_assert_eq!(Json::read(text.clone()).is_ok(), serde_json::from_str::<&RawValue>(&text).is_ok(), "{}", text);
    }

    #[test]
    fn a_text_with_a_byte_changed_is_json_only_where_it_is_for_others(value in json(), at: usize, byte in 0_u8..128) {
        let mut bytes = serde_json::to_vec(&value).unwrap();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(text) = String::from_utf8(bytes) {
            prop_assert_eq!(Json::read(text.clone()).is_ok(), serde_json::from_str::<&RawValue>(&text).is_ok(), "{}", text);
        }
    }
}

#[test]
fn the_last_of_two_members_with_one_name_counts_however_it_is_written() {
    let read = Json::read(r#"{"a":1,"\u0061":2,"b":[0,{"c/d":"x\ny"}]}"#.to_owned()).unwrap();
    assert_eq!(read.root().member("a").unwrap().raw(), "2");
    let found = read.root().find(&["b".into(), "1".into(), "c/d".into()]).unwrap();
    assert_eq!(found.content().unwrap(), "x\ny");
    assert!(read.root().find(&["b".into(), "2".into()]).is_none());
    assert!(read.root().find(&["a".into(), "b".into()]).is_none());
}

#[test]
fn nesting_is_bounded_and_told_apart_from_broken_texts() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(Json::read(nested(NESTING_MAX)).is_ok());
    assert_eq!(Json::read(nested(NESTING_MAX + 1)).unwrap_err(), NotIndexed::TooDeep);
    assert_eq!(Json::read("[".repeat(1_000_000)).unwrap_err(), NotIndexed::TooDeep);
    assert_eq!(Json::read("[1,\n 2,]".to_owned()).unwrap_err(), NotIndexed::Broken { line: 2, column: 4 });
    assert_eq!(Json::read(String::new()).unwrap_err(), NotIndexed::Broken { line: 1, column: 1 });
}

#[test]
fn a_lone_surrogate_is_no_text() {
    let read = Json::read(r#"["\ud800", "\ud83d\ude00"]"#.to_owned()).unwrap();
    let mut elements = read.root().elements();
    assert_eq!(elements.next().unwrap().content(), Err(NoText));
    assert_eq!(elements.next().unwrap().content().unwrap(), "😀");
}

#[test]
fn a_name_with_a_lone_surrogate_is_no_json() {
    let read = |text: &str| Json::read(text.to_owned()).map(|_| ());
    assert_eq!(read(r#"{"a": {"\ud800": 1}}"#), Err(NotIndexed::Broken { line: 1, column: 16 }));
    assert!(read(r#"{"\ud83d\ude00": "\ud800"}"#).is_ok());
}

#[test]
fn texts_end_where_they_end_wherever_they_lie_in_a_block() {
    let odd = ["\"", "\\\"", "\\\\", "\\n", "\\u00e9", "\n", "\u{1f}", "\u{20}", "户", "\\", ""];
    for before in 0..2 * reader::BLOCK + 2 {
        for inside in 0..reader::BLOCK + 2 {
            for odd in odd {
                let (before, inside) = ("-".repeat(before), "x".repeat(inside));
                for text in [format!("[\"{before}\",\"{inside}{odd}\"]"), format!("{{\"{before}{odd}\":\"{inside}\"}}")]
                {
                    let others = serde_json::from_str::<serde_json::Value>(&text);
                    match Json::read(text.clone()) {
                        Ok(read) => assert_eq!(rebuilt(read.root()), others.unwrap(), "{text}"),
                        Err(_) => assert!(others.is_err(), "{text}"),
                    }
                }
            }
        }
    }
}
