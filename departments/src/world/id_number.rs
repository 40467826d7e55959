//! Citizen id numbers by GB 11643 that lead back to their household without storage.
//!
//! Within a county, `(household number, member slot)` is one number, scrambled by a bijection; the day
//! within the slot's ten years of birth and the three-digit sequence code carry it. The last digit of the
//! sequence code is odd for men, so sex costs half of the room.

use super::Date;

/// Slots a household has for members; each is a role with its own years of birth.
pub const SLOTS: usize = 6;
/// First year of birth of each slot: head, spouse, young child, grown child, father, mother.
const BORN_FROM: [i32; SLOTS] = [1968, 1970, 2010, 2000, 1943, 1945];
const DAYS: u64 = 3650;
const ROOM: u64 = DAYS * 500;
const SLOT_ROOM: u64 = 8;
/// Coprime to `ROOM`, and its inverse.
const SCRAMBLE: u64 = 611_953;
const UNSCRAMBLE: u64 = inverse();
/// Households of one county that numbers can tell apart.
pub const HOUSEHOLDS_MAX: u64 = ROOM / SLOT_ROOM;

const fn inverse() -> u64 {
    let (mut old_r, mut r, mut old_s, mut s) = (SCRAMBLE as i64, ROOM as i64, 1_i64, 0_i64);
    while r != 0 {
        let q = old_r / r;
        (old_r, r) = (r, old_r - q * r);
        (old_s, s) = (s, old_s - q * s);
    }
    old_s.rem_euclid(ROOM as i64) as u64
}

/// The id number and the birth date of the member in `slot` of the county's household number `n`.
pub fn encode(county: &str, n: u64, slot: usize, male: bool) -> (String, Date) {
    let scrambled = ((n * SLOT_ROOM + slot as u64) % ROOM) * SCRAMBLE % ROOM;
    let birth = Date::new(BORN_FROM[slot], 1, 1).plus_days((scrambled % DAYS) as i64);
    let sequence = scrambled / DAYS * 2 + u64::from(male);
    let body = format!("{county}{}{sequence:03}", birth.compact());
    let check = check_digit(&body);
    (format!("{body}{check}"), birth)
}

/// Which household number and slot a number may belong to; the caller compares the whole number.
pub fn decode(id_number: &str) -> Option<(u64, usize)> {
    if !valid(id_number) {
        return None;
    }
    let birth = Date::parse(&id_number[6..14])?;
    let sequence: u64 = id_number[14..17].parse().ok()?;
    for (slot, year) in BORN_FROM.iter().enumerate() {
        let day = birth.days() - Date::new(*year, 1, 1).days();
        if !(0..DAYS as i64).contains(&day) {
            continue;
        }
        let number = (sequence / 2 * DAYS + day as u64) * UNSCRAMBLE % ROOM;
        if number % SLOT_ROOM == slot as u64 {
            return Some((number / SLOT_ROOM, slot));
        }
    }
    None
}

/// GB 11643-1999: weights 2^(17-i) mod 11, check character `10X98765432`.
pub fn check_digit(first17: &str) -> char {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let sum: u32 = first17.bytes().zip(WEIGHTS).map(|(b, w)| u32::from(b - b'0') * w).sum();
    char::from(b"10X98765432"[(sum % 11) as usize])
}

/// 18 characters, digits before the last, and the check character right.
pub fn valid(id_number: &str) -> bool {
    id_number.len() == 18
        && id_number.bytes().take(17).all(|b| b.is_ascii_digit())
        && id_number.ends_with(check_digit(&id_number[..17]))
}
