//! `egress` of `gateway.yaml`: whom bindings and issuers may name, and to which addresses connections go.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use ipnet::IpNet;

use crate::model::binding::published::is_own_file;

/// The operator's bounds of what bindings and issuers declare. Without any, every host they name may be connected to,
/// but no special address (link-local, metadata services, multicast, unspecified).
#[derive(Debug, Clone, Default)]
pub struct EgressConfig {
    /// `None`: whatever is declared.
    pub hosts: Option<Vec<Host>>,
    /// `None`: every address that is not special.
    pub addresses: Option<Vec<IpNet>>,
    /// The folder of the files that bindings may name as secrets; `None`: [`SECRETS`].
    pub secrets: Option<PathBuf>,
    /// The source whose secrets alone may be named; `None`: all of the folder.
    pub owner: Option<Arc<str>>,
    /// How many gateways ask the same sources; `None`: this one.
    pub replicas: Option<NonZeroU32>,
}

/// Where containers find mounted secrets.
const SECRETS: &str = "/run/secrets";

/// A host that may be named: `idp.example.org`, `*.example.org`, with or without a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    name: String,
    port: Option<u16>,
}

impl Host {
    /// `None`: it is neither a name nor an address, with at most a port.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) if !name.contains(':') || name.ends_with(']') => (name, Some(port.parse().ok()?)),
            _ => (text, None),
        };
        let bare = name.strip_prefix("*.").unwrap_or(name);
        let address = bare.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
        let label =
            |label: &str| !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        let fits = address || (!bare.is_empty() && bare.split('.').all(label));
        fits.then(|| Self { name: name.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase(), port })
    }

    fn holds(&self, host: &str, port: u16) -> bool {
        let named = match self.name.strip_prefix('*') {
            Some(parent) => host.len() > parent.len() && host.ends_with(parent),
            None => host == self.name,
        };
        named && self.port.is_none_or(|own| own == port)
    }
}

/// Why a host may not be connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It is not among `egress.hosts`.
    Host,
    /// It is an address that `egress.addresses` does not hold, or a special one.
    Address,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Host => "the host is not among those that `egress.hosts` of gateway.yaml lets be connected to",
            Self::Address => "the address is one that `egress.addresses` of gateway.yaml does not let be connected to",
        })
    }
}

impl EgressConfig {
    /// The same bounds, and no secrets but the source's own.
    pub fn of_source(&self, source: &Arc<str>) -> Self {
        Self { owner: Some(Arc::clone(source)), ..self.clone() }
    }

    pub(in crate::model) fn secrets_folder(&self) -> &Path {
        self.secrets.as_deref().unwrap_or(Path::new(SECRETS))
    }

    /// The file of a secret that a binding names, relative to the folder of secrets or as a path below it; `None`: it is
    /// not below it, and what it holds is nothing that a binding may have sent.
    pub fn secret_file(&self, name: &str) -> Option<PathBuf> {
        let folder = self.secrets_folder();
        let path = folder.join(name);
        let below = path.strip_prefix(folder).ok()?;
        if self.owner.as_deref().is_some_and(|owner| !is_own_file(owner, &below.to_string_lossy())) {
            return None;
        }
        let plain = below.components().all(|part| matches!(part, Component::Normal(_)));
        (plain && below.file_name().is_some()).then_some(path)
    }

    /// Whether a file may name this host. Names are resolved later, when they are connected to.
    pub fn check(&self, host: &str, port: u16) -> Result<(), Refused> {
        let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase();
        if self.hosts.as_ref().is_some_and(|hosts| !hosts.iter().any(|known| known.holds(&host, port))) {
            return Err(Refused::Host);
        }
        match host.parse::<IpAddr>() {
            Ok(address) if !self.permits(address) => Err(Refused::Address),
            _ => Ok(()),
        }
    }

    /// Whether a connection may go to this address.
    pub fn permits(&self, address: IpAddr) -> bool {
        let address = inner(address);
        match &self.addresses {
            Some(ranges) => ranges.iter().any(|range| range.contains(&address)),
            None => !is_special(address),
        }
    }
}

/// The IPv4 address inside a mapped or translated (NAT64) one.
fn inner(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => match v6.segments() {
            [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
                let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
                IpAddr::V4(Ipv4Addr::new(a, b, c, d))
            }
            _ => IpAddr::V6(v6),
        },
        v4 => v4,
    }
}

/// Addresses no department answers at: link-local ones (where clouds have their metadata services), the metadata
/// services elsewhere, multicast, broadcast, and "this host".
fn is_special(address: IpAddr) -> bool {
    const METADATA_V4: [Ipv4Addr; 2] = [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192)];
    const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    match address {
        IpAddr::V4(v4) => {
            v4.is_link_local()
                || v4.is_multicast()
                || v4.is_broadcast()
                || v4.is_unspecified()
                || METADATA_V4.contains(&v4)
        }
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.is_multicast() || v6.is_unspecified() || v6 == METADATA_V6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(hosts: &[&str], addresses: &[&str]) -> EgressConfig {
        let some = |list: &[&str]| (!list.is_empty()).then(|| list.to_vec().iter().map(|t| (*t).to_owned()).collect());
        let hosts: Option<Vec<String>> = some(hosts);
        let addresses: Option<Vec<String>> = some(addresses);
        EgressConfig {
            hosts: hosts.map(|list| list.iter().map(|text| Host::parse(text).unwrap()).collect()),
            addresses: addresses.map(|list| list.iter().map(|text| text.parse().unwrap()).collect()),
            secrets: None,
            owner: None,
            replicas: None,
        }
    }

    #[test]
    fn special_addresses_are_refused_however_they_are_written_unless_they_are_listed() {
        let open = EgressConfig::default();
        for special in [
            "169.254.169.254",
            "169.254.0.1",
            "100.100.100.200",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "fe80::1",
            "ff02::1",
            "fd00:ec2::254",
            "::ffff:169.254.169.254",
            "64:ff9b::169.254.169.254",
        ] {
            assert!(!open.permits(special.parse().unwrap()), "{special}");
            assert_eq!(open.check(special, 80), Err(Refused::Address), "{special}");
        }
        for plain in ["10.0.0.1", "127.0.0.1", "::1", "203.0.113.1", "2001:db8::1"] {
            assert!(open.permits(plain.parse().unwrap()), "{plain}");
        }
        let listed = rule(&[], &["169.254.7.0/24", "10.0.0.0/8"]);
        assert!(listed.permits("169.254.7.9".parse().unwrap()) && listed.permits("::ffff:10.1.1.1".parse().unwrap()));
        assert!(!listed.permits("169.254.169.254".parse().unwrap()) && !listed.permits("203.0.113.1".parse().unwrap()));
    }

    #[test]
    fn hosts_are_held_by_name_suffix_and_port() {
        let rule = rule(&["idp.example.org:8443", "*.dept.example", "10.0.0.1", "[2001:db8::1]:443"], &[]);
        for (host, port, fits) in [
            ("idp.example.org", 8443, true),
            ("IDP.example.org", 8443, true),
            ("idp.example.org.", 8443, true),
            ("idp.example.org", 443, false),
            ("a.dept.example", 80, true),
            ("a.b.dept.example", 80, true),
            ("dept.example", 80, false),
            ("adept.example", 80, false),
            ("a.dept.example.evil", 80, false),
            ("10.0.0.1", 80, true),
            ("10.0.0.2", 80, false),
            ("[2001:db8::1]", 443, true),
            ("[2001:db8::1]", 80, false),
        ] {
            assert_eq!(rule.check(host, port).is_ok(), fits, "{host}:{port}");
        }
        for bad in ["", "*", "*.", "a b", "https://a", "a/b", "a:port", "a@b", "a..b"] {
            assert_eq!(Host::parse(bad), None, "{bad}");
        }
    }
}
