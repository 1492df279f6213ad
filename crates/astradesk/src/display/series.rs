//! Metrics, and numbers over time, in a line of a terminal.

use super::{line, words};
use serde_json::Value;

/// From the lowest to the highest.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// The most characters of a line.
const WIDTH: usize = 60;

/// A metric of a service, and what is to be said of it.
pub(super) fn metric(metric: &Value) {
    let text = |key: &str| words(metric.get(key).and_then(Value::as_str).unwrap_or_default());
    let note = Some(text("note")).filter(|note| !note.is_empty()).map(|note| format!(" ({note})"));
    line(format!("  {:<20} {}{}", text("name"), text("told"), note.unwrap_or_default()));
}

/// A series: what it is of, and its numbers.
pub(super) fn one(series: &Value) {
    let points = series.get("points").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    line(format!("  {}", words(series.get("told").and_then(Value::as_str).unwrap_or_default())));
    line(format!("    {}", told(points)));
}

/// The numbers of a series, with the lowest, the highest and the last of them; `none` if there is none.
fn told(points: &[Value]) -> String {
    let values: Vec<Option<f64>> = points.iter().map(|point| point.get(1).and_then(Value::as_f64)).collect();
    let known = || values.iter().copied().flatten();
    let (Some(low), Some(high), Some(last)) =
        (known().reduce(f64::min), known().reduce(f64::max), known().next_back())
    else {
        return "none".to_owned();
    };
    if values.len() == 1 {
        return short(last);
    }
    format!("{}  {} to {}, last {}", sparkline(&values, WIDTH), short(low), short(high), short(last))
}

/// A bar for each number, or for the mean of those that share a place; a gap where there is none.
fn sparkline(values: &[Option<f64>], width: usize) -> String {
    let each = values.len().div_ceil(width.max(1)).max(1);
    let means: Vec<Option<f64>> = values
        .chunks(each)
        .map(|chunk| {
            let known: Vec<f64> = chunk.iter().copied().flatten().collect();
            (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
        })
        .collect();
    let known = || means.iter().copied().flatten();
    let (low, high) = (known().fold(f64::INFINITY, f64::min), known().fold(f64::NEG_INFINITY, f64::max));
    let bar = |value: f64| {
        // What stays the same is neither high nor low.
        let part = if high > low { (value - low) / (high - low) } else { 0.4 };
        BARS.get((part * 7.0).round() as usize).copied().unwrap_or(' ')
    };
    means.into_iter().map(|mean| mean.map_or(' ', bar)).collect()
}

/// A number in few characters.
fn short(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(0.001..1e6).contains(&size) {
        return format!("{value:.2e}");
    }
    let digits = if size >= 100.0 { 0 } else { 3 };
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_are_bars_and_what_is_none_is_a_gap() {
        let of = |values: &[Value]| told(&values.iter().map(|value| json!([0, value])).collect::<Vec<_>>());
        let rising: Vec<Value> = (0..8).map(|n| json!(n)).collect();
        assert_eq!(of(&rising), "▁▂▃▄▅▆▇█  0 to 7, last 7");
        assert_eq!(of(&[json!(1.0), json!("NaN"), json!(0.25)]), "█ ▁  0.25 to 1, last 0.25");
        assert_eq!(of(&[json!(5), json!(5)]), "▄▄  5 to 5, last 5");
        assert_eq!(of(&[json!(0.1239)]), "0.124");
        assert_eq!(of(&[json!(12_345_678)]), "1.23e7");
        assert_eq!(of(&[]), "none");
        assert_eq!(of(&[json!("+Inf")]), "none");
    }

    #[test]
    fn many_numbers_share_their_places() {
        let values: Vec<Option<f64>> = (0..1000).map(|n| Some(f64::from(n))).collect();
        let line = sparkline(&values, WIDTH);
        assert!(line.chars().count() <= WIDTH && line.starts_with('▁') && line.ends_with('█'), "{line}");
    }
}
