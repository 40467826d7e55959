//! `docs/tutorial.md`, done as it is written: its files are laid down, its commands typed one after the other against
//! programs that others wrote, and what is printed is held against what the page shows. In the page, `…` stands for any
//! text within a line, and a line of it alone for any lines.
//!
//! The programs are those that the page installs (blocks `sh install`), in the folder that `HUXIANG_TEST_TUTORIAL` names;
//! what is not there is skipped, visibly. `UPDATE_EXPECTED=1` writes what was printed into the page (with `--test-threads 1`);
//! the `…` are for you. A crate of its own: it needs programs from elsewhere, and of the gateway the binary alone.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const PAGE: &str = "docs/tutorial.md";
/// What one command may take.
const COMMAND_MAX: Duration = Duration::from_secs(90);
/// Ports that the page names.
const PORTS: [&str; 7] = ["5061", "5062", "5063", "5064", "5065", "5066", "8080"];

#[derive(Debug)]
enum Step {
    File {
        path: String,
        text: String,
    },
    /// What stands from a line of the page on.
    Command {
        typed: String,
        printed: Vec<String>,
        at: usize,
    },
}

fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE)
}

/// What a section of the page (from its heading to the next of that level) has one do.
fn steps(text: &str, heading: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut inside = false;
    let mut lines = text.lines().enumerate();
    while let Some((_, line)) = lines.next() {
        if let Some(title) = line.strip_prefix("## ") {
            inside = title == heading;
        }
        let Some(info) = line.strip_prefix("```").filter(|info| !info.is_empty()) else { continue };
        let block: Vec<(usize, &str)> = lines.by_ref().take_while(|(_, line)| *line != "```").collect();
        if !inside {
            continue;
        }
        if let Some((_, path)) = info.split_once(" file=") {
            let text = block.iter().map(|(_, line)| format!("{line}\n")).collect();
            steps.push(Step::File { path: path.to_owned(), text });
        } else if info == "console" {
            for (number, line) in block {
                let at = number + 1;
                match (line.strip_prefix("$ "), steps.last_mut()) {
                    (Some(typed), _) => {
                        steps.push(Step::Command { typed: typed.to_owned(), printed: Vec::new(), at });
                    }
                    (None, Some(Step::Command { typed, at: from, .. })) if *from == number && typed.ends_with('\\') => {
                        *typed = format!("{typed}\n{}", line.strip_prefix("> ").unwrap_or(line));
                        *from = at;
                    }
                    (None, Some(Step::Command { printed, .. })) => printed.push(line.to_owned()),
                    (None, _) => panic!("{PAGE}:{at}: a block of commands begins with `$ `: {line}"),
                }
            }
        }
    }
    assert!(!steps.is_empty(), "{PAGE} has no section `{heading}` with something to do");
    steps
}

/// Whether a text is as a pattern with `…` for whatever.
fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, between)) = parts.split_last() else { return rest.is_empty() };
    for part in between {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// The same for lines, where one of `…` alone is any number of them.
fn all_fit(patterns: &[String], lines: &[String]) -> bool {
    match patterns.split_first() {
        None => lines.is_empty(),
        Some((any, rest)) if any == "…" => (0..=lines.len()).any(|at| all_fit(rest, &lines[at..])),
        Some((pattern, rest)) => {
            lines.split_first().is_some_and(|(line, further)| fits(pattern, line) && all_fit(rest, further))
        }
    }
}

/// A shell in a folder of its own; it and all that was started in it end with it.
struct Shell {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    folder: PathBuf,
    ports: Vec<(String, String)>,
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-KILL", "--", &format!("-{}", self.child.id())]).status();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Shell {
    fn new(name: &str, programs: &Path) -> Self {
        let folder = std::env::temp_dir().join(format!("huxiang-tutorial-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        for program in ["env", "node_modules"] {
            if programs.join(program).exists() {
                std::os::unix::fs::symlink(programs.join(program), folder.join(program)).unwrap();
            }
        }
        // Held until all are known, so that they differ.
        let free: Vec<TcpListener> = PORTS.iter().map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let ports = PORTS.iter().zip(&free);
        let ports = ports.map(|(port, at)| ((*port).to_owned(), at.local_addr().unwrap().port().to_string())).collect();
        let program = Path::new(env!("CARGO_BIN_EXE_huxiang")).parent().unwrap();
        let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default());
        let mut child = Command::new("bash")
            .args(["--noprofile", "--norc"])
            .current_dir(&folder)
            .env_clear()
            .envs(
                ["HOME", "LANG", "HUXIANG_TEST_POSTGRES"]
                    .iter()
                    .filter_map(|name| Some((name, std::env::var(name).ok()?))),
            )
            .env("PATH", path)
            .env("NO_COLOR", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        let mut shell = Self { child, input, lines, folder, ports };
        shell.run("exec 2>&1");
        shell
    }

    fn moved(&self, text: &str, back: bool) -> String {
        self.ports.iter().fold(text.to_owned(), |text, (told, used)| {
            let (from, to) = if back { (used, told) } else { (told, used) };
            text.replace(from.as_str(), to)
        })
    }

    /// What a command prints.
    fn run(&mut self, typed: &str) -> Vec<String> {
        const END: &str = "--- that was it";
        writeln!(self.input, "{}\necho; echo '{END}'", self.moved(typed, false)).unwrap();
        let mut printed = Vec::new();
        loop {
            match self.lines.recv_timeout(COMMAND_MAX) {
                Ok(line) if line == END => break,
                Ok(line) => printed.push(self.moved(&line, true).trim_end().to_owned()),
                Err(_) => panic!("after {COMMAND_MAX:?} this is not over: {typed}\n{}", printed.join("\n")),
            }
        }
        // Blank lines at the end are nobody's.
        while printed.last().is_some_and(String::is_empty) {
            printed.pop();
        }
        printed
    }
}

/// Whether a folder has that program; `*` stands for whatever one folder is called.
fn has(folder: &Path, needed: &str) -> bool {
    match needed.split_once("*/") {
        None => folder.join(needed).exists(),
        Some((above, rest)) => {
            let inside = std::fs::read_dir(folder.join(above)).into_iter().flatten().flatten();
            inside.into_iter().any(|one| has(&one.path(), rest))
        }
    }
}

/// Does the sections in order.
fn follow(name: &str, sections: &[&str], needed: &str) {
    let programs = std::env::var("HUXIANG_TEST_TUTORIAL").ok().map(PathBuf::from);
    let Some(programs) = programs.filter(|folder| has(folder, needed)) else {
        eprintln!("skipped: {needed} is not in the folder that HUXIANG_TEST_TUTORIAL names ({PAGE} installs it)");
        return;
    };
    let text = std::fs::read_to_string(page()).unwrap();
    let mut shell = Shell::new(name, &programs);
    let mut otherwise = Vec::new();
    for step in sections.iter().flat_map(|section| steps(&text, section)) {
        match step {
            Step::File { path, text } => {
                let path = shell.folder.join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, shell.moved(&text, false)).unwrap();
            }
            Step::Command { typed, printed, at } => {
                let mut wanted = printed.clone();
                while wanted.last().is_some_and(String::is_empty) {
                    wanted.pop();
                }
                let told = shell.run(&typed);
                if !all_fit(&wanted, &told) {
                    otherwise.push(Otherwise { typed, wanted: printed, told, at });
                }
            }
        }
    }
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        update(&text, &otherwise);
    } else if !otherwise.is_empty() {
        let told: Vec<String> = otherwise
            .iter()
            .map(|one| {
                let (wanted, told) = (one.wanted.join("\n"), one.told.join("\n"));
                format!("{PAGE}:{}: $ {}\n--- the page shows\n{wanted}\n--- printed\n{told}\n", one.at, one.typed)
            })
            .collect();
        panic!("the page is not so:\n{}", told.join("\n"));
    }
}

struct Otherwise {
    typed: String,
    wanted: Vec<String>,
    told: Vec<String>,
    /// The line of the page that the output begins with, from 0.
    at: usize,
}

/// One test at a time: lines are those of the page as it was read.
fn update(text: &str, otherwise: &[Otherwise]) {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for one in otherwise.iter().rev() {
        drop(lines.splice(one.at..one.at + one.wanted.len(), one.told.iter().cloned()));
    }
    std::fs::write(page(), lines.join("\n") + "\n").unwrap();
}

#[test]
fn a_rest_service_comes_into_service() {
    let sections = [
        "A gateway to practise with",
        "The department's system",
        "A draft",
        "Deciding",
        "Checking",
        "Trying",
        "Into service as a file",
        "Into service by the registry",
        "When it does not work",
    ];
    follow("rest", &sections, "env/bin/flask");
}

#[test]
fn a_service_with_a_token_over_tls_is_tried() {
    follow("desk", &["Other systems", "A service with a token, over TLS"], "env/bin/datasette");
}

#[test]
fn a_soap_service_is_tried() {
    follow("soap", &["Other systems", "A SOAP service"], "env/lib/*/site-packages/spyne");
}

#[test]
fn a_graphql_subgraph_is_tried() {
    follow("graphql", &["Other systems", "A GraphQL subgraph"], "node_modules/@apollo/subgraph");
}

#[test]
fn what_stands_for_any_text_stands_for_no_other() {
    let lines = |all: &[&str]| all.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    assert!(fits("a…c", "abc") && fits("…", "") && fits("a…b…c", "a1b2c") && fits("a", "a"));
    assert!(!fits("a…c", "ab") && !fits("a", "ab") && !fits("a…b", "a"));
    assert!(all_fit(&lines(&["a", "…", "d"]), &lines(&["a", "b", "c", "d"])));
    assert!(all_fit(&lines(&["…"]), &[]) && all_fit(&[], &[]));
    assert!(!all_fit(&lines(&["a", "…", "d"]), &lines(&["a", "b"])));
    assert!(!all_fit(&[], &lines(&["error"])));
}
