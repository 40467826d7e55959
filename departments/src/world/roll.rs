//! Chance that always falls the same way.

use super::Date;

/// A small generator seeded by (world seed, id, what): the same three always give the same sequence.
#[derive(Debug, Clone)]
pub struct Roll(u64);

impl Roll {
    pub fn new(seed: u64, id: &str, what: &str) -> Self {
        // FNV-1a, then mixed by splitmix64 on every step.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for byte in id.bytes().chain([0xff]).chain(what.bytes()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Self(hash)
    }

    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to n-1; 0 for n = 0.
    pub fn below(&mut self, n: u64) -> u64 {
        if n == 0 { 0 } else { self.next_u64() % n }
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of the choices, which must not be empty.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    /// From `lo` to `hi` fen, both included.
    pub fn amount_fen(&mut self, lo: i64, hi: i64) -> i64 {
        lo + self.below((hi - lo + 1).max(1) as u64) as i64
    }

    /// A day of the years `y1` to `y2`, both included.
    pub fn date(&mut self, y1: i32, y2: i32) -> Date {
        let first = Date::new(y1, 1, 1).days();
        let days = Date::new(y2 + 1, 1, 1).days() - first;
        Date::from_days(first + self.below(days.max(1) as u64) as i64)
    }
}
