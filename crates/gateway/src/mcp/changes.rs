//! Changed lists: who listens learns when the tools, resources or prompts that are there for them are others, because a
//! pack has come, changed or gone, or the policies have.
//!
//! By protocol 2026-07-28 a client asks for it (`subscriptions/listen`); before that, a session is told.

use super::prompts::RESTART;
use super::resources::{LIST_SERVICES, SERVICE_STATUS};
use super::{Over, Server};
use crate::http::caller::Caller;
use astradesk_core::Principal;
use axum::http::request::Parts;
use rmcp::RoleServer;
use rmcp::model::{
    PromptListChangedNotification, ResourceListChangedNotification, ServerNotification, SubscriptionFilter,
    ToolListChangedNotification,
};
use rmcp::service::{
    NotificationContext, Peer, SubscriptionContext, SubscriptionSendError, SubscriptionSink,
};
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What a client can be told of.
pub(super) fn accepted() -> SubscriptionFilter {
    SubscriptionFilter::builder().tools_list_changed().prompts_list_changed().resources_list_changed().build()
}

/// `subscriptions/listen`: tells of changes until the client hangs up, the gateway stops, or the stream has lasted as long
/// as one may.
pub(super) async fn listen(server: &Server, principal: &Arc<Principal>, context: &SubscriptionContext) {
    let end = async {
        match &server.over {
            Over::Http(site) => site.app.until_streams_end().await,
            Over::Stdio(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = Following::begin(server.clone(), principal.clone()).tell(Told::Subscription(context.sink())) => {}
        () = context.cancelled() => {}
        () = end => {}
    }
}

/// Tells a session of changes, from when its client is ready until it ends. It does not matter how often the client
/// says so.
pub(super) fn tell_session(server: &Server, context: NotificationContext<RoleServer>) {
    let Some((principal, ended)) = session(server, &context) else { return };
    let (following, peer) = (Following::begin(server.clone(), principal), context.peer);
    tokio::spawn(async move {
        tokio::select! {
            () = following.tell(Told::Session(&peer)) => {}
            () = ended.cancelled() => {}
        }
    });
}

/// Whose session it is, and what tells when it has ended, if it is not told already.
fn session(
    server: &Server,
    context: &NotificationContext<RoleServer>,
) -> Option<(Arc<Principal>, CancellationToken)> {
    match &server.over {
        Over::Stdio(stdio) => Some((stdio.principal.clone(), stdio.listener()?)),
        Over::Http(site) => {
            let parts = context.extensions.get::<Parts>()?;
            let Caller(principal) = parts.extensions.get::<Caller>()?;
            Some((principal.clone(), site.sessions.listener(&parts.headers)?))
        }
    }
}

/// Whom to tell.
enum Told<'a> {
    Subscription(&'a SubscriptionSink),
    Session(&'a Peer<RoleServer>),
}

/// The lists as they were last seen: what each looks like, in a number.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Lists {
    tools: u64,
    resources: u64,
    prompts: u64,
}

/// The tools that AstraDesk's own resources and prompts are for.
const OWN: [&str; 3] = [LIST_SERVICES, SERVICE_STATUS, RESTART];

impl Lists {
    fn of(server: &Server, principal: &Principal) -> Self {
        let mut lists = [DefaultHasher::new(), DefaultHasher::new(), DefaultHasher::new()];
        let [tools, resources, prompts] = &mut lists;
        for tool in server.engine.tools(principal) {
            let spec = tool.spec();
            (spec.name.as_str(), &spec.version, &spec.description).hash(tools);
            if OWN.contains(&spec.name.as_str()) {
                spec.name.as_str().hash(resources);
                spec.name.as_str().hash(prompts);
            }
        }
        for resource in server.engine.resources(principal) {
            (resource.uri(), resource.mime_type(), resource.about()).hash(resources);
        }
        for prompt in server.engine.prompts(principal) {
            (prompt.about(), prompt.arguments()).hash(prompts);
        }
        let [tools, resources, prompts] = lists.map(|list| list.finish());
        Self { tools, resources, prompts }
    }

    /// What to tell of those that are others now.
    fn changed(self, now: Self) -> impl Iterator<Item = ServerNotification> {
        let all = [
            (self.tools != now.tools).then(|| ToolListChangedNotification::default().into()),
            (self.resources != now.resources).then(|| ResourceListChangedNotification::default().into()),
            (self.prompts != now.prompts).then(|| PromptListChangedNotification::default().into()),
        ];
        all.into_iter().flatten()
    }
}

/// The lists are followed from when it began.
struct Following {
    server: Server,
    principal: Arc<Principal>,
    changes: watch::Receiver<u64>,
    known: Lists,
}

impl Following {
    fn begin(server: Server, principal: Arc<Principal>) -> Self {
        let changes = server.engine.offers();
        let known = Lists::of(&server, &principal);
        Self { server, principal, changes, known }
    }

    /// Tells of changes until nobody listens any more.
    async fn tell(mut self, told: Told<'_>) {
        while self.changes.changed().await.is_ok() {
            let now = Lists::of(&self.server, &self.principal);
            for notification in self.known.changed(now) {
                if !told.tell(notification).await {
                    return;
                }
            }
            self.known = now;
        }
    }
}

impl Told<'_> {
    /// Tells it, if it was asked for. Whether anybody listens still.
    async fn tell(&self, notification: ServerNotification) -> bool {
        match self {
            Self::Session(peer) => peer.send_notification(notification).await.is_ok(),
            Self::Subscription(sink) => {
                matches!(
                    sink.send(notification).await,
                    Ok(()) | Err(SubscriptionSendError::NotificationNotAccepted(_))
                )
            }
        }
    }
}
