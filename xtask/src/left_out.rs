//! Tests that nextest has not run although it was to, and that it says nothing of but how many they are. It was seen
//! once, with nextest 0.9.143 on a busy machine: all that had run had passed, and two of 841 were missing.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::cargo::cargo;
use crate::proc;

/// Where the profile `ci` writes what became of each test, below the target folder.
pub(crate) const REPORT: &str = "nextest/ci/junit.xml";

/// The filter that picks the tests that were left out, and their names; none if a test failed, or if none is missing.
pub(crate) fn find(report: &Path) -> Result<Option<(String, Vec<String>)>> {
    let report = fs::read_to_string(report).with_context(|| format!("cannot read `{}`", report.display()))?;
    if has_failed(&report) {
        return Ok(None);
    }
    let listed = proc::output(&mut list())?;
    let missing = missing(&listed, &report);
    let filter: Vec<String> =
        missing.iter().map(|(binary, test)| format!("(binary_id(={binary}) & test(={test}))")).collect();
    let names = missing.iter().map(|(binary, test)| format!("{binary} {test}")).collect();
    Ok((!missing.is_empty()).then(|| (filter.join(" | "), names)))
}

fn list() -> Command {
    cargo(&["nextest", "list", "--workspace", "--message-format", "oneline", "--cargo-quiet"])
}

fn has_failed(report: &str) -> bool {
    report.contains("<failure") || report.contains("<error")
}

/// What is listed, as lines of a binary's id and a test's name, and is not in the report.
fn missing(listed: &str, report: &str) -> BTreeSet<(String, String)> {
    let listed = listed.lines().filter_map(|line| line.split_once(' '));
    let ran = |binary: &str, test: &str| {
        let case = format!("<testcase name=\"{}\" classname=\"{}\"", escaped(test), escaped(binary));
        report.contains(&case)
    };
    let left = listed.filter(|(binary, test)| !ran(binary, test));
    left.map(|(binary, test)| (binary.to_owned(), test.to_owned())).collect()
}

fn escaped(name: &str) -> String {
    name.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_listed_and_not_in_the_report_was_left_out() {
        let listed = "a::b one\na::b two\nc three::sandbox\n";
        let report = r#"<testsuite name="a::b"><testcase name="one" classname="a::b" time="0.1"></testcase></testsuite>
            <testsuite name="c"><testcase name="three::sandbox" classname="c" time="2"/></testsuite>"#;
        let two = ("a::b".to_owned(), "two".to_owned());
        assert_eq!(missing(listed, report), BTreeSet::from([two]));
        assert!(!has_failed(report) && has_failed("<testcase><failure type=\"test failure\"/>"));
    }
}
