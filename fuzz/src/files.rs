//! Files as users write them, one of them fuzzed: loading never panics, and what it refuses it names.

use std::path::PathBuf;
use std::sync::OnceLock;

use huxiang::base::fault::Faults;
use huxiang::model::snapshot::{Folders, Snapshot};

use crate::world::{contract, folder, variable};

/// The contract's folder, copied once, so that a file of it can be replaced.
fn copy() -> &'static PathBuf {
    static COPY: OnceLock<PathBuf> = OnceLock::new();
    COPY.get_or_init(|| {
        let to = folder().join("contract");
        for name in [
            "schema/note.graphql",
            "resolvers/soap.yaml",
            "resolvers/rest.yaml",
            "config/gateway.yaml",
            "config/roles.yaml",
            "config/rules/relations.yaml",
            "config/codes/mood.csv",
        ] {
            let path = to.join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder for the copy");
            std::fs::copy(contract().join(name), path).expect("the contract's file");
        }
        to
    })
}

/// Loads the contract's files with one of them replaced: by the bytes, or by its own text with the bytes behind it
/// (where the first byte is odd), so that what stands in it is reached with a good beginning too.
pub fn load_with(name: &str, bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    let mut text = if first % 2 == 1 { std::fs::read(contract().join(name)).expect("the file") } else { Vec::new() };
    text.extend_from_slice(rest);
    std::fs::write(copy().join(name), &text).expect("the file can be written");
    let mut faults = Faults::default();
    let variables = |name: &str| variable(name, "http://127.0.0.1:9", "no key");
    let snapshot = Snapshot::load(&Folders::under(copy()), &variables, &mut faults);
    assert_eq!(snapshot.is_none(), !faults.is_empty(), "what does not load says why");
    for fault in faults.sorted() {
        assert!(!fault.message.is_empty());
    }
    let _ = faults.render();
}
