//! Which `Host` and `Origin` a request may have, so that no web page can reach the gateway by a name of its own (DNS
//! rebinding). `rmcp` compares; here is what with.

use astradesk_core::text::shown;
use astradesk_core::{Code, Error, Result};
use axum::http::uri::Authority;
use reqwest::Url;
use std::net::SocketAddr;

/// The names of this machine itself.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// What pages of this machine itself come from.
const LOOPBACK_ORIGINS: [&str; 3] = ["http://localhost:*", "http://127.0.0.1:*", "http://[::1]:*"];

/// What is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Allowed {
    pub(super) hosts: Vec<String>,
    pub(super) origins: Vec<String>,
}

impl Allowed {
    /// Loopback, the address that is listened on, the public address, and what is configured.
    ///
    /// # Errors
    /// [`Code::ConfigInvalid`] when a host or an origin is none.
    pub(crate) fn new(
        listen: SocketAddr,
        public: &Url,
        hosts: &[String],
        origins: &[String],
    ) -> Result<Self> {
        let mut allowed = Self {
            hosts: LOOPBACK.map(str::to_owned).to_vec(),
            origins: LOOPBACK_ORIGINS.map(str::to_owned).to_vec(),
        };
        if !listen.ip().is_unspecified() {
            allowed.hosts.push(listen.ip().to_string());
        }
        allowed.hosts.extend(public.host_str().map(|host| host.trim_matches(['[', ']']).to_owned()));
        allowed.origins.extend(with_port(public));
        for host in hosts {
            Authority::try_from(host.as_str())
                .ok()
                .filter(|authority| !authority.host().is_empty() && !host.contains('@'))
                .ok_or_else(|| invalid("allowed_hosts", host, "a host such as `ops.example.com`"))?;
            allowed.hosts.push(host.clone());
        }
        for origin in origins {
            let wrong = || invalid("allowed_origins", origin, "an origin such as `https://app.example.com`");
            let any_port = origin.strip_suffix(":*");
            let url = Url::parse(any_port.unwrap_or(origin)).map_err(|_| wrong())?;
            let plain =
                url.has_host() && url.path() == "/" && url.query().is_none() && url.username().is_empty();
            let exact = with_port(&url).filter(|_| plain).ok_or_else(wrong)?;
            allowed.origins.push(any_port.map_or(exact, |_| origin.clone()));
        }
        Ok(allowed)
    }
}

/// The origin of a URL, always with its port: without one, `rmcp` takes any.
fn with_port(url: &Url) -> Option<String> {
    let port = url.port_or_known_default()?;
    Some(format!("{}://{}:{port}", url.scheme(), url.host_str()?))
}

fn invalid(key: &str, value: &str, wanted: &str) -> Error {
    Error::new(Code::ConfigInvalid, format!("`mcp.{key}` has `{}`, which is not {wanted}", shown(value, 200)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(public: &str, hosts: &[&str], origins: &[&str]) -> Result<Allowed> {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let public = Url::parse(public).unwrap();
        Allowed::new(([10, 0, 0, 7], 8787).into(), &public, &texts(hosts), &texts(origins))
    }

    #[test]
    fn loopback_the_address_and_what_is_configured_are_allowed() {
        let found =
            allowed("https://ops.example.com", &["a.example:8443"], &["https://b.example", "http://c:*"]);
        let Allowed { hosts, origins } = found.unwrap();
        assert_eq!(hosts[3..], ["10.0.0.7", "ops.example.com", "a.example:8443"]);
        assert_eq!(origins[3..], ["https://ops.example.com:443", "https://b.example:443", "http://c:*"]);
    }

    #[test]
    fn what_is_no_host_or_origin_is_refused() {
        for host in ["", "https://a.example", "a b", "u@a.example"] {
            assert!(allowed("http://x", &[host], &[]).is_err(), "{host:?}");
        }
        for origin in ["", "*", "a.example", "https://a.example/path", "https://u@a.example", "file:///x"] {
            assert!(allowed("http://x", &[], &[origin]).is_err(), "{origin:?}");
        }
    }
}
