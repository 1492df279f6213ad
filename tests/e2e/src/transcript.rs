//! What pages of docs/ show of the command line: typed, printed, and written there by tests.

use crate::cli::{self, Said};
use crate::{Place, Settings, Which};
use std::path::Path;

/// The variable that lets tests write pages anew.
const UPDATE: &str = "ASTRADESK_UPDATE_TRANSCRIPTS";

/// Whether pages are to be written by this test: they show the sandbox.
pub fn is_wanted(place: &Place) -> bool {
    place.which == Which::Sandbox && std::env::var(UPDATE).is_ok_and(|value| value == "1")
}

/// Where a page is.
pub fn page(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name)
}

/// Runs a command, which must end with this code: what it said, and the same as a page shows it.
pub async fn say(place: &Place, settings: &Settings, arguments: &[&str], code: i32) -> (Said, String) {
    let said = cli::embedded(place, settings, arguments).await;
    said.expect(code);
    let quote = |word: &&str| match *word {
        word if word.contains('"') => format!("'{word}'"),
        word if word.contains([' ', '<']) => format!("\"{word}\""),
        word => word.to_owned(),
    };
    let quoted: Vec<String> = arguments.iter().map(quote).collect();
    let printed = format!("{}{}", said.err, said.out);
    let shown = format!("```text\n$ astradesk {}\n{}\n```\n", quoted.join(" "), printed.trim_end());
    let shown = shown.replace(&place.namespace, "default");
    (said, shown)
}

/// Puts a transcript into a page, behind the line `<!-- transcript: NAME -->`, in the place of the one that is there.
pub fn write(place: &Place, page_name: &str, name: &str, shown: &str) {
    let path = page(page_name);
    let text = std::fs::read_to_string(&path).unwrap();
    let marker = format!("<!-- transcript: {name} -->\n");
    let (before, rest) = text.split_once(&marker).unwrap_or_else(|| panic!("{page_name} has no `{marker}`"));
    let (_, rest) = rest.split_once("```text\n").unwrap_or_else(|| panic!("no transcript behind `{marker}`"));
    let (_, after) = rest.split_once("```\n").unwrap_or_else(|| panic!("no end of the transcript `{name}`"));
    if is_wanted(place) {
        std::fs::write(path, format!("{before}{marker}{shown}{after}")).unwrap();
    }
}
