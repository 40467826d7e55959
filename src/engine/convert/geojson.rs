//! GeoJSON (RFC 7946), WGS 84, longitude before latitude.

use serde_json::Value;

use super::raw::Raw;
use super::{ConvertError, Converted};

const BROKEN: ConvertError = ConvertError { reason: "this is not a GeoJSON geometry" };
/// Positions of one geometry at most.
const POSITIONS_MAX: usize = 50_000;

/// An object, or a text that holds one; written as it came.
pub(super) fn geojson(raw: &Raw<'_>, out: &mut Vec<u8>) -> Result<Converted, ConvertError> {
    let text = match raw {
        Raw::Compound(text) => text,
        Raw::Text(text) => text.trim(),
        _ => return Err(BROKEN),
    };
    let value: Value = serde_json::from_str(text).map_err(|_| BROKEN)?;
    let depth = match value.get("type").and_then(Value::as_str) {
        Some("Point") => 0,
        Some("MultiPoint" | "LineString") => 1,
        Some("MultiLineString" | "Polygon") => 2,
        Some("MultiPolygon") => 3,
        _ => return Err(BROKEN),
    };
    let mut left = POSITIONS_MAX;
    positions(value.get("coordinates").ok_or(BROKEN)?, depth, &mut left)?;
    out.extend_from_slice(text.as_bytes());
    Ok(Converted::Value)
}

fn positions(value: &Value, depth: usize, left: &mut usize) -> Result<(), ConvertError> {
    let items = value.as_array().ok_or(BROKEN)?;
    if depth > 0 {
        return items.iter().try_for_each(|item| positions(item, depth - 1, left));
    }
    *left = left.checked_sub(1).ok_or(ConvertError::new("the geometry has too many positions"))?;
    match items.as_slice() {
        [longitude, latitude] | [longitude, latitude, _] => {
            let within = |value: &Value, limit: f64| value.as_f64().is_some_and(|degrees| degrees.abs() <= limit);
            if within(longitude, 180.0) && within(latitude, 90.0) && items.iter().all(Value::is_number) {
                Ok(())
            } else {
                Err(ConvertError::new("a position is not a longitude and a latitude in degrees"))
            }
        }
        _ => Err(BROKEN),
    }
}
