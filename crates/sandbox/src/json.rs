//! JSON as the sandbox keeps it: persistent values, whose parts are shared between the versions of an object and
//! between a template and what is made from it. A copy is a count, a change copies the way to it, and comparing
//! with what one came from is mostly comparing addresses. Tens of thousands of pods fit, because most of a pod is
//! its `ReplicaSet`'s.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::Number;

/// A JSON value.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) enum Value {
    #[default]
    Null,
    Bool(bool),
    Number(Number),
    String(Arc<str>),
    Array(Arc<Vec<Value>>),
    Object(Map),
}

/// A JSON object: its fields in the order of their names.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Map(Arc<Vec<(Arc<str>, Value)>>);

/// What [`json!`] can take in.
pub(crate) trait ToJson {
    fn to_json(&self) -> Value;
}

/// A [`Value`] in JSON's notation, as `serde_json::json!` has it; values in it are shared and not copied.
macro_rules! json {
    (@fields $map:ident) => {};
    (@fields $map:ident $field:tt : null $(, $($rest:tt)*)?) => {
        $map.insert($field, $crate::json::Value::Null);
        $crate::json::json!(@fields $map $($($rest)*)?);
    };
    (@fields $map:ident $field:tt : { $($inner:tt)* } $(, $($rest:tt)*)?) => {
        $map.insert($field, $crate::json::json!({ $($inner)* }));
        $crate::json::json!(@fields $map $($($rest)*)?);
    };
    (@fields $map:ident $field:tt : [ $($inner:tt)* ] $(, $($rest:tt)*)?) => {
        $map.insert($field, $crate::json::json!([ $($inner)* ]));
        $crate::json::json!(@fields $map $($($rest)*)?);
    };
    (@fields $map:ident $field:tt : $value:expr $(, $($rest:tt)*)?) => {
        $map.insert($field, $crate::json::ToJson::to_json(&$value));
        $crate::json::json!(@fields $map $($($rest)*)?);
    };
    (@items [$($done:tt)*]) => { $crate::json::Value::from(vec![$($done)*]) };
    (@items [$($done:tt)*] null $(, $($rest:tt)*)?) => {
        $crate::json::json!(@items [$($done)* $crate::json::Value::Null,] $($($rest)*)?)
    };
    (@items [$($done:tt)*] { $($inner:tt)* } $(, $($rest:tt)*)?) => {
        $crate::json::json!(@items [$($done)* $crate::json::json!({ $($inner)* }),] $($($rest)*)?)
    };
    (@items [$($done:tt)*] [ $($inner:tt)* ] $(, $($rest:tt)*)?) => {
        $crate::json::json!(@items [$($done)* $crate::json::json!([ $($inner)* ]),] $($($rest)*)?)
    };
    (@items [$($done:tt)*] $value:expr $(, $($rest:tt)*)?) => {
        $crate::json::json!(@items [$($done)* $crate::json::ToJson::to_json(&$value),] $($($rest)*)?)
    };
    ({}) => { $crate::json::Value::Object($crate::json::Map::default()) };
    ({ $($fields:tt)+ }) => {{
        let mut map = $crate::json::Map::default();
        $crate::json::json!(@fields map $($fields)+);
        $crate::json::Value::Object(map)
    }};
    ([]) => { $crate::json::Value::from(Vec::<$crate::json::Value>::new()) };
    ([ $($items:tt)+ ]) => { $crate::json::json!(@items [] $($items)+) };
    ($value:expr) => { $crate::json::ToJson::to_json(&$value) };
}
pub(crate) use json;

impl Value {
    /// What [RFC 6901](https://www.rfc-editor.org/rfc/rfc6901) finds at a pointer that escapes nothing.
    pub(crate) fn pointer(&self, pointer: &str) -> Option<&Value> {
        pointer.split('/').skip(1).try_fold(self, |value, part| match value {
            Value::Object(map) => map.get(part),
            Value::Array(items) => items.get(part.parse::<usize>().ok()?),
            _ => None,
        })
    }

    pub(crate) fn pointer_mut(&mut self, pointer: &str) -> Option<&mut Value> {
        pointer.split('/').skip(1).try_fold(self, |value, part| match value {
            Value::Object(map) => map.get_mut(part),
            Value::Array(items) => Arc::make_mut(items).get_mut(part.parse::<usize>().ok()?),
            _ => None,
        })
    }

    pub(crate) fn get(&self, field: &str) -> Option<&Value> {
        self.as_object()?.get(field)
    }

    pub(crate) fn get_mut(&mut self, field: &str) -> Option<&mut Value> {
        self.as_object_mut()?.get_mut(field)
    }

    pub(crate) fn as_object(&self) -> Option<&Map> {
        if let Value::Object(map) = self { Some(map) } else { None }
    }

    pub(crate) fn as_object_mut(&mut self) -> Option<&mut Map> {
        if let Value::Object(map) = self { Some(map) } else { None }
    }

    pub(crate) fn as_array(&self) -> Option<&Vec<Value>> {
        if let Value::Array(items) = self { Some(items) } else { None }
    }

    pub(crate) fn as_array_mut(&mut self) -> Option<&mut Vec<Value>> {
        if let Value::Array(items) = self { Some(Arc::make_mut(items)) } else { None }
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        if let Value::String(text) = self { Some(text) } else { None }
    }

    pub(crate) fn as_i64(&self) -> Option<i64> {
        if let Value::Number(number) = self { number.as_i64() } else { None }
    }

    pub(crate) fn as_bool(&self) -> Option<bool> {
        if let Value::Bool(flag) = self { Some(*flag) } else { None }
    }

    pub(crate) fn is_null(&self) -> bool {
        *self == Value::Null
    }

    pub(crate) fn is_object(&self) -> bool {
        matches!(self, Value::Object(_))
    }

    pub(crate) fn is_array(&self) -> bool {
        matches!(self, Value::Array(_))
    }

    /// Merges a patch into it ([RFC 7386](https://www.rfc-editor.org/rfc/rfc7386)).
    pub(crate) fn merge(&mut self, patch: &Value) {
        let Value::Object(patch) = patch else {
            self.clone_from(patch);
            return;
        };
        if !self.is_object() {
            *self = json!({});
        }
        let Some(fields) = self.as_object_mut() else { return };
        for (field, value) in patch.iter() {
            if value.is_null() {
                fields.remove(field);
            } else {
                fields.slot(field).merge(value);
            }
        }
    }

    /// Takes from another value whatever is equal to its own. Says whether all of it is.
    pub(crate) fn share(&mut self, other: &Value) -> bool {
        let equal = match (&mut *self, other) {
            (Value::Object(mine), Value::Object(theirs)) => mine.share(theirs),
            (Value::Array(mine), Value::Array(theirs)) if !Arc::ptr_eq(mine, theirs) => {
                let mut equal = mine.len() == theirs.len();
                for (mine, theirs) in Arc::make_mut(mine).iter_mut().zip(theirs.iter()) {
                    equal &= mine.share(theirs);
                }
                equal
            }
            (mine, theirs) => *mine == *theirs,
        };
        if equal {
            self.clone_from(other);
        }
        equal
    }
}

impl Map {
    fn place(&self, field: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(name, _)| (**name).cmp(field))
    }

    pub(crate) fn get(&self, field: &str) -> Option<&Value> {
        self.0.get(self.place(field).ok()?).map(|(_, value)| value)
    }

    pub(crate) fn get_mut(&mut self, field: &str) -> Option<&mut Value> {
        let place = self.place(field).ok()?;
        Arc::make_mut(&mut self.0).get_mut(place).map(|(_, value)| value)
    }

    /// The value of a field, made null where there is none.
    pub(crate) fn slot(&mut self, field: &str) -> &mut Value {
        let found = self.place(field);
        let fields = Arc::make_mut(&mut self.0);
        let place = found.unwrap_or_else(|place| {
            // Objects are many and live long: no room is kept for what does not come.
            fields.reserve_exact(1);
            fields.insert(place, (intern(field), Value::Null));
            place
        });
        #[expect(clippy::indexing_slicing, reason = "it was found or made there")]
        &mut fields[place].1
    }

    pub(crate) fn insert(&mut self, field: &str, value: impl Into<Value>) {
        *self.slot(field) = value.into();
    }

    pub(crate) fn remove(&mut self, field: &str) -> Option<Value> {
        let place = self.place(field).ok()?;
        Some(Arc::make_mut(&mut self.0).remove(place).1)
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(&str, &Value) -> bool) {
        if !self.iter().all(|(field, value)| keep(field, value)) {
            Arc::make_mut(&mut self.0).retain(|(field, value)| keep(field, value));
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(field, value)| (&**field, value))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn share(&mut self, other: &Map) -> bool {
        if Arc::ptr_eq(&self.0, &other.0) {
            return true;
        }
        let mut equal = self.len() == other.len();
        for (field, value) in Arc::make_mut(&mut self.0) {
            equal &= other.get(field).is_some_and(|theirs| value.share(theirs));
        }
        equal
    }
}

impl FromIterator<(Arc<str>, Value)> for Map {
    fn from_iter<I: IntoIterator<Item = (Arc<str>, Value)>>(fields: I) -> Map {
        let mut fields: Vec<_> = fields.into_iter().collect();
        // Of a field that is named twice the last counts, as the real server's decoder has it.
        fields.sort_by(|(left, _), (right, _)| left.cmp(right));
        fields.reverse();
        fields.dedup_by(|(later, _), (kept, _)| later == kept);
        fields.reverse();
        fields.shrink_to_fit();
        Map(Arc::new(fields))
    }
}

/// How many different texts a thread knows at once, and how long they may be, in bytes.
const KNOWN: (usize, usize) = (16_384, 128);

thread_local! {
    static TEXTS: RefCell<HashSet<Arc<str>>> = RefCell::default();
}

/// The one copy of a text that this thread knows. The names of fields, the words of statuses, the second that it is
/// and the name of an object's owner are in very many objects.
pub(crate) fn intern(text: &str) -> Arc<str> {
    if text.len() > KNOWN.1 {
        return text.into();
    }
    TEXTS.with_borrow_mut(|texts| {
        if let Some(known) = texts.get(text) {
            return known.clone();
        }
        if texts.len() == KNOWN.0 {
            texts.clear();
        }
        let text: Arc<str> = text.into();
        texts.insert(text.clone());
        text
    })
}

impl From<serde_json::Value> for Value {
    fn from(value: serde_json::Value) -> Value {
        match value {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(flag) => Value::Bool(flag),
            serde_json::Value::Number(number) => Value::Number(number),
            serde_json::Value::String(text) => text.into(),
            serde_json::Value::Array(items) => items.into(),
            serde_json::Value::Object(fields) => {
                Value::Object(fields.into_iter().map(|(name, value)| (intern(&name), value.into())).collect())
            }
        }
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(items: Vec<T>) -> Value {
        let mut items: Vec<Value> = items.into_iter().map(Into::into).collect();
        items.shrink_to_fit();
        Value::Array(Arc::new(items))
    }
}

impl From<Map> for Value {
    fn from(map: Map) -> Value {
        Value::Object(map)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Value {
        Value::Bool(flag)
    }
}

impl ToJson for bool {
    fn to_json(&self) -> Value {
        Value::Bool(*self)
    }
}

macro_rules! numbers {
    ($($number:ty)+) => { $(
        impl From<$number> for Value {
            fn from(number: $number) -> Value {
                Value::Number(number.into())
            }
        }

        impl ToJson for $number {
            fn to_json(&self) -> Value {
                Value::Number((*self).into())
            }
        }
    )+ };
}
numbers!(i32 i64 u16 u32 u64 usize);

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::String(intern(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        text.as_str().into()
    }
}

impl ToJson for str {
    fn to_json(&self) -> Value {
        self.into()
    }
}

impl ToJson for String {
    fn to_json(&self) -> Value {
        self.as_str().into()
    }
}

impl ToJson for Arc<str> {
    fn to_json(&self) -> Value {
        Value::String(self.clone())
    }
}

impl ToJson for Value {
    fn to_json(&self) -> Value {
        self.clone()
    }
}

impl<T: ToJson> ToJson for Option<T> {
    fn to_json(&self) -> Value {
        self.as_ref().map_or(Value::Null, ToJson::to_json)
    }
}

impl<T: ToJson> ToJson for [T] {
    fn to_json(&self) -> Value {
        self.iter().map(ToJson::to_json).collect::<Vec<_>>().into()
    }
}

impl<T: ToJson, const N: usize> ToJson for [T; N] {
    fn to_json(&self) -> Value {
        self.as_slice().to_json()
    }
}

impl<T: ToJson> ToJson for Vec<T> {
    fn to_json(&self) -> Value {
        self.as_slice().to_json()
    }
}

impl<T: ToJson + ?Sized> ToJson for &T {
    fn to_json(&self) -> Value {
        (**self).to_json()
    }
}

impl PartialEq<str> for Value {
    fn eq(&self, text: &str) -> bool {
        self.as_str() == Some(text)
    }
}

impl PartialEq<&str> for Value {
    fn eq(&self, text: &&str) -> bool {
        self.as_str() == Some(text)
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(flag) => serializer.serialize_bool(*flag),
            Value::Number(number) => number.serialize(serializer),
            Value::String(text) => serializer.serialize_str(text),
            Value::Array(items) => serializer.collect_seq(items.iter()),
            Value::Object(map) => map.serialize(serializer),
        }
    }
}

impl Serialize for Map {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        for (field, value) in self.iter() {
            map.serialize_entry(field, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }

            fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
                Ok(Value::Bool(flag))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
                Ok(number.into())
            }

            fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
                Ok(number.into())
            }

            fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
                Ok(Number::from_f64(number).map_or(Value::Null, Value::Number))
            }

            fn visit_str<E>(self, text: &str) -> Result<Value, E> {
                Ok(text.into())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
                let mut read: Vec<Value> = Vec::new();
                while let Some(item) = items.next_element()? {
                    read.push(item);
                }
                Ok(read.into())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
                let mut read = Vec::new();
                while let Some(name) = fields.next_key::<std::borrow::Cow<'_, str>>()? {
                    read.push((intern(&name), fields.next_value()?));
                }
                Ok(Value::Object(read.into_iter().collect()))
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(left: &Value, right: &Value) -> bool {
        match (left, right) {
            (Value::Object(left), Value::Object(right)) => Arc::ptr_eq(&left.0, &right.0),
            (Value::Array(left), Value::Array(right)) => Arc::ptr_eq(left, right),
            _ => false,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let text = r#"{"a":[1,-2,2.5,null,true,"x"],"b":{"c":{},"é":"\n"},"z":18446744073709551615}"#;
        let value: Value = serde_json::from_str(text).unwrap();
        assert_eq!(value.to_string(), text);
        assert_eq!(value, Value::from(serde_json::from_str::<serde_json::Value>(text).unwrap()));
        let twice: Value = serde_json::from_str(r#"{"b":1,"a":1,"b":2,"b":3}"#).unwrap();
        assert_eq!(twice.to_string(), r#"{"a":1,"b":3}"#);
        assert_eq!(value.pointer("/a/5"), Some(&"x".into()));
        assert_eq!(value.pointer(""), Some(&value));
        assert!(value.pointer("/a/6").is_none() && value.pointer("/b/c/d").is_none());
    }

    #[test]
    fn a_change_copies_the_way_to_it_and_no_more() {
        let before =
            json!({ "spec": { "containers": [{ "name": "app" }] }, "status": { "phase": "Pending" } });
        let mut after = before.clone();
        crate::object::set(&mut after, &["status", "phase"], "Running");
        assert_eq!(crate::object::text(&before, "/status/phase"), "Pending");
        assert!(shares(before.get("spec").unwrap(), after.get("spec").unwrap()));
        assert!(!shares(before.get("status").unwrap(), after.get("status").unwrap()));
    }

    #[test]
    fn equal_parts_are_shared_again() {
        let before = json!({ "spec": { "ports": [{ "port": 1 }, { "port": 2 }] }, "labels": { "a": "1" } });
        let mut read: Value = serde_json::from_str(&before.to_string()).unwrap();
        crate::object::set(&mut read, &["labels", "b"], "2");
        let expected = read.clone();
        assert!(!read.share(&before));
        assert_eq!(read, expected);
        assert!(shares(read.get("spec").unwrap(), before.get("spec").unwrap()));
        assert!(!shares(read.get("labels").unwrap(), before.get("labels").unwrap()));
        let mut longer = json!([1, 2, 3]);
        assert!(!longer.share(&json!([1, 2])));
        assert_eq!(longer, json!([1, 2, 3]));
    }
}
