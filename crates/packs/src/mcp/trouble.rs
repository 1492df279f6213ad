//! What an error of the HTTP transport means for a call: whether it can have arrived.

use super::session::Answer;
use astradesk_core::{Code, Error};
use rmcp::transport::streamable_http_client::StreamableHttpError;
use std::error::Error as StdError;

type Http = StreamableHttpError<reqwest::Error>;

/// How a call ended that came to nothing with this error.
pub(super) fn of(name: &str, error: &(dyn StdError + Send + Sync + 'static)) -> Answer {
    let Some(error) = error.downcast_ref::<Http>() else {
        return Answer::Unanswered(format!("`{name}`: the connection broke"));
    };
    let refused = |code, why: String| Answer::Refused(Error::new(code, format!("`{name}` {why}")));
    match error {
        Http::Client(error) if error.is_connect() || error.is_builder() => {
            Answer::Never(format!("`{name}`: no connection could be made"))
        }
        Http::AuthRequired(_) => refused(Code::UpstreamForbidden, "answered 401".to_owned()),
        Http::InsufficientScope(_) => refused(Code::UpstreamForbidden, "answered 403".to_owned()),
        Http::SessionExpired => Answer::Never(format!("`{name}` does not know the session any more")),
        Http::HttpStatus(error) if error.status == 429 => Answer::Never(format!("`{name}` answered 429")),
        Http::HttpStatus(error) => Answer::Unanswered(format!("`{name}` answered {}", error.status)),
        Http::UnexpectedServerResponse(said) => match status(said) {
            Some(status @ (401 | 403)) => refused(Code::UpstreamForbidden, format!("answered {status}")),
            Some(status @ 400..=499) if status != 408 => {
                refused(Code::UpstreamRejected, format!("answered {status}"))
            }
            Some(status) => Answer::Unanswered(format!("`{name}` answered {status}")),
            None => invalid(name, "answered with something that the protocol does not have"),
        },
        Http::ResponseBodyTooLarge { max_size } => {
            invalid(name, &format!("answered with more than {max_size} bytes"))
        }
        Http::UnexpectedContentType(_) | Http::Deserialize(_) => {
            invalid(name, "answered with something that the protocol does not have")
        }
        _ => Answer::Unanswered(format!("`{name}`: the connection broke before it answered")),
    }
}

fn invalid(name: &str, why: &str) -> Answer {
    Answer::Failed(Error::new(Code::UpstreamAnswerInvalid, format!("`{name}` {why}")))
}

/// The status of `HTTP 403 Forbidden: …`, as the transport writes it.
fn status(said: &str) -> Option<u16> {
    said.strip_prefix("HTTP ")?.get(..3)?.parse().ok()
}

/// Whether somewhere below the error a server has answered 401 or 403.
pub(super) fn is_refusal(error: &(dyn StdError + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let refused = match error.downcast_ref::<Http>() {
            Some(Http::AuthRequired(_) | Http::InsufficientScope(_)) => true,
            Some(Http::UnexpectedServerResponse(said)) => matches!(status(said), Some(401 | 403)),
            _ => false,
        };
        if refused {
            return true;
        }
        next = error.source();
    }
    false
}
