//! Households and their members, as they are; what each department knows of them is that department's file.

use super::{Date, Division, Exception, Roll};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sex {
    Male,
    Female,
}

impl Sex {
    /// GB/T 2261.1.
    pub fn code(self) -> &'static str {
        match self {
            Self::Male => "1",
            Self::Female => "2",
        }
    }

    pub fn is_male(self) -> bool {
        self == Self::Male
    }
}

/// What a member is in the household.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Head,
    Spouse,
    /// Born 2010–2019.
    Child,
    /// Born 2000–2009.
    GrownChild,
    Father,
    Mother,
}

#[derive(Debug, Clone)]
pub struct Household {
    /// 12 digits of the village and 6 of the sequence.
    pub id: String,
    /// From 1 within the village.
    pub sequence: u32,
    pub division: Division,
    /// As assessed: 2 to 6, the head first.
    pub members: Vec<Member>,
    pub phone: String,
    pub address: String,
    pub agri_code: String,
    /// The grid of the village it lies in: `331122101348-G1`.
    pub grid: String,
    /// The paired cadre: `GB331122101348001`; one for five households.
    pub cadre_id: String,
    pub exception: Option<Exception>,
    /// The day the world is looked at.
    pub today: Date,
    pub(super) seed: u64,
}

#[derive(Debug, Clone)]
pub struct Member {
    pub id_number: String,
    /// As agriculture holds it.
    pub name: String,
    pub sex: Sex,
    pub birth: Date,
    pub role: Role,
    /// GB/T 4761: `02` the head.
    pub relation: &'static str,
    /// GB/T 3304: `01` 汉族.
    pub nationality: &'static str,
    pub alive: bool,
    pub death_on: Option<Date>,
    pub moved_on: Option<Date>,
    /// In the police's household register.
    pub in_register: bool,
    pub lives_together: bool,
    pub is_supporter: bool,
    /// As police hold it; differs from `name` only for [`Exception::NameMismatch`].
    pub police_name: String,
    /// The day the world is looked at.
    pub today: Date,
    pub(super) seed: u64,
}

impl Household {
    pub fn roll(&self, what: &str) -> Roll {
        Roll::new(self.seed, &self.id, what)
    }

    pub fn head(&self) -> &Member {
        &self.members[0]
    }

    /// True for exactly one of any `k` consecutive households of a village: density that chance cannot promise.
    /// `what` moves the places; never true for [`Exception::AlmostNothing`].
    pub fn one_in(&self, k: u32, what: &str) -> bool {
        let shift = Roll::new(self.seed, "", what).below(u64::from(k.max(1))) as u32;
        !self.almost_nothing() && (self.sequence + shift).is_multiple_of(k.max(1))
    }

    pub fn almost_nothing(&self) -> bool {
        self.exception == Some(Exception::AlmostNothing)
    }

    /// Members alive and in the register: who is paid and counted.
    pub fn living(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.alive)
    }
}

impl Member {
    pub fn roll(&self, what: &str) -> Roll {
        Roll::new(self.seed, &self.id_number, what)
    }

    /// Full years today.
    pub fn age(&self) -> i32 {
        self.birth.age_on(self.today)
    }
}
