//! Sessions (before protocol 2026-07-28), and whose they are.
//!
//! The id of a session is no proof of anything: who opened it is remembered, and it is there for nobody else. One
//! principal's sessions are bounded, so that nobody can take the room of the others.

use crate::http::caller::Caller;
use astradesk_core::Principal;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use futures::Stream;
use rmcp::model::{ClientJsonRpcMessage, GetExtensions as _, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_server::session::local::{
    LocalSessionManager, LocalSessionManagerError, SessionConfig,
};
use rmcp::transport::streamable_http_server::session::{ServerSseMessage, SessionId, SessionManager};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The header that names a session.
pub(super) const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
/// The most sessions of one principal: one more closes the oldest.
const OF_ONE: usize = 16;

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

/// A session that is open.
struct Session {
    owner: Owner,
    /// How many were opened before it.
    since: u64,
    /// Whether it is told of changes already.
    listens: bool,
    ended: CancellationToken,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.ended.cancel();
    }
}

impl Sessions {
    /// At most so many, each of which ends after so long without a word.
    pub(super) fn new(most: usize, idle: Duration) -> Self {
        let mut config = SessionConfig::default();
        config.keep_alive = Some(idle);
        let mut local = LocalSessionManager::default();
        local.session_config = config;
        Self { local, owners: Mutex::default(), most }
    }

    /// Whether the session is there for this one.
    pub(super) fn is_of(&self, id: &str, owner: &Owner) -> bool {
        self.owners().of.get(id).is_some_and(|session| session.owner == *owner)
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

    /// Remembers whose the session is; gives those of the same one that have to go for it.
    fn opened(&self, id: &SessionId, owner: Owner) -> Vec<SessionId> {
        let mut owners = self.owners();
        owners.opened += 1;
        let opened = owners.opened;
        let same = owners.of.iter().filter(|(_, session)| session.owner == owner);
        let mut same: Vec<_> = same.map(|(id, session)| (session.since, id.clone())).collect();
        same.sort_unstable_by_key(|(since, _)| *since);
        same.truncate((same.len() + 1).saturating_sub(OF_ONE));
        let session = Session { owner, since: opened, listens: false, ended: CancellationToken::new() };
        owners.of.insert(id.clone(), session);
        same.into_iter().map(|(_, id)| id).collect()
    }

    fn owners(&self) -> MutexGuard<'_, Owners> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who sent the message, by the layer before.
fn sender(message: &ClientJsonRpcMessage) -> Option<Owner> {
    let ClientJsonRpcMessage::Request(request) = message else { return None };
    let parts = request.request.extensions().get::<Parts>()?;
    parts.extensions.get::<Caller>().map(|Caller(principal)| Owner::of(principal))
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
        let owner = sender(&message).ok_or_else(|| LocalSessionManagerError::SessionNotFound(id.clone()))?;
        let answer = self.local.initialize_session(id, message).await?;
        for older in self.opened(id, owner) {
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
        self.local.create_stream(id, message).await
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
        let sessions = Sessions::new(OF_ONE + 1, Duration::from_secs(1));
        let (ada, bot) = (owner("x#ada", None), owner("x#ada", Some("bot")));
        assert!(sessions.opened(&"bot".into(), bot.clone()).is_empty());
        for number in 0..OF_ONE {
            assert!(!sessions.are_full());
            assert!(sessions.opened(&format!("{number}").into(), ada.clone()).is_empty(), "{number}");
        }
        assert!(sessions.are_full());
        assert!(sessions.is_of("0", &ada) && !sessions.is_of("0", &bot) && !sessions.is_of("bot", &ada));
        assert!(!sessions.is_of("0", &owner("y#ada", None)) && !sessions.is_of("nope", &ada));
        assert_eq!(sessions.opened(&"new".into(), ada), [SessionId::from("0")]);
    }
}
