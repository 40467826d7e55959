//! Tidiness: what keeps the tree readable, held by a test.

use std::fs;
use std::path::{Path, PathBuf};

/// Lines of one file in `src/` at most, blank ones not counted. The aim is 80 to 300.
const LINES_MAX: usize = 500;

/// The rooms, in order: each imports only from those before it.
const ROOMS: [&str; 17] = [
    "base", "model", "draft", "egress", "trace", "identify", "audit", "source", "engine", "scan", "watch", "approval",
    "registry", "answer", "admin", "serve", "cli",
];

/// Synchronous by design: no runtime, no clients, no files.
const WITHOUT_IO: [&str; 5] =
    ["src/engine/plan", "src/engine/project", "src/engine/convert", "src/model/rule", "src/scan/reckon"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files under a folder (or the file itself), sorted, as paths from the root; none where there is no such folder.
fn files(under: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut next = vec![PathBuf::from(under)];
    while let Some(path) = next.pop() {
        let full = root().join(&path);
        if full.is_dir() {
            next.extend(fs::read_dir(full).unwrap().map(|entry| path.join(entry.unwrap().file_name())));
        } else if full.is_file() {
            found.push(path.to_string_lossy().replace('\\', "/"));
        }
    }
    found.sort();
    found
}

fn rust(under: &str) -> Vec<String> {
    files(under).into_iter().filter(|path| path.ends_with(".rs")).collect()
}

/// Empty where the file is not text.
fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_default()
}

/// Lines with their numbers, without comments.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(at, line)| (at + 1, line)).filter(|(_, line)| !line.trim_start().starts_with("//"))
}

fn none(faults: Vec<String>) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn files_stay_readable() {
    let long = |path: &String| {
        let lines = read(path).lines().filter(|line| !line.trim().is_empty()).count();
        (lines > LINES_MAX).then(|| format!("{path}: {lines} lines, at most {LINES_MAX}; split it by what it does"))
    };
    none(rust("src").iter().filter_map(long).collect());
}

/// The room a source file belongs to: the first name after `src/`.
fn room(path: &str) -> &str {
    let inside = path.strip_prefix("src/").unwrap_or(path);
    inside.split(['/', '.']).next().unwrap_or_default()
}

/// Every `crate::NAME` of a file, with its line. `crate::{a, b}` gives both.
fn imports(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (line, text) in code(text) {
        for (at, _) in text.match_indices("crate::") {
            let rest = &text[at + "crate::".len()..];
            let names: Vec<&str> = match rest.strip_prefix('{') {
                Some(list) => list.split(['}', ';']).next().unwrap_or_default().split(',').map(str::trim).collect(),
                None => vec![rest],
            };
            for name in names {
                let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(name.len());
                found.push((line, name[..end].to_owned()));
            }
        }
    }
    found
}

#[test]
fn rooms_import_only_from_rooms_before_them() {
    let rank = |room: &str| ROOMS.iter().position(|known| *known == room);
    let mut faults = Vec::new();
    for room in ROOMS {
        let is_there = root().join(format!("src/{room}.rs")).is_file() || root().join(format!("src/{room}")).is_dir();
        assert!(is_there, "the room `{room}` is not there");
    }
    for path in rust("src").iter().filter(|path| !matches!(path.as_str(), "src/lib.rs" | "src/main.rs")) {
        let Some(here) = rank(room(path)) else {
            faults.push(format!("{path}: `{}` is not a room; see docs/architecture.md", room(path)));
            continue;
        };
        for (line, name) in imports(&read(path)) {
            if rank(&name).is_some_and(|there| there > here) {
                faults.push(format!("{path}:{line}: `{}` imports from `{name}`, which comes after it", room(path)));
            }
        }
    }
    none(faults);
}

/// Whether a line has a word: `.await`, and not a field `.awaited`.
fn has(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| !line[at + word.len()..].starts_with(|c: char| c.is_alphanumeric()))
}

#[test]
fn planning_and_projecting_do_no_io() {
    let mut faults = Vec::new();
    for under in WITHOUT_IO {
        assert!(!rust(under).is_empty(), "{under} is not there: what it held is held to nothing");
    }
    for path in WITHOUT_IO.iter().flat_map(|under| rust(under).into_iter().chain(rust(&format!("{under}.rs")))) {
        for (line, text) in code(&read(&path)) {
            for word in ["tokio", "reqwest", "sqlx", "async fn", ".await", "std::net"] {
                if has(text, word) {
                    faults.push(format!("{path}:{line}: `{word}` in a part that is synchronous and does no IO"));
                }
            }
        }
    }
    for path in rust("src/model") {
        for (line, text) in code(&read(&path)) {
            if ["tokio", "async fn", ".await"].iter().any(|word| has(text, word)) {
                faults.push(format!("{path}:{line}: the model is compiled at load and waits for nothing"));
            }
        }
    }
    none(faults);
}

#[test]
fn nothing_about_households_is_compiled_in() {
    let mut faults = Vec::new();
    // The demo and its printing are about households; the rest is not. Comments may give examples.
    let general =
        rust("src").into_iter().filter(|path| !path.starts_with("src/cli/demo") && !path.ends_with("tests.rs"));
    for path in general {
        let text = read(&path);
        let code_only = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (line, text) in code(code_only) {
            for word in ["Household", "dibao", "sfzh", "huhao"] {
                if text.split("//").next().unwrap_or_default().contains(word) {
                    faults.push(format!("{path}:{line}: `{word}`: what a contract is about belongs in its files"));
                }
            }
        }
    }
    none(faults);
}

#[test]
fn nothing_is_left_for_later() {
    let marks = ["TODO", "FIXME", "XXX:", "todo!(", "unimplemented!("];
    let mut faults = Vec::new();
    for path in ["src", "departments/src", "tests"].iter().flat_map(|under| rust(under)) {
        if path == "tests/repo/tidy.rs" {
            continue;
        }
        for (line, text) in read(&path).lines().enumerate() {
            if let Some(mark) = marks.iter().find(|mark| text.contains(**mark)) {
                faults.push(format!("{path}:{}: {mark}", line + 1));
            }
        }
    }
    none(faults);
}

/// Tests may do what `src/` may not; anywhere else a silenced lint says why.
#[test]
fn silenced_lints_give_their_reason() {
    let mut faults = Vec::new();
    for path in rust("src").iter().filter(|path| !path.ends_with("tests.rs")) {
        let text = read(path);
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let attribute = ["#[allow(", "#[expect(", "#![allow(", "#![expect("];
            if !attribute.iter().any(|start| line.trim_start().starts_with(start)) {
                continue;
            }
            let whole: String =
                lines[at..].iter().take_while(|line| !line.trim_end().ends_with(")]")).copied().collect();
            let end = lines[at..].iter().find(|line| line.trim_end().ends_with(")]")).copied().unwrap_or_default();
            let around = lines[at.saturating_sub(2)..(at + 2).min(lines.len())].iter();
            let of_tests = around.clone().any(|line| line.contains("cfg(test)") || line.contains("mod tests"));
            if !of_tests && !(whole + end).contains("reason =") {
                faults.push(format!("{path}:{}: add `reason = \"…\"`", at + 1));
            }
        }
    }
    none(faults);
}

/// The demo asks its own gateway; everybody else asks through clients that know whom they may ask.
#[test]
fn clients_are_made_in_one_place() {
    let mut faults = Vec::new();
    let elsewhere = |path: &String| !path.starts_with("src/egress") && !path.starts_with("src/cli/demo/");
    for path in rust("src").into_iter().filter(elsewhere) {
        for (line, text) in code(&read(&path)) {
            let clients = ["reqwest::Client", "reqwest::get", "hyper_util::client", "hyper::client"];
            for word in clients.into_iter().chain(["TcpStream::connect", "lookup_host", "UdpSocket"]) {
                if text.contains(word) {
                    faults.push(format!("{path}:{line}: `{word}`: use src/egress.rs"));
                }
            }
        }
    }
    none(faults);
}

/// A department's values go through the gateway and are kept nowhere; only who tries a binding by hand sees an exchange.
#[test]
fn only_a_try_keeps_what_goes_over_the_wire() {
    let elsewhere = |path: &&String| !path.starts_with("src/cli/source/") && !path.starts_with("src/source/");
    let mut faults = Vec::new();
    for path in rust("src").iter().filter(elsewhere) {
        for (line, text) in code(&read(path)) {
            if text.contains(".watched(") || text.contains("Exchanges") {
                faults.push(format!("{path}:{line}: exchanges are kept for `source try` alone"));
            }
        }
    }
    none(faults);
    assert!(read("src/cli/source/attempt.rs").contains(".watched("), "the test looks for a call that is no more");
}

/// What a reader of this repository does not have must not be named in it.
#[test]
fn the_repository_stands_on_its_own() {
    let elsewhere = [concat!("../", "shared"), concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
    let folders = ["src", "departments/src", "docs", "schema", "resolvers", "config", "examples", "tests", ".ci"];
    let single = ["README.md", "README.zh-CN.md", "CHANGELOG.md", "Cargo.toml", "deny.toml"];
    let mut faults = Vec::new();
    for path in folders.iter().chain(&single).flat_map(|under| files(under)) {
        for (line, text) in read(&path).lines().enumerate() {
            if let Some(word) = elsewhere.iter().find(|word| text.contains(**word)) {
                faults.push(format!("{path}:{}: names `{word}`", line + 1));
            }
        }
    }
    none(faults);
}

/// Relative links of the documents lead somewhere.
#[test]
fn links_between_documents_lead_somewhere() {
    let mut faults = Vec::new();
    let documents =
        files("docs").into_iter().chain(["README.md", "README.zh-CN.md", "CHANGELOG.md"].map(str::to_owned));
    for path in documents.filter(|path| path.ends_with(".md")) {
        let folder = Path::new(&path).parent().unwrap_or(Path::new("")).to_owned();
        for (line, text) in read(&path).lines().enumerate() {
            for (at, _) in text.match_indices("](") {
                let link = text[at + 2..].split(')').next().unwrap_or_default();
                let file = link.split('#').next().unwrap_or_default();
                if !file.is_empty() && !link.contains("://") && !root().join(&folder).join(file).exists() {
                    faults.push(format!("{path}:{}: there is no `{file}`", line + 1));
                }
            }
        }
    }
    none(faults);
}

/// A file that its crate does not name is compiled by nobody, and its tests run no more.
#[test]
fn every_file_of_a_test_crate_is_a_part_of_it() {
    let mut faults = Vec::new();
    let mut crates = 0;
    for main in rust("tests").iter().filter(|path| path.ends_with("/main.rs")) {
        crates += 1;
        let (folder, names) = (main.trim_end_matches("main.rs"), read(main));
        for path in rust(folder.trim_end_matches('/')).iter().filter(|path| *path != main) {
            let name = path[folder.len()..].trim_end_matches("/mod.rs").trim_end_matches(".rs");
            // What lies deeper is named by the module it belongs to.
            if !name.contains('/') && !names.lines().any(|line| line == format!("mod {name};")) {
                faults.push(format!("{main}: does not name `{name}`"));
            }
        }
    }
    assert!(crates >= 10, "{crates}");
    none(faults);
}

/// Whether `tests/` has a crate of this name.
fn is_test_crate(name: &str) -> bool {
    [format!("tests/{name}.rs"), format!("tests/{name}/main.rs")].iter().any(|path| root().join(path).is_file())
}

/// The name that a text begins with, empty where it begins with none.
fn name(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit() && c != '_');
    &text[..end.unwrap_or(text.len())]
}

/// The commands that a line tells to run tests of a crate: its name, and the name after it, which chooses some of them.
fn test_commands(line: &str) -> Vec<(&str, &str)> {
    let after = ["--test ", "--test="].iter().flat_map(|flag| line.split(flag).skip(1));
    let commands = after.map(|rest| (name(rest), name(rest[name(rest).len()..].strip_prefix(' ').unwrap_or_default())));
    commands.filter(|(crate_name, _)| !crate_name.is_empty()).collect()
}

/// The files and folders under `tests/` that a line names, and the test that may stand behind one.
fn test_paths(line: &str) -> Vec<(&str, Option<&str>)> {
    let outside = |c: char| !c.is_ascii_alphanumeric() && !"_-./".contains(c);
    let starts = line.match_indices("tests/").filter(|(at, _)| line[..*at].chars().next_back().is_none_or(outside));
    let paths = starts.map(|(at, _)| {
        let rest = &line[at..];
        let (path, rest) = rest.split_at(rest.find(outside).unwrap_or(rest.len()));
        let test = rest.strip_prefix("::").map(|test| test.split(|c: char| !c.is_alphanumeric() && c != '_').next());
        (path.trim_end_matches(['.', '/']), test.flatten())
    });
    paths.collect()
}

/// Commands and paths that are told to readers, in documents, sources and what tests print.
#[test]
fn tests_that_are_named_are_there() {
    let (mut faults, mut paths, mut commands) = (Vec::new(), 0, 0);
    let folders = ["src", "departments/src", "docs", "examples", "tests", "benches", "fuzz", ".ci", ".cargo"];
    let single = ["README.md", "README.zh-CN.md", "Cargo.toml"];
    let all = folders.iter().chain(&single).flat_map(|under| files(under));
    for path in all.filter(|path| path != "tests/repo/tidy.rs" && !path.starts_with("fuzz/target")) {
        for (line, text) in read(&path).lines().enumerate() {
            let at = format!("{path}:{}", line + 1);
            for (named, test) in test_paths(text) {
                paths += 1;
                if !root().join(named).exists() {
                    faults.push(format!("{at}: there is no `{named}`"));
                } else if test.is_some_and(|test| !read(named).contains(&format!("fn {test}()"))) {
                    faults.push(format!("{at}: `{named}` has no test `{}`", test.unwrap_or_default()));
                }
            }
            for (tests, chosen) in test_commands(text) {
                commands += 1;
                let modules = || rust(&format!("tests/{tests}")).into_iter().chain([format!("tests/{tests}.rs")]);
                let of_module = |path: &String| path.ends_with(&format!("/{chosen}.rs"));
                let of_test = |path: &String| read(path).contains(&format!("fn {chosen}"));
                if !is_test_crate(tests) {
                    faults.push(format!("{at}: there are no tests `{tests}`"));
                } else if !modules().any(|path| of_module(&path) || of_test(&path)) {
                    faults.push(format!("{at}: the tests `{tests}` have no `{chosen}`"));
                }
            }
        }
    }
    none(faults);
    assert!(paths > 80 && commands > 15, "the test reads no more: {paths} paths, {commands} commands");
    assert_eq!(test_commands("cargo test --test no_such some -- --test-threads 1"), [("no_such", "some")]);
    assert_eq!(test_paths("see (`tests/no/such.rs::is_there`), src/tests/x"), [("tests/no/such.rs", Some("is_there"))]);
}

/// Routes that answer without knowing who asks, because they hold nothing of anybody.
const OPEN_ROUTES: [&str; 5] = ["/health/live", "/health/ready", "/metrics", "/graphiql", "/graphiql/{file}"];

/// Every transport passes the same door: who asks is admitted (identified, counted, bounded) in `serve/door`, and only the
/// gateway's own answers go out, which are audited. A route beside it would be a hole.
#[test]
fn there_is_one_door() {
    let mut faults = Vec::new();
    let mut routes = Vec::new();
    let mut askers = 0;
    for path in rust("src/serve") {
        let text = read(&path);
        let code_only: String = code(text.split("#[cfg(test)]").next().unwrap_or_default())
            .map(|(_, line)| line)
            .collect::<Vec<_>>()
            .join("\n");
        // What stands behind the door is asked through `Gateway` alone.
        for room in ["crate::engine::", "crate::source", "crate::scan", "crate::model::binding"] {
            for rest in code_only.split(room).skip(1).filter(|rest| !rest.starts_with("error::")) {
                faults
                    .push(format!("{path}: serving reaches into `{room}{}`", rest.lines().next().unwrap_or_default()));
            }
        }
        let doors = [".gateway.answer(", ".gateway.admin(", ".gateway.subscribe("];
        let asks: Vec<usize> = doors.iter().map(|door| code_only.matches(door).count()).collect();
        let is_asked = asks.iter().any(|asks| *asks > 0);
        if is_asked && (path != "src/serve/ask.rs" || asks != [1, 1, 1]) {
            faults.push(format!("{path}: {asks:?} calls of the gateway; there is one of each kind, in serve/ask"));
        }
        // Whoever asks by it has been let in: by HTTP, or with a message of a socket.
        let admits = code_only.contains("admit(") || code_only.contains("admit_message(");
        if code_only.contains("Asking {") && path != "src/serve/ask.rs" && !admits {
            faults.push(format!("{path}: asks the gateway without `door::admit`"));
        }
        askers += usize::from(code_only.contains("Asking {") && admits);
        // What every ask needs is handed out at the door alone.
        if code_only.contains(".turns.take(") && path != "src/serve/door.rs" {
            faults.push(format!("{path}: takes a turn beside the door"));
        }
        for rest in code_only.split(".route(").skip(1) {
            let whole: String = rest.split_whitespace().collect::<Vec<_>>().join(" ");
            let route = whole.split('"').nth(1).unwrap_or_default().to_owned();
            let handler = whole.split("::<G>").next().unwrap_or_default();
            let module = handler.rsplit("::").nth(1).unwrap_or_default();
            let module = module.rsplit(['(', ' ']).next().unwrap_or_default().to_owned();
            routes.push((path.clone(), route, module));
        }
    }
    assert!(routes.len() >= 6, "the test reads routes no more: {routes:?}");
    assert_eq!(askers, 2, "the transports: HTTP, with its events, and sockets");
    for (path, route, module) in &routes {
        if path != "src/serve/mod.rs" {
            faults.push(format!(
                "{path}: the route {route} stands outside `serve::app`, and so outside what is around it"
            ));
        }
        let admits = read(&format!("src/serve/{module}.rs")).contains("admit(");
        if !OPEN_ROUTES.contains(&route.as_str()) && !admits {
            faults.push(format!("{path}: the route {route} is answered by `{module}` without `door::admit`"));
        }
    }
    let app = read("src/serve/mod.rs");
    for built in ["fn routes<", "fn metrics_routes<"] {
        let built = app.split(built).nth(1).and_then(|rest| rest.split("\n}").next()).unwrap_or_default();
        let last = built.lines().rfind(|line| line.contains(".route(") || line.contains(".layer(around)"));
        if !last.is_some_and(|line| line.contains(".layer(around)")) {
            faults.push("src/serve/mod.rs: not every route stands within `around`".to_owned());
        }
    }
    none(faults);
}
