//! Finding the wanted values of a record: one pass, borrowed, without building a tree.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::model::binding::mapping::{Mapping, Trie};

/// The texts of a record's wanted values, by term; `None` where the record has no such place.
#[derive(Debug, Default, Clone)]
pub struct Picked<'a> {
    values: Vec<Option<&'a str>>,
}

impl<'a> Picked<'a> {
    /// The value's JSON text; JSON null counts as there.
    pub fn get(&self, term: usize) -> Option<&'a str> {
        self.values.get(term).copied().flatten()
    }
}

/// Reads the wanted terms of a record. What is not wanted is passed over unread. The error says that the record is not
/// JSON; adapters hand over JSON only, so it means a fault in ours or a cut answer.
pub fn pick<'a>(record: &'a str, mapping: &Mapping, wanted: &[bool]) -> Result<Picked<'a>, NotJson> {
    let mut values = vec![None; mapping.terms.len()];
    walk(record, &mapping.trie, wanted, &mut values)?;
    Ok(Picked { values })
}

/// The record is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotJson;

impl fmt::Display for NotJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not JSON")
    }
}

fn walk<'a>(record: &'a str, trie: &Trie, wanted: &[bool], values: &mut Vec<Option<&'a str>>) -> Result<(), NotJson> {
    if let Some(term) = trie.term.filter(|term| wanted.get(*term).copied().unwrap_or(false))
        && let Some(value) = values.get_mut(term)
    {
        *value = Some(record.trim());
    }
    if !trie.children.values().any(|child| child.leads_to(wanted)) {
        return Ok(());
    }
    let mut json = serde_json::Deserializer::from_str(record);
    json.deserialize_any(Level { trie, wanted, values }).map_err(|_| NotJson)
}

/// One level of the record: goes into the members that lead to something wanted.
struct Level<'v, 't, 'a> {
    trie: &'t Trie,
    wanted: &'t [bool],
    values: &'v mut Vec<Option<&'a str>>,
}

impl<'a> Level<'_, '_, 'a> {
    fn child(&mut self, name: &str, raw: &'a RawValue) -> Result<(), NotJson> {
        match self.trie.children.get(name) {
            Some(child) => walk(raw.get(), child, self.wanted, self.values),
            None => Ok(()),
        }
    }

    fn leads(&self, name: &str) -> bool {
        self.trie.children.get(name).is_some_and(|child| child.leads_to(self.wanted))
    }
}

impl<'a> Visitor<'a> for Level<'_, '_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'a>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(wanted) = map.next_key_seed(Name { level: &self })? {
            match wanted {
                Some(name) => {
                    let raw: &'a RawValue = map.next_value()?;
                    self.child(&name, raw).map_err(serde::de::Error::custom)?;
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'a>>(mut self, mut seq: A) -> Result<(), A::Error> {
        let mut index = 0_usize;
        while let Some(raw) = seq.next_element::<&'a RawValue>()? {
            let name = index.to_string();
            if self.leads(&name) {
                self.child(&name, raw).map_err(serde::de::Error::custom)?;
            }
            index += 1;
        }
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
}

/// A member's name, kept only where it leads to something wanted.
struct Name<'l, 'v, 't, 'a> {
    level: &'l Level<'v, 't, 'a>,
}

impl<'de> DeserializeSeed<'de> for Name<'_, '_, '_, '_> {
    type Value = Option<Box<str>>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        struct NameVisitor<'l, 'v, 't, 'a>(&'l Level<'v, 't, 'a>);
        impl<'de> Visitor<'de> for NameVisitor<'_, '_, '_, '_> {
            type Value = Option<Box<str>>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a member's name")
            }
            fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
                Ok(self.0.leads(name).then(|| name.into()))
            }
        }
        deserializer.deserialize_str(NameVisitor(self.level))
    }
}

/// The elements of a JSON array as texts; a single value is a list of one, null and `""` a list of none (an XML list
/// of one, or of none, looks so).
pub fn elements(raw: &str) -> Result<Vec<&str>, NotJson> {
    let raw = raw.trim();
    if raw.starts_with('[') {
        let list: Vec<&RawValue> = serde_json::from_str(raw).map_err(|_| NotJson)?;
        return Ok(list.into_iter().map(RawValue::get).collect());
    }
    Ok(if matches!(raw, "null" | "\"\"") { Vec::new() } else { vec![raw] })
}

/// A scalar's text: a string without its quotes and escapes, anything else as it stands.
pub fn text_of(raw: &str) -> Option<String> {
    if raw.starts_with('"') { serde_json::from_str(raw).ok() } else { Some(raw.to_owned()) }
}
