//! Photos that departments hold: a real JPEG of 8 by 8 grey pixels, as a camera writes it (with EXIF) and bare.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Base64 of the photo with an EXIF block (APP1) that names camera, time and place taken.
pub fn with_exif(taken: &str) -> String {
    let mut bytes = vec![0xFF, 0xD8];
    bytes.extend(exif(taken));
    bytes.extend(picture());
    STANDARD.encode(bytes)
}

/// Base64 of the same photo without its EXIF block.
pub fn bare() -> String {
    let mut bytes = vec![0xFF, 0xD8];
    bytes.extend(picture());
    STANDARD.encode(bytes)
}

// APP1: a little-endian TIFF with one directory of Make and DateTime, both ASCII.
fn exif(taken: &str) -> Vec<u8> {
    let make = b"HUXIANG-CAM lat 28.65 lon 120.07\0";
    let mut time = taken.as_bytes().to_vec();
    time.push(0);
    let data = 8 + 2 + 2 * 12 + 4;
    let mut tiff = b"II*\0\x08\0\0\0\x02\0".to_vec();
    for (tag, length, offset) in
        [(0x010F_u16, make.len() as u32, data as u32), (0x0132, time.len() as u32, (data + make.len()) as u32)]
    {
        tiff.extend(tag.to_le_bytes());
        tiff.extend(2_u16.to_le_bytes());
        tiff.extend(length.to_le_bytes());
        tiff.extend(offset.to_le_bytes());
    }
    tiff.extend([0; 4]);
    tiff.extend(make);
    tiff.extend(time);
    let mut segment = vec![0xFF, 0xE1];
    segment.extend((tiff.len() as u16 + 8).to_be_bytes());
    segment.extend(b"Exif\0\0");
    segment.extend(tiff);
    segment
}

// Everything from the quantisation table on. The Huffman tables have one code each: difference 0, and end of block.
fn picture() -> Vec<u8> {
    let mut bytes = vec![0xFF, 0xDB, 0x00, 0x43, 0x00];
    bytes.extend([0x10; 64]);
    bytes.extend([0xFF, 0xC0, 0x00, 0x0B, 8, 0, 8, 0, 8, 1, 1, 0x11, 0]);
    for class in [0x00, 0x10] {
        bytes.extend([0xFF, 0xC4, 0x00, 0x14, class, 1]);
        bytes.extend([0; 15]);
        bytes.push(0);
    }
    bytes.extend([0xFF, 0xDA, 0x00, 0x08, 1, 1, 0, 0, 0x3F, 0, 0x3F, 0xFF, 0xD9]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_photo_differs_from_the_bare_one_by_its_exif_only() {
        let full = STANDARD.decode(with_exif("2025:06:01 09:30:00")).unwrap();
        let bare = STANDARD.decode(bare()).unwrap();
        assert_eq!(full[2..4], [0xFF, 0xE1]);
        let length = usize::from(u16::from_be_bytes([full[4], full[5]]));
        assert_eq!(full[4 + length..], bare[2..]);
        assert!(full.windows(4).any(|part| part == b"Exif") && !bare.windows(4).any(|part| part == b"Exif"));
    }
}
