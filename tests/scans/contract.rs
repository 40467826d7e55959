//! The contract as its files write it: types, fields and enumerations, read without the gateway.

use std::collections::BTreeMap;
use std::path::Path;

use rust_decimal::Decimal;

#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    Text,
    /// Keys and numbers of people: compared whole.
    Id,
    Int,
    Decimal,
    Date,
    Boolean,
    Enum(Vec<String>),
    Object(String),
    /// What nothing is compared with: images, shapes on maps, states.
    Other,
}

#[derive(Debug, Clone)]
pub struct Field {
    pub name: String,
    pub kind: Kind,
    pub list: bool,
    pub is_item: bool,
    pub hidden: bool,
    /// `@range`: the least and the most that a number can be.
    pub range: Option<(Decimal, Option<Decimal>)>,
}

/// Object types with their fields, in the order of the files.
pub struct Contract(BTreeMap<String, Vec<Field>>);

/// Objects that hold no values to compare.
const NOT_COMPARED: [&str; 3] = ["Photo", "ItemInfo", "AccessEntry"];

impl Contract {
    pub fn read(root: &Path) -> Self {
        let mut text = String::new();
        let mut files: Vec<_> =
            std::fs::read_dir(root.join("schema")).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        for file in files {
            text.push_str(&std::fs::read_to_string(file).unwrap());
            text.push('\n');
        }
        Self::parse(&text)
    }

    fn parse(text: &str) -> Self {
        let words = words(text);
        let mut types: BTreeMap<String, Vec<(Field, String)>> = BTreeMap::new();
        let mut enums: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut at = 0;
        while at < words.len() {
            let declares = |kind: &str| words[at] == kind && at > 0 && words[at - 1] != "@";
            let (is_type, is_enum) = (words[at] == "type" && at + 1 < words.len(), declares("enum"));
            at += 1;
            if !is_type && !is_enum {
                // Declarations of other kinds hold no such word at their top.
                continue;
            }
            let name = words[at].clone();
            while words[at] != "{" {
                at = if words[at] == "(" { closing(&words, at) } else { at } + 1;
            }
            let end = closing(&words, at);
            let body = &words[at + 1..end];
            if is_enum {
                enums.insert(name, body.to_vec());
            } else {
                types.insert(name, fields(body));
            }
            at = end + 1;
        }
        let objects: Vec<String> = types.keys().cloned().collect();
        let kind = |type_name: &str| match type_name {
            "String" => Kind::Text,
            "ID" | "IdNumber" => Kind::Id,
            "Int" => Kind::Int,
            "Decimal" => Kind::Decimal,
            "Date" => Kind::Date,
            "Boolean" => Kind::Boolean,
            name if enums.contains_key(name) => Kind::Enum(enums[name].clone()),
            name if objects.iter().any(|known| known == name) && !NOT_COMPARED.contains(&name) => {
                Kind::Object(name.to_owned())
            }
            _ => Kind::Other,
        };
        let types = types.into_iter().map(|(name, fields)| {
            let fields = fields.into_iter().map(|(field, of)| Field { kind: kind(&of), ..field });
            (name, fields.collect())
        });
        Self(types.collect())
    }

    pub fn fields(&self, type_name: &str) -> &[Field] {
        self.0.get(type_name).map_or(&[], Vec::as_slice)
    }

    pub fn field(&self, type_name: &str, name: &str) -> &Field {
        let found = self.fields(type_name).iter().find(|field| field.name == name);
        found.unwrap_or_else(|| panic!("the contract has no {type_name}.{name}"))
    }

    /// The field at a dotted path from a household.
    pub fn find(&self, path: &str) -> Option<&Field> {
        let (above, name) = path.rsplit_once('.').map_or((None, path), |(above, name)| (Some(above), name));
        let type_name = match above.map(|above| self.find(above)) {
            None => "Household",
            Some(above) => match &above?.kind {
                Kind::Object(name) => name,
                _ => return None,
            },
        };
        self.fields(type_name).iter().find(|field| field.name == name)
    }

    pub fn at(&self, path: &str) -> &Field {
        self.find(path).unwrap_or_else(|| panic!("the contract has no {path}"))
    }
}

/// Names, numbers, texts (with a quote in front) and marks; descriptions and comments are left out.
fn words(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some(block) = rest.strip_prefix("\"\"\"") {
            rest = block.split_once("\"\"\"").unwrap().1;
        } else if let Some(quoted) = rest.strip_prefix('"') {
            let (inside, after) = quoted.split_once('"').unwrap();
            // A text is a description unless it is the value of an argument.
            if found.last().is_some_and(|word| [":", "=", "["].contains(&word.as_str())) {
                found.push(format!("\"{inside}"));
            }
            rest = after;
        } else if first == '#' {
            rest = rest.split_once('\n').map_or("", |(_, after)| after);
        } else if first.is_alphanumeric() || "_-.".contains(first) {
            let end = rest.find(|c: char| !c.is_alphanumeric() && !"_-.".contains(c)).unwrap_or(rest.len());
            found.push(rest[..end].to_owned());
            rest = &rest[end..];
        } else {
            if !first.is_whitespace() && first != ',' {
                found.push(first.to_string());
            }
            rest = &rest[first.len_utf8()..];
        }
    }
    found
}

fn closing(words: &[String], open: usize) -> usize {
    let (opens, closes) = if words[open] == "(" { ("(", ")") } else { ("{", "}") };
    let mut depth = 0;
    for (at, word) in words.iter().enumerate().skip(open) {
        depth += i32::from(word == opens) - i32::from(word == closes);
        if depth == 0 {
            return at;
        }
    }
    panic!("nothing closes {:?}", &words[open..words.len().min(open + 5)]);
}

/// Each with the name of its type.
fn fields(body: &[String]) -> Vec<(Field, String)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < body.len() {
        let name = body[at].clone();
        at += 1;
        if body[at] == "(" {
            at = closing(body, at) + 1;
        }
        assert_eq!(body[at], ":", "{name}");
        at += 1;
        let list = body[at] == "[";
        at += usize::from(list);
        let type_name = body[at].clone();
        at += 1;
        let mut field = Field { name, kind: Kind::Other, list, is_item: false, hidden: false, range: None };
        while at < body.len() && ["!", "]", "@"].contains(&body[at].as_str()) {
            if body[at] != "@" {
                at += 1;
                continue;
            }
            let directive = body[at + 1].clone();
            at += 2;
            let mut arguments = &body[0..0];
            if body.get(at).is_some_and(|word| word == "(") {
                let end = closing(body, at);
                arguments = &body[at + 1..end];
                at = end + 1;
            }
            field.is_item |= directive == "item";
            field.hidden |= directive == "hidden";
            if directive == "range" {
                let number = |key: &str| {
                    let at = arguments.iter().position(|word| word == key)?;
                    arguments[at + 2].trim_start_matches('"').parse::<Decimal>().ok()
                };
                field.range = Some((number("min").unwrap_or_default(), number("max")));
            }
        }
        found.push((field, type_name));
    }
    found
}
