//! The server of a pack while the pack is in force: connected when it is needed, connected again when it is lost, and
//! never called with a definition that nobody has accepted.

use super::definition::{Definition, differences};
use super::lock::{Identity, Pin};
use super::server::Server;
use super::session::{Answer, Session};
use astradesk_core::{Code, Error, Result};
use astradesk_runtime::port::{Progress, ServerStatus};
use serde_json::{Map, Value};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How long a connection may take to be opened, and a list of tools to come.
const OPEN: Duration = Duration::from_secs(20);
const LIST: Duration = Duration::from_secs(10);
/// How long after a connection was opened it is opened again at the earliest: at first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));
/// How often the definitions are looked at when nobody calls a tool.
const LOOK: Duration = Duration::from_secs(30);
/// The most characters of a changed text that the status of a pack shows, and the most places.
const SHOWN: usize = 300;
const PLACES: usize = 20;

/// A server, and what was seen of it last.
pub(crate) struct Upstream {
    pack: String,
    server: Server,
    /// What the server called itself when its definitions were accepted.
    accepted: Identity,
    connection: tokio::sync::Mutex<Connection>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Connection {
    session: Option<Arc<Session>>,
    /// When it may be opened again.
    again: Option<Instant>,
    pause: Duration,
}

#[derive(Default)]
struct Seen {
    identity: Option<Identity>,
    /// The definitions, and when they were listed.
    tools: Option<(Instant, Vec<Definition>)>,
    /// Why nothing newer was seen.
    problem: Option<Error>,
}

impl Upstream {
    /// A server that nobody has spoken to yet.
    pub(crate) fn new(pack: &str, server: Server, accepted: Identity) -> Self {
        let (connection, seen) = Default::default();
        Self { pack: pack.to_owned(), server, accepted, connection, seen }
    }

    /// What it is called in messages.
    pub(crate) fn name(&self) -> String {
        self.server.name()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls a tool, if its definition at this moment is the one that was accepted.
    pub(crate) async fn call(
        &self,
        (tool, pin): (&str, Option<&Pin>),
        arguments: Map<String, Value>,
        deadline: Instant,
        progress: &Progress,
    ) -> Answer {
        let session = match self.look(deadline).await {
            Ok(session) => session,
            Err(error) if error.code == Code::UpstreamUnreachable => return Answer::Never(error.message),
            Err(error) => return Answer::Refused(error),
        };
        if let Some(fault) = self.fault(tool, pin) {
            return Answer::Refused(fault);
        }
        session.call(tool, arguments, deadline, progress).await
    }

    /// What the server calls itself, and every tool that it has now.
    pub(crate) async fn tools(&self) -> Result<(Identity, Vec<Definition>)> {
        let session = self.look(Instant::now() + OPEN).await?;
        let tools = self.seen().tools.as_ref().map(|(_, tools)| tools.clone()).unwrap_or_default();
        Ok((session.identity(), tools))
    }

    /// Keeps the connection up, and looks at the definitions from time to time.
    pub(crate) async fn tend(&self) {
        let due = |session: &Session| {
            let seen = self.seen();
            let listed = seen.tools.as_ref().map(|(at, _)| *at);
            session.has_news() || seen.problem.is_some() || listed.is_none_or(|at| at.elapsed() > LOOK)
        };
        let deadline = Instant::now() + OPEN;
        // What goes wrong is noted.
        if let Ok(session) = self.session(deadline).await
            && due(&session)
        {
            let _ = self.look(deadline).await;
        }
    }

    /// Lists the definitions anew.
    async fn look(&self, deadline: Instant) -> Result<Arc<Session>> {
        let session = self.session(deadline).await?;
        match session.tools(deadline.min(Instant::now() + LIST)).await {
            Ok(tools) => {
                let mut seen = self.seen();
                seen.identity = Some(session.identity());
                seen.tools = Some((Instant::now(), tools));
                seen.problem = None;
                drop(seen);
                Ok(session)
            }
            Err(error) => {
                self.let_go(&session).await;
                Err(self.note(error))
            }
        }
    }

    /// The connection, opened if there is none that is good.
    async fn session(&self, deadline: Instant) -> Result<Arc<Session>> {
        let unreachable = |why: &str| {
            let message = format!("`{}` cannot be spoken to: {why}", self.name());
            Error::new(Code::UpstreamUnreachable, message)
        };
        let Ok(mut connection) = timeout_at(deadline, self.connection.lock()).await else {
            return Err(unreachable("it is still being connected to"));
        };
        if let Some(session) = &connection.session {
            if session.is_good(&self.server).map_err(|error| self.note(error))? {
                return Ok(session.clone());
            }
            if session.opened.elapsed() > connection.pause {
                connection.pause = Duration::ZERO;
            }
            connection.session = None;
        }
        let now = Instant::now();
        if let Some(wait) = connection.again.and_then(|again| again.checked_duration_since(now)) {
            let last = self.seen().problem.as_ref().map(|problem| format!("; {}", problem.message));
            let why = format!("it is tried again in {} s{}", wait.as_secs() + 1, last.unwrap_or_default());
            return Err(unreachable(&why));
        }
        connection.pause = (connection.pause * 2).clamp(PAUSE.0, PAUSE.1);
        connection.again = Some(now + connection.pause);
        match Session::open(&self.server, deadline.min(now + OPEN)).await {
            Ok(session) => {
                let session = Arc::new(session);
                connection.session = Some(session.clone());
                tracing::info!(pack = self.pack, server = self.name(), "the pack's MCP server is connected");
                Ok(session)
            }
            Err(error) => {
                connection.again = Some(Instant::now() + connection.pause);
                Err(self.note(error))
            }
        }
    }

    /// Lets a connection go that is no good; calls that are under way on it may end.
    async fn let_go(&self, session: &Arc<Session>) {
        let mut connection = self.connection.lock().await;
        if connection.session.as_ref().is_some_and(|current| Arc::ptr_eq(current, session)) {
            connection.session = None;
        }
    }

    fn note(&self, error: Error) -> Error {
        let mut seen = self.seen();
        if seen.problem.is_none() {
            tracing::warn!(pack = self.pack, code = %error.code, problem = %error.message,
                "the pack's MCP server cannot be spoken to; calls of its tools fail until it can");
        }
        seen.problem = Some(error.clone());
        error
    }

    /// Why a tool is disabled, if it is: what was seen last is not what was accepted.
    pub(crate) fn fault(&self, tool: &str, pin: Option<&Pin>) -> Option<Error> {
        let remedy = format!("`astradesk packs accept {}` shows what it is now, and accepts it", self.pack);
        let fault = |code, why: &str| {
            let message = format!("the tool `{tool}` of `{}` is disabled: {why}", self.name());
            Some(Error::new(code, message).with_remedy(remedy.clone()))
        };
        let Some(pin) = pin else { return fault(Code::PackNotAccepted, "its definition was never accepted") };
        let seen = self.seen();
        let (_, tools) = seen.tools.as_ref()?;
        let now: Vec<&Definition> = tools.iter().filter(|definition| definition.name() == tool).collect();
        match now.as_slice() {
            [now] if now.digest() == pin.digest => None,
            [_] => fault(Code::PackDefinitionChanged, "its definition is not the one that was accepted"),
            [] => fault(Code::PackDefinitionChanged, "its server does not have it any more"),
            _ => fault(Code::PackDefinitionChanged, "its server has several tools of that name"),
        }
    }

    /// The same with what is different. It has the server's words, which an agent should not be told.
    pub(crate) fn fault_in_full(&self, tool: &str, pin: Option<&Pin>) -> Option<Error> {
        let fault = self.fault(tool, pin)?;
        let seen = self.seen();
        let now = seen.tools.iter().flat_map(|(_, tools)| tools).find(|now| now.name() == tool);
        let Some((pin, now)) = pin.zip(now) else { return Some(fault) };
        let mut places = differences(&pin.definition, now, SHOWN);
        if places.len() > PLACES {
            let more = places.len() - PLACES;
            places.truncate(PLACES);
            places.push(format!("and {more} more"));
        }
        Some(fault.with_detail("difference", places))
    }

    /// What is known of the server.
    pub(crate) fn status(&self) -> ServerStatus {
        let seen = self.seen();
        let identity = seen.identity.clone().filter(|identity| !identity.name.is_empty());
        let is_other = identity.as_ref().is_some_and(|identity| *identity != self.accepted);
        let accepted = Some(&self.accepted).filter(|accepted| is_other && !accepted.name.is_empty());
        ServerStatus {
            address: self.name(),
            name: identity.as_ref().map(|identity| identity.name.clone()),
            version: identity.map(|identity| identity.version),
            accepted: accepted.map(|accepted| format!("{} {}", accepted.name, accepted.version)),
            problem: seen.problem.clone(),
        }
    }
}
