//! The URL of a request: arguments fill segments of its path and values of its query, and change nothing else.

use crate::manifest::section::{Fault, Section};
use crate::manifest::template;
use crate::parameters::Parameters;
use crate::template::{Place, Template, Values, unfit};
use astradesk_core::{Error, Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;

/// What is written as it is: the unreserved characters of RFC 3986.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The longest URL, in bytes.
const MAX_URL: usize = 8192;

/// A URL with places for values.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    /// Scheme, host and port, as the author wrote them.
    origin: String,
    segments: Vec<Template>,
    query: Option<Template>,
    base: Url,
}

impl Address {
    pub(crate) fn read(section: &mut Section, key: &str, parameters: &Parameters) -> Result<Self, Fault> {
        let text = section.text(key, MAX_URL)?;
        let wrong = |why: &str| section.fault_of(key, why);
        let scheme_end =
            text.find("://").map(|at| at + 3).ok_or_else(|| wrong("it must begin with `https://`"))?;
        let (scheme, rest) = text.split_at(scheme_end);
        if !matches!(scheme, "https://" | "http://") {
            return Err(wrong("it must begin with `https://`, or with `http://`"));
        }
        let (host, rest) = rest.split_at(rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len()));
        if host.contains(['{', '}', '@', '%']) {
            return Err(wrong("its host must be fixed, without arguments, user and password"));
        }
        if rest.contains('#') || rest.contains('\\') {
            return Err(wrong("it must have neither a fragment nor a backslash"));
        }
        let origin = format!("{scheme}{host}");
        let base = Url::parse(&origin).ok().filter(Url::has_host);
        let base = base.ok_or_else(|| wrong("its host is none"))?;
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        };
        let path = path.strip_prefix('/').unwrap_or(path);
        let read = |text: &str| template(section, key, text, parameters, Place::Seen);
        let segments = path.split('/').map(read).collect::<Result<Vec<_>, _>>()?;
        let query = query.map(read).transpose()?;
        let address = Self { origin, segments, query, base };
        address.check_fixed_parts().map_err(|why| section.fault_of(key, why))?;
        Ok(address)
    }

    /// What the author wrote must be what a URL parser makes of it: no `..`, nothing that is encoded anew.
    fn check_fixed_parts(&self) -> Result<(), String> {
        for (place, segment) in (1..).zip(&self.segments).filter(|(_, segment)| segment.is_fixed()) {
            let text = segment.prefix();
            // A path may end with a slash.
            if text.is_empty() && place == self.segments.len() {
                continue;
            }
            let parsed = Url::parse(&format!("https://x/{text}"));
            if is_dots(text) || parsed.is_ok_and(|url| url.path() != format!("/{text}")) {
                return Err(format!("its segment `{text}` is not written as it would be sent"));
            }
        }
        Ok(())
    }

    /// The host.
    pub(crate) fn host(&self) -> &str {
        self.base.host_str().unwrap_or_default()
    }

    /// Whether it is not encrypted, and does not stay on this machine.
    pub(crate) fn is_open(&self) -> bool {
        let host = self.base.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let loopback = host.eq_ignore_ascii_case("localhost")
            || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        self.base.scheme() == "http" && !loopback
    }

    /// The URL with the values of a call.
    ///
    /// # Errors
    /// `tool.arguments_invalid`: a value would change more of the URL than its own place.
    pub(crate) fn fill(&self, values: &mut Values<'_>) -> Result<Url> {
        let mut text = self.origin.clone();
        for segment in &self.segments {
            let filled = segment.fill(values, within_a_segment)?;
            if !segment.is_fixed() && is_dots(&filled) {
                return Err(unfit("a value would make a segment of the URL empty, or one of dots only"));
            }
            text.push('/');
            text.push_str(&filled);
        }
        if let Some(query) = &self.query {
            text.push('?');
            text.push_str(&query.fill(values, |value| Ok(utf8_percent_encode(value, ENCODED).to_string()))?);
        }
        if text.len() > MAX_URL {
            return Err(unfit(format!("the URL would be longer than {MAX_URL} bytes")));
        }
        let url = Url::parse(&text)
            .map_err(|error| Error::internal(format!("a URL was made that is none: {error}")))?;
        // By construction it is so; if it ever is not, nothing is sent.
        let segments = url.path_segments().map_or(0, Iterator::count);
        if url.origin() != self.base.origin() || segments != self.segments.len() || url.fragment().is_some() {
            return Err(unfit("the values would lead to another place than the pack says"));
        }
        Ok(url)
    }
}

/// A value as a part of a segment. What servers and proxies take for the end of a segment, however it is encoded, is
/// refused: many decode before they look.
fn within_a_segment(value: &str) -> Result<String> {
    if value.is_empty() {
        return Err(unfit("is empty, and would leave out a segment of the URL"));
    }
    if let Some(bad) = value.chars().find(|c| matches!(c, '/' | '\\' | '%' | ';') || c.is_control()) {
        return Err(unfit(format!(
            "has the character `{}`, which cannot be in a segment of a URL",
            bad.escape_debug()
        )));
    }
    Ok(utf8_percent_encode(value, ENCODED).to_string())
}

/// Whether a server may take the segment for none, this one or the one above.
fn is_dots(segment: &str) -> bool {
    segment.is_empty() || segment.chars().all(|c| c == '.')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::For;
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    fn parameters() -> Parameters {
        let arguments = json!({"flag": {"type": "string"}, "note": {"type": "string"}, "key": {"type": "string", "writeOnly": true}});
        Parameters::read(arguments.as_object().unwrap().clone(), &[]).unwrap()
    }

    fn address(url: &str) -> Result<Address, Fault> {
        let table = json!({"url": url}).as_object().unwrap().clone();
        Address::read(&mut Section::new("http", table, &["url"]).unwrap(), "url", &parameters())
    }

    fn filled(address: &Address, flag: &str, note: &str) -> Result<Url> {
        let parameters = parameters();
        let arguments: Map<String, Value> = json!({"flag": flag, "note": note}).as_object().unwrap().clone();
        address.fill(&mut Values { parameters: &parameters, arguments: &arguments, purpose: For::Preview })
    }

    #[test]
    fn a_url_that_leaves_its_place_to_arguments_is_refused() {
        for (url, said) in [
            ("flags.example/x", "begin with `https://`"),
            ("ftp://flags.example/x", "begin with `https://`"),
            ("https://{flag}.example/x", "host must be fixed"),
            ("https://flags.example:{flag}/x", "host must be fixed"),
            ("https://user:password@flags.example/x", "host must be fixed"),
            ("https:///x", "its host is none"),
            ("https://flags.example/x#{flag}", "fragment"),
            ("https://flags.example\\{flag}", "backslash"),
            ("https://flags.example/a/../{flag}", "not written as it would be sent"),
            ("https://flags.example/a//{flag}", "not written as it would be sent"),
            ("https://flags.example/a b", "not written as it would be sent"),
            ("https://flags.example/{unknown}", "no argument"),
            ("https://flags.example/{key}", "`writeOnly`"),
            ("https://flags.example/{env:TOKEN}", "cannot stand here"),
            ("https://flags.example/{flag", "without a `}`"),
        ] {
            let fault = address(url).expect_err(url);
            assert!(fault.message.contains(said), "{url}: {}", fault.message);
        }
    }

    #[test]
    fn a_value_stays_in_its_place() {
        let address = address("https://flags.example/api/{flag}/on?note={note}").unwrap();
        let url = filled(&address, "new checkout?x=1", "a&b=c#d").unwrap();
        assert_eq!(url.as_str(), "https://flags.example/api/new%20checkout%3Fx%3D1/on?note=a%26b%3Dc%23d");
        for bad in ["..", ".", "", "a/b", "a\\b", "%2e%2e", "..%2fadmin", "a\nb", "a\0b", "...", "a;b"] {
            let error = filled(&address, bad, "x").expect_err(bad);
            assert_eq!(error.code, astradesk_core::Code::ToolArgumentsInvalid, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_value_changes_the_host_or_the_number_of_segments(flag in ".{0,40}", note in ".{0,40}") {
            let address = address("https://flags.example:8443/api/v1-{flag}/on?note={note}&last=1").unwrap();
            if let Ok(url) = filled(&address, &flag, &note) {
                prop_assert_eq!(url.host_str(), Some("flags.example"));
                prop_assert_eq!(url.port(), Some(8443));
                let segments: Vec<String> = url.path_segments().unwrap().map(str::to_owned).collect();
                prop_assert_eq!(segments.len(), 3);
                let decoded = percent_encoding::percent_decode_str(&segments[1]).decode_utf8().unwrap();
                prop_assert_eq!(decoded.into_owned(), format!("v1-{flag}"));
                let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
                prop_assert_eq!(pairs, vec![("note".to_owned(), note), ("last".to_owned(), "1".to_owned())]);
                prop_assert!(url.fragment().is_none() && url.username().is_empty());
            }
        }
    }
}
