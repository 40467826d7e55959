//! What real data has and clean data has not, at fixed places so that tests can name them.
//!
//! Sequences count from 1 and repeat every 21: households 3, 24, 45 … of a village are alike in this.

/// An oddity of one household.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exception {
    /// Sequence 6: the grown child moved away; agriculture lists them still, police do not have them in the register.
    MovedAway,
    /// Sequence 7: the father died; agriculture lists him still, police know the day.
    Dead,
    /// Sequence 4: the spouse's name at the police is not the name agriculture holds for the number.
    NameMismatch,
    /// Sequence 8: civil affairs pay dibao, agriculture says the household has none.
    DibaoDisagrees,
    /// Sequence 13: agriculture counts one member more than it lists, and than the police register has.
    MemberCountDisagrees,
    /// Sequence 16: the family doctor changed, and the help department still names the one before.
    DoctorDisagrees,
    /// Sequence 17: civil affairs found the head entitled to a payment that finance does not know.
    PaymentUnknown,
    /// Sequence 19: of the head's last payment, civil affairs holds another amount than finance.
    PaymentDiffers,
    /// Sequence 10: registered, and hardly anything else: two members of whom no department but agriculture,
    /// police and medical insurance knows anything, beside a lapsed mandate at civil affairs.
    AlmostNothing,
}

pub(super) fn at(sequence: u32) -> Option<Exception> {
    match (sequence.max(1) - 1) % 21 + 1 {
        4 => Some(Exception::NameMismatch),
        6 => Some(Exception::MovedAway),
        7 => Some(Exception::Dead),
        8 => Some(Exception::DibaoDisagrees),
        10 => Some(Exception::AlmostNothing),
        13 => Some(Exception::MemberCountDisagrees),
        16 => Some(Exception::DoctorDisagrees),
        17 => Some(Exception::PaymentUnknown),
        19 => Some(Exception::PaymentDiffers),
        _ => None,
    }
}
