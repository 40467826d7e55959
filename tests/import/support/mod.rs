//! Drafts tried: laid into a root, asked through the gateway, and held against what a mock of the document answered.

pub mod ask;
pub mod document;
pub mod mock;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use huxiang::answer::{Gateway, GraphqlRequest};
use huxiang::base::fault::Faults;
use huxiang::identify::{Declared, Identity};
use huxiang::model::snapshot::{Folders, Snapshot};
use serde_json::Value;

use crate::temporary::Temporary;

/// A folder of its own, removed at the end.
pub struct Folder(pub Temporary);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = Temporary::new(&format!("import-{name}"));
        Self(path)
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.0.join(path)).unwrap()
    }

    pub fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    /// A configuration that gives everybody what is of one class, of these entities.
    pub fn grant(&self, class: &str, entities: &[String]) {
        self.write(
            "config/gateway.yaml",
            "listen: 127.0.0.1:0\nnetworks: {local: [127.0.0.0/8]}\naudit: {store: \"${STORE}\", key: \"${AUDIT_KEY}\"}\n",
        );
        let each = |form: &dyn Fn(usize, &String) -> String| -> String {
            entities.iter().enumerate().map(|(at, entity)| form(at, entity)).collect()
        };
        let grants = each(&|at, _| format!("      - {{relation: any-{at}, classes: [{class}]}}\n"));
        let roles = format!("roles:\n  public:\n    title: Everybody\n    networks: [local]\n    grants:\n{grants}");
        self.write("config/roles.yaml", &roles);
        let relations = each(&|at, entity| format!("  any-{at}: {{on: {entity}, when: \"true\"}}\n"));
        self.write("config/rules/relations.yaml", &format!("relations:\n{relations}"));
    }
}

/// What `huxiang source import --json` said of a document, or what it complained of; and how long it took.
pub fn draft(document: &Path, arguments: &[&str], most: Duration) -> (Result<Value, String>, Duration) {
    let begun = Instant::now();
    let folder = Folder::new(&format!("draft-{:x}", std::ptr::from_ref(&begun) as usize));
    let (out, err) = (folder.0.join("out"), folder.0.join("err"));
    let mut child = Command::new(env!("CARGO_BIN_EXE_huxiang"))
        .args(["source", "import", document.to_str().unwrap(), "--source", "src", "--title", "T", "--json"])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(&out).unwrap())
        .stderr(std::fs::File::create(&err).unwrap())
        .spawn()
        .unwrap();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if begun.elapsed() > most {
            child.kill().unwrap();
            child.wait().unwrap();
            return (Err(format!("HANGS: not drafted in {most:?}")), begun.elapsed());
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let told = std::fs::read_to_string(err).unwrap();
    let drafted = match status.code() {
        Some(0) => Ok(serde_json::from_str(&std::fs::read_to_string(out).unwrap()).unwrap()),
        Some(2) if !told.contains("panicked") => Err(told),
        code => Err(format!("CRASHES with {code:?}: {told}")),
    };
    (drafted, begun.elapsed())
}

/// A gateway on a root whose only source is at this address.
pub async fn gateway(root: &Folder, url: &str) -> Result<Gateway, String> {
    let store = root.0.join("audit.sqlite").display().to_string();
    let variables = |name: &str| match name {
        "SRC_URL" => Some(url.to_owned()),
        "STORE" => Some(store.clone()),
        _ => Some("k".repeat(32)),
    };
    let mut faults = Faults::default();
    let snapshot = Snapshot::load(&Folders::under(&root.0), &variables, &mut faults);
    let snapshot = snapshot.ok_or_else(|| faults.render())?;
    Gateway::start(snapshot).await.map_err(|error| error.to_string())
}

pub async fn asked(gateway: &Gateway, query: &str) -> Value {
    let address = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    let identity = Identity::new(None, address, vec!["local".to_owned()], Declared::default());
    let request = GraphqlRequest { query: Some(query.to_owned()), ..GraphqlRequest::default() };
    let answer = gateway.answer(identity, request, "request-1".to_owned(), None).await;
    serde_json::from_slice(&answer.body).unwrap()
}
