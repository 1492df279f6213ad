//! `/openapi/v2`: a document that knows the paths of the kinds and nothing of their fields. kubectl reads it, in
//! protobuf, before it validates (what has no schema is not validated by the client) and before a dry run or a diff,
//! which it tries only on kinds whose PATCH takes `dryRun`.

use crate::json::{Value, json};
use axum::Json;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::Call;
use crate::object::set;
use crate::resource::{self, Resource};

const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
const TITLE: &str = "AstraDesk sandbox";
const KIND: &str = "x-kubernetes-group-version-kind";

/// The document, as it was asked for.
pub(crate) fn document(call: &Call) -> Response {
    let kinds = resource::ALL.into_iter().flat_map(|resource| {
        resource.versions().map(move |version| (address(resource, version), kind(resource, version)))
    });
    if call.header(header::ACCEPT).contains("proto-openapi") {
        return ([(header::CONTENT_TYPE, PROTOBUF)], in_protobuf(kinds)).into_response();
    }
    let parameter = json!({ "name": "dryRun", "in": "query", "type": "string" });
    let mut paths = json!({});
    for (address, kind) in kinds {
        let patch = json!({ "patch": { "parameters": [parameter], "responses": {}, KIND: kind } });
        set(&mut paths, &[&address], patch);
    }
    let info = json!({ "title": TITLE, "version": "v1" });
    Json(json!({ "swagger": "2.0", "info": info, "paths": paths })).into_response()
}

fn address(resource: &Resource, version: &str) -> String {
    let root = if resource.group.is_empty() { "/api".into() } else { format!("/apis/{}", resource.group) };
    let place = if resource.namespaced { "/namespaces/{namespace}" } else { "" };
    format!("{root}/{version}{place}/{}/{{name}}", resource.plural)
}

fn kind(resource: &Resource, version: &str) -> Value {
    json!({ "group": resource.group, "version": version, "kind": resource.kind })
}

/// The numbers are those of the fields in gnostic's `OpenAPIv2.proto`.
fn in_protobuf(kinds: impl Iterator<Item = (String, Value)>) -> Vec<u8> {
    let parameter = [text(2, "query"), text(4, "dryRun"), text(6, "string")].concat();
    let parameter = field(8, &field(1, &field(2, &field(3, &parameter))));
    let mut paths = Vec::new();
    for (address, kind) in kinds {
        let extension = [text(1, KIND), field(2, &text(2, &kind.to_string()))].concat();
        let patch = [parameter.clone(), field(9, &[]), field(13, &extension)].concat();
        paths.extend(field(2, &[text(1, &address), field(2, &field(8, &patch))].concat()));
    }
    let info = [text(1, TITLE), text(2, "v1")].concat();
    [text(1, "2.0"), field(2, &info), field(8, &paths)].concat()
}

fn text(number: u8, content: &str) -> Vec<u8> {
    field(number, content.as_bytes())
}

/// A field of protobuf that has a length: its number (below 16, so that it fits a byte), the length, the content.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut encoded = vec![number << 3 | 2];
    let mut length = content.len();
    while length >= 0x80 {
        encoded.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    encoded.push(length as u8);
    encoded.extend_from_slice(content);
    encoded
}
