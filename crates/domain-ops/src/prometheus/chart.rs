//! Series as a picture: one SVG document of its own, without scripts, styles and fonts from elsewhere.

use super::answer::Series;
use astradesk_core::Timestamp;
use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 240.0;
/// Room for the numbers on the left, and for the times below.
const LEFT: f64 = 72.0;
const BOTTOM: f64 = 24.0;
const TOP: f64 = 12.0;
/// The height of a line of the legend.
const LINE: f64 = 16.0;
/// The most series that are drawn: more colours nobody tells apart. They differ also for who sees fewer colours.
const COLOURS: [&str; 8] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999"];

/// A picture of the series; none if nothing was measured.
pub fn svg(series: &[Series], title: &str) -> Option<String> {
    let drawn = series.get(..COLOURS.len()).unwrap_or(series);
    let measured =
        || drawn.iter().flat_map(|series| &series.samples).filter(|sample| sample.value.is_finite());
    let (mut from, mut to) = bounds(measured().map(|sample| sample.at))?;
    let (mut low, mut high) = bounds(measured().map(|sample| sample.value))?;
    if from >= to {
        (from, to) = (from - 1.0, to + 1.0);
    }
    // A line at zero says more than one that fills the picture with its noise.
    low = low.min(0.0);
    if low >= high {
        high = low + 1.0;
    }
    let height = HEIGHT + LINE * (drawn.len() + 1) as f64;
    let x = |at: f64| LEFT + (at - from) / (to - from) * (WIDTH - LEFT - TOP);
    let y = |value: f64| TOP + (high - value) / (high - low) * (HEIGHT - TOP - BOTTOM);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\" role=\"img\">\n<title>{}</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
        escaped(title)
    );
    let mut text = |x: f64, y: f64, anchor: &str, text: &str| {
        // Writing to a `String` cannot fail.
        let _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>",
            escaped(text)
        );
    };
    for value in [low, f64::midpoint(low, high), high] {
        text(LEFT - 6.0, y(value) + 4.0, "end", &short(value));
    }
    text(LEFT, HEIGHT - 6.0, "start", &time(from));
    text(WIDTH - TOP, HEIGHT - 6.0, "end", &time(to));
    text(LEFT, HEIGHT + LINE - 4.0, "start", title);
    for value in [low, f64::midpoint(low, high), high] {
        let y = y(value);
        let _ = writeln!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#cccccc\"/>",
            WIDTH - TOP
        );
    }
    for ((number, series), colour) in (1..).zip(drawn).zip(COLOURS) {
        for part in series.samples.split(|sample| !sample.value.is_finite()).filter(|part| !part.is_empty()) {
            let points: Vec<String> =
                part.iter().map(|sample| format!("{:.1},{:.1}", x(sample.at), y(sample.value))).collect();
            let _ = writeln!(
                svg,
                "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\" stroke-linecap=\"round\" points=\"{}\"/>",
                points.join(" ")
            );
        }
        let _ = writeln!(
            svg,
            "<text x=\"{LEFT}\" y=\"{:.1}\" fill=\"{colour}\">{}</text>",
            HEIGHT + LINE * f64::from(number) + LINE - 4.0,
            escaped(&label(series))
        );
    }
    svg.push_str("</svg>\n");
    Some(svg)
}

/// What a series is of, as PromQL writes it.
pub fn label(series: &Series) -> String {
    let name = series.labels.get("__name__").map(String::as_str).unwrap_or_default();
    let labels = series.labels.iter().filter(|(name, _)| *name != "__name__");
    let labels: Vec<String> = labels.map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    format!("{name}{{{}}}", labels.join(", "))
}

fn bounds(mut values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let first = values.next()?;
    Some(values.fold((first, first), |(low, high), value| (low.min(value), high.max(value))))
}

fn short(value: f64) -> String {
    if value != 0.0 && !(0.01..1e6).contains(&value.abs()) {
        format!("{value:.1e}")
    } else {
        format!("{value:.2}")
    }
}

fn time(at: f64) -> String {
    let at = Timestamp::from_second(at as i64).unwrap_or_default();
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// Text as XML has it.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c if c.is_control() => {}
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prometheus::Sample;

    fn of(job: &str, values: &[f64]) -> Series {
        let samples =
            (0..).zip(values).map(|(n, value)| Sample { at: f64::from(n) * 60.0, value: *value }).collect();
        Series { labels: [("job".to_owned(), job.to_owned())].into(), samples }
    }

    #[test]
    fn a_picture_has_a_line_for_each_stretch_that_was_measured() {
        let hostile = "</text><script>alert(1)</script>&\u{7}";
        let series = [of("a", &[0.0, 1.0, f64::NAN, 2.0, 3.0]), of(hostile, &[4.0])];
        let svg = svg(&series, hostile).unwrap();
        assert_eq!(svg.matches("<polyline").count(), 3, "{svg}");
        assert!(
            !svg.contains("<script") && !svg.contains('\u{7}') && svg.contains("&lt;script&gt;"),
            "{svg}"
        );
        // The highest value is at the top, zero at the bottom.
        assert!(svg.contains("points=\"72.0,216.0 231.0,165.0\""), "{svg}");
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    }

    #[test]
    fn nothing_that_was_measured_makes_no_picture() {
        assert_eq!(svg(&[], "x"), None);
        assert_eq!(svg(&[of("a", &[f64::NAN, f64::INFINITY])], "x"), None);
        assert!(svg(&[of("a", &[7.0])], "x").is_some());
    }
}
