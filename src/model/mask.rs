//! Masks: a value shown in part, to those whose grant says so.

use rust_decimal::Decimal;

use crate::base::decimal;
use crate::model::binding::conversion::Kind;

/// How a value is shown in part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mask {
    /// `张*某`: the first and the last character; of two only the first.
    Name,
    /// `331122********1234`: the first six and the last four of an identity number.
    IdNumber,
    /// `139****1234`
    Phone,
    /// Up to the village, town or street; what comes after (the house) is cut.
    Address,
    /// A Decimal as a band: `5000-10000`.
    Band(Bands),
    /// A date's year.
    Year,
}

/// Where bands begin and end; a band holds its lower end. Beyond the last edge `100000+`, below the first `<0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bands {
    /// Ascending; only the first `count` are edges.
    edges: [u64; EDGES_MAX],
    count: usize,
}

/// Edges of one mask.
pub const EDGES_MAX: usize = 16;

impl Default for Bands {
    fn default() -> Self {
        Self::of([0, 5_000, 10_000, 20_000, 50_000, 100_000].into_iter())
    }
}

impl Bands {
    /// `None`: there are none or too many, or they do not ascend.
    pub fn new(edges: &[u64]) -> Option<Self> {
        let ascending = edges.windows(2).all(|pair| matches!(pair, [low, high] if low < high));
        (!edges.is_empty() && edges.len() <= EDGES_MAX && ascending).then(|| Self::of(edges.iter().copied()))
    }

    fn of(edges: impl Iterator<Item = u64>) -> Self {
        let mut bands = Self { edges: [0; EDGES_MAX], count: 0 };
        for (place, edge) in bands.edges.iter_mut().zip(edges) {
            *place = edge;
            bands.count += 1;
        }
        bands
    }

    pub fn edges(&self) -> impl Iterator<Item = u64> + '_ {
        self.edges.iter().take(self.count).copied()
    }

    /// Only the edges that both have: what it shows can be told from either.
    fn common(&self, other: &Self) -> Self {
        Self::of(self.edges().filter(|edge| other.edges().any(|also| also == *edge)))
    }

    fn band(&self, text: &str) -> Option<String> {
        let value = decimal::exact(text)?;
        let below = self.edges().take_while(|edge| Decimal::from(*edge) <= value).last();
        let above = self.edges().find(|edge| value < Decimal::from(*edge));
        Some(match (below, above) {
            (Some(low), Some(high)) => format!("{low}-{high}"),
            (Some(low), None) => format!("{low}+"),
            (None, Some(high)) => format!("<{high}"),
            (None, None) => return None,
        })
    }
}

impl Mask {
    /// As configuration names it; `None`: there is no such mask.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "name" => Self::Name,
            "id-number" => Self::IdNumber,
            "phone" => Self::Phone,
            "address" => Self::Address,
            "band" => Self::Band(Bands::default()),
            "year" => Self::Year,
            _ => return None,
        })
    }

    /// All names, for hints.
    pub const NAMES: [&'static str; 6] = ["name", "id-number", "phone", "address", "band", "year"];

    /// The names of those that fit a field of this kind.
    pub fn fitting(kind: &Kind) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |name| Self::parse(name).is_some_and(|mask| mask.fits(kind)))
    }

    /// Whether the mask says something sensible about fields of this kind.
    pub fn fits(self, kind: &Kind) -> bool {
        match self {
            Self::Name | Self::Phone | Self::Address => *kind == Kind::Text,
            Self::IdNumber => matches!(kind, Kind::Text | Kind::Id),
            Self::Band(_) => *kind == Kind::Decimal,
            Self::Year => matches!(kind, Kind::Date | Kind::DateTime),
        }
    }

    /// Where two grants mask one field: bands by the edges that both name. `None`: they are different masks, and neither
    /// is surely the narrower.
    pub fn narrower(self, other: Self) -> Option<Self> {
        match (self, other) {
            (Self::Band(one), Self::Band(other)) => Some(Self::Band(one.common(&other))),
            _ => (self == other).then_some(self),
        }
    }

    /// Whether what this mask shows can be told from what the other one shows.
    pub fn shows_no_more_than(self, other: Self) -> bool {
        self.narrower(other) == Some(self)
    }

    /// As [`Self::NAMES`] has it; bands that are not the usual ones with their edges.
    pub fn name(self) -> String {
        let named = match self {
            Self::Name => "name",
            Self::IdNumber => "id-number",
            Self::Phone => "phone",
            Self::Address => "address",
            Self::Band(bands) if bands != Bands::default() => {
                let edges: Vec<String> = bands.edges().map(|edge| edge.to_string()).collect();
                return format!("band {}", edges.join("/"));
            }
            Self::Band(_) => "band",
            Self::Year => "year",
        };
        named.to_owned()
    }
}

/// Appends the masked value of `json_text` (one scalar in the contract's JSON) to `out`. Null stays null; a value that
/// the mask cannot read is shown as `"***"` (as null where the mask is a band or a year): never unmasked.
pub fn apply(mask: Mask, json_text: &str, out: &mut Vec<u8>) {
    if json_text.trim() == "null" {
        out.extend_from_slice(b"null");
        return;
    }
    let text = match serde_json::from_str::<serde_json::Value>(json_text) {
        Ok(serde_json::Value::String(text)) => Some(text),
        Ok(serde_json::Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    let masked = text.as_deref().map(str::trim).and_then(|text| match mask {
        Mask::Name => Some(name(text)),
        Mask::IdNumber => Some(ends(text, 6, 4)),
        Mask::Phone => Some(ends(text, 3, 4)),
        Mask::Address => Some(address(text)),
        Mask::Band(bands) => bands.band(text),
        Mask::Year => year(text),
    });
    let fallback = || if matches!(mask, Mask::Band(_) | Mask::Year) { "null" } else { "\"***\"" }.to_owned();
    let written = masked.and_then(|masked| serde_json::to_string(&masked).ok()).unwrap_or_else(fallback);
    out.extend_from_slice(written.as_bytes());
}

fn name(text: &str) -> String {
    let count = text.chars().count();
    let first: String = text.chars().take(1).collect();
    match count {
        0 | 1 => "*".to_owned(),
        2 => first + "*",
        _ => first + &"*".repeat(count - 2) + &text.chars().skip(count - 1).collect::<String>(),
    }
}

/// The first and last characters; a text too short to hide at least as much as a third is hidden whole.
fn ends(text: &str, first: usize, last: usize) -> String {
    let count = text.chars().count();
    let hidden = count.saturating_sub(first + last);
    if hidden == 0 || hidden * 3 < count {
        return "*".repeat(count.max(1));
    }
    let head: String = text.chars().take(first).collect();
    let tail: String = text.chars().skip(count - last).collect();
    head + &"*".repeat(hidden) + &tail
}

/// Cut after the smallest division named, before any digit; without one the whole is hidden.
fn address(text: &str) -> String {
    const DIVISIONS: [&str; 12] = ["行政村", "社区", "街道", "村", "乡", "镇", "区", "县", "旗", "市", "州", "省"];
    let before_digits = text.find(|c: char| c.is_numeric() || c == '#').and_then(|at| text.get(..at)).unwrap_or(text);
    let end = DIVISIONS.iter().filter_map(|division| before_digits.rfind(division).map(|at| at + division.len())).max();
    match end.and_then(|end| text.get(..end)) {
        Some(kept) => format!("{kept}***"),
        None => "***".to_owned(),
    }
}

fn year(text: &str) -> Option<String> {
    text.get(..4).filter(|year| year.bytes().all(|byte| byte.is_ascii_digit())).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(mask: &str, json: &str) -> String {
        let mut out = Vec::new();
        apply(Mask::parse(mask).unwrap(), json, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn masks_keep_what_they_say_and_no_more() {
        assert_eq!(masked("name", "\"张某某\""), "\"张*某\"");
        assert_eq!(masked("name", "\"欧阳某某\""), "\"欧**某\"");
        assert_eq!(masked("name", "\"张三\""), "\"张*\"");
        assert_eq!(masked("name", "\"张\""), "\"*\"");
        assert_eq!(masked("id-number", "\"331122197501011234\""), "\"331122********1234\"");
        assert_eq!(masked("id-number", "\"3311221234\""), "\"**********\"");
        assert_eq!(masked("phone", "\"13912341234\""), "\"139****1234\"");
        assert_eq!(masked("phone", "\"110\""), "\"***\"");
        assert_eq!(masked("phone", "13912341234"), "\"139****1234\"", "a number is masked as its digits");
        assert_eq!(masked("phone", "\" 13912341234 \""), "\"139****1234\"");
        assert_eq!(
            masked("address", "\"浙江省丽水市缙云县新建镇河阳村12号\""),
            "\"浙江省丽水市缙云县新建镇河阳村***\""
        );
        assert_eq!(masked("address", "\"缙云县五云街道黄龙路18号3幢\""), "\"缙云县五云街道***\"");
        assert_eq!(masked("address", "\"中山路8号\""), "\"***\"");
        assert_eq!(masked("address", "\"缙云县五云街道18号2区\""), "\"缙云县五云街道***\"");
        assert_eq!(masked("address", "\"缙云县新建镇河阳村#甲区\""), "\"缙云县新建镇河阳村***\"");
        assert_eq!(masked("year", "\"1975-03-02\""), "\"1975\"");
    }

    /// Numbers of fifteen digits were given out until 1999.
    #[test]
    fn an_id_number_is_shown_in_part_only_if_a_third_of_it_or_more_is_hidden() {
        assert_eq!(masked("id-number", "\"331122750101123\""), "\"331122*****1123\"");
        assert_eq!(masked("id-number", "\"33112275010112\""), "\"**************\"");
        assert_eq!(masked("id-number", "\"331122197501\""), "\"************\"");
    }

    #[test]
    fn bands_hold_their_lower_end() {
        assert_eq!(masked("band", "\"0\""), "\"0-5000\"");
        assert_eq!(masked("band", "\"4999.99\""), "\"0-5000\"");
        assert_eq!(masked("band", "\"5000.00\""), "\"5000-10000\"");
        assert_eq!(masked("band", "\"100000\""), "\"100000+\"");
        assert_eq!(masked("band", "\"-1\""), "\"<0\"");
    }

    #[test]
    fn what_a_mask_cannot_read_is_hidden() {
        for mask in Mask::NAMES {
            assert_eq!(masked(mask, "null"), "null");
            for odd in ["\"\"", "true", "{}", "[1]", "broken", "\"秘密的\"", "\"19\""] {
                let shown = masked(mask, odd);
                assert!(!shown.contains("broken") && !shown.contains("秘密的"), "{mask} {odd} {shown}");
                serde_json::from_str::<serde_json::Value>(&shown).unwrap();
            }
        }
        let band = Mask::parse("band").unwrap();
        assert!(!band.fits(&Kind::Int) && band.fits(&Kind::Decimal));
    }

    #[test]
    fn bands_have_edges_of_their_own_and_of_two_the_common_ones() {
        let of = |edges: &[u64]| Mask::Band(Bands::new(edges).unwrap());
        let shown = |mask: Mask, value: &str| {
            let mut out = Vec::new();
            apply(mask, value, &mut out);
            String::from_utf8(out).unwrap()
        };
        let fine = of(&[1_000, 2_000, 3_000]);
        for (value, band) in [("999.99", "<1000"), ("1000", "1000-2000"), ("2999.99", "2000-3000"), ("3000", "3000+")] {
            assert_eq!(shown(fine, value), format!("\"{band}\""));
        }
        let both = fine.narrower(of(&[2_000, 2_500])).unwrap();
        assert_eq!((shown(both, "1000"), shown(both, "2600")), ("\"<2000\"".to_owned(), "\"2000+\"".to_owned()));
        assert_eq!(both, of(&[2_000, 2_500]).narrower(fine).unwrap(), "in either order");
        // Without a common edge nothing is shown.
        assert_eq!(shown(fine.narrower(of(&[500])).unwrap(), "1000"), "null");
        assert!(of(&[2_000]).shows_no_more_than(fine) && !fine.shows_no_more_than(of(&[2_000])));
        assert_eq!(fine.narrower(Mask::Year), None);
        for bad in [&[][..], &[2, 1], &[1, 1], &[0; 17]] {
            assert_eq!(Bands::new(bad), None);
        }
    }

    #[test]
    fn masks_are_named_as_they_are_written() {
        for name in Mask::NAMES {
            assert_eq!(Mask::parse(name).unwrap().name(), name);
        }
        assert_eq!(Mask::Band(Bands::new(&[0, 12_000]).unwrap()).name(), "band 0/12000");
        let usual = Bands::default().edges().collect::<Vec<_>>();
        assert_eq!(Mask::Band(Bands::new(&usual).unwrap()).name(), "band");
    }
}
