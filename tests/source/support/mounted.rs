//! Secrets in files, as they are mounted into containers.

use std::time::Duration;

use huxiang::model::config::egress::EgressConfig;

use super::signed::binding;
use super::{Asked, compile_within};
use crate::temporary::Temporary;

/// Longer than between two looks at a file.
pub const A_LOOK: Duration = Duration::from_millis(1_100);

/// A folder of secrets that is removed at the end.
pub struct Mounted(pub Temporary);

impl Mounted {
    pub fn new(name: &str) -> Self {
        let folder = Temporary::new(&format!("secrets-{name}"));
        Self(folder)
    }

    /// As mounts do it: another file takes the name.
    pub fn put(&self, name: &str, secret: &str) {
        std::fs::write(self.0.join("new"), secret).unwrap();
        std::fs::rename(self.0.join("new"), self.0.join(name)).unwrap();
    }

    pub fn compile(&self, sign: &str, url: &str) -> Result<Asked, String> {
        self.compile_whole(&binding(sign, "{get: /a}"), url)
    }

    pub fn compile_whole(&self, yaml: &str, url: &str) -> Result<Asked, String> {
        let egress = EgressConfig { secrets: Some(self.0.to_path_buf()), ..EgressConfig::default() };
        compile_within(yaml, &|name| (name == "URL").then(|| url.to_owned()), &egress)
    }
}
