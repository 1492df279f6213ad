//! `docs/errors.md` says what the codes say: it is written from [`Code::ALL`].
//!
//! `ASTRADESK_UPDATE_DOCS=1 cargo nextest run -p astradesk-core --test docs` writes it anew.
#![allow(clippy::unwrap_used, reason = "a failed unwrap in a test is a failed test")]

use astradesk_core::{Class, Code};
use std::fmt::Write as _;
use std::path::Path;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/errors.md");

const INTRODUCTION: &str = "\
# Error codes

Every refusal and every failure has one of these codes, in an HTTP problem (`code`), in `-o json`, in a run
(`error.code`) and in the evidence. Codes are added, never renamed. An HTTP problem's `type` is
`https://astradesk.dev/errors#CODE`.

The status is that of the answer which carries the problem, the exit code that of `astradesk`. The remedy is
the usual one; an error may bring a better one of its own, and facts in `details` (candidates, limits, sick
pods with their last log lines).

This page is written from `crates/core/src/code.rs`: see CONTRIBUTING.md.
";

/// The HTTP status and the exit code of a class, as the documentation of [`Class`] has them.
const fn status_and_exit(class: Class) -> (u16, u8) {
    match class {
        Class::Invalid => (400, 2),
        Class::Unprocessable => (422, 2),
        Class::Unauthenticated => (401, 3),
        Class::Denied => (403, 3),
        Class::NotFound => (404, 1),
        Class::MethodNotAllowed => (405, 2),
        Class::RequestTimeout => (408, 1),
        Class::Conflict => (409, 1),
        Class::TooLarge => (413, 2),
        Class::UnsupportedMediaType => (415, 2),
        Class::Overloaded => (429, 6),
        Class::Failed => (502, 1),
        Class::Unknown => (502, 5),
        Class::ApprovalNeeded => (202, 4),
        Class::Unavailable => (503, 6),
        Class::Internal => (500, 1),
    }
}

fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    for code in Code::ALL {
        let (status, exit) = status_and_exit(code.class());
        write!(
            page,
            "\n## <a id=\"{code}\"></a>`{code}`\n\n{}\n\nHTTP {status}, exit code {exit}. Remedy: {}.\n",
            code.meaning(),
            code.remedy(),
        )
        .unwrap();
    }
    page
}

#[test]
fn the_page_of_errors_is_that_of_the_codes() {
    let page = page();
    if std::env::var_os("ASTRADESK_UPDATE_DOCS").is_some() {
        std::fs::write(PAGE, &page).unwrap();
    }
    let written = std::fs::read_to_string(PAGE).unwrap();
    let name = Path::new(PAGE).file_name().unwrap().display();
    let difference = written.lines().zip(page.lines()).find(|(written, now)| written != now);
    assert!(written == page, "{name} is not what the codes say, first at {difference:?}: write it anew");
}

/// The table above is a copy of the documentation of [`Class`]; this holds it to the text.
#[test]
fn the_classes_are_documented_with_the_same_numbers() {
    let source = include_str!("../src/code.rs");
    let classes: std::collections::BTreeSet<&str> = source
        .split_once("pub enum Class {")
        .and_then(|(_, rest)| rest.split_once("\n}"))
        .unwrap()
        .0
        .lines()
        .filter_map(|line| line.trim().strip_prefix("///")?.rsplit_once('(')?.1.strip_suffix(")."))
        .collect();
    for code in Code::ALL {
        let (status, exit) = status_and_exit(code.class());
        let text = format!("HTTP {status}, exit {exit}");
        assert!(classes.contains(text.as_str()), "`{code}`: no class is documented as `{text}`");
    }
}
