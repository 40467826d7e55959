//! Descriptions that a binding is drafted from: whatever they say, there is a draft or a fault, and a draft loads as it is.

use std::path::PathBuf;
use std::sync::OnceLock;

use huxiang::base::fault::{Faults, SourceText};
use huxiang::draft::{self, Wanted};
use huxiang::model::snapshot::{Folders, Snapshot};

use crate::world::folder;

/// A root without a contract, that drafts are laid into.
fn root() -> &'static PathBuf {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let to = folder().join("draft");
        for path in ["schema", "resolvers", "config/rules"] {
            std::fs::create_dir_all(to.join(path)).expect("a folder for drafts");
        }
        let gateway =
            "listen: 127.0.0.1:0\nnetworks: {anywhere: [0.0.0.0/0]}\naudit: {store: a.sqlite, key: \"${AUDIT_KEY}\"}\n";
        std::fs::write(to.join("config/gateway.yaml"), gateway).expect("the file");
        to
    })
}

pub fn draft(name: &str, bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let file = SourceText::new(name, text);
    let wanted = Wanted { source: "src".to_owned(), title: "T".to_owned(), entity: None, keys: Vec::new(), only: None };
    let (mut faults, mut warnings) = (Faults::default(), Faults::default());
    let drafted = draft::draft(&file, &wanted, None, &mut faults, &mut warnings);
    let _ = (faults.render(), warnings.render_warnings());
    let Some(drafted) = drafted else {
        assert!(!faults.is_empty(), "what gives no draft says why");
        return;
    };
    assert!(!drafted.bound.is_empty(), "a draft binds something");
    std::fs::write(root().join("resolvers/src.yaml"), &drafted.binding).expect("the binding");
    std::fs::write(root().join("schema/src.graphql"), &drafted.contract).expect("the contract");
    let roles = "roles:\n  public:\n    title: Everybody\n    networks: [anywhere]\n    grants: []\n";
    std::fs::write(root().join("config/roles.yaml"), roles).expect("the roles");
    let mut faults = Faults::default();
    let variables = |name: &str| match name {
        "SRC_URL" if drafted.binding.contains("protocol: sql") => Some("sqlite:/nowhere.db".to_owned()),
        "SRC_URL" => Some("http://127.0.0.1:9".to_owned()),
        _ => Some("k".repeat(32)),
    };
    let snapshot = Snapshot::load(&Folders::under(root()), &variables, &mut faults);
    assert!(snapshot.is_some(), "{}\n{}\n{}", faults.render(), drafted.binding, drafted.contract);
}
