//! The index of subjects, by which the records about one household or person are found.
//!
//! It is a table of single numbers, so that writing a record about a hundred of them costs little: the record's run of
//! [`RUN`] (records of one time lie close together), 28 bits of the subject's digest, and which record of the run it is. Other
//! subjects may have the same bits: who searches looks at the record too.

use std::collections::BTreeSet;

use futures::TryStreamExt;
use sqlx::{Row, SqliteConnection};

use super::key::{Digest, digest_of};
use super::store::Waiting;

/// Records of one run.
const RUN: i64 = 1 << RUN_BITS;
const RUN_BITS: u32 = 8;
const DIGEST_BITS: u32 = 28;

/// The subject's part of a place, the same in every run.
fn within_run(digest: &Digest) -> i64 {
    let first = digest.first_chunk().map_or(0, |first| u32::from_be_bytes(*first));
    i64::from(first >> (u32::BITS - DIGEST_BITS)) << RUN_BITS
}

fn place(digest: &Digest, seq: i64) -> i64 {
    (run_of(seq) << (RUN_BITS + DIGEST_BITS)) | within_run(digest) | (seq % RUN)
}

fn run_of(seq: i64) -> i64 {
    seq >> RUN_BITS
}

fn seq_of(place: i64) -> i64 {
    ((place >> (RUN_BITS + DIGEST_BITS)) << RUN_BITS) | (place % RUN)
}

/// Where the records are found, each with its number: in order, so that neighbours are written together.
pub(super) fn places<'w>(records: impl Iterator<Item = (&'w Waiting, i64)>) -> Vec<i64> {
    let of_record = |(waiting, seq): (&'w Waiting, i64)| waiting.subjects.iter().map(move |digest| place(digest, seq));
    let mut places: Vec<i64> = records.flat_map(of_record).collect();
    places.sort_unstable();
    places.dedup();
    places
}

/// Selects the numbers (`seq`) of a segment's records, from number `first` on and below `before`, that may be about the
/// subject.
pub(super) fn candidates(digest: &Digest, first: i64, before: i64) -> String {
    let (within, shift) = (within_run(digest), RUN_BITS + DIGEST_BITS);
    format!(
        "WITH RECURSIVE run(n) AS (SELECT max(seq) >> {RUN_BITS} FROM audit WHERE seq < {before} \
         UNION ALL SELECT n - 1 FROM run WHERE n > {}) \
         SELECT n << {RUN_BITS} | place % {RUN} AS seq FROM run \
         JOIN subject ON place BETWEEN n << {shift} | {within} AND n << {shift} | {within} | {}",
        run_of(first),
        RUN - 1
    )
}

/// The first record, up to number `last`, whose subjects in the index are not those in its text.
pub(super) async fn first_wrong(
    connection: &mut SqliteConnection,
    first: i64,
    last: i64,
) -> Result<Option<i64>, sqlx::Error> {
    let named = "SELECT DISTINCT audit.seq AS seq, subject.value AS subject FROM audit, \
                 json_each(audit.record, '$.access') AS access, json_each(access.value, '$.subjects') AS subject \
                 WHERE audit.seq BETWEEN ? AND ?";
    let before = "SELECT place FROM subject WHERE place < ? ORDER BY place LIMIT 1";
    let begin = run_of(first) << (RUN_BITS + DIGEST_BITS);
    let stray: Option<i64> = sqlx::query_scalar(before).bind(begin).fetch_optional(&mut *connection).await?;
    if let Some(place) = stray {
        return Ok(Some(seq_of(place)));
    }
    for run in run_of(first)..=run_of(last) {
        let (from, to) = (first.max(run * RUN), last.min(run * RUN + RUN - 1));
        let mut told = BTreeSet::new();
        // Row by row: records of long lists name thousands each.
        let mut rows = sqlx::query(named).bind(from).bind(to).fetch(&mut *connection);
        while let Some(row) = rows.try_next().await? {
            let (seq, subject): (i64, &str) = (row.try_get("seq")?, row.try_get("subject")?);
            let Some(digest) = digest_of(subject) else { return Ok(Some(seq)) };
            told.insert(place(&digest, seq));
        }
        drop(rows);
        let (begin, end) = (run << (RUN_BITS + DIGEST_BITS), (run + 1) << (RUN_BITS + DIGEST_BITS));
        let held: Vec<i64> = sqlx::query_scalar("SELECT place FROM subject WHERE place >= ? AND place < ?")
            .bind(begin)
            .bind(end)
            .fetch_all(&mut *connection)
            .await?;
        // Of records written since, nothing is said.
        let held: BTreeSet<i64> = held.into_iter().filter(|place| seq_of(*place) <= last).collect();
        if let Some(wrong) = told.symmetric_difference(&held).map(|place| seq_of(*place)).min() {
            return Ok(Some(wrong));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_tells_the_record_and_lies_in_its_run() {
        for seq in [1, 255, 256, 257, 1 << 34] {
            for digest in [[0; 32], [0xff; 32], [0x5a; 32]] {
                let place = place(&digest, seq);
                assert_eq!(seq_of(place), seq);
                assert_eq!(place >> 36, seq >> 8);
                assert_eq!(place & !255, (run_of(seq) << 36) | within_run(&digest));
                assert!(place >= 0);
            }
        }
    }
}
