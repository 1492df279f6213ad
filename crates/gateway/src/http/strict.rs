//! JSON in which an object is an object.
//!
//! Whoever derives `Deserialize` for a struct takes a list of its fields for it, too, without their names: an
//! unknown field could not be told, and the OpenAPI document knows no such lists.

use serde::de::value::{MapAccessDeserializer, MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, Deserializer, Error as _, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Error, Value};

/// Reads a text as JSON.
///
/// # Errors
/// When it is not what is wanted, or has a list where an object is wanted.
pub(crate) fn from_slice<T: DeserializeOwned>(text: &[u8]) -> Result<T, Error> {
    // What a `Value` does not tell, such as a field that is there twice, is found here.
    let read = serde_json::from_slice(text)?;
    T::deserialize(Strict(serde_json::from_slice(text)?))?;
    Ok(read)
}

struct Strict(Value);

impl IntoDeserializer<'_, Error> for Strict {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Strict {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Array(items) => {
                let mut items = SeqDeserializer::new(items.into_iter().map(Strict));
                let read = visitor.visit_seq(&mut items)?;
                items.end()?;
                Ok(read)
            }
            Value::Object(members) => {
                let members = members.into_iter().map(|(name, value)| (name, Strict(value)));
                let mut members = MapDeserializer::new(members);
                let read = visitor.visit_map(&mut members)?;
                members.end()?;
                Ok(read)
            }
            plain => plain.deserialize_any(visitor),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.is_array() {
            return Err(Error::custom("there is a list where an object must be"));
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if self.0.is_array() {
            let fields = fields.join("`, `");
            return Err(Error::custom(format!("there is a list where an object must be, of `{fields}`")));
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.0 {
            Value::Object(members) => {
                let members = members.into_iter().map(|(name, value)| (name, Strict(value)));
                let members = MapAccessDeserializer::new(MapDeserializer::new(members));
                members.deserialize_enum(name, variants, visitor)
            }
            plain => plain.deserialize_enum(name, variants, visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq
        tuple tuple_struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::collections::BTreeMap;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        inner: Option<Inner>,
        many: Vec<Inner>,
        named: BTreeMap<String, Newtype>,
        kind: Kind,
        pair: (u64, f64),
        any: Value,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Newtype(Inner);

    #[derive(Debug, PartialEq, Deserialize)]
    struct Inner {
        x: String,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    enum Kind {
        Plain,
        Full { x: String },
    }

    const GOOD: &str = r#"{"inner":{"x":"a"},"many":[{"x":"b"}],"named":{"n":{"x":"c"}},"kind":{"Full":{"x":"d"}},"pair":[1,2],"any":[[1]]}"#;

    fn read(text: &str) -> Result<Outer, String> {
        from_slice(text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_written_as_it_should_be_is_read_as_ever() {
        for (from, to) in [("", ""), ("{\"Full\":{\"x\":\"d\"}}", "\"Plain\""), ("{\"x\":\"a\"}", "null")] {
            let text = GOOD.replacen(from, to, 1);
            assert_eq!(read(&text).unwrap(), serde_json::from_str(&text).unwrap());
        }
        assert_eq!(from_slice::<Option<Inner>>(b" null ").unwrap(), None);
    }

    #[test]
    fn no_list_is_taken_for_an_object() {
        for inner in ["{\"x\":\"a\"}", "{\"x\":\"b\"}", "{\"x\":\"c\"}", "{\"x\":\"d\"}"] {
            let list = inner.replace("{\"x\":", "[").replace('}', "]");
            let text = GOOD.replace(inner, &list);
            assert!(serde_json::from_str::<Outer>(&text).is_ok(), "serde alone takes it: {text}");
            assert!(read(&text).unwrap_err().contains("a list where an object must be"), "{text}");
        }
        assert!(from_slice::<Inner>(b"[\"a\"]").unwrap_err().to_string().contains("of `x`"));
    }

    #[test]
    fn what_was_refused_before_is_refused() {
        for (from, to) in [
            ("\"inner\":", "\"inner\":null,\"inner\":"),
            ("\"inner\":", "\"outer\":"),
            ("[1,2]", "[1,2,3]"),
            ("[1,2]", "[1]"),
            ("\"many\":[", "\"many\":[null,"),
        ] {
            assert!(read(&GOOD.replacen(from, to, 1)).is_err(), "{from} {to}");
        }
    }
}
