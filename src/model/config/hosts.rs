//! `hosts:`: the names that the gateway answers to. A page of another site can make its own name lead here (DNS
//! rebinding), and is then of the same site for its browser: what it cannot change is the name.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::reader::Reader;
use crate::model::yaml::Spanned;

/// Checked. By default: addresses and `localhost`, which lead nowhere else.
#[derive(Debug, Clone, Default)]
pub struct Hosts {
    /// `*` was written.
    any: bool,
    /// In lower case; those of a certificate may begin with `*.`.
    names: Vec<String>,
}

impl Hosts {
    pub(super) fn read(entries: &[Spanned<String>], reader: &mut Reader<'_>) -> Self {
        let mut hosts = Self::default();
        for at in entries {
            let text = reader.fill(at);
            match normal(&text) {
                _ if text == "*" => hosts.any = true,
                Some(name) if is_name(&name) => hosts.names.push(name),
                _ => {
                    let hint = "write the name alone, for example `gateway.example.gov.cn`, without scheme, port and path; \
                                `*` is any name. Addresses and localhost need not be listed";
                    reader.fault(at, format!("`{text}` is no name to list"), hint);
                }
            }
        }
        hosts
    }

    /// With the names of the listener's own certificate.
    pub fn with_names(mut self, names: impl Iterator<Item = String>) -> Self {
        self.names.extend(names.filter_map(|name| normal(&name)));
        self
    }

    /// Whether a request's `Host` (or authority) is one: an address, localhost, or a name that is listed; on any port.
    pub fn holds(&self, authority: &str) -> bool {
        let Some(host) = host_of(authority) else { return false };
        if self.any || host.parse::<Ipv4Addr>().is_ok() || is_ipv6(host) {
            return true;
        }
        let Some(host) = normal(host) else { return false };
        let fits = |name: &String| match name.strip_prefix("*.") {
            Some(parent) => host.split_once('.').is_some_and(|(_, above)| above == parent),
            None => host == *name,
        };
        host == "localhost" || self.names.iter().any(fits)
    }
}

/// Without the port. `None`: it is neither.
fn host_of(authority: &str) -> Option<&str> {
    let is_port = |port: &str| port.bytes().all(|b| b.is_ascii_digit());
    if authority.starts_with('[') {
        let (host, port) = authority.split_at(authority.find(']')? + 1);
        return (port.is_empty() || port.strip_prefix(':').is_some_and(is_port)).then_some(host);
    }
    match authority.split_once(':') {
        Some((host, port)) => is_port(port).then_some(host),
        None => Some(authority),
    }
}

fn is_ipv6(host: &str) -> bool {
    let inside = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    inside.is_some_and(|host| host.parse::<Ipv6Addr>().is_ok())
}

/// In lower case, without the root's dot.
fn normal(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name);
    (!name.is_empty()).then(|| name.to_ascii_lowercase())
}

fn is_name(name: &str) -> bool {
    name.len() <= 253
        && name.split('.').all(|label| {
            !label.is_empty()
                && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_localhost_always_count_and_names_only_where_they_are_listed() {
        let listed = Hosts { any: false, names: vec!["gateway.example".to_owned(), "*.dept.example".to_owned()] };
        for (authority, expected) in [
            ("127.0.0.1:4000", true),
            ("10.1.2.3", true),
            ("[::1]:4000", true),
            ("[fe80::1]", true),
            ("localhost:4000", true),
            ("LocalHost.", true),
            ("gateway.example", true),
            ("Gateway.Example.:8443", true),
            ("a.dept.example:1", true),
            ("a.b.dept.example", false),
            ("dept.example", false),
            ("evil.example", false),
            ("gateway.example.evil.example", false),
            ("evil.localhost", false),
            ("127.0.0.1.evil.example", false),
            ("127.0.0.1:80:80", false),
            ("127.0.0.1:80@evil.example", false),
            ("gateway.example:x", false),
            ("[::1].evil.example", false),
            ("[::1", false),
            ("::1", false),
            ("0x7f.1", false),
            ("", false),
            (".", false),
        ] {
            assert_eq!(listed.holds(authority), expected, "{authority}");
        }
        let any = Hosts { any: true, ..Hosts::default() };
        assert!(any.holds("evil.example") && !Hosts::default().holds("gateway.example"));
    }
}
