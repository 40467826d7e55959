//! Images in base64: what tells of the camera, the place and the time is cut out before they are shown.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{ConvertError, Converted};

const NOT_BASE64: ConvertError = ConvertError { reason: "the image is not base64" };
const UNKNOWN: ConvertError = ConvertError { reason: "the image is neither JPEG nor PNG" };
const BROKEN: ConvertError = ConvertError { reason: "the image is broken" };
/// Longest base64 text.
const TEXT_MAX: usize = 12 << 20;
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

pub(super) fn image(text: &str, out: &mut Vec<u8>) -> Result<Converted, ConvertError> {
    if text.len() > TEXT_MAX {
        return Err(ConvertError::new("the image is too large"));
    }
    let text = match text.split_once(";base64,") {
        Some((head, body)) if head.starts_with("data:image/") => body,
        _ => text,
    };
    let compact: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let bytes = STANDARD.decode(compact).map_err(|_| NOT_BASE64)?;
    let clean = stripped(&bytes)?;
    out.push(b'"');
    out.extend_from_slice(STANDARD.encode(clean).as_bytes());
    out.push(b'"');
    Ok(Converted::Value)
}

/// The image without metadata.
pub(super) fn stripped(bytes: &[u8]) -> Result<Vec<u8>, ConvertError> {
    if let Some(rest) = bytes.strip_prefix(PNG) {
        png(rest)
    } else if let Some(rest) = bytes.strip_prefix(b"\xFF\xD8") {
        jpeg(rest)
    } else {
        Err(UNKNOWN)
    }
}

/// Segments (ITU T.81 B.1): comments and application segments go, but for JFIF without a thumbnail, colour profiles
/// and Adobe's colour transform. Whatever follows the end of the image goes too.
fn jpeg(mut rest: &[u8]) -> Result<Vec<u8>, ConvertError> {
    let mut out = b"\xFF\xD8".to_vec();
    loop {
        let marker = loop {
            let (first, after) = rest.split_first().ok_or(BROKEN)?;
            if *first != 0xFF {
                return Err(BROKEN);
            }
            let (second, behind) = after.split_first().ok_or(BROKEN)?;
            if *second == 0xFF {
                rest = after;
                continue;
            }
            rest = behind;
            break *second;
        };
        if marker == 0xD9 {
            out.extend_from_slice(b"\xFF\xD9");
            return Ok(out);
        }
        let length = match rest {
            [high, low, ..] => usize::from(u16::from_be_bytes([*high, *low])),
            _ => return Err(BROKEN),
        };
        let (segment, after) = rest.split_at_checked(length).filter(|_| length >= 2).ok_or(BROKEN)?;
        rest = after;
        if kept(marker, segment.get(2..).unwrap_or_default()) {
            out.extend_from_slice(&[0xFF, marker]);
            out.extend_from_slice(segment);
        }
        if marker == 0xDA {
            let scan = scan_length(rest);
            let (data, after) = rest.split_at_checked(scan).ok_or(BROKEN)?;
            out.extend_from_slice(data);
            rest = after;
        }
    }
}

fn kept(marker: u8, body: &[u8]) -> bool {
    match marker {
        0xE0 => body.starts_with(b"JFIF\0") && body.len() == 14,
        0xE2 => body.starts_with(b"ICC_PROFILE\0"),
        0xEE => body.starts_with(b"Adobe"),
        0xE1..=0xEF | 0xFE => false,
        _ => true,
    }
}

/// Bytes of entropy-coded data up to the next marker that is not a restart.
fn scan_length(data: &[u8]) -> usize {
    data.windows(2)
        .position(|pair| matches!(pair, [0xFF, second] if *second != 0 && !(0xD0..=0xD7).contains(second)))
        .unwrap_or(data.len())
}

/// Chunks (PNG 3rd edition): those that draw the image and its colours stay.
fn png(mut rest: &[u8]) -> Result<Vec<u8>, ConvertError> {
    const KEPT: [&[u8]; 16] = [
        b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"sBIT", b"bKGD",
        b"pHYs", b"acTL", b"fcTL", b"fdAT",
    ];
    let mut out = PNG.to_vec();
    loop {
        let (head, _) = rest.split_first_chunk::<8>().ok_or(BROKEN)?;
        let [a, b, c, d, kind @ ..] = head;
        let length = usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])).map_err(|_| BROKEN)?;
        let whole = length.checked_add(12).ok_or(BROKEN)?;
        let (chunk, after) = rest.split_at_checked(whole).ok_or(BROKEN)?;
        if KEPT.contains(&kind.as_slice()) {
            out.extend_from_slice(chunk);
        }
        if kind == b"IEND" {
            return Ok(out);
        }
        rest = after;
    }
}
