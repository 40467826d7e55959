//! How many a listing has in all, as its source tells beforehand: believed as long as it may be true.

/// What is known of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Total {
    /// Nobody said.
    #[default]
    Untold,
    Told(usize),
    /// What was said cannot be true, or counts others too: nothing that the source says of it is believed any more.
    Unbelieved,
}

impl Total {
    /// A page was read; `listed` are on it and on those before, and `is_last` where none follows. The latest that was told
    /// counts. Fewer than were listed there cannot be; nor, at the end, more.
    pub fn read(&mut self, told: Option<usize>, listed: usize, is_last: bool) {
        *self = match (*self, told) {
            (Self::Unbelieved, _) => Self::Unbelieved,
            (before, None) => before,
            (_, Some(total)) => Self::Told(total),
        };
        if let Self::Told(total) = *self
            && (total < listed || (is_last && total > listed))
        {
            *self = Self::Unbelieved;
        }
    }

    /// Something was listed that is nothing to the caller: nor is how many there are.
    pub fn disbelieve(&mut self) {
        *self = Self::Unbelieved;
    }

    /// As callers are told; `None`: it is not known.
    pub fn number(self) -> Option<usize> {
        match self {
            Self::Told(total) => Some(total),
            Self::Untold | Self::Unbelieved => None,
        }
    }

    /// To go on with in another request.
    pub fn encode(self) -> String {
        match self {
            Self::Untold => "-".to_owned(),
            Self::Told(total) => total.to_string(),
            Self::Unbelieved => "!".to_owned(),
        }
    }

    pub fn decode(text: &str) -> Option<Self> {
        match text {
            "-" => Some(Self::Untold),
            "!" => Some(Self::Unbelieved),
            total => total.parse().ok().map(Self::Told),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_true_is_not_believed_and_nothing_after_it_is() {
        let mut total = Total::default();
        total.read(None, 20, false);
        assert_eq!(total.number(), None);
        total.read(Some(60), 40, false);
        assert_eq!(total.number(), Some(60));
        // The page after says nothing, or that there is one more by now.
        total.read(None, 60, false);
        total.read(Some(61), 61, true);
        assert_eq!(total.number(), Some(61));
        for (told, listed, is_last) in [(19, 20, false), (0, 1, true), (21, 20, true)] {
            let mut total = Total::Untold;
            total.read(Some(told), listed, is_last);
            assert_eq!(total, Total::Unbelieved, "{told} of {listed}");
            total.read(Some(100), listed, false);
            assert_eq!(total.number(), None);
        }
    }

    #[test]
    fn it_is_the_same_in_the_next_request() {
        for total in [Total::Untold, Total::Told(0), Total::Told(496_000), Total::Unbelieved] {
            assert_eq!(Total::decode(&total.encode()), Some(total));
        }
        assert_eq!(Total::decode("many"), None);
    }
}
