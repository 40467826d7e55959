//! Names: what a description calls things → GraphQL names, each once.

use std::collections::HashSet;

/// The words of a name: `created_at`, `createdAt` and `created-at` are two.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut current = String::new();
    let mut lower_before = false;
    for c in text.chars() {
        if !c.is_ascii_alphanumeric() {
            words.extend((!current.is_empty()).then(|| std::mem::take(&mut current)));
            lower_before = false;
            continue;
        }
        if c.is_ascii_uppercase() && lower_before {
            words.extend((!current.is_empty()).then(|| std::mem::take(&mut current)));
        }
        lower_before = c.is_ascii_lowercase() || c.is_ascii_digit();
        current.push(c);
    }
    words.extend((!current.is_empty()).then_some(current));
    words
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map_or_else(String::new, |first| format!("{}{}", first.to_ascii_uppercase(), chars.as_str()))
}

/// `createdAt`; `None` where the text has no letter or digit that a GraphQL name may have.
pub fn camel(text: &str) -> Option<String> {
    let pascal = pascal(text)?;
    let upper = pascal.chars().take_while(char::is_ascii_uppercase).count();
    // `ID` → `id`, `HTMLUrl` → `htmlUrl`, `Name` → `name`.
    let lowered = if upper == pascal.chars().count() { upper } else { upper.saturating_sub(1).max(1) };
    Some(pascal.chars().enumerate().map(|(at, c)| if at < lowered { c.to_ascii_lowercase() } else { c }).collect())
}

/// `CreatedAt`.
pub fn pascal(text: &str) -> Option<String> {
    let joined: String = words(text).iter().map(|word| capital(word)).collect();
    let digit = joined.chars().next()?.is_ascii_digit();
    Some(if digit { format!("N{joined}") } else { joined })
}

/// `CREATED_AT`.
pub fn upper(text: &str) -> Option<String> {
    let joined = words(text).join("_").to_ascii_uppercase();
    let digit = joined.chars().next()?.is_ascii_digit();
    Some(if digit { format!("N{joined}") } else { joined })
}

/// `pets` → `pet`, `cities` → `city`.
pub fn singular(text: &str) -> String {
    match text.strip_suffix("ies") {
        Some(stem) if stem.len() > 1 => format!("{stem}y"),
        _ if text.ends_with("sses") || text.ends_with("xes") => text.strip_suffix("es").unwrap_or(text).to_owned(),
        _ if text.ends_with("ss") || text.ends_with("us") || text.len() < 3 => text.to_owned(),
        _ => text.strip_suffix('s').unwrap_or(text).to_owned(),
    }
}

/// `pet` → `pets`, `city` → `cities`; `pets` stays.
pub fn plural(text: &str) -> String {
    if singular(text) != text {
        return text.to_owned();
    }
    match text.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'i', 'o', 'u']) => format!("{stem}ies"),
        _ if text.ends_with(['s', 'x', 'z']) || text.ends_with("ch") || text.ends_with("sh") => format!("{text}es"),
        _ => format!("{text}s"),
    }
}

/// The name, or the name with the first number from 2 that makes it new.
pub fn unique(name: String, taken: &mut HashSet<String>) -> String {
    if taken.insert(name.clone()) {
        return name;
    }
    let mut number = 2_usize;
    loop {
        let other = format!("{name}{number}");
        if taken.insert(other.clone()) {
            return other;
        }
        number += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_graphql_names() {
        assert_eq!(camel("created_at").as_deref(), Some("createdAt"));
        assert_eq!(camel("ID").as_deref(), Some("id"));
        assert_eq!(camel("HTMLUrl").as_deref(), Some("htmlUrl"));
        assert_eq!(camel("+1").as_deref(), Some("n1"));
        assert_eq!(camel("户主姓名"), None);
        assert_eq!(pascal("simple-user").as_deref(), Some("SimpleUser"));
        assert_eq!(upper("in progress").as_deref(), Some("IN_PROGRESS"));
        assert_eq!(upper("01").as_deref(), Some("N01"));
        assert_eq!(singular("cities"), "city");
        assert_eq!(singular("address"), "address");
        assert_eq!(
            ["cities", "city", "status", "film", "boxes"].map(plural).join(" "),
            "cities cities statuses films boxes"
        );
    }
}
