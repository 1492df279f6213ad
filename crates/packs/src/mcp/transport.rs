//! What comes from a server, bounded and thinned out before anything else sees it.
//!
//! * A line that is longer than a message may be ends the connection; it is never kept in memory.
//! * Whatever a server asks of us (a model's answer, a person's, our files) is refused, one after the other: there is
//!   nothing that it may ask. Only a ping is answered.
//! * Of what it tells, only how a call goes and that its tools have changed is let through.

use astradesk_core::text::shown;
use rmcp::RoleClient;
use rmcp::model::{
    ClientJsonRpcMessage, ClientResult, ErrorCode, ErrorData, JsonRpcMessage, ServerJsonRpcMessage,
    ServerNotification, ServerRequest,
};
use rmcp::transport::Transport;
use std::borrow::Cow;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};

/// The largest message, in bytes: an answer of the largest size that a pack can allow, and what is around it.
pub(crate) const MAX_MESSAGE: usize = 5 << 20;
/// The most characters of what a server says about how a call goes.
const TOLD: usize = 300;

/// Why a connection was ended by us.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ended(Arc<OnceLock<String>>);

impl Ended {
    pub(crate) fn why(&self) -> Option<String> {
        self.0.get().cloned()
    }
}

/// Lines, none of them longer than a message may be.
pub(crate) struct Lines<R> {
    from: R,
    length: usize,
    ended: Ended,
}

impl<R> Lines<R> {
    pub(crate) fn new(from: R, ended: Ended) -> Self {
        Self { from, length: 0, ended }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Lines<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.from).poll_read(context, into))?;
        let new = into.filled().get(before..).unwrap_or_default();
        self.length = match new.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => new.len() - end - 1,
            None => self.length + new.len(),
        };
        if self.length > MAX_MESSAGE {
            let why = format!("it sent a message of more than {MAX_MESSAGE} bytes");
            let _ = self.ended.0.set(why.clone());
            return Poll::Ready(Err(io::Error::other(why)));
        }
        Poll::Ready(Ok(()))
    }
}

/// A transport on which a server can only answer, and tell what it may tell.
pub(crate) struct Guarded<T: Transport<RoleClient>> {
    inner: T,
    /// A refusal that is being sent. It is kept here, because whoever receives may be dropped and come again.
    sending: Option<Sending<T::Error>>,
}

type Sending<E> = Pin<Box<dyn Future<Output = Result<(), E>> + Send>>;

impl<T: Transport<RoleClient>> Guarded<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self { inner, sending: None }
    }
}

impl<T: Transport<RoleClient> + 'static> Transport<RoleClient> for Guarded<T> {
    type Error = T::Error;

    fn name() -> Cow<'static, str> {
        T::name()
    }

    fn send(
        &mut self,
        message: ClientJsonRpcMessage,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        self.inner.send(message)
    }

    async fn receive(&mut self) -> Option<ServerJsonRpcMessage> {
        loop {
            if let Some(sending) = &mut self.sending {
                // Nothing else is read before: a server that asks and never listens holds up itself only.
                let sent = sending.await;
                self.sending = None;
                sent.ok()?;
            }
            match self.inner.receive().await? {
                JsonRpcMessage::Request(asked) => {
                    let answer = if matches!(asked.request, ServerRequest::PingRequest(_)) {
                        ClientJsonRpcMessage::response(ClientResult::empty(()), asked.id)
                    } else {
                        let refusal =
                            ErrorData::new(ErrorCode::METHOD_NOT_FOUND, "nothing can be asked here", None);
                        ClientJsonRpcMessage::error(refusal, Some(asked.id))
                    };
                    self.sending = Some(Box::pin(self.inner.send(answer)));
                }
                JsonRpcMessage::Notification(mut told) => match &mut told.notification {
                    ServerNotification::ProgressNotification(progress) => {
                        let message = progress.params.message.take();
                        progress.params.message = message.map(|message| shown(&message, TOLD));
                        return Some(JsonRpcMessage::Notification(told));
                    }
                    ServerNotification::ToolListChangedNotification(_) => {
                        return Some(JsonRpcMessage::Notification(told));
                    }
                    _ => {}
                },
                answer => return Some(answer),
            }
        }
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        self.inner.close().await
    }
}
