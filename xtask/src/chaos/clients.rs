//! The clients: they submit, repeat, contradict, cancel and read, over HTTP, and log every answer.
#![expect(clippy::indexing_slicing, reason = "a `serde_json::Value` that lacks a key yields null")]

use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::place::Service;
use super::random::Random;
use crate::gateway::{bearer, call_path};
use crate::http::Request;

/// The tool that is called.
const TOOL: &str = "restart_service";
/// The longest pause of a client between two requests.
const PAUSE: Duration = Duration::from_millis(60);
/// The pause when there is no gateway.
const AWAIT: Duration = Duration::from_millis(3);
/// Time limits of the runs, in seconds. Each request on a service has one of its own, by which its run is known.
const LIMITS: std::ops::Range<u64> = 300..3600;
/// Requests without a run that a client tries again and again; then it makes no more.
const OPEN: usize = 12;

/// What all clients share.
pub(super) struct Field<'a> {
    pub(super) services: &'a [Service],
    /// The gateways that serve now.
    pub(super) board: Mutex<Vec<SocketAddr>>,
    /// The principals' tokens.
    pub(super) tokens: Vec<String>,
    /// Whether a restart can be asked to undo itself.
    pub(super) undo: bool,
    pub(super) stop: AtomicBool,
    /// Counts the wishes, by principal and service.
    made: Vec<Vec<AtomicU64>>,
    began: Instant,
}

/// Something that a client wants done once.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Wish {
    pub(super) principal: usize,
    pub(super) key: String,
    pub(super) service: String,
    /// The run's time limit, in seconds; no two wishes on a service have the same.
    pub(super) limit: u64,
    /// What becomes of a failed rollout, if that is said.
    pub(super) on_failure: Option<&'static str>,
}

/// What a client did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Act {
    /// Asked for a run, for the first time or again.
    #[default]
    Submit,
    /// Used a key that has a run with another request.
    Contradict,
    /// Asked for a run to be cancelled.
    Cancel,
    /// Read a run.
    Read,
}

/// What a client did, and what it was answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Answer {
    pub(super) act: Act,
    pub(super) wish: Wish,
    /// The HTTP status; 0 when there was no answer.
    pub(super) status: u16,
    /// The run that the answer names.
    pub(super) run: Option<String>,
    /// The problem's code.
    pub(super) code: Option<String>,
    /// Whether the answer is that to an earlier request.
    pub(super) replayed: bool,
}

impl Answer {
    /// Whether the client has been given its run.
    pub(super) fn is_accepted(&self) -> bool {
        self.act == Act::Submit && self.run.is_some() && ((200..300).contains(&self.status) || self.replayed)
    }

    /// The answer in a line, for a person.
    pub(super) fn shown(&self) -> String {
        let Wish { principal, key, service, limit, .. } = &self.wish;
        let (act, status) = (self.act, self.status);
        let said = self.run.as_deref().or(self.code.as_deref()).unwrap_or("no answer");
        let replayed = if self.replayed { ", replayed" } else { "" };
        format!(
            "client of principal {principal}: {act:?} {key} {service} {limit}s → {status} {said}{replayed}"
        )
    }
}

impl<'a> Field<'a> {
    pub(super) fn new(services: &'a [Service], tokens: Vec<String>, undo: bool) -> Self {
        Self {
            services,
            board: Mutex::new(Vec::new()),
            undo,
            stop: AtomicBool::new(false),
            made: tokens.iter().map(|_| services.iter().map(|_| AtomicU64::new(0)).collect()).collect(),
            tokens,
            began: Instant::now(),
        }
    }

    fn gateways(&self) -> Vec<SocketAddr> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A wish that nobody had before, unless this service has had its share.
    fn wish(&self, random: &mut Random, principal: usize) -> Option<Wish> {
        let index = random.below(self.services.len() as u64) as usize;
        let service = self.services.get(index)?;
        let number = self.made.get(principal)?.get(index)?.fetch_add(1, Ordering::Relaxed);
        let limit = LIMITS.start + number * self.tokens.len() as u64 + principal as u64;
        let on_failure = match random.below(3) {
            _ if !self.undo => None,
            // A rollout that fails and stays would keep the service from ever being restarted again.
            _ if service.fails() => Some("undo"),
            0 => Some("undo"),
            1 => Some("leave"),
            _ => None,
        };
        // The principals have the same keys, for different runs.
        let key = format!("{}-{number}", service.name);
        let service = service.name.clone();
        LIMITS.contains(&limit).then_some(Wish { principal, key, service, limit, on_failure })
    }

    /// Asks for what is wished, at this gateway.
    pub(super) fn submit(&self, wish: &Wish, to: SocketAddr) -> Answer {
        self.ask(Act::Submit, wish, wish, to)
    }

    fn ask(&self, act: Act, wish: &Wish, said: &Wish, to: SocketAddr) -> Answer {
        let mut arguments =
            json!({"service": said.service, "timeout": format!("{}s", said.limit), "accept_downtime": true});
        if let Some(choice) = said.on_failure {
            arguments["on_failure"] = choice.into();
        }
        let body = json!({"arguments": arguments}).to_string();
        self.send(act, wish, ("POST", &call_path(TOOL), &body), to)
    }

    /// Sends a request, whose key is the wish's if it asks for a run.
    fn send(
        &self,
        act: Act,
        wish: &Wish,
        (method, path, body): (&str, &str, &str),
        to: SocketAddr,
    ) -> Answer {
        let token = self.tokens.get(wish.principal).map(|token| bearer(token)).unwrap_or_default();
        let mut headers = vec![("Authorization", token.as_str())];
        if !body.is_empty() {
            headers.push(("Content-Type", "application/json"));
        }
        if matches!(act, Act::Submit | Act::Contradict) {
            headers.push(("Idempotency-Key", &wish.key));
        }
        let mut answer = Answer { act, wish: wish.clone(), ..Answer::default() };
        let Ok(got) = (Request { method, path, headers: &headers, body }).send(to) else { return answer };
        let (status, replayed) = (got.status, got.header("Idempotency-Replayed").is_some());
        // What breaks off has not been answered.
        let Some(said) = got.text().ok().and_then(|text| serde_json::from_str::<Value>(&text).ok()) else {
            return answer;
        };
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let run = if act == Act::Read { &said["id"] } else { &said["run"]["id"] };
        answer.run = text(run).or_else(|| text(&said["details"]["run"]));
        answer.code = text(&said["code"]);
        Answer { status, replayed, ..answer }
    }
}

/// One client.
pub(super) struct Client<'a> {
    field: &'a Field<'a>,
    random: Random,
    principal: usize,
    /// Told whenever a request for a run is about to be sent.
    sending: Sender<()>,
    log: File,
    /// Wishes that have no run yet.
    open: Vec<Wish>,
    /// Wishes that have one.
    done: Vec<(Wish, String)>,
    answers: Vec<Answer>,
}

impl<'a> Client<'a> {
    pub(super) fn new(
        field: &'a Field<'a>,
        number: usize,
        random: Random,
        sending: Sender<()>,
        folder: &Path,
    ) -> Result<Self> {
        let log = folder.join(format!("client-{number}.jsonl"));
        let log = File::create(&log).with_context(|| format!("cannot write `{}`", log.display()))?;
        let principal = number.checked_rem(field.tokens.len()).context("there is no token")?;
        let (open, done, answers) = Default::default();
        Ok(Self { field, random, principal, sending, log, open, done, answers })
    }

    /// Goes on until it is told to stop; what it was answered.
    pub(super) fn run(mut self) -> Vec<Answer> {
        while !self.field.stop.load(Ordering::Relaxed) {
            let gateways = self.field.gateways();
            let Some(to) = self.random.pick(&gateways) else {
                std::thread::sleep(AWAIT);
                continue;
            };
            if let Some(answer) = self.act(*to) {
                self.keep(answer);
            }
            std::thread::sleep(self.random.time(PAUSE));
        }
        self.answers
    }

    fn act(&mut self, to: SocketAddr) -> Option<Answer> {
        let field = self.field;
        match self.random.below(100) {
            0..58 => {
                if self.open.len() < OPEN && (self.open.is_empty() || self.random.percent(50)) {
                    let wish = field.wish(&mut self.random, self.principal)?;
                    self.open.push(wish);
                }
                let wish = self.random.pick(&self.open)?;
                let _ = self.sending.send(());
                Some(field.submit(wish, to))
            }
            58..78 => {
                let wish = self.one_done()?.0;
                let _ = self.sending.send(());
                Some(field.submit(&wish, to))
            }
            78..84 => {
                let wish = self.one_done()?.0;
                let other = Wish { limit: LIMITS.end, ..wish.clone() };
                Some(field.ask(Act::Contradict, &wish, &other, to))
            }
            84..90 => {
                let (wish, run) = self.done.last()?.clone();
                let undo = field.undo && (self.random.percent(50) || wish.on_failure == Some("undo"));
                let body = if undo { json!({"on_effect": "undo"}).to_string() } else { String::new() };
                Some(field.send(Act::Cancel, &wish, ("POST", &format!("/v1/runs/{run}/cancel"), &body), to))
            }
            _ => {
                let (wish, run) = self.one_done()?;
                let mut answer = field.send(Act::Read, &wish, ("GET", &format!("/v1/runs/{run}"), ""), to);
                // Asked for, it is also named where it is not found.
                answer.run = Some(run);
                Some(answer)
            }
        }
    }

    /// A wish that has a run: mostly one of the last.
    fn one_done(&mut self) -> Option<(Wish, String)> {
        let skip = if self.random.percent(70) { self.done.len().saturating_sub(20) } else { 0 };
        self.random.pick(self.done.get(skip..)?).cloned()
    }

    fn keep(&mut self, answer: Answer) {
        let at = self.field.began.elapsed().as_millis();
        // For whoever looks into a failure; the check has the answers themselves.
        let _ = writeln!(self.log, "{at} {}", answer.shown());
        if answer.is_accepted()
            && let Some(run) = &answer.run
            && !self.done.iter().any(|(wish, _)| *wish == answer.wish)
        {
            self.open.retain(|wish| *wish != answer.wish);
            self.done.push((answer.wish.clone(), run.clone()));
        }
        self.answers.push(answer);
    }
}
