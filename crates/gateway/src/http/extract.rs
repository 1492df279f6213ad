//! Bodies, paths and queries, each refused with a problem that says what was wrong.

use super::App;
use super::problem::{Problem, shown};
use super::strict;
use astradesk_core::{Code, Error, RunId};
use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::request::Parts;
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

/// A JSON body within the limits of size and time.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<App> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        refuse_other_than_json(request.headers())?;
        let (parts, body) = request.into_parts();
        parse(&read(&parts.headers, body, app).await?).map(Self)
    }
}

/// The same, for a body that may be left out, or be `null`.
pub(crate) struct OptionalJson<T>(pub(crate) Option<T>);

impl<T: DeserializeOwned> FromRequest<App> for OptionalJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let body = read(&parts.headers, body, app).await?;
        if body.is_empty() {
            return Ok(Self(None));
        }
        refuse_other_than_json(&parts.headers)?;
        parse(&body).map(Self)
    }
}

/// Refuses what does not say that it is JSON.
pub(crate) fn refuse_other_than_json(headers: &HeaderMap) -> Result<(), Problem> {
    if is_json(headers) {
        return Ok(());
    }
    let sent = headers.get(CONTENT_TYPE).map_or("", |value| value.to_str().unwrap_or("?"));
    let message = if sent.is_empty() {
        "the body has no `content-type`".to_owned()
    } else {
        format!("the body is `{}`, not `application/json`", shown(sent))
    };
    Err(Error::new(Code::RequestUnsupportedMediaType, message).into())
}

/// The whole body, within its limits of size and time.
pub(crate) async fn read(headers: &HeaderMap, body: Body, app: &App) -> Result<Bytes, Problem> {
    let limit = app.limits.max_body_bytes;
    let announced = headers.get(CONTENT_LENGTH);
    let announced = announced.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > limit as u64) {
        return Err(too_large(limit));
    }
    let body = Limited::new(body, limit).collect();
    match tokio::time::timeout(app.limits.body_timeout(), body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(limit)),
        Ok(Err(_)) => Err(Error::new(Code::RequestMalformed, "the body ended before its time").into()),
        Err(_) => {
            let seconds = app.limits.body_seconds;
            let message = format!("the body was not complete within {seconds} s");
            Err(Error::new(Code::RequestTimeout, message).into())
        }
    }
}

fn parse<T: DeserializeOwned>(body: &Bytes) -> Result<T, Problem> {
    strict::from_slice(body).map_err(|error| {
        let message = if body.is_empty() {
            "the body is empty".to_owned()
        } else {
            format!("the body cannot be read: {}", shown(&error.to_string()))
        };
        Error::new(Code::RequestMalformed, message).into()
    })
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let mut parts = value.split(';').map(str::trim);
    parts.next().is_some_and(|media| media.eq_ignore_ascii_case("application/json"))
        && parts.all(|parameter| match parameter.split_once('=') {
            Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
                value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
            }
            _ => true,
        })
}

fn too_large(limit: usize) -> Problem {
    let message = format!("the body has more than {limit} bytes");
    Error::new(Code::RequestTooLarge, message).with_detail("limit_bytes", limit).into()
}

/// A query without unknown or repeated parameters.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<App> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Problem> {
        axum::extract::Query::try_from_uri(&parts.uri).map(|axum::extract::Query(query)| Self(query)).map_err(
            |error| {
                let message = format!("the query cannot be read: {}", shown(&source(&error)));
                Error::new(Code::RequestMalformed, message).into()
            },
        )
    }
}

/// The innermost message of an error.
fn source(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(inner) = error.source() {
        error = inner;
    }
    error.to_string()
}

/// The one parameter of the path, as text.
pub(crate) struct Segment(pub(crate) String);

impl FromRequestParts<App> for Segment {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        Path::<String>::from_request_parts(parts, app)
            .await
            .map(|Path(text)| Self(text))
            .map_err(|_| Error::new(Code::RequestMalformed, "the path is not valid UTF-8").into())
    }
}

/// The id of a run, from the path. What cannot be an id is not found either.
pub(crate) struct Id(pub(crate) RunId);

impl FromRequestParts<App> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let Segment(text) = Segment::from_request_parts(parts, app).await?;
        let id = RunId::parse(&text).ok_or_else(|| {
            Problem::from(Error::new(Code::RunNotFound, format!("there is no run `{}`", shown(&text))))
        })?;
        tracing::Span::current().record("run", tracing::field::display(id));
        Ok(Self(id))
    }
}

/// A place in a sequence, from a query or a header: a whole number that fits every database.
pub(crate) fn place(text: &str, what: &str) -> Result<u64, Problem> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = if digits { text.parse::<i64>().ok() } else { None };
    number.map(i64::cast_unsigned).ok_or_else(|| {
        let message = format!("`{what}` is `{}`, not a whole number from 0 to {}", shown(text), i64::MAX);
        Error::new(Code::RequestMalformed, message).into()
    })
}

/// The size of a page, from a query.
pub(crate) fn page_size(limit: Option<u32>) -> Result<u32, Problem> {
    /// The size when none is asked for.
    const DEFAULT: u32 = 50;
    /// The largest.
    const MAX: u32 = 200;
    let limit = limit.unwrap_or(DEFAULT);
    if (1..=MAX).contains(&limit) {
        return Ok(limit);
    }
    Err(Error::new(Code::RequestMalformed, format!("`limit` is {limit}, and must be 1 to {MAX}")).into())
}
