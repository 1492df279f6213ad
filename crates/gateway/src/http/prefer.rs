//! `Prefer: wait=N` (RFC 7240): how long a client is willing to wait for a run.

use axum::http::HeaderMap;
use std::time::Duration;

/// The longest wait, in seconds; a longer one is cut to it.
const MAX_SECONDS: u64 = 600;

/// The wait that the client prefers. Preferences are no demands: what is not understood is ignored, and of
/// several waits the first counts.
pub(crate) fn wait(headers: &HeaderMap) -> Option<Duration> {
    let preferences = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    preferences.flat_map(|value| value.split(',')).find_map(|preference| {
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        if !name.trim().eq_ignore_ascii_case("wait") {
            return None;
        }
        let seconds = value.trim().trim_matches('"');
        let plain = !seconds.is_empty() && seconds.bytes().all(|b| b.is_ascii_digit());
        // More digits than a `u64` holds is still a number, and a long wait.
        plain.then(|| Duration::from_secs(seconds.parse().unwrap_or(u64::MAX).min(MAX_SECONDS)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderName;

    #[test]
    fn a_wait_is_found_and_bounded() {
        for (header, seconds) in [
            ("wait=30", Some(30)),
            ("respond-async, wait=10", Some(10)),
            ("Wait = \"5\" ; x=y", Some(5)),
            ("wait=0", Some(0)),
            ("wait=601", Some(600)),
            ("wait=99999999999999999999999", Some(600)),
            ("wait=-1", None),
            ("wait=1.5", None),
            ("wait=", None),
            ("wait", None),
            ("", None),
            ("handling=strict", None),
        ] {
            let headers = [(HeaderName::from_static("prefer"), header.parse().unwrap())];
            let found = wait(&headers.into_iter().collect());
            assert_eq!(found, seconds.map(Duration::from_secs), "{header:?}");
        }
    }
}
