//! Sessions (before protocol 2026-07-28), and whose they are.
//!
//! The id of a session is no proof of anything: who opened it is remembered, and it is there for nobody else. One
//! principal's sessions are bounded, so that nobody can take the room of the others.
//!
//! A session is a task of its own, which every message wakes. The list of tools, which clients ask for most, needs
//! nothing of it, and is given at once.

use super::tools;
use crate::http::caller::Caller;
use astradesk_core::Principal;
use astradesk_runtime::Engine;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use futures::future::Either;
use futures::{Stream, stream};
use rmcp::model::{
    ClientJsonRpcMessage, ClientRequest, GetExtensions as _, JsonRpcRequest, ServerJsonRpcMessage,
    ServerResult,
};
use rmcp::transport::streamable_http_server::session::local::{
    LocalSessionManager, LocalSessionManagerError, SessionConfig,
};
use rmcp::transport::streamable_http_server::session::{ServerSseMessage, SessionId, SessionManager};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// The header that names a session.
pub(super) const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
/// The most sessions of one principal: one more closes the oldest.
const OF_ONE: usize = 16;
/// How seldom a session is woken to hear that it is in use.
const HEARS: Duration = Duration::from_secs(1);

/// Who opened a session. An agent that acts for somebody is not them, nor another agent that does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    principal: String,
    actor: Option<String>,
}

impl Owner {
    pub(super) fn of(principal: &Principal) -> Self {
        Self { principal: principal.id(), actor: principal.actor.clone() }
    }
}

/// The sessions that are open, each with who opened it.
pub(super) struct Sessions {
    engine: Engine,
    local: LocalSessionManager,
    owners: Mutex<Owners>,
    most: usize,
}

#[derive(Default)]
struct Owners {
    of: HashMap<SessionId, Session>,
    /// Counts the sessions that were ever opened.
    opened: u64,
}

impl Owners {
    fn is_of(&self, id: &str, owner: &Owner) -> bool {
        self.of.get(id).is_some_and(|session| session.owner == *owner)
    }

    /// Remembers whose the session is; gives those of the same one that have to go for it.
    fn open(&mut self, id: &SessionId, owner: Owner) -> Vec<SessionId> {
        self.opened += 1;
        let same = self.of.iter().filter(|(_, session)| session.owner == owner);
        let mut same: Vec<_> = same.map(|(id, session)| (session.since, id.clone())).collect();
        same.sort_unstable_by_key(|(since, _)| *since);
        same.truncate((same.len() + 1).saturating_sub(OF_ONE));
        let ended = CancellationToken::new();
        let session = Session { owner, since: self.opened, listens: false, heard: None, ended };
        self.of.insert(id.clone(), session);
        same.into_iter().map(|(_, id)| id).collect()
    }

    /// Whether it is time that a session hears that it is in use; it is told then.
    fn has_to_hear(&mut self, id: &SessionId, now: Instant) -> bool {
        let Some(session) = self.of.get_mut(id) else { return true };
        let is_time = session.heard.is_none_or(|heard| now.duration_since(heard) >= HEARS);
        if is_time {
            session.heard = Some(now);
        }
        is_time
    }
}

/// A session that is open.
struct Session {
    owner: Owner,
    /// How many were opened before it.
    since: u64,
    /// Whether it is told of changes already.
    listens: bool,
    /// When it last heard that it is in use by who asks for tools only.
    heard: Option<Instant>,
    ended: CancellationToken,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.ended.cancel();
    }
}

impl Sessions {
    /// At most so many, each of which ends after so long without a word.
    pub(super) fn new(engine: Engine, most: usize, idle: Duration) -> Self {
        let mut config = SessionConfig::default();
        config.keep_alive = Some(idle + HEARS);
        let mut local = LocalSessionManager::default();
        local.session_config = config;
        Self { engine, local, owners: Mutex::default(), most }
    }

    /// Whether the session is there for this one.
    pub(super) fn is_of(&self, id: &str, owner: &Owner) -> bool {
        self.owners().is_of(id, owner)
    }

    /// Whether nobody can open one more.
    pub(super) fn are_full(&self) -> bool {
        self.owners().of.len() >= self.most
    }

    /// What tells when the session of a request has ended, for the first who asks.
    pub(super) fn listener(&self, headers: &HeaderMap) -> Option<CancellationToken> {
        let id = headers.get(SESSION)?.to_str().ok()?;
        let mut owners = self.owners();
        let session = owners.of.get_mut(id).filter(|session| !session.listens)?;
        session.listens = true;
        Some(session.ended.clone())
    }

    /// The answer to a request that the session itself is not needed for, unless it has to hear again that it is in use.
    fn at_once(&self, id: &SessionId, message: &ClientJsonRpcMessage) -> Option<ServerJsonRpcMessage> {
        let ClientJsonRpcMessage::Request(JsonRpcRequest { id: request, request: asked, .. }) = message
        else {
            return None;
        };
        let ClientRequest::ListToolsRequest(list) = asked else { return None };
        let Caller(principal) = caller(message)?;
        if self.owners().has_to_hear(id, Instant::now()) {
            return None;
        }
        Some(match tools::list(&self.engine, principal, list.params.as_ref()) {
            Ok(tools) => {
                let mut result = ServerResult::ListToolsResult(tools);
                result.strip_result_type_for_legacy_peer();
                ServerJsonRpcMessage::response(result, request.clone())
            }
            Err(error) => ServerJsonRpcMessage::error(error, Some(request.clone())),
        })
    }

    fn owners(&self) -> MutexGuard<'_, Owners> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who sent the message, by the layer before.
fn caller(message: &ClientJsonRpcMessage) -> Option<&Caller> {
    let ClientJsonRpcMessage::Request(request) = message else { return None };
    let parts = request.request.extensions().get::<Parts>()?;
    parts.extensions.get::<Caller>()
}

impl SessionManager for Sessions {
    type Error = LocalSessionManagerError;
    type Transport = <LocalSessionManager as SessionManager>::Transport;

    async fn create_session(&self) -> Result<(SessionId, Self::Transport), Self::Error> {
        self.local.create_session().await
    }

    async fn initialize_session(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<ServerJsonRpcMessage, Self::Error> {
        let Caller(principal) =
            caller(&message).ok_or_else(|| LocalSessionManagerError::SessionNotFound(id.clone()))?;
        let owner = Owner::of(principal);
        let answer = self.local.initialize_session(id, message).await?;
        let older = self.owners().open(id, owner);
        for older in older {
            self.close_session(&older).await?;
        }
        Ok(answer)
    }

    async fn has_session(&self, id: &SessionId) -> Result<bool, Self::Error> {
        self.local.has_session(id).await
    }

    async fn close_session(&self, id: &SessionId) -> Result<(), Self::Error> {
        self.owners().of.remove(id);
        self.local.close_session(id).await
    }

    async fn create_stream(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        if let Some(answer) = self.at_once(id, &message) {
            return Ok(Either::Left(stream::iter([ServerSseMessage::from_message(answer)])));
        }
        self.local.create_stream(id, message).await.map(Either::Right)
    }

    async fn accept_message(&self, id: &SessionId, message: ClientJsonRpcMessage) -> Result<(), Self::Error> {
        self.local.accept_message(id, message).await
    }

    async fn create_standalone_stream(
        &self,
        id: &SessionId,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        self.local.create_standalone_stream(id).await
    }

    async fn resume(
        &self,
        id: &SessionId,
        last_event_id: String,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        self.local.resume(id, last_event_id).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(principal: &str, actor: Option<&str>) -> Owner {
        Owner { principal: principal.to_owned(), actor: actor.map(str::to_owned) }
    }

    #[test]
    fn a_session_is_there_for_who_opened_it_and_the_oldest_of_one_goes_first() {
        let mut owners = Owners::default();
        let (ada, bot) = (owner("x#ada", None), owner("x#ada", Some("bot")));
        assert!(owners.open(&"bot".into(), bot.clone()).is_empty());
        for number in 0..OF_ONE {
            assert!(owners.open(&format!("{number}").into(), ada.clone()).is_empty(), "{number}");
        }
        assert!(owners.is_of("0", &ada) && !owners.is_of("0", &bot) && !owners.is_of("bot", &ada));
        assert!(!owners.is_of("0", &owner("y#ada", None)) && !owners.is_of("nope", &ada));
        assert_eq!(owners.open(&"new".into(), ada), [SessionId::from("0")]);
    }

    #[test]
    fn a_session_hears_seldom_that_it_is_in_use() {
        let mut owners = Owners::default();
        owners.open(&"a".into(), owner("x#ada", None));
        let (id, begin) = ("a".into(), Instant::now());
        let mut hears = |after: Duration| owners.has_to_hear(&id, begin + after);
        assert!(hears(Duration::ZERO), "from the first");
        assert!(!hears(HEARS / 2));
        assert!(hears(HEARS));
        assert!(!hears(HEARS * 3 / 2) && hears(HEARS * 2));
        assert!(owners.has_to_hear(&"b".into(), begin), "one that is not known is not ours to speak for");
    }
}
