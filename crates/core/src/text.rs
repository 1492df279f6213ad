//! Text from outside, made safe to show.

/// The beginning of `text`, at most `limit` characters, with control characters and those that change the
/// direction of writing escaped; an ellipsis says that something is left out.
pub fn shown(text: &str, limit: usize) -> String {
    let mut shown = String::with_capacity(text.len().min(limit));
    for c in text.chars().take(limit) {
        if c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
        {
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

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn what_is_shown_cannot_move_the_cursor_or_hide_itself() {
        assert_eq!(shown("it's \"fine\" ż", 80), "it's \"fine\" ż");
        assert_eq!(shown("a\u{1b}[31mb\n\u{202e}c", 80), "a\\u{1b}[31mb\\u{a}\\u{202e}c");
        assert_eq!(shown("abcdef", 3), "abc…");
    }
}
