//! Which operation of a document would run, found in one linear pass before any parser.
//!
//! GET must never run a mutation. This looks only at what stands outside brackets, so it needs no recursion; a
//! document it misreads is not GraphQL, and the parser refuses it later.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Query,
    Mutation,
    Subscription,
}

/// The kind of the operation named so, or of the only one. `None`: there is no such operation, which the engine
/// reports. Where the name is missing and there are several, the first that is no query counts.
pub fn selected(document: &str, operation_name: Option<&str>) -> Option<Kind> {
    let operations = operations(document);
    match operation_name {
        Some(name) => operations.iter().find(|(_, n)| *n == Some(name)).map(|(kind, _)| *kind),
        None => operations
            .iter()
            .find(|(kind, _)| *kind != Kind::Query)
            .or_else(|| operations.first())
            .map(|(kind, _)| *kind),
    }
}

fn operations(document: &str) -> Vec<(Kind, Option<&str>)> {
    let mut out: Vec<(Kind, Option<&str>)> = Vec::new();
    let mut depth = 0_usize;
    // Inside a definition, between its first token and the bracket that ends it.
    let mut open = false;
    // The last token was an operation's keyword, so a name would be the operation's.
    let mut naming = false;
    let mut rest = document;
    while let Some((token, after)) = next(rest) {
        rest = after;
        match token {
            Token::Open(brace) => {
                if depth == 0 && !open && brace {
                    out.push((Kind::Query, None));
                }
                open = true;
                naming = false;
                depth += 1;
            }
            Token::Close(brace) => {
                depth = depth.saturating_sub(1);
                open = open && !(depth == 0 && brace);
            }
            Token::Name(name) if depth == 0 && !open => {
                open = true;
                let kind = match name {
                    "query" => Some(Kind::Query),
                    "mutation" => Some(Kind::Mutation),
                    "subscription" => Some(Kind::Subscription),
                    _ => None,
                };
                naming = kind.is_some();
                out.extend(kind.map(|kind| (kind, None)));
            }
            Token::Name(name) if naming => {
                naming = false;
                if let Some(last) = out.last_mut() {
                    last.1 = Some(name);
                }
            }
            Token::Name(_) | Token::Other => naming = false,
        }
    }
    out
}

enum Token<'a> {
    Name(&'a str),
    /// `{` (true), `(` or `[`.
    Open(bool),
    Close(bool),
    Other,
}

/// The first token and what follows it; blanks, commas and comments are passed over.
fn next(text: &str) -> Option<(Token<'_>, &str)> {
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\n', '\r', ',', '\u{feff}']);
        match rest.strip_prefix('#') {
            Some(comment) => rest = comment.find(['\n', '\r']).and_then(|at| comment.get(at..)).unwrap_or(""),
            None => break,
        }
    }
    let first = rest.chars().next()?;
    let tail = rest.get(first.len_utf8()..)?;
    match first {
        '{' | '(' | '[' => Some((Token::Open(first == '{'), tail)),
        '}' | ')' | ']' => Some((Token::Close(first == '}'), tail)),
        '"' => Some((Token::Other, after_string(rest))),
        c if c == '_' || c.is_ascii_alphabetic() => {
            let end = rest.find(|c: char| c != '_' && !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
            Some((Token::Name(rest.get(..end)?), rest.get(end..)?))
        }
        _ => Some((Token::Other, tail)),
    }
}

/// What follows a string or block string; an open one takes the rest.
fn after_string(text: &str) -> &str {
    let block = text.starts_with("\"\"\"");
    let (quote, escape) = if block { ("\"\"\"", "\\\"\"\"") } else { ("\"", "\\") };
    let mut rest = text.get(quote.len()..).unwrap_or("");
    loop {
        let Some(at) = rest.find(['"', '\\']) else { return "" };
        rest = rest.get(at..).unwrap_or("");
        if let Some(after) = rest.strip_prefix(escape) {
            let mut chars = after.chars();
            if !block {
                chars.next();
            }
            rest = chars.as_str();
        } else if let Some(after) = rest.strip_prefix(quote) {
            return after;
        } else {
            let mut chars = rest.chars();
            chars.next();
            rest = chars.as_str();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_selected_operation_is_found_through_strings_comments_and_arguments() {
        let document = "# mutation Z { a }\nquery A($x: I = {a: \"} mutation B {\"}) @d(x: [1]) { a(t: \"\"\"} \\\"\"\" mutation\"\"\") }\n\
                        fragment mutation on T { a } mutation M { b } subscription S { c }";
        assert_eq!(selected(document, Some("A")), Some(Kind::Query));
        assert_eq!(selected(document, Some("M")), Some(Kind::Mutation));
        assert_eq!(selected(document, Some("S")), Some(Kind::Subscription));
        assert_eq!(selected(document, Some("mutation")), None);
        assert_eq!(selected(document, None), Some(Kind::Mutation));
    }

    #[test]
    fn short_forms_and_broken_texts_are_taken_without_fault() {
        assert_eq!(selected("{ mutation query }", None), Some(Kind::Query));
        assert_eq!(selected("query { a }", None), Some(Kind::Query));
        assert_eq!(selected("mutation{ a }", None), Some(Kind::Mutation));
        assert_eq!(selected("{ a(x: \"\\\\\") } mutation { b }", None), Some(Kind::Mutation));
        for broken in ["", "}}}", "\"", "\"\"\"", "#", "户像", "query"] {
            let _ = selected(broken, None);
        }
        let deep = "[".repeat(200_000);
        assert_eq!(selected(&deep, None), None);
    }
}
