//! What a proxy does to requests, and to which.

use http::{Method, Uri};
use std::time::{Duration, Instant};

/// What is asked of the API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// One object, or a part of it.
    Get,
    /// All objects of a kind in a namespace.
    List,
    /// Their changes.
    Watch,
    /// A change, dry runs aside.
    Patch,
    /// A change that is only tried.
    DryRun,
    /// Anything else.
    Other,
}

impl Verb {
    /// What a request asks.
    pub(crate) fn of(method: &Method, uri: &Uri) -> Self {
        let query = uri.query().unwrap_or_default();
        // `/api/v1/namespaces/NS/pods` has no name at its end, `…/pods/NAME` has.
        let mut after = uri.path().split('/').skip_while(|part| *part != "namespaces").skip(2);
        let collection = after.next().is_some() && after.next().is_none();
        match method.as_str() {
            "PATCH" if query.contains("dryRun=All") => Self::DryRun,
            "PATCH" => Self::Patch,
            "GET" if query.contains("watch=true") || query.contains("watch=1") => Self::Watch,
            "GET" if collection => Self::List,
            "GET" => Self::Get,
            _ => Self::Other,
        }
    }
}

/// An answer that is no success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The header `Retry-After`, in seconds.
    pub retry_after: Option<u32>,
    /// Whether the body is plain text, as from something before the API server, and no Kubernetes Status.
    pub plain: bool,
}

/// An answer with a Kubernetes Status as its body.
pub const fn status(status: u16) -> Answer {
    Answer { status, retry_after: None, plain: false }
}

/// An answer with plain text as its body.
pub const fn plain(status: u16) -> Answer {
    Answer { status, retry_after: None, plain: true }
}

impl Answer {
    /// The same with `Retry-After`.
    #[must_use]
    pub const fn after(self, seconds: u32) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }
}

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is answered so, and not forwarded.
    Refuse(Answer),
    /// It is forwarded, and answered so.
    Disown(Answer),
    /// The connection is reset, and it is not forwarded.
    Reset,
    /// It is forwarded, and then the connection is reset.
    Lose,
    /// It is neither forwarded nor answered.
    Ignore,
    /// It is forwarded and not answered.
    Mute,
    /// It is not answered, and forwarded after this time, whether or not somebody still waits.
    Delay(Duration),
    /// Half of the answer comes, and then the connection is closed.
    Truncate,
    /// Half of the answer comes, as if it were all.
    Halve,
    /// A watch: the stream begins and ends at once.
    Close,
    /// A watch: the stream says that its version is too old.
    Expire,
}

/// A fault, and which requests it happens to. Of several that fit, the first one happens.
#[derive(Debug, Clone)]
pub struct Rule {
    verb: Option<Verb>,
    /// What the path ends with.
    path: String,
    fault: Fault,
    left: u32,
    until: Option<Instant>,
    /// Only when a fault has happened before.
    then: bool,
}

impl Rule {
    /// Happens to every request.
    pub const fn new(fault: Fault) -> Self {
        Self { verb: None, path: String::new(), fault, left: u32::MAX, until: None, then: false }
    }

    /// Only to these.
    #[must_use]
    pub fn on(self, verb: Verb) -> Self {
        Self { verb: Some(verb), ..self }
    }

    /// Only where the path ends so.
    #[must_use]
    pub fn at(self, path: &str) -> Self {
        Self { path: path.to_owned(), ..self }
    }

    /// Only so often.
    #[must_use]
    pub fn times(self, left: u32) -> Self {
        Self { left, ..self }
    }

    /// Only from now on for so long.
    #[must_use]
    pub fn lasting(self, time: Duration) -> Self {
        Self { until: Some(Instant::now() + time), ..self }
    }

    /// Only when another fault has happened before.
    #[must_use]
    pub fn then(self) -> Self {
        Self { then: true, ..self }
    }

    /// The fault, if it happens to this request; `struck` is whether there was one before.
    pub(crate) fn strike(&mut self, verb: Verb, path: &str, struck: bool) -> Option<Fault> {
        let fits = (struck || !self.then)
            && self.verb.is_none_or(|wanted| wanted == verb)
            && path.ends_with(&self.path)
            && self.until.is_none_or(|until| Instant::now() < until);
        if !fits || self.left == 0 {
            return None;
        }
        self.left -= 1;
        Some(self.fault)
    }
}

/// Numbers that look random and are the same for the same seed (`SplitMix64`).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// From `ASTRADESK_TEST_SEED`, or another one each time; it is told on standard error.
    pub fn seeded() -> Self {
        let given = std::env::var("ASTRADESK_TEST_SEED").ok();
        let seed = match &given {
            Some(text) => text.parse().expect("ASTRADESK_TEST_SEED is a number"),
            None => uuid::Uuid::new_v4().as_u64_pair().0 >> 32,
        };
        eprintln!("ASTRADESK_TEST_SEED={seed}");
        Self(seed)
    }

    /// Another sequence, that this one decides.
    pub fn fork(&mut self) -> Self {
        Self(self.next())
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    /// One of these.
    pub fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
