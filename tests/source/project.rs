//! A gateway's files, as small as they can be, for the commands that read them.

use std::ops::Deref;
use std::path::Path;

use crate::temporary::Temporary;

/// Files in a folder of their own.
pub struct Project(Temporary);

impl Project {
    /// With this contract, and a role `clerk` that has these classes of everybody; without a binding.
    pub fn new(name: &str, contract: &str, classes: &str) -> Self {
        let project = Self(Temporary::new(name));
        project.write("schema/contract.graphql", contract);
        project.write("config/codes/grade.csv", "code,value,zh\n1,A,\n2,B,\n");
        project.write(
            "config/gateway.yaml",
            "listen: 127.0.0.1:0\nnetworks: {local: [127.0.0.0/8]}\naudit: {store: a.sqlite, key: \"${AUDIT_KEY}\"}\n",
        );
        project.write("config/rules/relations.yaml", "relations:\n  any: {on: Farm, when: \"true\"}\n");
        let role = "    title: Clerk\n    networks: [local]";
        let grants = format!("    grants:\n      - {{relation: any, classes: [{classes}]}}");
        project.write("config/roles.yaml", &format!("roles:\n  clerk:\n{role}\n{grants}\n"));
        project
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// The file with one text put for another.
    pub fn edit(&self, path: &str, old: &str, new: &str) {
        let text = std::fs::read_to_string(self.0.join(path)).unwrap();
        assert!(text.contains(old), "{path} has no {old}");
        self.write(path, &text.replace(old, new));
    }
}

impl Deref for Project {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}
