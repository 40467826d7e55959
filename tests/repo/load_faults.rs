//! Faulty files (`tests/data/faulty`): each `NNNN_name/` is laid over `base/`, and what loading says of it is
//! `expected.txt`. `UPDATE_EXPECTED=1 cargo test --test repo load_faults` writes them anew; read the difference before it is
//! committed.

use std::fs;
use std::path::{Path, PathBuf};

use huxiang::base::fault::Faults;
use huxiang::model::snapshot::{Folders, Snapshot};

use crate::temporary::Temporary;

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/faulty")
}

/// A copy of `base/` that a test may break; removed at the end.
struct Copied(Temporary);

impl Copied {
    fn new(name: &str) -> Self {
        let to = Temporary::new(&format!("faulty-{name}"));
        lay_over(&data().join("base"), &to);
        Self(to)
    }

    fn put(&self, path: &str, text: impl AsRef<[u8]>) {
        fs::write(self.0.join(path), text).unwrap();
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.0.join(path)).unwrap()
    }

    fn load(&self) -> Faults {
        let variables = |name: &str| match name {
            "FARMS_URL" | "GRADES_URL" => Some("http://127.0.0.1:1".to_owned()),
            "AUDIT_KEY" => Some("k".repeat(32)),
            _ => None,
        };
        let mut faults = Faults::default();
        let snapshot = Snapshot::load(&Folders::under(&self.0), &variables, &mut faults);
        assert_eq!(snapshot.is_some(), faults.is_empty(), "no snapshot without a fault, and no fault with one");
        faults
    }

    /// The faults as they are printed, with paths relative to the root.
    fn rendered(&self) -> String {
        self.load().render().replace(&format!("{}/", self.0.display()), "")
    }
}

fn lay_over(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            lay_over(&entry.path(), &target);
        } else if entry.file_name() != "expected.txt" {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn the_base_is_without_fault() {
    assert_eq!(Copied::new("base").rendered(), "");
}

#[test]
fn every_fault_is_told_with_its_place_and_what_to_do() {
    let mut cases: Vec<PathBuf> = fs::read_dir(data()).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.retain(|path| !path.ends_with("base"));
    cases.sort();
    assert!(cases.len() >= 60, "{}", cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        let copied = Copied::new(&name);
        lay_over(&case, &copied.0);
        let rendered = copied.rendered();
        if rendered.is_empty() {
            wrong.push(format!("{name}: no fault"));
        }
        if rendered.contains(&"k".repeat(32)) {
            wrong.push(format!("{name}: tells what a variable holds, which may be a secret:\n{rendered}"));
        }
        if std::env::var("UPDATE_EXPECTED").is_ok() {
            fs::write(case.join("expected.txt"), &rendered).unwrap();
        }
        let expected = fs::read_to_string(case.join("expected.txt")).unwrap_or_default();
        if expected != rendered {
            wrong.push(format!("{name}: expected\n{expected}\ngot\n{rendered}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// As many as stand in the folder, whichever file they are in.
#[test]
fn all_faults_of_all_files_are_told_at_once() {
    let copied = Copied::new("at-once");
    lay_over(&data().join("0063_many_faults_in_many_files"), &copied.0);
    let faults = copied.load();
    let files: std::collections::BTreeSet<_> = faults.sorted().iter().map(|fault| fault.file.path.clone()).collect();
    assert!(faults.sorted().len() >= 10, "{}", faults.render());
    assert!(files.len() >= 5, "{files:?}");
    for fault in faults.sorted() {
        assert!(!fault.message.is_empty() && !fault.hint.is_empty(), "{}", fault.message);
    }
}

/// Days without anybody are told where they are still to come.
#[test]
fn a_division_that_no_instance_covers_is_a_warning() {
    let copied = Copied::new("gaps");
    lay_over(&data().join("0153_territories_of_instances"), &copied.0);
    let head = "id,title,territory,from,until\n";
    let warnings = |rows: &str, today: &str| {
        copied.put("resolvers/towns.csv", format!("{head}{rows}"));
        let mut faults = Faults::default();
        let variables =
            |name: &str| Some(if name == "AUDIT_KEY" { "k".repeat(32) } else { "http://127.0.0.1:1".into() });
        let snapshot = Snapshot::load(&Folders::under(&copied.0), &variables, &mut faults);
        let gaps = snapshot.unwrap_or_else(|| panic!("{}", faults.render())).bindings.gaps(today.parse().unwrap());
        let told = |fault: &&huxiang::base::fault::Fault| format!("{}: {}", fault.place.line, fault.message);
        gaps.sorted().iter().map(told).collect::<Vec<_>>()
    };
    let none: [&str; 0] = [];
    assert_eq!(warnings("a,A,33,,\nb,B,35 ,,\n", "2026-01-01"), none);
    assert_eq!(warnings("a,A,3301 3302,,\n", "2026-01-01"), ["0: no instance covers the division `35`"]);
    let moved = "a,A,33,,2025-12-31\nb,B,33,2026-02-01,\nc,C,35,,\n";
    assert_eq!(
        warnings(moved, "2025-06-01"),
        ["2: after 2025-12-31 and before 2026-02-01 nobody covers what `a` covers"]
    );
    assert_eq!(warnings(moved, "2026-01-15").len(), 1);
    assert_eq!(warnings(moved, "2026-02-01"), none, "what is over needs nobody");
    assert_eq!(warnings(&moved.replace("2026-02-01", "2026-01-01"), "2025-06-01"), none);
    let ends = "a,A,33,2026-03-01,2026-12-31\nc,C,35,,\n";
    assert_eq!(
        warnings(ends, "2026-01-01"),
        ["2: after 2026-12-31 nobody covers what `a` covers", "2: before 2026-03-01 nobody covers what `a` covers"]
    );
    assert_eq!(warnings(ends, "2026-03-01"), ["2: after 2026-12-31 nobody covers what `a` covers"]);
}

/// Each is told as a fault or does no harm; none ends the process or takes long.
#[test]
fn hostile_files_do_no_harm() {
    let laughs: String = (1..30).map(|n| format!("a{n}: &a{n} [*a{0}, *a{0}, *a{0}, *a{0}]\n", n - 1)).collect();
    let hostile: Vec<(&str, Vec<u8>)> = vec![
        ("empty", Vec::new()),
        ("binary", (0..=255).cycle().take(4096).collect()),
        ("nul", b"source: \0farms".to_vec()),
        ("deep flow", [b"a: ".to_vec(), b"[".repeat(100_000)].concat()),
        ("deep braces", [b"a: ".to_vec(), b"{a: ".repeat(100_000)].concat()),
        ("deep indent", (0..3_000).flat_map(|n| format!("{}a:\n", " ".repeat(n)).into_bytes()).collect()),
        ("deep dashes", b"- ".repeat(100_000)),
        ("aliases", format!("a0: &a0 [x]\n{laughs}").into_bytes()),
        ("alias of itself", b"a: &a [*a]".to_vec()),
        ("a line of a megabyte", [b"title: ".to_vec(), b"x".repeat(1 << 20)].concat()),
        ("a key of a megabyte", [b"x".repeat(1 << 20), b": 1".to_vec()].concat()),
        ("byte order mark", "\u{feff}source: x".into()),
        ("another kind of file", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3".to_vec()),
        ("tabs", b"source:\n\t- x".to_vec()),
        ("tag", b"source: !!python/object/apply:os.system [ls]".to_vec()),
    ];
    let paths = [
        "schema/contract.graphql",
        "resolvers/farms.yaml",
        "config/roles.yaml",
        "config/gateway.yaml",
        "config/rules/relations.yaml",
        "config/codes/grade.csv",
    ];
    let copied = Copied::new("hostile");
    for path in paths {
        let whole = copied.text(path);
        for (name, bytes) in &hostile {
            let began = std::time::Instant::now();
            copied.put(path, bytes);
            let rendered = copied.rendered();
            assert!(!rendered.is_empty() || path.ends_with(".csv"), "{path}: {name}");
            assert!(began.elapsed().as_secs() < 30, "{path}: {name} took {:?}", began.elapsed());
        }
        copied.put(path, &whole);
    }
    assert_eq!(copied.rendered(), "");
    for path in paths {
        copied.put(path, copied.text(path).replace('\n', "\r\n"));
    }
    assert_eq!(copied.rendered(), "", "line ends of Windows");
}
