//! Walking the chain.

use std::path::Path;

use futures::TryStreamExt;
use sqlx::{Connection, Row};

use super::chain::chain;
use super::segment::{Segment, about, readable, segments};
use super::store::{AuditError, Receipt};

/// Where the chain is broken.
#[derive(Debug)]
pub enum ChainFault {
    /// The record's text, its number or the record before it was changed or taken out.
    Broken {
        seq: i64,
    },
    Store(AuditError),
}

impl std::fmt::Display for ChainFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Broken { seq } => write!(f, "the chain of audit records is broken at record {seq}"),
            Self::Store(error) => write!(f, "the audit store cannot be read: {}", error.0),
        }
    }
}

impl std::error::Error for ChainFault {}

impl From<sqlx::Error> for ChainFault {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Walks the whole store and gives the last record's receipt (`None`: it is empty). A cut tail shows only against a
/// receipt kept elsewhere.
pub async fn verify_chain(store: &Path) -> Result<Option<Receipt>, ChainFault> {
    let found = segments(store).map_err(|error| ChainFault::Store(AuditError(error.to_string())))?;
    let mut end = (0_i64, Vec::new());
    for segment in found {
        end = walk(&segment, end).await?;
    }
    Ok((end.0 > 0).then(|| Receipt::new(end.0, &end.1)))
}

async fn walk(segment: &Segment, (mut seq, mut prev): (i64, Vec<u8>)) -> Result<(i64, Vec<u8>), ChainFault> {
    let mut connection = readable(&segment.path).await?;
    let about = about(&mut connection).await.map_err(ChainFault::Store)?;
    if about.first_seq != seq + 1 || about.prev != prev {
        return Err(ChainFault::Broken { seq: seq + 1 });
    }
    {
        let mut rows = sqlx::query("SELECT seq, record, prev, hash FROM audit ORDER BY seq").fetch(&mut connection);
        while let Some(row) = rows.try_next().await? {
            let at: i64 = row.try_get("seq")?;
            let stored: Vec<u8> = row.try_get("prev")?;
            let hash: Vec<u8> = row.try_get("hash")?;
            if at != seq + 1 || stored != prev || hash != chain(about.algorithm, &prev, at, row.try_get("record")?) {
                return Err(ChainFault::Broken { seq: at });
            }
            (prev, seq) = (hash, at);
        }
    }
    connection.close().await?;
    Ok((seq, prev))
}
