//! Canonical JSON (RFC 8785): the one text of a value, so that a digest of it means something.
//!
//! Object keys are sorted by their UTF-16 code units, there is no white space, strings have the shortest escapes,
//! and numbers are written as ECMAScript writes them.
//!
//! RFC 8785 takes its numbers for IEEE 754 doubles, so an integer beyond 2^53 is outside of it: rounded, two calls
//! with different arguments would have the same digest. Such an integer is written here with all of its digits.

use serde::Serialize;
use serde_json::{Number, Value};
use sha2::{Digest as _, Sha256};
use std::cmp::Ordering;
use std::fmt::{self, Write as _};

/// The canonical text of `value`.
pub fn text(value: &Value) -> String {
    let mut out = String::with_capacity(256);
    write_value(&mut out, value);
    out
}

/// The canonical text of an object with these entries, whose keys are distinct.
pub fn object(entries: Vec<(&str, &Value)>) -> String {
    let mut out = String::with_capacity(512);
    write_object(&mut out, entries);
    out
}

fn write_value(out: &mut String, value: &Value) {
    match value {
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_value(out, item);
            }
            out.push(']');
        }
        Value::Object(map) => write_object(out, map.iter().map(|(key, item)| (key.as_str(), item)).collect()),
        Value::String(text) => write_text(out, text),
        Value::Number(number) => write_number(out, number),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Null => out.push_str("null"),
    }
}

fn write_number(out: &mut String, number: &Number) {
    match number.as_f64().filter(|_| number.is_f64()) {
        Some(float) => out.push_str(ryu_js::Buffer::new().format_finite(float)),
        // Writing to a `String` cannot fail.
        None => {
            let _ = write!(out, "{number}");
        }
    }
}

fn write_object(out: &mut String, mut entries: Vec<(&str, &Value)>) {
    entries.sort_unstable_by(|(a, _), (b, _)| by_utf16(a, b));
    out.push('{');
    for (i, (key, item)) in entries.into_iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        write_text(out, key);
        out.push(':');
        write_value(out, item);
    }
    out.push('}');
}

/// UTF-8 sorts as UTF-16 does, but for characters beyond U+FFFF, which UTF-16 puts before U+E000.
fn by_utf16(a: &str, b: &str) -> Ordering {
    if a.is_ascii() || b.is_ascii() { a.cmp(b) } else { a.encode_utf16().cmp(b.encode_utf16()) }
}

fn write_text(out: &mut String, text: &str) {
    if text.bytes().all(|b| b >= b' ' && b != b'"' && b != b'\\') {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        // Writing to a `String` cannot fail.
        let _ = write!(out, "{}", Value::String(text.to_owned()));
    }
}

/// A SHA-256 digest, written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest before the first record of a chain: 32 zero bytes.
    pub const ZERO: Self = Self([0; 32]);

    /// The digest that is these 32 bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The digest of `bytes`.
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        Self(Sha256::digest(bytes.as_ref()).into())
    }

    /// The digest of the canonical text of `value`.
    pub fn of_value(value: &Value) -> Self {
        Self::of(text(value))
    }

    /// Reads 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != 32 || !rest.is_empty() {
            return None;
        }
        let (mut bytes, mut strange) = ([0; 32], 0);
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            let (high, low) = (value_of(*high), value_of(*low));
            strange |= high | low;
            *byte = high << 4 | low;
        }
        (strange <= 15).then_some(Self(bytes))
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

const fn hex_digit(value: u8) -> u8 {
    if value < 10 { b'0' + value } else { b'a' + value - 10 }
}

/// What a hexadecimal digit stands for; more than 15 for what is none. Without a branch, so that many are read at once.
const fn value_of(digit: u8) -> u8 {
    let (number, letter) = (digit.wrapping_sub(b'0'), (digit | 0x20).wrapping_sub(b'a'));
    if number < 10 {
        number
    } else if letter < 6 {
        letter + 10
    } else {
        u8::MAX
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; 64];
        for (pair, byte) in digits.as_chunks_mut::<2>().0.iter_mut().zip(self.0) {
            *pair = [hex_digit(byte >> 4), hex_digit(byte & 15)];
        }
        f.write_str(std::str::from_utf8(&digits).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Digits;
        impl serde::de::Visitor<'_> for Digits {
            type Value = Digest;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("64 hexadecimal digits")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Digest, E> {
                Digest::parse(text).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(Digits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn keys_are_sorted_at_every_depth() {
        let value = json!({"b": [1, {"z": null, "a": "ż\n"}], "a": true});
        assert_eq!(text(&value), r#"{"a":true,"b":[1,{"a":"ż\n","z":null}]}"#);
    }

    /// RFC 8785, section 3.2.2.
    #[test]
    fn literals_numbers_and_strings_are_written_as_the_rfc_says() {
        let input = r#"{
            "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
            "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
            "literals": [null, true, false]
        }"#;
        let expected = r#"{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}"#;
        assert_eq!(text(&serde_json::from_str(input).unwrap()), expected);
        assert_eq!(
            text(&json!("\u{8}\t\u{c}\r\u{1f}\u{7f}\u{2028}")),
            "\"\\b\\t\\f\\r\\u001f\u{7f}\u{2028}\""
        );
    }

    /// RFC 8785, section 3.2.3.
    #[test]
    fn keys_are_sorted_by_utf_16() {
        let input = r#"{
            "\u20ac": "Euro Sign", "\r": "Carriage Return", "\ufb33": "Hebrew Letter Dalet With Dagesh", "1": "One",
            "\ud83d\ude00": "Emoji: Grinning Face", "\u0080": "Control", "\u00f6": "Latin Small Letter O With Diaeresis"
        }"#;
        let text = text(&serde_json::from_str(input).unwrap());
        let keys = ["\\r", "1", "\u{80}", "\u{f6}", "\u{20ac}", "\u{1f600}", "\u{fb33}"];
        let places: Vec<usize> = keys.iter().map(|key| text.find(&format!("\"{key}\":")).unwrap()).collect();
        assert!(places.is_sorted(), "{text}");
    }

    /// RFC 8785, appendix B.
    #[test]
    fn numbers_are_written_as_ecmascript_writes_them() {
        for (bits, expected) in [
            (0x0000_0000_0000_0000, "0"),
            (0x8000_0000_0000_0000, "0"),
            (0x0000_0000_0000_0001, "5e-324"),
            (0x8000_0000_0000_0001, "-5e-324"),
            (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
            (0xffef_ffff_ffff_ffff, "-1.7976931348623157e+308"),
            (0x4340_0000_0000_0000, "9007199254740992"),
            (0xc340_0000_0000_0000, "-9007199254740992"),
            (0x4430_0000_0000_0000, "295147905179352830000"),
            (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
            (0x44b5_2d02_c7e1_4af6, "1e+23"),
            (0x44b5_2d02_c7e1_4af7, "1.0000000000000001e+23"),
            (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
            (0x444b_1ae4_d6e2_ef4f, "999999999999999900000"),
            (0x444b_1ae4_d6e2_ef50, "1e+21"),
            (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"),
            (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
            (0x41b3_de43_5555_5553, "333333333.3333332"),
            (0x41b3_de43_5555_5554, "333333333.33333325"),
            (0x41b3_de43_5555_5555, "333333333.3333333"),
            (0x41b3_de43_5555_5556, "333333333.3333334"),
            (0x41b3_de43_5555_5557, "333333333.33333343"),
            (0xbecb_f647_612f_3696, "-0.0000033333333333333333"),
            (0x4314_3ff3_c1cb_0959, "1424953923781206.2"),
        ] {
            assert_eq!(text(&json!(f64::from_bits(bits))), expected, "{bits:x}");
        }
    }

    #[test]
    fn one_number_has_one_text_and_two_integers_have_two() {
        assert_eq!((text(&json!(1.0)), text(&json!(1e2))), (text(&json!(1)), text(&json!(100))));
        assert_eq!(text(&serde_json::from_str("-0").unwrap()), "0");
        assert_eq!(
            text(&json!([9_007_199_254_740_993_u64, u64::MAX, i64::MIN])),
            "[9007199254740993,18446744073709551615,-9223372036854775808]"
        );
    }

    proptest! {
        #[test]
        fn a_canonical_text_reads_back_and_is_canonical(
            text in r"(\PC|[\x00-\x1f\u{e000}\u{10000}]){0,20}",
            float in any::<f64>(),
            integer in any::<i64>(),
        ) {
            let value = json!({"b": {&text: float, "a": [integer]}, &text: null});
            let canonical = super::text(&value);
            let read: Value = serde_json::from_str(&canonical).unwrap();
            prop_assert_eq!(super::text(&read), canonical);
        }

        #[test]
        fn the_order_of_keys_is_that_of_utf_16(
            a in "[a\u{7f}\u{80}\u{d7ff}\u{e000}\u{ffff}\u{10000}]{0,4}",
            b in "[a\u{7f}\u{80}\u{d7ff}\u{e000}\u{ffff}\u{10000}]{0,4}",
        ) {
            prop_assert_eq!(by_utf16(&a, &b), a.encode_utf16().cmp(b.encode_utf16()));
        }
    }

    #[test]
    fn a_digest_reads_back_and_refuses_noise() {
        let digest = Digest::of("abc");
        assert_eq!(digest.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(Digest::parse(&digest.to_string()), Some(digest));
        assert_eq!(Digest::parse(&digest.to_string().to_uppercase()), Some(digest));
        for noise in
            ["abc", &"g".repeat(64), &"a".repeat(65), &"a".repeat(63), &"ż".repeat(32), &"+a".repeat(32)]
        {
            assert_eq!(Digest::parse(noise), None, "{noise}");
        }
    }
}
