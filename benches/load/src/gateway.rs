//! The gateway as it is measured: a general contract and bindings, 1 000 callers with tokens of their own, fields
//! authorized, each answer audited before it is sent.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::client::Error;
use crate::upstream::{BANKS, ITEMS, RECORD_DEPARTMENTS, item};

const CALLERS: usize = 1_000;

/// The contract and bindings that a workload needs; nobody measures with more than that.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Files {
    /// 12 departments, posts and their writers. A list fills the departments' batches: its lookups do not gather with others'.
    Departments,
    /// The same; departments are asked for one household at a time, so that no lookups gather.
    Singly,
    /// The same; departments are asked for many households at once, of all callers that ask at the same time.
    Gathering,
    /// As the first; identical calls that are under way are shared.
    Sharing,
    /// 61 items of 6 departments.
    Wide,
    /// 11 departments and 73 banks.
    Recognition,
}

/// What the binding of posts says where identical calls may be shared.
const SHARED: &str = "shares_calls: true\n";

/// A folder of files as `huxiang serve` takes them, and what it needs in its environment.
pub struct Gateway {
    root: PathBuf,
    public_key: String,
    pub tokens: Vec<String>,
}

#[derive(serde::Serialize)]
struct Claims {
    iss: &'static str,
    aud: &'static str,
    sub: String,
    roles: [&'static str; 1],
    iat: u64,
    exp: u64,
}

fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let path = entry?.path();
        let Some(name) = path.file_name() else { continue };
        if path.is_dir() {
            copy(&path, &to.join(name))?;
        } else {
            std::fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}

fn edit(path: &Path, change: impl FnOnce(String) -> String) -> Result<(), Error> {
    Ok(std::fs::write(path, change(std::fs::read_to_string(path)?))?)
}

/// The bindings of so many departments, from the one that stands for all.
fn departments(root: &Path, number: usize, more: impl Fn(usize) -> String) -> Result<(), Error> {
    let one = std::fs::read_to_string(root.join("department.yaml"))?;
    for n in 1..=number {
        let text = one.replace("@N@", &n.to_string()) + &more(n);
        std::fs::write(root.join(format!("resolvers/dept{n}.yaml")), text)?;
    }
    Ok(())
}

impl Gateway {
    /// Writes the files to `root`; `from` is the folder `gateway` beside these sources.
    pub fn new(from: &Path, root: PathBuf, files: Files) -> Result<Self, Error> {
        copy(&from.join("every"), &root)?;
        let own = match files {
            Files::Departments | Files::Singly | Files::Gathering | Files::Sharing => "departments",
            Files::Wide => "wide",
            Files::Recognition => "recognition",
        };
        copy(&from.join(own), &root)?;
        let contract = root.join("schema/bench.graphql");
        let sections = |to: usize| (1..=to).map(|n| format!("  dept{n}: Department!\n")).collect::<String>();
        match files {
            Files::Departments | Files::Singly | Files::Gathering | Files::Sharing => {
                edit(&contract, |text| text.replace("@DEPARTMENTS@\n", &sections(12)))?;
                let batch_max = if files == Files::Gathering { "1000" } else { "100" };
                let kept = |line: &&str| files != Files::Singly || !line.trim_start().starts_with("many:");
                edit(&root.join("department.yaml"), |text| {
                    let text = text.replace("@BATCH_MAX@", batch_max);
                    text.lines().filter(kept).map(|line| format!("{line}\n")).collect()
                })?;
                departments(&root, 12, |_| String::new())?;
                if files == Files::Sharing {
                    edit(&root.join("resolvers/posts.yaml"), |text| text + SHARED)?;
                }
            }
            Files::Wide => {
                let items: String = (0..ITEMS).map(|n| format!("  item{}: {}\n", n + 1, item(n).2)).collect();
                edit(&contract, |text| text.replace("@ITEMS@\n", &items))?;
                departments(&root, RECORD_DEPARTMENTS, |department| {
                    let own = (0..ITEMS).filter(|n| item(*n).0 == department);
                    own.map(|n| format!("      item{}: /{}\n", n + 1, item(n).1)).collect()
                })?;
            }
            Files::Recognition => {
                edit(&contract, |text| text.replace("@DEPARTMENTS@\n", &sections(11)))?;
                departments(&root, 11, |_| String::new())?;
                let mut banks = "id,title,url\n".to_owned();
                for n in 1..=BANKS {
                    let _ = writeln!(banks, "bank{n},Bank {n},${{UPSTREAM}}/bank{n}");
                }
                std::fs::write(root.join("resolvers/banks.csv"), banks)?;
            }
        }
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519)?;
        let signing = jsonwebtoken::EncodingKey::from_ed_pem(key.serialize_pem().as_bytes())?;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
        let tokens = (0..CALLERS).map(|n| {
            let claims = Claims {
                iss: "https://bench.invalid",
                aud: "bench",
                sub: format!("caller-{n}"),
                roles: ["worker"],
                iat: now,
                exp: now + 86_400,
            };
            let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::EdDSA);
            jsonwebtoken::encode(&header, &claims, &signing).map(|token| format!("Bearer {token}"))
        });
        let tokens = tokens.collect::<Result<_, _>>()?;
        Ok(Self { root, public_key: key.public_key_pem(), tokens })
    }

    /// What `wrapper` begins (a core to run on, a program to run under) is `program serve`.
    pub fn start(&self, wrapper: &[&str], program: &Path, port: u16, upstream: u16) -> Result<Child, Error> {
        let log = std::fs::File::create(self.log(port))?;
        let (first, rest) = wrapper.split_first().ok_or("nothing to start the gateway with")?;
        Ok(Command::new(first)
            .args(rest)
            .arg(program)
            .args(["serve", "--root"])
            .arg(&self.root)
            .envs(self.variables(port, upstream))
            .env("HUXIANG_LOG", "warn")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?)
    }

    /// What the files name.
    pub fn variables(&self, port: u16, upstream: u16) -> [(&'static str, String); 5] {
        [
            ("LISTEN", format!("127.0.0.1:{port}")),
            ("UPSTREAM", format!("http://127.0.0.1:{upstream}")),
            ("PUBLIC_KEY", self.public_key.clone()),
            ("AUDIT_STORE", self.root.join(format!("audit-{port}.sqlite")).to_string_lossy().into_owned()),
            ("AUDIT_KEY", "bench-bench-bench-bench-bench-bench".to_owned()),
        ]
    }

    /// Where the gateway at this port writes what it has to say.
    pub fn log(&self, port: u16) -> PathBuf {
        self.root.join(format!("gateway-{port}.log"))
    }
}
