//! Patterns of dates in departments' answers: `yyyyMMdd`, `yyyy年M月d日`, `yyyy-MM-dd HH:mm:ss`, `epoch-ms`.

/// A pattern, parsed once at load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatePattern {
    /// ISO 8601, partial (`2021`, `2021-03`) or with a time of day.
    Iso,
    /// Milliseconds since 1970-01-01T00:00:00Z.
    EpochMs,
    /// Seconds since then.
    EpochS,
    Parts(Box<[Part]>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A number: `fixed` digits, or one to two where it is 0.
    Number(Unit, usize),
    Literal(char),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
}

impl DatePattern {
    /// A year first or last, and no unit without the next larger one. The error says what is wrong.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "iso" => return Ok(Self::Iso),
            "epoch-ms" => return Ok(Self::EpochMs),
            "epoch-s" => return Ok(Self::EpochS),
            _ => {}
        }
        let mut parts = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            let mut count = 1;
            while matches!(c, 'y' | 'M' | 'd' | 'H' | 'm' | 's') && chars.next_if_eq(&c).is_some() {
                count += 1;
            }
            parts.push(match (c, count) {
                ('y', 4) => Part::Number(Unit::Year, 4),
                ('M', 1 | 2) => Part::Number(Unit::Month, width(count)),
                ('d', 1 | 2) => Part::Number(Unit::Day, width(count)),
                ('H', 1 | 2) => Part::Number(Unit::Hour, width(count)),
                ('m', 1 | 2) => Part::Number(Unit::Minute, width(count)),
                ('s', 1 | 2) => Part::Number(Unit::Second, width(count)),
                ('y' | 'M' | 'd' | 'H' | 'm' | 's', _) => {
                    return Err("a date pattern writes a year as `yyyy` and everything else with one or two letters");
                }
                ('a'..='z' | 'A'..='Z', _) if c != 'T' => return Err("a date pattern has a letter that means nothing"),
                (c, _) => Part::Literal(c),
            });
        }
        let order = [Unit::Year, Unit::Month, Unit::Day, Unit::Hour, Unit::Minute, Unit::Second];
        let count = |unit: Unit| parts.iter().filter(|part| matches!(part, Part::Number(u, _) if *u == unit)).count();
        if order.iter().any(|unit| count(*unit) > 1) {
            return Err("a date pattern names a unit twice");
        }
        if count(Unit::Year) == 0 || order.windows(2).any(|pair| matches!(pair, [a, b] if count(*b) > count(*a))) {
            return Err("a date pattern leaves out a unit between its largest (the year) and its smallest");
        }
        Ok(Self::Parts(parts.into()))
    }

    /// Whether values have a time of day (ISO values may).
    pub fn has_time(&self) -> bool {
        match self {
            Self::Iso | Self::EpochMs | Self::EpochS => true,
            Self::Parts(parts) => parts.iter().any(|part| matches!(part, Part::Number(Unit::Hour, _))),
        }
    }
}

fn width(count: usize) -> usize {
    if count == 1 { 0 } else { count }
}
