//! The queries that say how a service is: those of common exporters, and what the configuration makes of them.

use super::template::Template;
use astradesk_core::text::shown;
use serde_json::{Value, json};
use std::fmt;

/// The most queries.
const MAX_QUERIES: usize = 32;

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A part of a whole, from 0 to 1; told in percent.
    Ratio,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// So many a second.
    PerSecond,
    /// CPUs.
    Cores,
    /// Nothing else.
    None,
}

impl Unit {
    const ALL: [Self; 6] =
        [Self::Ratio, Self::Seconds, Self::Bytes, Self::PerSecond, Self::Cores, Self::None];

    /// The unit as it is written in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ratio => "ratio",
            Self::Seconds => "seconds",
            Self::Bytes => "bytes",
            Self::PerSecond => "per_second",
            Self::Cores => "cores",
            Self::None => "none",
        }
    }

    /// Reads a unit of the configuration.
    ///
    /// # Errors
    /// Those that there are.
    pub fn parse(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|unit| unit.as_str() == text);
        known.ok_or_else(|| {
            let all = Self::ALL.map(Self::as_str).join(", ");
            format!("the unit `{}` is none of {all}", shown(text, 32))
        })
    }

    /// A number for a person.
    pub fn tell(self, value: f64) -> String {
        let plain = |value: f64| {
            let digits = match value.abs() {
                v if v == 0.0 || v >= 100.0 => 0,
                v if v >= 10.0 => 1,
                v if v >= 0.1 => 2,
                v if v >= 0.001 => 4,
                _ => return format!("{value:.2e}"),
            };
            let text = format!("{value:.digits$}");
            if text.contains('.') {
                text.trim_end_matches('0').trim_end_matches('.').to_owned()
            } else {
                text
            }
        };
        if !value.is_finite() {
            return if value.is_nan() { "none".to_owned() } else { "infinite".to_owned() };
        }
        match self {
            Self::Ratio => format!("{} %", plain(value * 100.0)),
            Self::Seconds if value.abs() < 1.0 => format!("{} ms", plain(value * 1000.0)),
            Self::Seconds => format!("{} s", plain(value)),
            Self::Bytes => {
                let sizes = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
                let size = sizes.into_iter().find(|(power, _)| value.abs() >= 2f64.powi(*power));
                let (power, name) = size.unwrap_or((0, "B"));
                format!("{} {name}", plain(value / 2f64.powi(power)))
            }
            Self::PerSecond => format!("{}/s", plain(value)),
            Self::Cores => format!("{} cores", plain(value)),
            Self::None => plain(value),
        }
    }
}

/// A query that has a name.
#[derive(Debug, Clone)]
pub struct Query {
    /// What it is called: `error_rate`.
    pub name: String,
    /// What its number counts.
    pub unit: Unit,
    /// The query.
    pub template: Template,
}

/// The queries, in the order in which they are told.
#[derive(Debug, Clone)]
pub struct Queries(Vec<Query>);

/// One of the configuration.
#[derive(Debug, Clone)]
pub struct Configured {
    /// Its name.
    pub name: String,
    /// The query; empty: there is none of this name.
    pub query: String,
    /// What its number counts; none: what that of the built-in one counts.
    pub unit: Option<Unit>,
}

impl Queries {
    /// The queries for common exporters, with those of the configuration in their places or behind them. If series of
    /// several clusters are in one Prometheus, `cluster_label` is the label that tells them apart.
    ///
    /// # Errors
    /// Which of them is not sound, and why.
    pub fn new(configured: Vec<Configured>, cluster_label: Option<&str>) -> Result<Self, String> {
        let mut queries = Vec::new();
        for (name, unit, query) in defaults(cluster_label) {
            let template = Template::parse(&query).map_err(|why| format!("`{name}`: {why}"))?;
            queries.push(Query { name: name.to_owned(), unit, template });
        }
        for Configured { name, query, unit } in configured {
            if !is_name(&name) {
                return Err(format!(
                    "`{}` is no name of a query: 1 to 32 lower-case letters, digits and `_`, beginning with a letter",
                    shown(&name, 40)
                ));
            }
            let place = queries.iter().position(|known| known.name == name);
            if query.trim().is_empty() {
                let place =
                    place.ok_or_else(|| format!("`{name}` is empty, and no built-in query to leave out"))?;
                queries.remove(place);
                continue;
            }
            let template = Template::parse(&query).map_err(|why| format!("`{name}`: {why}"))?;
            match place.and_then(|place| queries.get_mut(place)) {
                Some(known) => *known = Query { unit: unit.unwrap_or(known.unit), name, template },
                None => queries.push(Query { name, unit: unit.unwrap_or(Unit::None), template }),
            }
        }
        if queries.len() > MAX_QUERIES {
            return Err(format!("there are {} queries, and there may be {MAX_QUERIES}", queries.len()));
        }
        Ok(Self(queries))
    }

    /// All of them.
    pub fn all(&self) -> &[Query] {
        &self.0
    }

    /// The one of this name.
    pub fn get(&self, name: &str) -> Option<&Query> {
        self.0.iter().find(|query| query.name == name)
    }

    /// Those that ask about every cluster at once.
    pub(crate) fn of_any_cluster(&self) -> Vec<&str> {
        let any = self.0.iter().filter(|query| !query.template.tells_cluster());
        any.map(|query| query.name.as_str()).collect()
    }

    /// Their names.
    pub fn names(&self) -> Vec<String> {
        self.0.iter().map(|query| query.name.clone()).collect()
    }
}

fn is_name(text: &str) -> bool {
    (1..=32).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// What a service's requests are counted in: by the client libraries of Prometheus, or by OpenTelemetry's.
const REQUESTS: &str = "(sum(rate(http_requests_total{$S}[$W])) or sum(rate(http_server_request_duration_seconds_count{$S}[$W])))";
/// And those of them that failed. Without one yet there is no such series, which means none.
const ERRORS: &str = r#"(sum(rate(http_requests_total{$S,code=~"5.."}[$W])) or sum(rate(http_requests_total{$S,status=~"5.."}[$W])) or sum(rate(http_server_request_duration_seconds_count{$S,http_response_status_code=~"5.."}[$W])) or 0 * $R)"#;
const LATENCY: &str = "histogram_quantile($Q, sum by (le) (rate(http_request_duration_seconds_bucket{$S}[$W])) or sum by (le) (rate(http_server_request_duration_seconds_bucket{$S}[$W])))";
const CPU: &str = r#"sum(rate(container_cpu_usage_seconds_total{$P,container!=""}[$W]))"#;
const MEMORY: &str = r#"sum(container_memory_working_set_bytes{$P,container!=""})"#;
const RESTARTS: &str = "sum(increase(kube_pod_container_status_restarts_total{$P}[$W]))";
/// The pod that is nearest to its limit.
const CPU_SATURATION: &str = r#"max(sum by (pod) (rate(container_cpu_usage_seconds_total{$P,container!=""}[$W])) / sum by (pod) (kube_pod_container_resource_limits{$P,resource="cpu"}))"#;
const MEMORY_SATURATION: &str = r#"max(sum by (pod) (container_memory_working_set_bytes{$P,container!=""}) / sum by (pod) (kube_pod_container_resource_limits{$P,resource="memory"}))"#;

/// The queries for common exporters: names, units, queries.
fn defaults(cluster_label: Option<&str>) -> Vec<(&'static str, Unit, String)> {
    let cluster = cluster_label.map(|label| format!("{label}=\"{{{{ cluster }}}}\",")).unwrap_or_default();
    let written = |query: &str| {
        query
            .replace("$R", REQUESTS)
            .replace("{$", &format!("{{{cluster}$"))
            .replace("$S", r#"namespace="{{ namespace }}",service="{{ service }}""#)
            .replace("$P", r#"namespace="{{ namespace }}",pod=~"{{ pods }}""#)
            .replace("$W", "{{ window }}")
    };
    let quantile = |quantile: &str| written(&LATENCY.replace("$Q", quantile));
    vec![
        ("rate", Unit::PerSecond, written(REQUESTS)),
        ("error_rate", Unit::Ratio, written(&format!("{ERRORS} / {REQUESTS}"))),
        ("p50", Unit::Seconds, quantile("0.5")),
        ("p95", Unit::Seconds, quantile("0.95")),
        ("p99", Unit::Seconds, quantile("0.99")),
        ("cpu", Unit::Cores, written(CPU)),
        ("memory", Unit::Bytes, written(MEMORY)),
        ("restarts", Unit::None, written(RESTARTS)),
        ("cpu_saturation", Unit::Ratio, written(CPU_SATURATION)),
        ("memory_saturation", Unit::Ratio, written(MEMORY_SATURATION)),
    ]
}

/// A number as an output has it: JSON knows no infinity and no number that is none.
pub(crate) fn number(value: f64) -> Value {
    if value.is_finite() {
        json!(value)
    } else if value.is_nan() {
        json!("NaN")
    } else {
        json!(if value > 0.0 { "+Inf" } else { "-Inf" })
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prometheus::template::tests::of;
    use std::time::Duration;

    fn configured(name: &str, query: &str) -> Configured {
        Configured { name: name.to_owned(), query: query.to_owned(), unit: None }
    }

    #[test]
    fn the_configuration_replaces_adds_and_leaves_out() {
        let queries = Queries::new(
            vec![
                configured("p99", "new_p99"),
                configured("cpu", ""),
                Configured { unit: Some(Unit::Ratio), ..configured("apdex", r#"apdex{s="{{ service }}"}"#) },
            ],
            None,
        )
        .unwrap();
        let names = queries.names();
        assert_eq!(names.len(), 10, "{names:?}");
        assert!(!names.contains(&"cpu".to_owned()) && names.last().unwrap() == "apdex");
        let p99 = queries.get("p99").unwrap();
        assert_eq!((p99.template.text(), p99.unit), ("new_p99", Unit::Seconds));
        for (name, query, why) in [
            ("P99", "x", "no name of a query"),
            ("", "x", "no name of a query"),
            ("new", " ", "no built-in query"),
            ("new", "x{a={{ service }}}", "`new`: `{{ service }}` must stand"),
        ] {
            let error = Queries::new(vec![configured(name, query)], None).unwrap_err();
            assert!(error.contains(why), "{name}: {error}");
        }
        let many = (0..40).map(|n| configured(&format!("q{n}"), "x")).collect();
        assert!(Queries::new(many, None).unwrap_err().contains("50 queries"));
        assert!(Unit::parse("percent").unwrap_err().contains("ratio, seconds"));
    }

    #[test]
    fn the_built_in_queries_stand_on_their_page_and_ask_about_one_service() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/prometheus.md");
        let page = std::fs::read_to_string(page).unwrap();
        let webapp = of("kubernetes/prod/shop/deployment/webapp");
        for (name, unit, query) in defaults(None) {
            assert!(page.contains(&query), "docs/prometheus.md has not the query of `{name}`:\n{query}");
            assert!(page.contains(&format!("| `{name}` | {unit} |")), "{name}");
            let filled = Template::parse(&query).unwrap().fill(&webapp, Duration::from_mins(1));
            let selectors = filled.matches('{').count() - filled.matches("]{").count();
            assert_eq!(filled.matches(r#"{namespace="shop","#).count(), selectors, "{filled}");
            assert!(!filled.contains("{{") && !filled.contains('$'), "{filled}");
        }
    }

    #[test]
    fn clusters_in_one_prometheus_are_told_apart_by_a_label() {
        let webapp = of("kubernetes/eu/shop/deployment/webapp");
        let all = Queries::new(Vec::new(), Some("dc")).unwrap();
        for query in all.all() {
            let filled = query.template.fill(&webapp, Duration::from_mins(1));
            let selectors = filled.matches("namespace=").count();
            assert!(
                selectors > 0 && filled.matches(r#"{dc="eu",namespace="shop","#).count() == selectors,
                "{filled}"
            );
        }
        assert_eq!(all.of_any_cluster(), Vec::<&str>::new());
        let one = Queries::new(vec![configured("up", "up")], Some("dc")).unwrap();
        assert_eq!(one.of_any_cluster(), ["up"]);
        assert_eq!(Queries::new(Vec::new(), None).unwrap().of_any_cluster().len(), 10);
    }

    #[test]
    fn numbers_are_told_with_their_unit() {
        for (unit, value, expected) in [
            (Unit::Ratio, 0.0042, "0.42 %"),
            (Unit::Ratio, 0.0, "0 %"),
            (Unit::Ratio, 1.0, "100 %"),
            (Unit::Seconds, 0.1234, "123 ms"),
            (Unit::Seconds, 2.5, "2.5 s"),
            (Unit::Bytes, 134_217_728.0, "128 MiB"),
            (Unit::Bytes, 12.0, "12 B"),
            (Unit::PerSecond, 12.34, "12.3/s"),
            (Unit::Cores, 0.25, "0.25 cores"),
            (Unit::None, 3.0, "3"),
            (Unit::None, 0.000_004, "4.00e-6"),
            (Unit::Ratio, f64::NAN, "none"),
            (Unit::Ratio, f64::INFINITY, "infinite"),
        ] {
            assert_eq!(unit.tell(value), expected);
        }
        assert_eq!(number(f64::NEG_INFINITY), "-Inf");
    }
}
