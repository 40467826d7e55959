//! The documents tell all, and only what is so.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use huxiang::base::code::{ErrorCode, ItemState};
use huxiang::model::binding::format::SourceFile;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The fenced blocks of a language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).filter_map(|rest| rest.split_once("\n```").map(|(block, _)| block.to_owned())).collect()
}

/// Whether a name stands in the text as code: `name`, or as a key of an example.
fn tells(text: &str, name: &str) -> bool {
    let edge = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != '-');
    text.match_indices(name).any(|(at, _)| {
        let (before, after) = (text[..at].chars().next_back(), text[at + name.len()..].chars().next());
        edge(before) && edge(after) && (before == Some('`') || matches!(after, Some('`' | ':')))
    })
}

/// The keys that serde reads in a file of formats: public fields, as renamed, and kebab-case or lower-case variants.
fn serde_keys(source: &str) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    let (mut renamed, mut style, mut in_enum) = (None, None, false);
    for line in source.lines().map(str::trim) {
        if let Some((_, rest)) = line.split_once("rename = \"") {
            renamed = rest.split('"').next().map(str::to_owned);
        }
        if let Some((_, rest)) = line.split_once("rename_all = \"") {
            style = rest.split('"').next().map(str::to_owned);
        }
        if line.starts_with("pub enum") {
            in_enum = style.is_some();
        } else if line.starts_with("pub struct") || line.starts_with("impl") {
            (in_enum, style) = (false, None);
        }
        let field = line.strip_prefix("pub ").and_then(|rest| rest.split_once(':')).map(|(name, _)| name);
        let field = field.or_else(|| {
            let bare = line.split_once(": ").filter(|_| in_enum && line.ends_with(',')).map(|(name, _)| name);
            bare.filter(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
        });
        if let Some(name) = field.filter(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '_')) {
            keys.insert(renamed.take().unwrap_or_else(|| name.to_owned()));
        }
        let variant = line.split([',', ' ', '{', '(']).next().unwrap_or_default();
        let is_variant = in_enum && variant.starts_with(|c: char| c.is_ascii_uppercase());
        if is_variant && variant.chars().all(|c| c.is_ascii_alphanumeric()) {
            let gap = match style.as_deref() {
                Some("kebab-case") => "-",
                Some("snake_case") => "_",
                _ => "",
            };
            keys.insert(styled(variant, gap));
        }
        if line == "}" {
            (in_enum, style) = (false, None);
        }
    }
    keys
}

/// What stands before each capital but the first.
fn styled(variant: &str, gap: &str) -> String {
    let mut out = String::new();
    for c in variant.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push_str(gap);
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// In the document, or in the reference it links to.
fn all_told(document: &str, names: impl IntoIterator<Item = String>) {
    let own = read(document);
    let text = if own.contains("(reference.md") { own + &read("docs/reference.md") } else { own };
    let missing: Vec<String> = names.into_iter().filter(|name| !tells(&text, name)).collect();
    assert!(missing.is_empty(), "{document} does not tell of: {}", missing.join(", "));
}

#[test]
fn every_key_of_a_binding_stands_in_its_reference() {
    let mut keys = serde_keys(&read("src/model/binding/format.rs"));
    keys.append(&mut serde_keys(&read("src/model/binding/limits.rs")));
    keys.append(&mut serde_keys(&read("src/model/binding/platform.rs")));
    keys.append(&mut serde_keys(&read("src/model/binding/connection/sign/format.rs")));
    keys.append(&mut serde_keys(&read("src/model/binding/request/format.rs")));
    for known in ["item_key", "ref", "const", "hmac-params", "token_url", "soap", "gb18030", "type", "absent"] {
        assert!(keys.contains(known), "the test reads `{known}` no more: {keys:?}");
    }
    all_told("docs/bindings.md", keys);
}

#[test]
fn every_key_of_the_other_files_stands_in_its_reference() {
    all_told("docs/access.md", serde_keys(&read("src/model/access/format.rs")));
    all_told("docs/access.md", huxiang::model::mask::Mask::NAMES.map(str::to_owned));
    all_told("docs/operations.md", serde_keys(&read("src/model/config/format.rs")));
    all_told("docs/operations.md", serde_keys(&read("src/model/config/rates.rs")));
    all_told("docs/operations.md", serde_keys(&read("src/model/config/admission.rs")));
    all_told("docs/operations.md", serde_keys(&read("src/model/config/cors.rs")));
    let sockets = read("src/model/config/sockets.rs");
    all_told("docs/operations.md", serde_keys(sockets.split("/// Checked.").next().unwrap_or_default()));
    let limits = read("src/model/config.rs");
    let limits = limits.split("pub struct Limits").nth(1).and_then(|rest| rest.split("\n}").next()).unwrap_or_default();
    let keys = serde_keys(limits);
    assert!(keys.contains("body_bytes_max"), "{keys:?}");
    all_told("docs/operations.md", keys);
}

#[test]
fn every_directive_and_item_state_is_told() {
    let directives = read("schema/directives.graphql");
    let names = directives.lines().filter_map(|line| line.strip_prefix("directive @")?.split('(').next());
    all_told("docs/contract.md", names.map(|name| format!("@{}", name.split(' ').next().unwrap_or(name))));
    all_told("docs/frontends.md", ItemState::ALL.iter().map(|state| state.as_str().to_owned()));
}

/// Each way round: what a client may match on is told, and nothing is told that is never sent. (That the contract has
/// the same list is for `tests/repo/contract.rs`.)
#[test]
fn the_list_of_error_codes_is_closed() {
    let frontends = read("docs/frontends.md");
    let told =
        frontends.split("The list is closed:").nth(1).and_then(|rest| rest.split("\n\n").nth(1)).unwrap_or_default();
    let told: BTreeSet<&str> = told.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert_eq!(told, ErrorCode::ALL.iter().map(|code| code.as_str()).collect());
}

#[test]
fn every_function_of_rules_is_told() {
    let source = read("src/model/rule/functions.rs");
    let known = source.split("const KNOWN").nth(1).and_then(|rest| rest.split("];").next()).unwrap_or_default();
    let names = known.split('"').skip(1).step_by(2).map(str::to_owned);
    let text = read("docs/access.md");
    for name in names {
        assert!(text.contains(&format!("`{name}(")) || text.contains(&format!(".{name}(")), "docs/access.md: {name}");
    }
}

#[test]
fn whole_examples_of_bindings_are_bindings() {
    let mut seen = 0;
    for document in ["docs/bindings.md", "README.md", "README.zh-CN.md"] {
        for block in blocks(&read(document), "yaml").iter().filter(|block| block.contains("endpoints:")) {
            if let Err(error) = serde_saphyr::from_str::<SourceFile>(block) {
                panic!("{document}: {error}\n{block}");
            }
            seen += 1;
        }
    }
    assert!(seen >= 4, "{seen}");
}

/// The example of the README is the folder it names, file by file, and loads.
#[test]
fn the_example_of_the_readme_loads() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/posts");
    let variables = |name: &str| match name {
        "PLACEHOLDER_URL" => Some("http://127.0.0.1:1".to_owned()),
        "AUDIT_KEY" => Some("0".repeat(64)),
        _ => None,
    };
    let mut faults = huxiang::base::fault::Faults::default();
    let folders = huxiang::model::snapshot::Folders::under(&root);
    let loaded = huxiang::model::snapshot::Snapshot::load(&folders, &variables, &mut faults);
    assert!(loaded.is_some(), "{}", faults.render());
    for readme in ["README.md", "README.zh-CN.md"] {
        let text = read(readme);
        let told: Vec<String> = ["graphql", "yaml"].iter().flat_map(|language| blocks(&text, language)).collect();
        for file in ["schema/blog.graphql", "resolvers/placeholder.yaml", "config/roles.yaml"] {
            let file = read(&format!("examples/posts/{file}"));
            assert!(told.iter().any(|block| block.trim() == file.trim()), "{readme} shows another text than\n{file}");
        }
    }
}

/// A test that a document names as the one that would fail is there.
#[test]
fn tests_that_are_named_as_a_defence_are_there() {
    let text = read("docs/security.md");
    let mut named = 0;
    for name in text.split('`').filter(|code| code.starts_with("tests/") && code.contains("::")) {
        let (file, test) = name.split_once("::").unwrap();
        assert!(read(file).contains(&format!("fn {test}()")), "docs/security.md: there is no {name}");
        named += 1;
    }
    assert!(named > 20, "{named}");
}
