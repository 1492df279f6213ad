//! Text from outside (logs, events, messages, what people say), made safe to show, to keep and to send elsewhere.
//!
//! Control characters go, and so do values that look like secrets: what follows `password=`, `token:`,
//! `Authorization: Bearer` and the like, user information in URLs, JSON Web Tokens, AWS key ids and PEM
//! blocks. This is a net, not a proof: an application that logs a secret under a harmless name shows it.

const MASK: &str = "[redacted]";

/// What a name must contain for its value to be hidden (lower case, without `-` and `_`).
const SECRET_NAMES: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "privatekey",
    "authorization",
    "credential",
    "cookie",
    "sessionid",
    "connectionstring",
    "signature",
];

/// How tokens begin whose issuers mark them.
const ISSUED: &[&str] =
    &["ghp_", "gho_", "ghs_", "github_pat_", "glpat-", "xoxb-", "xoxp-", "sk-", "AIza", "hvs."];

/// One line, without control characters and secrets, at most `limit` characters.
pub fn line(text: &str, limit: usize) -> String {
    let flat: String = strip(text).chars().map(|c| if c == '\n' { ' ' } else { c }).collect();
    cut(&mask(flat.trim()), limit)
}

/// The whole text, line by line, without control characters and secrets.
pub fn text(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    // A key in a block may have its lines anywhere, so the block goes first.
    while let Some((before, block)) = rest.split_once("-----BEGIN ") {
        shown.push_str(before);
        shown.push_str(MASK);
        rest = block
            .split_once("-----END ")
            .map_or("", |(_, end)| end.split_once("-----").map_or("", |(_, rest)| rest));
    }
    shown.push_str(rest);
    strip(&shown).split('\n').map(mask).collect::<Vec<_>>().join("\n")
}

/// The last `lines` lines, without control characters and secrets, at most `bytes` bytes in all.
pub fn log(text: &str, lines: usize, bytes: usize) -> Vec<String> {
    let clean = without_keys(&strip(text));
    let mut left = bytes;
    let mut kept: Vec<String> = Vec::new();
    for line in clean.iter().rev().take(lines) {
        if line.len() > left {
            if kept.is_empty() {
                kept.push(cut(line, left / 4));
            }
            break;
        }
        left -= line.len();
        kept.push(line.clone());
    }
    kept.reverse();
    kept
}

/// The lines with their secrets hidden, and PEM blocks of keys whole; the text may begin or end inside of one.
fn without_keys(text: &str) -> Vec<String> {
    let mut inside = false;
    let mut clean: Vec<String> = Vec::new();
    for line in text.lines() {
        if line.contains("-----BEGIN ") && line.contains("KEY") {
            inside = true;
            clean.push(MASK.to_owned());
        } else if inside {
            inside = !line.contains("-----END ");
        } else if line.contains("-----END ") && line.contains("KEY") {
            let key =
                clean.iter().rev().enumerate().take_while(|(back, line)| is_key(line, *back == 0)).count();
            clean.truncate(clean.len() - key);
            clean.push(MASK.to_owned());
        } else {
            clean.push(mask(line.trim_end()));
        }
    }
    clean.retain(|line| !line.is_empty());
    clean
}

/// Whether a line may be one of a key in a PEM block; the last one may be short.
fn is_key(line: &str, last: bool) -> bool {
    let word = line.rsplit(' ').next().unwrap_or_default();
    (last || word.len() >= 40)
        && word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '='))
}

/// Removes terminal escapes and control characters, except the ends of lines.
fn strip(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\n' => out.push('\n'),
            '\t' => out.push(' '),
            '\u{1b}' => {
                if chars.next_if_eq(&'[').is_some() {
                    // A control sequence ends with its first letter.
                    while chars.next_if(|c| !c.is_ascii_alphabetic() && !c.is_control()).is_some() {}
                    chars.next_if(char::is_ascii_alphabetic);
                }
            }
            c if c.is_control() || is_bidi(c) => {}
            c => out.push(c),
        }
    }
    out
}

/// Characters that make text read differently from what it is.
const fn is_bidi(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn cut(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    let mut kept: String = text.chars().take(limit.saturating_sub(1)).collect();
    kept.push('…');
    kept
}

/// Hides what looks like a secret in one line.
fn mask(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        if is_word(c) {
            let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            rest = after;
            out.push_str(if is_secret_by_itself(word) { MASK } else { word });
            if is_scheme(word)
                && let Some(after) = credentials(rest)
            {
                out.push(' ');
                out.push_str(MASK);
                rest = after;
            } else if names_a_secret(word)
                && let Some((between, after)) = value(rest)
            {
                out.push_str(between);
                out.push_str(MASK);
                rest = after;
            }
            continue;
        }
        if let Some(after) = rest.strip_prefix("://") {
            out.push_str("://");
            rest = after;
            let host = after.find(['/', ' ', '?', '"', '\'']).unwrap_or(after.len());
            if let Some(at) = after.get(..host).and_then(|authority| authority.rfind('@')) {
                out.push_str(MASK);
                rest = after.get(at..).unwrap_or_default();
            }
            continue;
        }
        out.push(c);
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
    }
    out
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.')
}

fn names_a_secret(word: &str) -> bool {
    let plain: String =
        word.chars().filter(|c| !matches!(c, '_' | '-' | '.')).flat_map(char::to_lowercase).collect();
    SECRET_NAMES.iter().any(|name| plain.contains(name))
}

fn is_scheme(word: &str) -> bool {
    word.eq_ignore_ascii_case("bearer") || word.eq_ignore_ascii_case("basic")
}

/// After `Bearer`: what follows the credentials. Prose (`basic settings`) is let through.
fn credentials(rest: &str) -> Option<&str> {
    let rest = rest.strip_prefix(' ')?.trim_start_matches(' ');
    let end = rest.find([' ', ',', '"', '\'', ';']).unwrap_or(rest.len());
    let (text, after) = rest.split_at(end);
    (text.len() >= 16 || text.bytes().any(|b| b.is_ascii_digit() || b == b'=')).then_some(after)
}

fn is_secret_by_itself(word: &str) -> bool {
    let jwt = word.starts_with("eyJ") && word.len() >= 20 && word.contains('.');
    let aws = (word.starts_with("AKIA") || word.starts_with("ASIA")) && word.len() == 20;
    let issued = word.len() >= 20 && ISSUED.iter().any(|prefix| word.starts_with(prefix));
    jwt || aws || issued
}

/// After a name: the separator that is kept, and what follows the value that is not.
fn value(rest: &str) -> Option<(&str, &str)> {
    let closing = rest.trim_start_matches(['"', '\'', '\\', ']']);
    let spaced = closing.trim_start_matches(' ');
    let separated = spaced.strip_prefix(['=', ':'])?;
    let mut start = separated.trim_start_matches(['=', '>', ' ']);
    let quote = start.trim_start_matches('\\').chars().next().filter(|c| matches!(c, '"' | '\''));
    if let Some(quote) = quote {
        start = start.trim_start_matches('\\');
        start = start.strip_prefix(quote).unwrap_or(start);
        let between = rest.get(..rest.len() - start.len())?;
        let end = start.find(quote).unwrap_or(start.len());
        return Some((between, start.get(end..)?.trim_start_matches('\\')));
    }
    let between = rest.get(..rest.len() - start.len())?;
    // `Authorization: Bearer abc`: the scheme is part of the value.
    let scheme = start.split(' ').next().filter(|word| is_scheme(word)).map_or(0, |word| word.len() + 1);
    let body = start.get(scheme..).unwrap_or_default();
    let end = body.find([' ', ',', ';', '&', '"', '\'', '}', ')', ']']).unwrap_or(body.len());
    if scheme + end == 0 {
        return None;
    }
    Some((between, body.get(end..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_and_the_rest_is_kept() {
        for (text, shown) in [
            ("plain text: nothing here", "plain text: nothing here"),
            ("DB_PASSWORD=hunter2 retry", "DB_PASSWORD=[redacted] retry"),
            ("password: \"hun ter2\", user: ann", "password: \"[redacted]\", user: ann"),
            (r#"{"api_key":"abc","n":1}"#, r#"{"api_key":"[redacted]","n":1}"#),
            (r#"{\"token\":\"abc\"}"#, r#"{\"token\":\"[redacted]"}"#),
            ("Authorization: Bearer abc.def-ghi end", "Authorization: [redacted] end"),
            ("sent Bearer 0123456789abcdef ok", "sent Bearer [redacted] ok"),
            ("basic settings loaded", "basic settings loaded"),
            ("postgres://app:s3cr@t@db:5432/x", "postgres://[redacted]@db:5432/x"),
            ("got eyJhbGciOiJIUzI1NiJ9.eyJzdWIi.c2ln here", "got [redacted] here"),
            ("key AKIAABCDEFGHIJKLMNOP used", "key [redacted] used"),
            ("with ghp_0123456789abcdefghij, or sk-1", "with [redacted], or sk-1"),
            ("client-secret=a&x=1", "client-secret=[redacted]&x=1"),
            ("tokens were counted", "tokens were counted"),
            ("token=", "token="),
        ] {
            assert_eq!(line(text, 500), shown, "{text}");
        }
    }

    #[test]
    fn a_text_keeps_its_lines_and_loses_its_secrets() {
        for (given, kept) in [
            ("restart webapp\n\nnow", "restart webapp\n\nnow"),
            ("a -----BEGIN RSA PRIVATE KEY----- MIIE -----END RSA PRIVATE KEY----- b", "a [redacted] b"),
            (
                "a\n-----BEGIN KEY-----\nMIIE\n-----END KEY-----\nb\n-----BEGIN KEY-----\nMIIE",
                "a\n[redacted]\nb\n[redacted]",
            ),
            ("a\u{1b}[31m\npassword=x\n", "a\npassword=[redacted]\n"),
            ("-----END KEY----- stays", "-----END KEY----- stays"),
        ] {
            assert_eq!(text(given), kept);
        }
    }

    #[test]
    fn control_characters_go() {
        assert_eq!(line("a\u{1b}[31mred\u{1b}[0m\u{7}\u{202e}b\nc\td", 100), "aredb c d");
        assert_eq!(line("żółć and more", 6), "żółć …");
    }

    #[test]
    fn a_log_keeps_its_end_within_its_limits() {
        let text: String = (0..50).map(|i| format!("line {i}")).collect::<Vec<_>>().join("\n");
        let kept = log(&text, 20, 4096);
        assert_eq!((kept.len(), kept[0].as_str(), kept[19].as_str()), (20, "line 30", "line 49"));
        let kept = log(&text, 20, 20);
        assert_eq!(kept, ["line 48", "line 49"]);
        assert_eq!(log(&"x".repeat(10_000), 20, 400)[0].chars().count(), 100);
        let pem = "a\n-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nb";
        assert_eq!(log(pem, 20, 4096), ["a", MASK, "b"]);
    }

    #[test]
    fn the_end_of_a_key_is_hidden_where_its_beginning_is_not_to_be_seen() {
        let key = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7".to_owned();
        let text = format!("started\n{key}\n12:00 {key}\nKw==\n-----END PRIVATE KEY-----\nready");
        assert_eq!(log(&text, 10, 1000), ["started", "[redacted]", "ready"]);
        assert_eq!(log("-----END PRIVATE KEY-----", 10, 1000), ["[redacted]"]);
        assert_eq!(log("it went well\n-----END OF REPORT-----", 10, 1000).len(), 2);
    }
}
