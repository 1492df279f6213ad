//! Tokens that were verified a moment ago: their signature need not be checked for every request.

use astradesk_core::canonical::Digest;
use astradesk_core::{Principal, Timestamp};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The most tokens that are remembered.
const CAPACITY: usize = 4096;
/// How long a token is remembered at most, in seconds: the longest that a withdrawn key is still good.
const SECONDS: i64 = 60;

/// Verified tokens, by the SHA-256 of their text; the text itself is not kept.
#[derive(Default)]
pub(super) struct Cache(Mutex<HashMap<Digest, Entry>>);

struct Entry {
    principal: Arc<Principal>,
    ends_at: i64,
    /// The issuer, and the generation of its keys: when the keys change, the token is verified again.
    keys: (usize, u64),
}

impl Cache {
    /// The principal of a token that was verified with keys that are still the issuer's.
    pub(super) fn get(
        &self,
        token: &Digest,
        now: Timestamp,
        generation: impl Fn(usize) -> Option<u64>,
    ) -> Option<Arc<Principal>> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.get(token)?;
        let (issuer, verified_with) = entry.keys;
        let valid = entry.ends_at > now.as_second() && generation(issuer) == Some(verified_with);
        valid.then(|| entry.principal.clone())
    }

    /// Remembers a verified token until it ends, or for [`SECONDS`].
    pub(super) fn put(
        &self,
        token: Digest,
        principal: Arc<Principal>,
        now: Timestamp,
        ends_at: i64,
        keys: (usize, u64),
    ) {
        let now = now.as_second();
        let ends_at = ends_at.min(now + SECONDS);
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= CAPACITY {
            entries.retain(|_, entry| entry.ends_at > now);
        }
        if entries.len() >= CAPACITY {
            entries.clear();
        }
        entries.insert(token, Entry { principal, ends_at, keys });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn principal() -> Arc<Principal> {
        let roles = std::collections::BTreeSet::new();
        Arc::new(Principal { subject: "anna".into(), issuer: "i".into(), roles, actor: None })
    }

    #[test]
    fn a_token_is_forgotten_when_it_ends_after_a_minute_and_when_keys_change() {
        let cache = Cache::default();
        let (short, long) = (Digest::of("short"), Digest::of("long"));
        cache.put(short, principal(), at(1000), 1010, (0, 7));
        cache.put(long, principal(), at(1000), 9999, (0, 7));
        let get = |token, now, generation| cache.get(&token, at(now), |_| Some(generation)).is_some();
        assert!(get(short, 1009, 7) && !get(short, 1010, 7));
        assert!(get(long, 1059, 7) && !get(long, 1060, 7));
        assert!(!get(long, 1001, 8));
    }

    #[test]
    fn it_does_not_grow_beyond_its_capacity() {
        let cache = Cache::default();
        for i in 0..(CAPACITY * 2 + 10) {
            cache.put(Digest::of(i.to_string()), principal(), at(0), 100, (0, 0));
        }
        assert!(cache.0.lock().unwrap().len() <= CAPACITY);
    }
}
