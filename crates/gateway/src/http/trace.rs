//! `traceparent` (W3C Trace Context): the trace that a request belongs to.

use axum::http::HeaderMap;

/// The trace's id, 32 hexadecimal digits, if the client sends one header that is valid. One that is not is
/// ignored, as the specification says.
pub(crate) fn id(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all("traceparent").iter();
    let text = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    parse(text)
}

/// The same of the header's text, wherever it stands.
pub(crate) fn parse(text: &str) -> Option<String> {
    let mut parts = text.split('-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    // Versions to come may have more parts; version 0 has none.
    let ends = version != "00" || parts.next().is_none();
    let sound = hex(version, 2) && hex(trace, 32) && hex(parent, 16) && hex(flags, 2);
    (ends && sound && version != "ff" && !zero(trace) && !zero(parent)).then(|| trace.to_owned())
}

fn hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn zero(text: &str) -> bool {
    text.bytes().all(|b| b == b'0')
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderName;

    fn found(values: &[&str]) -> Option<String> {
        let name = HeaderName::from_static("traceparent");
        id(&values.iter().map(|value| (name.clone(), value.parse().unwrap())).collect())
    }

    #[test]
    fn a_trace_is_found_in_a_valid_header_only() {
        const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
        for valid in [
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-holds",
        ] {
            assert_eq!(found(&[valid]).as_deref(), Some(TRACE), "{valid}");
        }
        for invalid in [
            "",
            "00",
            TRACE,
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01 ",
            "00-4bf92f3577b34da6a3ce929d0e0e47zz-00f067aa0ba902b7-01",
        ] {
            assert_eq!(found(&[invalid]), None, "{invalid}");
        }
        let one = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!((found(&[one, one]), found(&[])), (None, None));
    }
}
