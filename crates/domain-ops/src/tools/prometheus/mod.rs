//! The tools of a Prometheus, or of whatever speaks its API. They only read.

mod get_metrics;
mod query_metrics;
#[cfg(test)]
mod tests;

use get_metrics::GetMetrics;
pub use query_metrics::QueryMetrics;

use crate::kubernetes::Cluster;
use crate::prometheus::Prometheus;
use crate::tools::kubernetes::on_each;
use astradesk_core::{Code, Error, Result};
use astradesk_runtime::port::Tool;
use std::sync::Arc;
use std::time::Duration;

/// The tools, for the workloads of these clusters.
///
/// # Errors
/// `config.invalid`: there are several clusters, and a named query asks about all of them at once.
pub fn tools(prometheus: &Prometheus, clusters: &[Cluster]) -> Result<Vec<Arc<dyn Tool>>> {
    let mixed = prometheus.queries().of_any_cluster();
    if clusters.len() > 1 && !mixed.is_empty() {
        let message = format!(
            "there are several clusters, which these queries do not tell apart: {}",
            mixed.join(", ")
        );
        return Err(Error::new(Code::ConfigInvalid, message).with_remedy(
            "set `prometheus.cluster_label`, and put `{{ cluster }}` into the queries of `prometheus.queries`",
        ));
    }
    let mut tools = on_each(clusters, |cluster| {
        let tool: Arc<dyn Tool> = Arc::new(GetMetrics::new(prometheus.clone(), cluster.clone())?);
        Ok(vec![tool])
    })?;
    tools.push(Arc::new(QueryMetrics::new(prometheus.clone())?));
    Ok(tools)
}

/// How a time is written: a number and `s`, `m`, `h` or `d`.
const TIME: &str = "^([1-9][0-9]{0,4}s|[1-9][0-9]{0,3}m|[1-9][0-9]{0,2}h|[1-9][0-9]?d)$";

/// A time as the schema lets it in.
fn time(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit).map(Duration::from_secs)
}
