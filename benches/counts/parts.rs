//! Parts of the way that are counted by themselves: looking at a token, and making a record durable.

use std::path::Path;

use huxiang::audit::{Access, AuditRecord, AuditStore, SubjectKey};
use huxiang::base::fault::Faults;
use huxiang::identify::{Identity, Verifier};
use huxiang::model::config::AuditConfig;
use huxiang::model::snapshot::{Folders, Snapshot};

use crate::client::Error;
use crate::gateway::{Files, Gateway};
use crate::{here, runtime};

pub fn run(name: &str, times: usize, folder: &Path) -> Result<(), Error> {
    let folder = folder.join(format!("part-{}", std::process::id()));
    let done = runtime()?.block_on(async {
        match name {
            "token-first" => tokens(times, times, &folder).await,
            "token-seen" => tokens(1, times, &folder).await,
            "audit" => audit(times, &folder).await,
            _ => Err(format!("there is no part `{name}`").into()),
        }
    });
    let _ = std::fs::remove_dir_all(&folder);
    done
}

/// `different` tokens, looked at so many times in all.
async fn tokens(different: usize, times: usize, folder: &Path) -> Result<(), Error> {
    let files = Gateway::new(&here().join("load/gateway"), folder.to_path_buf(), Files::Departments)?;
    let variables = files.variables(0, 0);
    let variable = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
    let mut faults = Faults::default();
    let snapshot = Snapshot::load(&Folders::under(folder), &variable, &mut faults).ok_or_else(|| faults.render())?;
    let verifier = Verifier::load(&snapshot.config)?;
    for token in files.tokens.iter().take(different).cycle().take(times) {
        let principal =
            verifier.authenticate(Some(token.as_bytes()), None).await.map_err(|error| format!("{error:?}"))?;
        if principal.is_none() {
            return Err("nobody is behind a token".into());
        }
    }
    Ok(())
}

/// So many records, each durable before the next, as a portrait leaves them.
async fn audit(times: usize, folder: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(folder)?;
    let store = AuditStore::open(&AuditConfig::new(&folder.join("audit.sqlite"), &[7; 32]))
        .await
        .map_err(|error| error.to_string())?;
    let key = SubjectKey::new([7; 32].as_slice().into());
    for n in 0..times {
        let mut record = AuditRecord::new(&format!("request-{n}"), &Identity::at("10.0.0.1".parse()?));
        let access = Access {
            entity: "Household".to_owned(),
            relations: ["any-household".to_owned()].into(),
            read: (0..61).map(|item| item.to_string()).collect(),
            ..Access::default()
        };
        record.add(key.subject("Household", &n.to_string()), access);
        (1..=12).for_each(|n| record.called(&format!("dept{n}"), None));
        record.answer = Some(key.answer(&[b'x'; 2 << 10]));
        store.append(record).await.map_err(|error| error.to_string())?;
    }
    Ok(())
}
