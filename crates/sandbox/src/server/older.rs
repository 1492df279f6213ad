//! `policy/v1beta1`, which kubectl 1.20 asks for: the same `PodDisruptionBudget`s as in `policy/v1` under an older
//! name, which is put on what goes out and taken off what comes in.

use crate::json::Value;
use axum::body::Body;
use axum::http::header;
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt;

use crate::object::{set, text};
use crate::resource::DISRUPTION_BUDGETS;

const NAME: &str = "policy/v1beta1";

/// Whether an address is of the older version.
pub(super) fn is_asked(path: &str) -> bool {
    path.strip_prefix("/apis/")
        .and_then(|path| path.strip_prefix(NAME))
        .is_some_and(|rest| rest.starts_with('/'))
}

/// What came in, as the newer version.
pub(super) fn read(mut body: Value) -> Value {
    if text(&body, "/apiVersion") == NAME {
        set(&mut body, &["apiVersion"], DISRUPTION_BUDGETS.api_version());
    }
    body
}

/// What goes out, as the older version. Whole documents are sent at once, so that none is cut within a name.
pub(super) fn answer(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    let named = |name: &str| format!("\"apiVersion\":\"{name}\"");
    let (from, to) = (named(&DISRUPTION_BUDGETS.api_version()), named(NAME));
    let rename = move |bytes: Bytes| match std::str::from_utf8(&bytes) {
        Ok(text) => Bytes::from(text.replace(&from, &to)),
        Err(_) => bytes,
    };
    let renamed = body.into_data_stream().map(move |bytes| bytes.map(&rename));
    Response::from_parts(parts, Body::from_stream(renamed))
}
