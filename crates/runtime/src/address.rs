//! Addresses of servers in the configuration.

use astradesk_core::{Code, Error, Result};
use std::net::IpAddr;
use url::Url;

/// How the keys around an address are called, for what is said of it.
#[derive(Debug, Clone, Copy)]
pub struct Keys {
    /// The key of the address: `llm.base_url`.
    pub url: &'static str,
    /// That which lets it be `http://` anywhere.
    pub allow_http: &'static str,
    /// That of the credentials.
    pub credentials: &'static str,
    /// An address as it should be.
    pub example: &'static str,
}

/// Reads an address to which paths are added: https, or http on loopback, or anywhere if `allow_http`. The fault does
/// not repeat the address, which may have a secret in it.
///
/// # Errors
/// [`Code::ConfigInvalid`].
pub fn base_url(text: &str, allow_http: bool, keys: &Keys) -> Result<Url> {
    let wrong = |what: &str| {
        Error::new(Code::ConfigInvalid, format!("`{}` {what}", keys.url))
            .with_remedy(format!("write it as `{}`", keys.example))
    };
    let url = Url::parse(text).map_err(|error| wrong(&format!("is not an address: {error}")))?;
    if !url.username().is_empty() || url.password().is_some() {
        let what = "has a user or a password in it, which would be shown: use";
        return Err(wrong(&format!("{what} `{}`", keys.credentials)));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("has a query or a fragment, to which no path can be added"));
    }
    match url.scheme() {
        "https" if url.has_host() => Ok(url),
        "http" if is_loopback(&url) || allow_http => Ok(url),
        "http" => Err(wrong("is not encrypted, and not of this machine itself").with_remedy(format!(
            "use https, or set `{}` if everybody on the way may read what is said",
            keys.allow_http
        ))),
        _ => Err(wrong("must begin with https:// or http://")),
    }
}

/// Whether the URL names this machine itself.
pub fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The address with this path added to its own.
pub fn under(base: &Url, path: &str) -> Result<Url> {
    let mut url = base.clone();
    match url.path_segments_mut() {
        Ok(mut segments) => _ = segments.pop_if_empty().extend(path.split('/')),
        Err(()) => return Err(Error::internal("an address has no path")),
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_goes_by_https_or_to_this_machine() {
        let keys =
            Keys { url: "x.url", allow_http: "x.allow_http", credentials: "x.key", example: "https://x/v1" };
        for (url, sound, with_http) in [
            ("https://api.example.com/v1", true, true),
            ("http://127.0.0.1:11434/v1", true, true),
            ("http://[::1]:8080/v1", true, true),
            ("http://localhost:8000/v1/", true, true),
            ("http://llm.example.com/v1", false, true),
            ("http://127.0.0.1.example.com/v1", false, true),
            ("https://user:hunter2@llm.example.com/v1", false, false),
            ("https://llm.example.com/v1?key=hunter2", false, false),
            ("file:///etc/passwd", false, false),
            ("llm", false, false),
        ] {
            assert_eq!(base_url(url, false, &keys).is_ok(), sound, "{url}");
            assert_eq!(base_url(url, true, &keys).is_ok(), with_http, "{url}");
            let told = base_url(url, false, &keys).err().map(|error| format!("{error:?}"));
            assert!(told.is_none_or(|told| !told.contains("hunter2") && told.contains("x.url")), "{url}");
        }
    }

    #[test]
    fn a_path_is_added_to_that_of_the_address() {
        for base in ["http://localhost/am", "http://localhost/am/"] {
            let url = under(&Url::parse(base).unwrap(), "api/v2/alerts").unwrap();
            assert_eq!(url.as_str(), "http://localhost/am/api/v2/alerts");
        }
    }
}
