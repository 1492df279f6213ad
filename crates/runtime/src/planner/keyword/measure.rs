//! Values in a sentence.

use super::words::Word;
use astradesk_core::tool::Measure;
use serde_json::Value;

/// The most digits of a number.
const DIGITS: usize = 6;

/// The value that begins the words, and how many of them it takes.
pub(super) fn value(of: Measure, words: &[Word]) -> Option<(Value, usize)> {
    let first = words.first()?;
    let (digits, unit) = first.key().split_at(first.key().bytes().take_while(u8::is_ascii_digit).count());
    // A unit of its own is the next word, unless a comma stands between.
    let next = words.get(1).filter(|_| !first.ends_clause).map(Word::key);
    let number = || Some(digits).filter(|digits| (1..=DIGITS).contains(&digits.len()))?.parse::<u32>().ok();
    let with_unit = |read: fn(&str) -> Option<&'static str>| {
        if unit.is_empty() {
            next.and_then(read).map(|unit| (unit, 2))
        } else {
            read(unit).map(|unit| (unit, 1))
        }
    };
    match of {
        Measure::Word => Some((Value::from(first.text.as_str()), 1)),
        Measure::Number => {
            let measured = with_unit(time).or_else(|| with_unit(percent));
            number().filter(|_| unit.is_empty() && measured.is_none()).map(|number| (Value::from(number), 1))
        }
        Measure::Duration => {
            let (number, (unit, taken)) = (number()?, with_unit(time)?);
            Some((Value::from(format!("{number}{unit}")), taken))
        }
        Measure::Percentage => {
            let (number, (_, taken)) = (number()?, with_unit(percent)?);
            (number <= 100).then(|| (Value::from(number), taken))
        }
    }
}

fn time(unit: &str) -> Option<&'static str> {
    Some(match unit {
        "s" | "sec" | "secs" | "second" | "seconds" | "sek" | "sekunda" | "sekunde" | "sekundy"
        | "sekund" => "s",
        "m" | "min" | "mins" | "minute" | "minutes" | "minuta" | "minuty" | "minut" => "m",
        "h" | "hr" | "hrs" | "hour" | "hours" | "godz" | "godzina" | "godzine" | "godziny" | "godzin" => "h",
        "d" | "day" | "days" | "dzien" | "dni" | "doba" | "dobe" => "d",
        _ => return None,
    })
}

fn percent(unit: &str) -> Option<&'static str> {
    matches!(unit, "%" | "percent" | "procent" | "proc").then_some("%")
}

/// What a value must look like, for a person.
pub(super) const fn described(of: Measure) -> &'static str {
    match of {
        Measure::Word => "a word",
        Measure::Number => "a number in digits, such as `3`",
        Measure::Duration => "a duration, such as `90s`, `5m` or `2 hours`",
        Measure::Percentage => "a percentage from 0% to 100%",
    }
}
