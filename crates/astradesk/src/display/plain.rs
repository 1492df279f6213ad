//! Other people's words, on their way to a terminal.

use astradesk_core::text::shown;
use textwrap::{Options, WordSeparator, WordSplitter};

/// The most characters of a text by somebody else.
const LONG: usize = 4000;

/// The words of somebody else: they cannot break the line, move the cursor, colour or hide anything.
pub fn words(text: &str) -> String {
    shown(text, LONG)
}

/// One line: the styles in it stay, and everything else that a terminal would act on is escaped.
pub(super) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('\u{1b}') {
        line.push_str(&shown(before, usize::MAX));
        let length = style(behind);
        line.push_str(if length > 0 { "\u{1b}" } else { "\\u{1b}" });
        let (style, behind) = behind.split_at(length);
        line.push_str(style);
        rest = behind;
    }
    line.push_str(&shown(rest, usize::MAX));
    line
}

/// A line broken between words wherever it is wider than this many columns. What follows stands further in than any line
/// of ours begins, so that nobody's words pass for one. A word that is wider alone (a token, an address) stays whole, so that it can be copied.
pub(super) fn folded(line: &str, width: usize) -> String {
    let mut start = line;
    while let Some(behind) = start.strip_prefix('\u{1b}') {
        start = &behind[style(behind)..];
    }
    let indent = " ".repeat(start.len() - start.trim_start_matches(' ').len() + 4);
    behind(line, "", &indent, width)
}

/// A text in lines of this many columns, the first behind `head`, and the others behind `indent`.
pub(super) fn behind(text: &str, head: &str, indent: &str, width: usize) -> String {
    let options = Options::new(width).initial_indent(head).subsequent_indent(indent).break_words(false);
    let options =
        options.word_separator(WordSeparator::AsciiSpace).word_splitter(WordSplitter::NoHyphenation);
    textwrap::fill(text, options)
}

/// How long the style is that follows an escape, in bytes; 0 if none does.
fn style(text: &str) -> usize {
    let Some(inner) = text.strip_prefix('[') else { return 0 };
    let end = inner.find(|c: char| !c.is_ascii_digit() && c != ';');
    end.filter(|end| inner[*end..].starts_with('m')).map_or(0, |end| end + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_folded_between_words() {
        let (bold, plain) = ("\u{1b}[1m", "\u{1b}[0m");
        for (line, expected) in [
            ("short", "short"),
            ("one two three", "one two\n    three"),
            ("  one two three", "  one two\n      three"),
            ("a-token-that-is-wide", "a-token-that-is-wide"),
            ("", ""),
        ] {
            assert_eq!(folded(line, 10), expected, "{line}");
        }
        let forged = format!("✗ {} → do this", "x".repeat(20));
        assert_eq!(folded(&forged, 10), format!("✗\n    {}\n    → do\n    this", "x".repeat(20)));
        let styled = format!("{bold}  → one{plain} two three");
        assert_eq!(folded(&styled, 10), format!("{bold}  → one{plain}\n      two\n      three"));
    }

    #[test]
    fn a_line_is_one_line_whatever_is_in_it() {
        let styled = format!("{}✗ bad{:#} it is", super::super::BAD, super::super::BAD);
        assert_eq!(one_line(&styled), styled);
        for (hostile, plain) in [
            ("a\n✓ approved", "a\\u{a}✓ approved"),
            ("a\r\u{1b}[2Kb", "a\\u{d}\\u{1b}[2Kb"),
            ("\u{1b}]0;title\u{7}", "\\u{1b}]0;title\\u{7}"),
            ("\u{202e}evil\u{9b}1m", "\\u{202e}evil\\u{9b}1m"),
            ("\u{1b}", "\\u{1b}"),
            ("\u{1b}[1;", "\\u{1b}[1;"),
        ] {
            assert_eq!(one_line(hostile), plain);
        }
        assert_eq!(words("\u{1b}[8mhidden"), "\\u{1b}[8mhidden");
    }
}
