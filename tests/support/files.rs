//! Copies of the repository's files that a test may change.

use std::path::Path;

use huxiang::answer::Gateway;

use super::World;
use crate::temporary::Temporary;

/// A copy of the repository's files, with changes to some; removed at the end.
pub struct Files(pub Temporary);

impl Files {
    pub fn copied(name: &str) -> Self {
        let root = Temporary::new(&format!("hand-{name}"));
        for folder in ["schema", "resolvers", "config", "config/codes", "config/documents", "config/rules"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
            for file in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap() {
                let path = file.unwrap().path();
                if path.is_file() {
                    std::fs::copy(&path, root.join(folder).join(path.file_name().unwrap())).unwrap();
                }
            }
        }
        Self(root)
    }

    /// Puts keys at the top of a binding, in place of those it has.
    pub fn hand(self, source: &str, keys: &str) -> Self {
        let path = self.0.join(format!("resolvers/{source}.yaml"));
        let text = std::fs::read_to_string(&path).unwrap();
        let (head, rest) = match text.split_once("\nwithhold:") {
            Some((head, rest)) => (head, &rest[rest.find("\nendpoints:").unwrap()..]),
            None => text.split_at(text.find("\nendpoints:").unwrap()),
        };
        std::fs::write(path, format!("{head}\n{keys}{rest}")).unwrap();
        self
    }

    /// Changes one file.
    pub fn edit(self, path: &str, edit: impl Fn(String) -> String) -> Self {
        let path = self.0.join(path);
        std::fs::write(&path, edit(std::fs::read_to_string(&path).unwrap())).unwrap();
        self
    }

    pub async fn gateway(&self, world: &World) -> Gateway {
        super::gateway(&self.0, world.departments.variables(), &self.0).await
    }

    /// Further roles, beside the repository's.
    pub fn roles(self, roles: &str) -> Self {
        let path = self.0.join("config/roles.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, format!("{}\n{roles}", text.trim_end())).unwrap();
        self
    }
}
