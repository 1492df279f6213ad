//! An Alertmanager in memory, for what the real one does not do when it is told to: to lose requests and replies.

use super::api::AlertStatus;
use super::{Alert, Alertmanager, Job, Settings};
use crate::upstream::testing::{Answer, Asked, Scripted};
use astradesk_core::Timestamp;
use astradesk_runtime::port::{Progress, SystemClock};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

pub(crate) fn alert(name: &str, labels: &[(&str, &str)]) -> Alert {
    let all = [("alertname", name)].into_iter().chain(labels.iter().copied());
    let labels: std::collections::BTreeMap<String, String> =
        all.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Alert {
        fingerprint: format!("{labels:?}"),
        labels,
        annotations: std::collections::BTreeMap::new(),
        starts_at: Timestamp::UNIX_EPOCH,
        status: AlertStatus { state: "active".to_owned(), silenced_by: Vec::new(), inhibited_by: Vec::new() },
    }
}

/// What becomes of the next write.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Spoil {
    /// It never arrives.
    Request,
    /// It is done, and the reply is lost.
    Reply,
    /// It is done when the silences have been looked at so often, and the reply is lost.
    Late(usize),
    /// The server fails, and does nothing.
    Fail,
    /// It is refused.
    Refuse(u16),
}

/// What there is.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) silences: Vec<Value>,
    pub(crate) alerts: Vec<Value>,
    pub(crate) spoil: VecDeque<Spoil>,
    /// How often reads are to fail.
    pub(crate) deaf: usize,
    late: Vec<(usize, Value)>,
    pub(crate) writes: usize,
}

/// The server, and its client.
pub(crate) struct Fake {
    pub(crate) state: Arc<Mutex<State>>,
    pub(crate) alertmanager: Alertmanager,
    pub(crate) server: Scripted,
}

pub(crate) const LABELS: [&str; 2] =
    ["namespace={namespace},service={service}", "namespace={namespace},deployment={service}"];

impl Fake {
    pub(crate) async fn start() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        let server = Scripted::start(move |asked| shared.lock().unwrap().answer(asked)).await;
        let settings = Settings {
            upstream: server.settings("Alertmanager"),
            service_labels: LABELS.map(str::to_owned).to_vec(),
            max_silence: Duration::from_hours(4),
        };
        let alertmanager = Alertmanager::new(settings, Arc::new(SystemClock)).unwrap();
        Self { state, alertmanager, server }
    }

    /// The silences in force.
    pub(crate) fn active(&self) -> Vec<Value> {
        let state = self.state.lock().unwrap();
        state.silences.iter().filter(|silence| silence["status"]["state"] == "active").cloned().collect()
    }
}

pub(crate) fn job(mark: &str, repeated: bool, seconds: u64) -> Job {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    Job { mark: mark.to_owned(), repeated, deadline, progress: Progress::default() }
}

impl State {
    fn answer(&mut self, asked: &Asked) -> Answer {
        let (method, path) = asked.what.split_once(' ').unwrap();
        if method != "GET" {
            self.writes += 1;
            return self.write(method, path, &asked.body);
        }
        if self.deaf > 0 {
            self.deaf -= 1;
            return Answer::Break;
        }
        self.mark_alerts();
        match path {
            "/api/v2/silences" => {
                self.arrive();
                Answer::Json(200, json!(self.silences))
            }
            "/api/v2/alerts" => Answer::Json(200, json!(self.alerts)),
            _ => match self.find(path) {
                Some(silence) => Answer::Json(200, silence.clone()),
                None => Answer::Text(404, String::new()),
            },
        }
    }

    fn arrive(&mut self) {
        self.late.iter_mut().for_each(|(looks, _)| *looks = looks.saturating_sub(1));
        let (due, later) = std::mem::take(&mut self.late).into_iter().partition(|(looks, _)| *looks == 0);
        self.late = later;
        let due: Vec<(usize, Value)> = due;
        for (_, body) in due {
            self.create(&body);
        }
    }

    /// Every alert that fires is matched by every silence: the real one judges it otherwise.
    fn mark_alerts(&mut self) {
        let active = self.silences.iter().filter(|silence| silence["status"]["state"] == "active");
        let ids: Vec<Value> = active.map(|silence| silence["id"].clone()).collect();
        for alert in &mut self.alerts {
            alert["status"]["state"] = if ids.is_empty() { "active" } else { "suppressed" }.into();
            alert["status"]["silencedBy"] = json!(ids);
        }
    }

    fn find(&mut self, path: &str) -> Option<&mut Value> {
        let id = path.rsplit('/').next().unwrap();
        self.silences.iter_mut().find(|silence| silence["id"] == id)
    }

    fn write(&mut self, method: &str, path: &str, body: &Value) -> Answer {
        let spoil = self.spoil.pop_front();
        match spoil {
            Some(Spoil::Request) => return Answer::Break,
            Some(Spoil::Fail) => return Answer::Text(503, String::new()),
            Some(Spoil::Refuse(status)) => return Answer::Text(status, "\"no\"".to_owned()),
            Some(Spoil::Late(looks)) => {
                self.late.push((looks, body.clone()));
                return Answer::Break;
            }
            Some(Spoil::Reply) | None => {}
        }
        let answer = if method == "POST" {
            Answer::Json(200, json!({"silenceID": self.create(body)}))
        } else if let Some(silence) = self.find(path) {
            silence["status"]["state"] = "expired".into();
            Answer::Text(200, String::new())
        } else {
            Answer::Text(404, String::new())
        };
        if spoil == Some(Spoil::Reply) { Answer::Break } else { answer }
    }

    fn create(&mut self, body: &Value) -> String {
        let id = format!("id-{}", self.silences.len());
        let mut silence = body.clone();
        silence["id"] = json!(id);
        silence["status"] = json!({"state": "active"});
        silence["updatedAt"] = json!(Timestamp::now().to_string());
        self.silences.push(silence);
        id
    }
}
