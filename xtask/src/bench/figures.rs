//! Numbers, and the table that shows them.

use std::time::Duration;

/// What was measured several times.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample {
    /// Sorted.
    values: Vec<f64>,
}

impl Sample {
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        Self { values }
    }

    /// Of durations, in milliseconds.
    pub(super) fn millis(times: &[Duration]) -> Self {
        Self::of(times.iter().map(|time| time.as_secs_f64() * 1e3))
    }

    pub(super) fn count(&self) -> usize {
        self.values.len()
    }

    /// The middle value, or the mean of the two in the middle; not a number when there is none.
    pub(super) fn median(&self) -> f64 {
        let middle = self.values.len() / 2;
        let at = |index: usize| self.values.get(index).copied().unwrap_or(f64::NAN);
        if self.values.len().is_multiple_of(2) {
            f64::midpoint(at(middle.wrapping_sub(1)), at(middle))
        } else {
            at(middle)
        }
    }

    /// `42.1 ms (40.0–51.3)`; what has no unit is a count.
    pub(super) fn shown(&self, unit: &str) -> String {
        if unit.is_empty() {
            return grouped(self.median() as i64);
        }
        match (self.values.first(), self.values.last()) {
            (Some(least), Some(most)) if self.values.len() > 1 => {
                format!("{} {unit} ({}–{})", number(self.median()), number(*least), number(*most))
            }
            (Some(only), _) => format!("{} {unit}", number(*only)),
            _ => "–".to_owned(),
        }
    }
}

/// A number with three digits or so, and its thousands apart.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        small if small < 9.995 => format!("{value:.2}"),
        middle if middle < 99.95 => format!("{value:.1}"),
        _ => grouped(value.round() as i64),
    }
}

fn grouped(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut text = if value < 0 { "-".to_owned() } else { String::new() };
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// What is aimed at.
#[derive(Clone, Copy)]
pub(super) enum Aim {
    /// At most this.
    Most(f64),
    /// At least this.
    Least(f64),
    None,
}

/// Which of two numbers is the better.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Better {
    Less,
    More,
    /// They are of different things: no ratio.
    Unlike,
}

/// A line of the table: what, ours, the peer's.
pub(super) struct Row {
    pub(super) what: String,
    pub(super) unit: &'static str,
    pub(super) ours: Sample,
    pub(super) peer: Option<Sample>,
    pub(super) better: Better,
    pub(super) aim: Aim,
}

impl Row {
    /// Whether the aim is met; nothing when there is none.
    pub(super) fn met(&self) -> Option<bool> {
        match self.aim {
            Aim::Most(most) => Some(self.ours.median() <= most),
            Aim::Least(least) => Some(self.ours.median() >= least),
            Aim::None => None,
        }
    }

    fn cells(&self) -> [String; 6] {
        let none = || "–".to_owned();
        let ratio = self.peer.as_ref().map(|peer| match self.better {
            Better::Less => format!("{}x", number(peer.median() / self.ours.median())),
            Better::More => format!("{}x", number(self.ours.median() / peer.median())),
            Better::Unlike => none(),
        });
        let unit = self.unit;
        [
            self.what.clone(),
            self.ours.shown(unit),
            self.peer.as_ref().map_or_else(none, |peer| peer.shown(unit)),
            ratio.unwrap_or_else(none),
            match self.aim {
                Aim::Most(most) => format!("≤ {} {unit}", grouped(most as i64)),
                Aim::Least(least) => format!("≥ {} {unit}", grouped(least as i64)),
                Aim::None => none(),
            },
            match self.met() {
                Some(true) => "yes".to_owned(),
                Some(false) => "NO".to_owned(),
                None => none(),
            },
        ]
    }
}

/// The rows as text, in columns.
pub(super) fn table(rows: &[Row]) -> String {
    let head = ["what", "astradesk", "peer", "ratio", "aim", "met?"].map(str::to_owned);
    let lines: Vec<[String; 6]> = [head].into_iter().chain(rows.iter().map(Row::cells)).collect();
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..6).map(width).collect();
    let mut text = String::new();
    for (index, line) in lines.iter().enumerate() {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
        if index == 0 {
            text.push_str(&"─".repeat(widths.iter().sum::<usize>() + 10));
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle() {
        assert_eq!(Sample::of([3.0, 1.0, 2.0]).shown("ms"), "2.00 ms (1.00–3.00)");
        assert!((Sample::of([4.0, 1.0, 2.0, 3.0]).median() - 2.5).abs() < 1e-9);
        assert_eq!(Sample::of([]).shown("ms"), "–");
        assert!(Sample::of([]).median().is_nan());
    }

    #[test]
    fn numbers_have_three_digits_and_their_thousands_apart() {
        for (value, text) in [
            (0.1234, "0.12"),
            (9.999, "10.0"),
            (65.37, "65.4"),
            (1069.4, "1,069"),
            (1_234_567.0, "1,234,567"),
            (-3.0, "-3.00"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn a_missed_aim_is_said_so_and_the_better_side_has_the_ratio() {
        let row = |better, aim| Row {
            what: "a".into(),
            unit: "ms",
            ours: Sample::of([50.0]),
            peer: Some(Sample::of([200.0])),
            better,
            aim,
        };
        let cells = row(Better::Less, Aim::Most(40.0)).cells();
        assert_eq!(cells, ["a", "50.0 ms", "200 ms", "4.00x", "≤ 40 ms", "NO"]);
        let cells = row(Better::More, Aim::Least(40.0)).cells();
        assert_eq!(cells, ["a", "50.0 ms", "200 ms", "0.25x", "≥ 40 ms", "yes"]);
        // A figure that is not there meets nothing.
        let none = Row { ours: Sample::of([]), ..row(Better::Less, Aim::Most(40.0)) };
        assert_eq!(none.met(), Some(false));
    }
}
