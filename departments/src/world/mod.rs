//! One synthetic world behind all departments: a pure function of household id and seed, without storage.

mod date;
mod division;
mod exceptions;
mod household;
pub mod id_number;
mod names;
mod roll;

use std::sync::{Arc, OnceLock};

pub use date::Date;
pub use division::Division;
use division::Divisions;
pub use exceptions::Exception;
pub use household::{Household, Member, Role, Sex};
pub use names::full as full_name;
pub use roll::Roll;

/// Fen as the contract writes yuan: `1250.00`.
pub fn yuan(fen: i64) -> String {
    format!("{}.{:02}", fen / 100, fen % 100)
}

/// Cheap to clone.
#[derive(Clone)]
pub struct World {
    inner: Arc<Inner>,
}

struct Inner {
    seed: u64,
    households_per_village: u32,
    today: Date,
    divisions: &'static Divisions,
}

impl World {
    /// A world as of today (+08:00). At most so many households a village that every county's people get
    /// id numbers of their own; more are not made.
    pub fn new(seed: u64, households_per_village: u32) -> Self {
        Self::on(Date::today(), seed, households_per_village)
    }

    /// As [`World::new`], looked at on a given day: "this year" and ages depend on it.
    pub fn on(today: Date, seed: u64, households_per_village: u32) -> Self {
        static DIVISIONS: OnceLock<Divisions> = OnceLock::new();
        let divisions = DIVISIONS.get_or_init(Divisions::read);
        let villages = divisions.counties.values().map(|range| range.len()).max().unwrap_or(1).max(1);
        let most = (id_number::HOUSEHOLDS_MAX as usize / villages) as u32;
        let households_per_village = households_per_village.clamp(1, most);
        Self { inner: Arc::new(Inner { seed, households_per_village, today, divisions }) }
    }

    pub fn seed(&self) -> u64 {
        self.inner.seed
    }

    pub fn today(&self) -> Date {
        self.inner.today
    }

    pub fn households_per_village(&self) -> u32 {
        self.inner.households_per_village
    }

    /// `None` if the id is not one of this world's.
    pub fn household(&self, id: &str) -> Option<Household> {
        if id.len() != 18 || !id.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let sequence: u32 = id[12..].parse().ok()?;
        if sequence == 0 || sequence > self.inner.households_per_village {
            return None;
        }
        let village = self.inner.divisions.villages.binary_search(&&id[..12]).ok()?;
        Some(self.build(village, sequence))
    }

    /// The household of a person and the person's place among its members.
    pub fn person(&self, id_number: &str) -> Option<(Household, usize)> {
        let (n, _) = id_number::decode(id_number)?;
        let county = self.inner.divisions.counties.get(&id_number[..6])?;
        let per_village = u64::from(self.inner.households_per_village);
        let village = county.start + usize::try_from(n / per_village).ok()?;
        if village >= county.end {
            return None;
        }
        let household = self.build(village, (n % per_village) as u32 + 1);
        let index = household.members.iter().position(|member| member.id_number == id_number)?;
        Some((household, index))
    }

    /// Ids of all households of a division of any level (12 digits, or a prefix), in key order.
    pub fn village_household_ids(&self, division_prefix: &str) -> impl Iterator<Item = String> + use<> {
        self.household_ids_from(division_prefix, 0)
    }

    /// The same without the first so many, which are not gone through.
    pub fn household_ids_from(&self, division_prefix: &str, first: usize) -> impl Iterator<Item = String> + use<> {
        let divisions = self.inner.divisions;
        let per_village = self.inner.households_per_village as usize;
        let villages = &divisions.villages[divisions.villages_in(division_prefix)];
        let id = move |at: usize| Some(format!("{}{:06}", villages.get(at / per_village)?, at % per_village + 1));
        (first..villages.len() * per_village).map_while(id)
    }

    /// How many households a division of any level has.
    pub fn households_in(&self, division_prefix: &str) -> usize {
        self.inner.divisions.villages_in(division_prefix).len() * self.inner.households_per_village as usize
    }

    /// How many persons those have.
    pub fn persons_in(&self, division_prefix: &str) -> usize {
        let of_village: usize = (1..=self.inner.households_per_village).map(|sequence| shape(sequence).len()).sum();
        self.inner.divisions.villages_in(division_prefix).len() * of_village
    }

    /// How many of a division's households have an id up to this text, in key order.
    pub fn households_up_to(&self, division_prefix: &str, id: &str) -> usize {
        let per_village = self.inner.households_per_village as usize;
        let villages = &self.inner.divisions.villages[self.inner.divisions.villages_in(division_prefix)];
        let is_up_to = |village: &str, sequence: usize| format!("{village}{sequence:06}").as_str() <= id;
        let whole = villages.partition_point(|village| is_up_to(village, per_village));
        let rest = villages.get(whole).map_or(0, |village| {
            (1..=per_village).collect::<Vec<_>>().partition_point(|sequence| is_up_to(village, *sequence))
        });
        whole * per_village + rest
    }

    pub fn division(&self, code: &str) -> Option<Division> {
        self.inner.divisions.division(code)
    }

    /// The household that a code of [`Household::agri_code`] belongs to.
    pub fn household_by_code(&self, code: &str) -> Option<Household> {
        let id = code.strip_prefix("ZN").filter(|rest| rest.len() == 20)?.get(..18)?;
        self.household(id).filter(|household| household.agri_code == code)
    }

    fn build(&self, village: usize, sequence: u32) -> Household {
        let divisions = self.inner.divisions;
        let code = divisions.villages[village];
        let id = format!("{code}{sequence:06}");
        let county = &divisions.counties[&code[..6]];
        let n =
            (village - county.start) as u64 * u64::from(self.inner.households_per_village) + u64::from(sequence - 1);
        let seed = self.inner.seed;
        let division = divisions.division(code).unwrap_or_else(|| unreachable!("villages come from the divisions"));
        let mut roll = Roll::new(seed, &id, "household");
        let agri_check = id.bytes().fold(0_u32, |sum, b| (sum * 10 + u32::from(b - b'0')) % 97);
        let exception = exceptions::at(sequence);
        let mut household = Household {
            phone: format!("139000{:05}", roll.below(100_000)),
            address: format!(
                "{}{}{}{}{}{}号",
                division.province,
                division.city,
                division.county,
                division.town,
                division.village,
                roll.below(280) + 1
            ),
            agri_code: format!("ZN{id}{agri_check:02}"),
            grid: format!("{code}-G{}", (sequence - 1) / 7 + 1),
            cadre_id: format!("GB{code}{:03}", (sequence - 1) / 5 + 1),
            members: Vec::new(),
            exception,
            today: self.inner.today,
            id,
            sequence,
            division,
            seed,
        };
        household.members = self.members(&household, n);
        household
    }

    fn members(&self, household: &Household, n: u64) -> Vec<Member> {
        use Role::{Child, Father, GrownChild, Head, Mother, Spouse};
        let roles = shape(household.sequence);
        let mut roll = household.roll("members");
        let head_male = roll.chance(65);
        let (ours, other) = (names::surname(&mut roll), names::surname(&mut roll));
        let she = household.division.code.starts_with("331127") && roll.chance(20) || roll.chance(2);
        let nationality = if she { "22" } else { "01" };
        // Children bear the father's name; the head's own father bears the head's.
        let children = if head_male { ours } else { other };
        roles
            .iter()
            .map(|role| {
                let (slot, male, surname) = match role {
                    Head => (0, head_male, ours),
                    Spouse => (1, !head_male, other),
                    Child => (2, roll.chance(50), children),
                    GrownChild => (3, roll.chance(50), children),
                    Father => (4, true, ours),
                    Mother => (5, false, names::surname(&mut roll)),
                };
                let (id_number, birth) = id_number::encode(&household.division.code[..6], n, slot, male);
                let name = format!("{surname}{}", names::given(&mut roll, male));
                self.member(household, *role, male, id_number, birth, name, nationality)
            })
            .collect()
    }

    #[expect(clippy::too_many_arguments, reason = "one roll for each fact of a member")]
    fn member(
        &self,
        household: &Household,
        role: Role,
        male: bool,
        id_number: String,
        birth: Date,
        name: String,
        nationality: &'static str,
    ) -> Member {
        let seed = self.inner.seed;
        let mut roll = Roll::new(seed, &id_number, "member");
        let relation = match (role, male) {
            (Role::Head, _) => "02",
            (Role::Spouse, _) => "10",
            (Role::Child | Role::GrownChild, true) => "20",
            (Role::Child | Role::GrownChild, false) => "30",
            (Role::Father, _) => "51",
            (Role::Mother, _) => "52",
        };
        let dead = household.exception == Some(Exception::Dead) && role == Role::Father;
        let moved = household.exception == Some(Exception::MovedAway) && role == Role::GrownChild;
        let mismatch = household.exception == Some(Exception::NameMismatch) && role == Role::Spouse;
        let last_year = self.inner.today.y - 1;
        let away = role == Role::GrownChild && roll.chance(40);
        let police_name = if mismatch { format!("{name}花") } else { name.clone() };
        Member {
            sex: if male { Sex::Male } else { Sex::Female },
            relation,
            nationality,
            alive: !dead,
            death_on: dead.then(|| roll.date(last_year, last_year)),
            moved_on: moved.then(|| roll.date(last_year, last_year)),
            in_register: !dead && !moved,
            // Agriculture does not know yet that somebody died.
            lives_together: !moved && !away,
            is_supporter: away && !moved,
            police_name,
            today: self.inner.today,
            id_number,
            name,
            birth,
            role,
            seed,
        }
    }
}

/// Who lives in a household of a village. The seven shapes follow one another, so that any 21 households have each shape three
/// times.
fn shape(sequence: u32) -> &'static [Role] {
    use Role::{Child, Father, GrownChild, Head, Mother, Spouse};
    match (sequence - 1) % 7 {
        0 => &[Head, Spouse, Child, GrownChild, Father, Mother],
        1 => &[Head, Spouse, Child],
        2 => &[Head, Mother],
        3 => &[Head, Spouse, GrownChild, Father],
        4 => &[Head, Child, Mother],
        5 => &[Head, Spouse, Child, GrownChild],
        _ => &[Head, Spouse, Father, Mother],
    }
}

#[cfg(test)]
mod tests;
