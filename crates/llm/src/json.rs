//! JSON without a second meaning: no member twice, not too deep, nothing around it.

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

/// How deep a document may go.
const MAX_DEPTH: usize = 16;

/// Reads a text that is exactly one document.
///
/// # Errors
/// What is wrong with it, without a word of it.
pub(crate) fn read(text: &str) -> Result<Value, String> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Strict { depth: MAX_DEPTH }.deserialize(&mut reader).map_err(|error| told(&error))?;
    reader.end().map_err(|_| "something follows the JSON document".to_owned())?;
    Ok(value)
}

fn told(error: &serde_json::Error) -> String {
    let at = format!("at line {}, column {}", error.line(), error.column());
    match error.classify() {
        serde_json::error::Category::Eof => format!("the JSON breaks off {at}"),
        serde_json::error::Category::Data => format!("{error}"),
        serde_json::error::Category::Syntax | serde_json::error::Category::Io => {
            format!("it is no JSON {at}")
        }
    }
}

#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1);
        depth.map(|depth| Self { depth }).ok_or_else(|| E::custom("the JSON is nested too deep"))
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON document")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number is out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut all = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            all.push(item);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut all = Map::new();
        while let Some(Member(name)) = members.next_key()? {
            let value = members.next_value_seed(inner)?;
            if all.insert(name, value).is_some() {
                return Err(A::Error::custom("a member of an object is there twice"));
            }
        }
        Ok(Value::Object(all))
    }
}

struct Member(String);

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_document_and_nothing_else() {
        for (text, expected) in [
            (r#"{"a":[1,-2,0.5,true,null,"x"]}"#, None),
            (" {}\n", None),
            (r#"{"a":1,"a":1}"#, Some("a member of an object is there twice at line 1 column 13")),
            (r#"{"x":{"a":1,"\u0061":2}}"#, Some("a member of an object is there twice at line 1 column 23")),
            ("{} {}", Some("something follows the JSON document")),
            ("{}.", Some("something follows the JSON document")),
            (r#"{"a":"#, Some("the JSON breaks off at line 1, column 5")),
            ("", Some("the JSON breaks off at line 1, column 0")),
            ("Sure! {}", Some("it is no JSON at line 1, column 1")),
            ("{'a':1}", Some("it is no JSON at line 1, column 2")),
            ("[1e999]", Some("it is no JSON at line 1, column 6")),
        ] {
            assert_eq!(read(text).err().as_deref(), expected, "{text}");
            if expected.is_none() {
                assert_eq!(read(text).unwrap(), serde_json::from_str::<Value>(text).unwrap());
            }
        }
        let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(read(&deep(16)).is_ok());
        assert!(read(&deep(17)).unwrap_err().starts_with("the JSON is nested too deep"));
        assert!(read(&"[".repeat(1_000_000)).unwrap_err().starts_with("the JSON is nested too deep"));
    }
}
