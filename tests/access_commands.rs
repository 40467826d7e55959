//! `huxiang access diff`: what a change of the files opens is named and fails the command; what it closes is named.

mod support;

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;
use support::{config, repository};

/// The repository's files with some of `config/` changed; removed at the end.
struct Copied(PathBuf);

impl Copied {
    fn new(name: &str, changes: &[(&str, &str, &str)]) -> Self {
        let to = std::env::temp_dir().join(format!("huxiang-access-diff-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&to);
        for folder in ["schema", "resolvers", "config"] {
            support::lay_over(&repository().join(folder), &to.join(folder));
        }
        for (file, from, with) in changes {
            let text = config(file);
            assert!(text.contains(from), "{file} has no `{from}`");
            std::fs::write(to.join("config").join(file), text.replacen(from, with, 1)).unwrap();
        }
        Self(to)
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn diff(old: &Copied, new: &Copied, json: bool) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_huxiang"));
    command.args(["access", "diff"]).arg(&old.0).arg(&new.0);
    if json {
        command.arg("--json");
    }
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = String::from_utf8(stdout).unwrap();
    assert!(!text.is_empty(), "{}", String::from_utf8_lossy(&stderr));
    (status.code().unwrap(), text)
}

/// Exit code, what opens and what closes: how many groups each.
fn counted(old: &Copied, new: &Copied) -> (i32, Value) {
    let (code, text) = diff(old, new, true);
    (code, serde_json::from_str(&text).unwrap())
}

fn grants(report: &Value, what: &str) -> usize {
    report[what]["grants"].as_array().unwrap().len()
}

#[test]
fn the_same_files_open_and_close_nothing() {
    let same = Copied::new("same", &[]);
    let (code, text) = diff(&same, &same, false);
    assert_eq!((code, text.as_str()), (0, "nothing opens, nothing closes\n"));
}

#[test]
fn a_field_more_opens_and_a_field_less_closes() {
    let base = Copied::new("base", &[]);
    let more = Copied::new(
        "more",
        &[(
            "roles.yaml",
            "fields: [medical.insured, assets.farmland]",
            "fields: [medical.insured, assets.farmland, assets.vehicles]",
        )],
    );
    let (code, text) = diff(&base, &more, false);
    assert_eq!(code, 1);
    assert!(
        text.contains("opens\n") && text.contains("town-officer: jurisdiction; from gov; purposes duty or help"),
        "{text}"
    );
    assert!(text.contains("assets.vehicles") && text.contains("nothing closes"), "{text}");
    let (code, text) = diff(&more, &base, false);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("nothing opens") && text.contains("assets.vehicles"), "{text}");
}

/// Each pair: a change, and whether it opens (1) or only closes (0).
#[test]
fn wider_conditions_open_and_narrower_ones_close() {
    let base = Copied::new("conditions", &[]);
    let roles = "roles.yaml";
    let grid = "purposes: [grid-watch]";
    let cases: &[(&str, (&str, &str, &str), i32)] = &[
        ("hours", (roles, grid, "purposes: [grid-watch]\n        hours: [\"08:00-18:00\"]"), 0),
        ("until", (roles, grid, "purposes: [grid-watch]\n        until: 2030-12-31"), 0),
        ("no-purpose", (roles, "        purposes: [grid-watch]\n", ""), 1),
        ("another-purpose", (roles, grid, "purposes: [grid-watch, duty]"), 1),
        (
            "unmasked",
            (
                roles,
                "mask: {registry.headName: name, Person.name: name, registry.phone: phone}",
                "mask: {registry.headName: name, Person.name: name}",
            ),
            1,
        ),
        ("case", (roles, "case: \"^JD-[0-9]{4}-[0-9]{3,6}$\"", "case: \".*\""), 1),
        ("approval-longer", (roles, "valid_minutes_max: 480", "valid_minutes_max: 481"), 1),
        ("approval-shorter", (roles, "valid_minutes_max: 480", "valid_minutes_max: 479"), 0),
        ("no-approval", (roles, "        approval: {by: [supervisor], valid_minutes_max: 480, uses: 1}\n", ""), 1),
        ("network", ("gateway.yaml", "public-proxy: [203.0.113.0/24]", "public-proxy: [203.0.112.0/23]"), 1),
        ("network-smaller", ("gateway.yaml", "public-proxy: [203.0.113.0/24]", "public-proxy: [203.0.113.0/25]"), 0),
        (
            "relation",
            ("rules/relations.yaml", "household.registry.grid in principal.grids", "household.registry.grid != ''"),
            1,
        ),
    ];
    for (name, change, code) in cases {
        let changed = Copied::new(name, &[*change]);
        let (found, report) = counted(&base, &changed);
        assert_eq!(found, *code, "{name}: {report:#}");
        if *code == 0 {
            let closes = &report["closes"];
            assert!(grants(&report, "closes") + closes["networks"].as_array().unwrap().len() > 0, "{name}: {report:#}");
        }
    }
    // An approval for what was given without one closes, and taking it away opens: the same fields either way.
    let open =
        Copied::new("open", &[(roles, "        approval: {by: [supervisor], valid_minutes_max: 480, uses: 1}\n", "")]);
    let (code, report) = counted(&open, &base);
    assert_eq!((code, grants(&report, "opens")), (0, 0), "{report:#}");
    assert_eq!(grants(&report, "closes"), 1, "{report:#}");
}
