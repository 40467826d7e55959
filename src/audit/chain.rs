//! How records hang together: each one's hash is over its own text and the hash of the one before.

use sha2::{Digest, Sha256};
use sm3::Sm3;

use crate::model::config::ChainHash;

/// The hash of record `seq`: over the algorithm's name, the hash before it, its number (8 bytes, big-endian) and its
/// text. The name is in it, so that a record cannot be said to be hashed by another algorithm than it was.
pub(super) fn chain(algorithm: ChainHash, prev: &[u8], seq: i64, record: &str) -> Vec<u8> {
    match algorithm {
        ChainHash::Sha256 => over::<Sha256>(algorithm, prev, seq, record),
        ChainHash::Sm3 => over::<Sm3>(algorithm, prev, seq, record),
    }
}

fn over<D: Digest>(algorithm: ChainHash, prev: &[u8], seq: i64, record: &str) -> Vec<u8> {
    let hash = D::new().chain_update(algorithm.as_str()).chain_update(b"\0").chain_update(prev);
    hash.chain_update(seq.to_be_bytes()).chain_update(record).finalize().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::key::hex;

    // Computed with `openssl dgst -sha256` and `-sm3` over "sha256\0" and "sm3\0", then 00…01 (8 bytes), then `{}`.
    #[test]
    fn the_hash_can_be_computed_with_other_tools() {
        let hash = |algorithm| hex(&chain(algorithm, &[], 1, "{}"));
        assert_eq!(hash(ChainHash::Sha256), "ed5a16cac164d33a7491cc83266d115726e31d9a19c04b8419124eb39b7d80d0");
        assert_eq!(hash(ChainHash::Sm3), "910514dbe51066bff5ad62acffefe2fc46cf2a7c5f75a5ce6f110c6e89b55961");
    }
}
