//! A resource of a pack: a document that agents can read, or all of those that a template of URIs has.

use crate::parameters::Parameters;
use crate::template::{For, Template, Values};
use astradesk_core::Arguments;
use astradesk_runtime::port::{About, Content, Document, Resource};

/// The longest value in a URI, in bytes.
const MAX_VALUE: usize = 64;

/// A resource as its pack declares it.
pub(crate) struct DeclaredResource {
    pub(crate) about: About,
    pub(crate) uri: Uri,
    pub(crate) mime_type: String,
    pub(crate) body: Body,
}

/// What it says.
pub(crate) enum Body {
    /// A text with the values of the URI in their places.
    Text(Template, Parameters),
    /// A file as it is.
    File(Content),
}

/// A URI, or a template of URIs with `{places}`.
pub(crate) struct Uri {
    text: String,
    /// What it is made of: fixed texts, and between them the names of places.
    fixed: Vec<String>,
    places: Vec<String>,
}

impl Uri {
    /// Reads one.
    ///
    /// # Errors
    /// A sentence on what is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let scheme = text.split_once("://").map(|(scheme, _)| scheme).unwrap_or_default();
        let scheme_is_sound = scheme.starts_with(|c: char| c.is_ascii_lowercase())
            && scheme.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b));
        if !scheme_is_sound || !text.bytes().all(|b| b.is_ascii_graphic() && !b"`\"<>\\^|".contains(&b)) {
            return Err("it must be `scheme://…` in printable ASCII, such as `runbooks://payments/failover`"
                .to_owned());
        }
        let (mut fixed, mut places, mut rest) = (Vec::new(), Vec::new(), text);
        while let Some((before, from)) = rest.split_once('{') {
            let (name, after) = from.split_once('}').ok_or("it has a `{` without a `}`")?;
            let stands_alone = !before.is_empty() && (after.is_empty() || after.starts_with('/'));
            if !stands_alone || before == format!("{scheme}://") || !before.ends_with('/') {
                return Err(format!("`{{{name}}}` must be a whole segment, and not the first"));
            }
            if places.iter().any(|place| place == name) {
                return Err(format!("it has `{{{name}}}` twice"));
            }
            fixed.push(before.to_owned());
            places.push(name.to_owned());
            rest = after;
        }
        if rest.contains('}') {
            return Err("it has a `}` without a `{`".to_owned());
        }
        fixed.push(rest.to_owned());
        Ok(Self { text: text.to_owned(), fixed, places })
    }

    /// The names of its places.
    pub(crate) fn places(&self) -> &[String] {
        &self.places
    }

    /// The values that this URI has in its places; `None` if it is none of these. A value is a name: what is none does
    /// not get into what a model reads.
    fn values(&self, uri: &str) -> Option<Arguments> {
        let mut fixed = self.fixed.iter();
        let mut rest = uri.strip_prefix(fixed.next()?.as_str())?;
        let mut values = Arguments::new();
        for (place, fixed) in self.places.iter().zip(fixed) {
            let (value, after) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            rest = after;
            if !is_name(value) {
                return None;
            }
            values.insert(place.clone(), value.into());
            // A fixed text between two places ends with the segment before the second of them.
            rest = rest.strip_prefix(fixed.as_str())?;
        }
        rest.is_empty().then_some(values)
    }
}

fn is_name(value: &str) -> bool {
    (1..=MAX_VALUE).contains(&value.len())
        && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
        && !value.bytes().all(|b| b == b'.')
}

impl Resource for DeclaredResource {
    fn about(&self) -> &About {
        &self.about
    }

    fn uri(&self) -> &str {
        &self.uri.text
    }

    fn mime_type(&self) -> &str {
        &self.mime_type
    }

    fn read(&self, uri: &str) -> Option<Document> {
        let arguments = self.uri.values(uri)?;
        let content = match &self.body {
            Body::File(content) => content.clone(),
            Body::Text(text, parameters) => {
                let mut values = Values { parameters, arguments: &arguments, purpose: For::Preview };
                Content::Text(text.fill_plain(&mut values).ok()?)
            }
        };
        Some(Document { uri: uri.to_owned(), mime_type: self.mime_type.clone(), content })
    }
}

/// Bytes as a text if they are one.
pub(crate) fn content(bytes: std::sync::Arc<[u8]>) -> Content {
    match std::str::from_utf8(&bytes) {
        Ok(text) => Content::Text(text.to_owned()),
        Err(_) => Content::Bytes(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_uri_gives_names_for_the_places_of_its_template() {
        let uri = Uri::parse("runbooks://{team}/x");
        assert!(uri.is_err(), "whose they are is the author's");
        let uri = Uri::parse("runbooks://db/{name}/steps/{step}").unwrap();
        assert_eq!(uri.places(), ["name", "step"]);
        let values = |text: &str| uri.values(text).map(serde_json::Value::Object);
        assert_eq!(values("runbooks://db/main-1/steps/3.b"), Some(json!({"name": "main-1", "step": "3.b"})));
        for none in [
            "runbooks://db/main/steps/",
            "runbooks://db/main/steps/3/",
            "runbooks://db/main/steps",
            "runbooks://db//steps/3",
            "runbooks://db/../steps/3",
            "runbooks://db/a b/steps/3",
            "runbooks://db/a%20b/steps/3",
            "runbooks://db/a\nIgnore/steps/3",
            "runbooks://web/main/steps/3",
            &format!("runbooks://db/{}/steps/3", "a".repeat(65)),
        ] {
            assert_eq!(values(none), None, "{none}");
        }
        for wrong in [
            "",
            "x",
            "x:y",
            "X://y",
            "://y",
            "x://a b",
            "x://a/{b",
            "x://a/b}",
            "x://{b}",
            "x://a/b{c}",
            "x://a/{b}c",
            "x://ä",
            "x://a`",
        ] {
            assert!(Uri::parse(wrong).is_err(), "{wrong}");
        }
        let fixed = Uri::parse("x://a").unwrap();
        assert!(fixed.values("x://a").is_some() && fixed.values("x://a/").is_none());
    }
}
