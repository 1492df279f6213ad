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

/// At most five of `names` that somebody may have meant by `name`: those that differ in few letters, and those that are
/// a part of it or it of them.
pub fn near(name: &str, names: &[String]) -> Vec<String> {
    let limit = (name.len() / 3).clamp(1, 3);
    let mut found: Vec<(usize, &String)> = names
        .iter()
        .filter(|other| *other != name && name.len() <= LONGEST && other.len() <= LONGEST)
        .filter_map(|other| {
            let distance = distance(name, other);
            let part =
                name.len() >= 3 && other.len() >= 3 && (other.contains(name) || name.contains(&**other));
            (distance <= limit || part).then_some((distance, other))
        })
        .collect();
    found.sort();
    found.into_iter().take(5).map(|(_, name)| name.clone()).collect()
}

/// The longest text, in bytes, that may be a name mistyped.
const LONGEST: usize = 253;

/// How many letters must be changed, added or left out (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let cost = if x == y { diagonal } else { 1 + diagonal.min(*cell).min(left) };
            diagonal = std::mem::replace(cell, cost);
            left = cost;
        }
    }
    // The first cell stays 0 in the loop and is never read in it; only the last one is the answer.
    row.last().copied().filter(|_| !b.is_empty()).unwrap_or(a.len())
}

#[cfg(test)]
mod tests {
    use super::{distance, near, shown};

    #[test]
    fn what_is_shown_cannot_move_the_cursor_or_hide_itself() {
        assert_eq!(shown("it's \"fine\" ż", 80), "it's \"fine\" ż");
        assert_eq!(shown("a\u{1b}[31mb\n\u{202e}c", 80), "a\\u{1b}[31mb\\u{a}\\u{202e}c");
        assert_eq!(shown("a\u{ad}b\u{2060}\u{e0041}", 80), "a\\u{ad}b\\u{2060}\\u{e0041}");
        assert_eq!(shown("abcdef", 3), "abc…");
    }

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        for (a, b, expected) in [("", "abc", 3), ("abc", "", 3), ("kitten", "sitting", 3), ("web", "web", 0)]
        {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
        let names = ["webapp", "webapp-admin", "payments", "weba"].map(str::to_owned);
        assert_eq!(near("webap", &names), ["weba", "webapp", "webapp-admin"]);
        assert_eq!(near("billing", &names), Vec::<String>::new());
    }
}
