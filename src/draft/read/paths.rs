//! Paths as OpenAPI writes them: `/houses/{id}`, also where a framework's own writing was published.

use serde_json::{Map, Value};

/// `/houses/<id>`, `/houses/<int:id>` and `/houses/:id` → `/houses/{id}`, where `id` is declared as a parameter of the path.
pub fn in_braces(mut document: Value) -> Value {
    if let Some(Value::Object(paths)) = document.get_mut("paths")
        && paths.keys().any(|path| path.contains('<') || path.contains("/:"))
    {
        let mut written = Map::new();
        for (path, item) in std::mem::take(paths) {
            let other = rewritten(&path, &item);
            let path = if written.contains_key(&other) { path } else { other };
            written.insert(path, item);
        }
        *paths = written;
    }
    document
}

fn rewritten(path: &str, item: &Value) -> String {
    let segments = path.split('/').map(|segment| {
        let angled = segment.strip_prefix('<').and_then(|rest| rest.strip_suffix('>'));
        let name = angled.map(|inside| inside.rsplit(':').next().unwrap_or(inside)).or(segment.strip_prefix(':'));
        name.filter(|name| declares(item, name)).map_or_else(|| segment.to_owned(), |name| format!("{{{name}}}"))
    });
    segments.collect::<Vec<_>>().join("/")
}

fn declares(item: &Value, name: &str) -> bool {
    let text = |parameter: &Value, key: &str, wanted: &str| parameter.get(key).and_then(Value::as_str) == Some(wanted);
    let of = |place: &Value| {
        let parameters = place.get("parameters").and_then(Value::as_array);
        parameters.into_iter().flatten().any(|one| text(one, "in", "path") && text(one, "name", name))
    };
    of(item) || item.as_object().is_some_and(|item| item.values().any(of))
}
