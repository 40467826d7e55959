//! The variables and files of secrets that a source hangs on: those of its binding, of the platform it stands on, and of the
//! instance that is asked.

use std::path::Path;

use crate::model::binding::connection::Connection;
use crate::model::binding::format::SourceFile;
use crate::model::snapshot::Folders;

/// What stands inside `${…}`, each once.
pub fn named(file: &SourceFile, path: &Path, text: &str, folders: &Folders, asked: &Connection) -> Vec<String> {
    let mut all = of(text);
    if let Some(platform) = &file.platform {
        let declared = std::fs::read_to_string(folders.config.join("platforms.yaml")).unwrap_or_default();
        let declared: serde_json::Value = serde_saphyr::from_str(&declared).unwrap_or_default();
        let own = declared.get("platforms").and_then(|platforms| platforms.get(&platform.value));
        all.extend(own.map(|own| of(&own.to_string())).unwrap_or_default());
    }
    if let (Some(list), Some(instance)) = (&file.instances, &asked.instance) {
        let list = std::fs::read_to_string(path.with_file_name(&list.value.file)).unwrap_or_default();
        all.extend(list.lines().nth(instance.line.saturating_sub(1)).map(of).unwrap_or_default());
    }
    all.sort();
    all.dedup();
    all
}

fn of(text: &str) -> Vec<String> {
    text.split("${").skip(1).filter_map(|rest| rest.split('}').next()).map(str::to_owned).collect()
}
