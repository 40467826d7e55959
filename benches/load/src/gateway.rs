//! The gateway as it is measured: a general contract and bindings, 1 000 callers with tokens of their own, fields
//! authorized, each answer audited before it is sent.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::client::Error;

pub const DEPARTMENTS: usize = 12;
const CALLERS: usize = 1_000;

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

impl Gateway {
    /// Writes the files to `root`.
    pub fn new(root: PathBuf) -> Result<Self, Error> {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("gateway");
        for folder in ["schema", "resolvers", "config", "config/rules"] {
            std::fs::create_dir_all(root.join(folder))?;
            for entry in std::fs::read_dir(from.join(folder))? {
                let path = entry?.path();
                if let (true, Some(name)) = (path.is_file(), path.file_name()) {
                    std::fs::copy(&path, root.join(folder).join(name))?;
                }
            }
        }
        let contract = std::fs::read_to_string(from.join("schema/bench.graphql"))?;
        let departments: String = (1..=DEPARTMENTS).map(|n| format!("  dept{n}: Department!\n")).collect();
        std::fs::write(root.join("schema/bench.graphql"), contract.replace("@DEPARTMENTS@\n", &departments))?;
        let binding = std::fs::read_to_string(from.join("department.yaml"))?;
        for n in 1..=DEPARTMENTS {
            std::fs::write(root.join(format!("resolvers/dept{n}.yaml")), binding.replace("@N@", &n.to_string()))?;
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

    pub fn start(&self, core: &str, program: &Path, port: u16, upstream: u16) -> Result<Child, Error> {
        let store = self.root.join(format!("audit-{port}.sqlite"));
        let log = std::fs::File::create(self.root.join("gateway.log"))?;
        Ok(Command::new("taskset")
            .args(["-c", core])
            .arg(program)
            .args(["serve", "--root"])
            .arg(&self.root)
            .env("LISTEN", format!("127.0.0.1:{port}"))
            .env("UPSTREAM", format!("http://127.0.0.1:{upstream}"))
            .env("PUBLIC_KEY", &self.public_key)
            .env("AUDIT_STORE", store)
            .env("AUDIT_KEY", "bench-bench-bench-bench-bench-bench")
            .env("HUXIANG_LOG", "warn")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?)
    }
}
