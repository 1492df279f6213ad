//! Addresses that secrets and keys go over, and the clients that ask them.

use astradesk_core::text::shown;
use astradesk_core::{Code, Error, Result};
use reqwest::{Client, ClientBuilder, Url};
use std::net::IpAddr;

/// Two clients of the same making: for this machine itself, and for elsewhere. What does not leave the machine must
/// not be told to a proxy that the environment names.
pub(crate) struct Clients {
    here: Client,
    elsewhere: Client,
}

impl Clients {
    /// # Errors
    /// [`Code::ConfigInvalid`] when they cannot be made.
    pub(crate) fn new(builder: impl Fn() -> ClientBuilder) -> Result<Self> {
        let build = |builder: ClientBuilder| {
            builder.build().map_err(|error| {
                Error::new(Code::ConfigInvalid, format!("no HTTP client can be made: {error}"))
            })
        };
        Ok(Self { here: build(builder().no_proxy())?, elsewhere: build(builder())? })
    }

    /// The one for this address.
    pub(crate) fn of(&self, url: &Url) -> &Client {
        if is_loopback(url) { &self.here } else { &self.elsewhere }
    }
}

/// Reads an address: https, or http on loopback; nothing else can be trusted. The fault does not repeat the
/// address, which may have a secret in it.
pub(crate) fn secure_url(text: &str) -> std::result::Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("is not a URL: {error}"))?;
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err("must have no user, password or fragment".to_owned());
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        _ => Err("must begin with https:// (http:// is for loopback only)".to_owned()),
    }
}

/// Reads the address by which clients reach the gateway: http or https, a host, and no more than a path.
pub(crate) fn public_url(text: &str) -> Result<Url> {
    let url = Url::parse(text).ok();
    let sound = url.filter(|url| {
        let plain = url.username().is_empty() && url.password().is_none();
        let bare = url.query().is_none() && url.fragment().is_none();
        matches!(url.scheme(), "http" | "https") && url.has_host() && plain && bare
    });
    sound.ok_or_else(|| {
        Error::new(
            Code::ConfigInvalid,
            format!("`server.public_url` is `{}`, which is no such address", shown(text, 200)),
        )
        .with_remedy("write it as `https://ops.example.com`")
    })
}

/// Whether the URL names this machine itself.
pub(crate) fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_by_https_or_to_loopback() {
        for (url, secure) in [
            ("https://login.example.com/realms/ops", true),
            ("http://127.0.0.1:8080", true),
            ("http://[::1]:8080/jwks", true),
            ("http://localhost/jwks", true),
            ("http://login.example.com", false),
            ("http://localhost.example.com", false),
            ("http://127.0.0.1.example.com", false),
            ("https://user:secret@login.example.com", false),
            ("file:///etc/passwd", false),
            ("login", false),
        ] {
            assert_eq!(secure_url(url).is_ok(), secure, "{url}");
        }
    }
}
