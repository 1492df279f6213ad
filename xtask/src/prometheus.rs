//! Prometheus and its Pushgateway as Debian packages them, for the tests: an exporter that a test drives.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::debian;
use crate::http::Request;
use crate::proc::{self, Life};
use crate::ui::{self, Pace};

/// The variable that tells the tests where Prometheus is.
pub(crate) const TEST_PROMETHEUS: &str = "ASTRADESK_TEST_PROMETHEUS";
/// The variable that tells them where the Pushgateway is, which it scrapes every second.
pub(crate) const TEST_PUSHGATEWAY: &str = "ASTRADESK_TEST_PUSHGATEWAY";

/// The one rule: a service of a test that fails often, for a while.
const RULES: &str = r#"groups:
- name: tests
  interval: 1s
  rules:
  - alert: ManyErrors
    expr: >-
      sum by (namespace, service) (rate(http_requests_total{namespace=~"e2e-.+",code="500"}[5s]))
      / sum by (namespace, service) (rate(http_requests_total{namespace=~"e2e-.+"}[5s])) > 0.1
    for: 2s
    labels: {severity: critical}
    annotations: {summary: "{{ $value | humanizePercentage }} of its requests fail"}
"#;

/// How long they may take to answer, where others build.
const READY_WITHIN: Duration = Duration::from_mins(1);

/// Both on loopback, which end with this value.
pub(crate) struct Monitoring {
    processes: Vec<Child>,
    /// The address of Prometheus.
    pub(crate) prometheus: String,
    /// The address of the Pushgateway.
    pub(crate) pushgateway: String,
}

impl Drop for Monitoring {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = proc::kill(process);
        }
    }
}

/// Brings and starts both. What the rule of the tests finds is told to the Alertmanager at this URL, if there is one.
pub(crate) fn start(cache: &Path, alertmanager: Option<&str>) -> Result<Monitoring> {
    let programs = debian::unpacked(cache, "prometheus", &["prometheus", "prometheus-pushgateway"])?;
    ui::stage("start Prometheus", Pace::Quick, || {
        let (prometheus, pushgateway) = (free()?, free()?);
        let folder = cache.join(format!("prometheus-data-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        proc::remove_at_end(&folder);
        let configuration = folder.join("prometheus.yml");
        fs::write(folder.join("rules.yml"), RULES)?;
        fs::write(&configuration, scrapes(pushgateway) + &alarms(alertmanager))?;
        let mut monitoring = Monitoring {
            processes: Vec::new(),
            prometheus: format!("http://{prometheus}"),
            pushgateway: format!("http://{pushgateway}"),
        };
        let mut gateway = Command::new(programs.join("usr/bin/prometheus-pushgateway"));
        gateway.arg(format!("--web.listen-address={pushgateway}"));
        let mut server = Command::new(programs.join("usr/bin/prometheus"));
        server.arg(format!("--web.listen-address={prometheus}"));
        server.arg(format!("--config.file={}", configuration.display()));
        server.arg(format!("--storage.tsdb.path={}", folder.join("data").display()));
        for (command, address, name) in
            [(gateway, pushgateway, "pushgateway"), (server, prometheus, "prometheus")]
        {
            let log = cache.join(format!("{name}.log"));
            monitoring.processes.push(proc::background(&command, &log, Life::Bound)?);
            ready(monitoring.processes.last_mut(), address, &log)?;
        }
        Ok(monitoring)
    })
}

/// What is scraped, and how often. A test's own labels stay as they are.
fn scrapes(pushgateway: SocketAddr) -> String {
    format!(
        "global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\nscrape_configs:\n- job_name: tests\n  honor_labels: true\n  \
         static_configs:\n  - targets: ['{pushgateway}']\n"
    )
}

/// Which rules there are, and who is told what they find.
fn alarms(alertmanager: Option<&str>) -> String {
    let rules = "rule_files: [rules.yml]\n".to_owned();
    let Some(address) = alertmanager.and_then(|url| url.strip_prefix("http://")) else { return rules };
    rules + &format!("alerting:\n  alertmanagers:\n  - static_configs:\n    - targets: ['{address}']\n")
}

fn free() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

fn ready(process: Option<&mut Child>, address: SocketAddr, log: &Path) -> Result<()> {
    let Some(process) = process else { return Ok(()) };
    let request = Request { method: "GET", path: "/-/ready", headers: &[], body: "" };
    let begun = Instant::now();
    while !request.send(address).is_ok_and(|answer| answer.status == 200) {
        ensure!(proc::ended(process)?.is_none(), "it has ended:\n{}", proc::tail(log, 20));
        ensure!(begun.elapsed() < READY_WITHIN, "it does not answer:\n{}", proc::tail(log, 20));
        std::thread::sleep(proc::POLL);
    }
    Ok(())
}
