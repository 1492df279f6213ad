//! Text from outside, made safe to show.

/// The beginning of `text`, at most `limit` characters, with those that are [hidden](is_hidden) escaped; an
/// ellipsis says that something is left out.
pub fn shown(text: &str, limit: usize) -> String {
    let mut shown = String::with_capacity(text.len().min(limit));
    for c in text.chars().take(limit) {
        if is_hidden(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    if text.chars().nth(limit).is_some() {
        shown.push('…');
    }
    shown
}

/// Whether a reader does not see the character for what it is: one that controls the terminal, ends the line,
/// changes the direction of writing, or shows nothing (Unicode's `Default_Ignorable_Code_Point`, without the
/// variation selectors that emoji are written with).
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn what_is_shown_cannot_move_the_cursor_or_hide_itself() {
        assert_eq!(shown("it's \"fine\" ż", 80), "it's \"fine\" ż");
        assert_eq!(shown("a\u{1b}[31mb\n\u{202e}c", 80), "a\\u{1b}[31mb\\u{a}\\u{202e}c");
        assert_eq!(shown("a\u{ad}b\u{2060}\u{e0041}", 80), "a\\u{ad}b\\u{2060}\\u{e0041}");
        assert_eq!(shown("abcdef", 3), "abc…");
    }
}
