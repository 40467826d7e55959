//! The real divisions of the province, from the province down to the village.

use std::collections::BTreeMap;
use std::ops::Range;

/// A division with the names of all above it; names below its level are empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Division {
    /// 12 digits.
    pub code: String,
    /// As people say it: 苍源村, not 苍源村村民委员会.
    pub name: String,
    /// 1 province, 2 city, 3 county, 4 town, 5 village.
    pub level: u8,
    pub province: String,
    pub city: String,
    pub county: String,
    pub town: String,
    pub village: String,
}

pub(super) struct Divisions {
    names: BTreeMap<&'static str, (&'static str, u8)>,
    /// Codes of the villages in order.
    pub(super) villages: Vec<&'static str>,
    /// County (6 digits) to its range of `villages`.
    pub(super) counties: BTreeMap<&'static str, Range<usize>>,
}

impl Divisions {
    pub(super) fn read() -> Self {
        let text: &'static str = include_str!("../../data/divisions.csv");
        let mut names = BTreeMap::new();
        for line in text.lines().skip(1) {
            let mut cells = line.split(',');
            if let (Some(code), Some(name), Some(Ok(level))) =
                (cells.next(), cells.next(), cells.next().map(|level| level.trim().parse::<u8>()))
            {
                names.insert(code, (name, level));
            }
        }
        let villages: Vec<&'static str> =
            names.iter().filter(|(_, (_, level))| *level == 5).map(|(code, _)| *code).collect();
        let mut counties: BTreeMap<&'static str, Range<usize>> = BTreeMap::new();
        for (index, village) in villages.iter().enumerate() {
            counties.entry(&village[..6]).or_insert(index..index).end = index + 1;
        }
        Self { names, villages, counties }
    }

    pub(super) fn division(&self, code: &str) -> Option<Division> {
        let (name, level) = self.names.get(code).copied()?;
        let above = |digits: usize, of_level: u8| {
            let code = format!("{:0<12}", &code[..digits]);
            match self.names.get(code.as_str()) {
                Some((name, _)) if level >= of_level => spoken(name),
                _ => String::new(),
            }
        };
        Some(Division {
            code: code.to_owned(),
            name: spoken(name),
            level,
            province: above(2, 1),
            city: above(4, 2),
            county: above(6, 3),
            town: above(9, 4),
            village: above(12, 5),
        })
    }

    /// The villages of a division of any level, given as its 12 digits or as a prefix.
    pub(super) fn villages_in(&self, prefix: &str) -> Range<usize> {
        let prefix = significant(prefix);
        let start = self.villages.partition_point(|code| *code < prefix);
        let count = self.villages[start..].partition_point(|code| code.starts_with(prefix));
        start..start + count
    }
}

/// 331122101000 → 331122101
fn significant(code: &str) -> &str {
    if code.len() != 12 || !code.bytes().all(|b| b.is_ascii_digit()) {
        return code;
    }
    let mut end = 12;
    for shorter in [9, 6, 4, 2] {
        if code[shorter..end].bytes().all(|b| b == b'0') {
            end = shorter;
        } else {
            break;
        }
    }
    &code[..end]
}

fn spoken(name: &str) -> String {
    if let Some(stem) = name.strip_suffix("村民委员会") {
        return if stem.ends_with('村') { stem.to_owned() } else { format!("{stem}村") };
    }
    match name.strip_suffix("居民委员会").or_else(|| name.strip_suffix("居委会")) {
        Some(stem) if stem.ends_with("社区") || stem.ends_with('村') => stem.to_owned(),
        Some(stem) => format!("{stem}社区"),
        None => name
            .strip_suffix("村委会")
            .map_or_else(|| name.to_owned(), |stem| format!("{}村", stem.trim_end_matches('村'))),
    }
}
