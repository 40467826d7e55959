//! Texts on the wire: GBK, GB18030 and UTF-8, both ways.

use bytes::Bytes;
use encoding_rs::{Encoding as Charset, GB18030, GBK, UTF_8};

use super::failure::Failure;
use crate::base::percent;
use crate::model::binding::format::Encoding;

/// The answer as text. Bytes that are no character of the charset are an error,
/// never replaced.
pub(crate) fn decode(
    bytes: Bytes,
    encoding: Encoding,
    content_type: Option<&str>,
    xml: bool,
) -> Result<String, Failure> {
    const MARK: &[u8] = "\u{feff}".as_bytes();
    let charset = match encoding {
        // What begins with UTF-8's mark is that: no JSON or XML in another charset begins so.
        _ if bytes.starts_with(MARK) => UTF_8,
        Encoding::Gbk => GBK,
        Encoding::Gb18030 => GB18030,
        Encoding::Auto => declared(content_type, if xml { declaration(&bytes) } else { None })?,
    };
    if charset == UTF_8 {
        return utf8(if bytes.starts_with(MARK) { bytes.slice(MARK.len()..) } else { bytes });
    }
    let (text, wrong) = charset.decode_with_bom_removal(&bytes);
    if wrong {
        return Err(Failure::bad(format!("the answer is not {}; see `encoding`", charset.name())));
    }
    Ok(text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned())
}

/// Bytes that have to be UTF-8.
pub(crate) fn utf8(bytes: Bytes) -> Result<String, Failure> {
    String::from_utf8(bytes.into()).map_err(|_| Failure::bad("the answer is not UTF-8; see `encoding`"))
}

/// A request's text as it goes out. In XML, characters the charset lacks become references; elsewhere they cannot
/// be sent.
pub(crate) fn encode(text: String, encoding: Encoding, xml: bool) -> Result<Vec<u8>, Failure> {
    let charset = match encoding {
        Encoding::Auto => return Ok(text.into_bytes()),
        Encoding::Gbk => GBK,
        Encoding::Gb18030 => GB18030,
    };
    let (bytes, _, unmappable) = charset.encode(&text);
    if unmappable && !xml {
        let code = crate::base::code::ErrorCode::ValueInvalid;
        return Err(Failure::new(code, format!("a value cannot be written in {}", charset.name())));
    }
    Ok(bytes.into_owned())
}

/// Percent-encoded as the source decodes it, in a query or a form.
pub(crate) fn percent(text: &str, encoding: Encoding, out: &mut String) -> Result<(), Failure> {
    match encoding {
        Encoding::Auto => percent::percent(text, out),
        _ => percent::percent_bytes(&encode(text.to_owned(), encoding, false)?, out),
    }
    Ok(())
}

/// What stands encoded in a query; none where it is not in the charset.
pub(crate) fn decoded(text: &str, encoding: Encoding) -> Option<String> {
    let bytes = percent::decoded(&text.replace('+', " "));
    match encoding {
        Encoding::Auto => String::from_utf8(bytes).ok(),
        Encoding::Gbk => GBK.decode_without_bom_handling_and_without_replacement(&bytes).map(Into::into),
        Encoding::Gb18030 => GB18030.decode_without_bom_handling_and_without_replacement(&bytes).map(Into::into),
    }
}

/// Parameters as a query or a form has them.
pub(crate) fn parameters(all: &[(String, String)], encoding: Encoding) -> Result<String, Failure> {
    let mut text = String::new();
    for (name, value) in all {
        if !text.is_empty() {
            text.push('&');
        }
        percent(name, encoding, &mut text)?;
        text.push('=');
        percent(value, encoding, &mut text)?;
    }
    Ok(text)
}

/// As it stands in `Content-Type` and XML declarations.
pub(crate) fn name(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Auto => "utf-8",
        Encoding::Gbk => "gbk",
        Encoding::Gb18030 => "gb18030",
    }
}

fn declared(content_type: Option<&str>, declaration: Option<String>) -> Result<&'static Charset, Failure> {
    let parameter = content_type.and_then(|value| {
        value.split(';').skip(1).find_map(|part| {
            let (name, value) = part.split_once('=')?;
            name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"').to_owned())
        })
    });
    let Some(label) = parameter.or(declaration) else { return Ok(UTF_8) };
    Charset::for_label(label.as_bytes()).ok_or_else(|| Failure::bad("the answer names a charset that is not known"))
}

/// `encoding` of an XML declaration, which is ASCII in every charset there is for it here.
fn declaration(bytes: &[u8]) -> Option<String> {
    let head: String = bytes.iter().take(200).map(|byte| char::from(*byte)).collect();
    let (declaration, _) = head.strip_prefix("<?xml")?.split_once("?>")?;
    let (_, after) = declaration.split_once("encoding")?;
    let value = after.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    value.get(1..)?.split_once(quote).map(|(label, _)| label.to_owned())
}
