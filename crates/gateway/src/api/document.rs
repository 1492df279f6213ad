//! What every operation of the OpenAPI document has in common, added in one place.
//!
//! The handlers' macros say what is special about an operation; what the layers before them can answer
//! (no token, too much, too many, too late) is said here, from what the operation is.

use serde_json::{Map, Value, json};

/// Completes the document that the macros made.
pub(super) fn complete(document: &mut Value) {
    let Some(root) = document.as_object_mut() else { return };
    root.insert("openapi".to_owned(), json!("3.1.0"));
    root.insert(
        "info".to_owned(),
        json!({
            "title": "AstraDesk Ops",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Governed, verified operational actions for people and for agents",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        }),
    );
    let schemas = root
        .entry("components")
        .or_insert_with(|| json!({}))
        .as_object_mut()
        .map(|components| {
            components.insert(
                "securitySchemes".to_owned(),
                json!({"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}),
            );
            components.entry("schemas").or_insert_with(|| json!({}))
        })
        .and_then(Value::as_object_mut);
    if let Some(schemas) = schemas {
        add_problem(schemas);
    }
    let paths = root.get_mut("paths").and_then(Value::as_object_mut).into_iter().flatten();
    for (path, item) in paths {
        for operation in item.as_object_mut().into_iter().flat_map(Map::values_mut) {
            complete_operation(path, operation);
        }
    }
}

/// The schema of problems, with every schema that it needs.
fn add_problem(schemas: &mut Map<String, Value>) {
    use super::wire::Problem;
    use utoipa::{PartialSchema as _, ToSchema as _};
    let mut needed = vec![(Problem::name().into_owned(), Problem::schema())];
    Problem::schemas(&mut needed);
    for (name, schema) in needed {
        schemas.entry(name).or_insert_with(|| json!(schema));
    }
}

fn complete_operation(path: &str, operation: &mut Value) {
    let agents = path == "/mcp";
    let protected = path.starts_with("/v1/") || agents;
    let probe = matches!(path, "/healthz" | "/readyz" | "/metrics");
    let Some(operation) = operation.as_object_mut() else { return };
    let has_body = operation.contains_key("requestBody");
    let submits = matches!(path, "/v1/run" | "/v1/tools/{tool}/runs");
    let has_input = has_body || operation.contains_key("parameters");
    if protected {
        operation.insert("security".to_owned(), json!([{"bearer": []}]));
    }
    let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten();
    parameters.filter_map(|parameter| parameter.get_mut("schema")).for_each(without_null);
    let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) else { return };
    let mut add = |when: bool, status: &str, description: &str| {
        if when {
            responses.entry(status).or_insert_with(|| json!({"description": description}));
        }
    };
    add(has_input, "400", "The request cannot be understood");
    add(protected, "401", "Nobody proved who asks");
    add(protected, "403", "Who asks may not do this, or their token lacks a scope");
    add(has_body, "408", "The body was not complete in time");
    add(has_body, "413", "The body is larger than the limit");
    add(has_body, "415", "The body is not `application/json`");
    add(!probe, "429", "More requests than the limit");
    add(true, "500", "A defect of AstraDesk");
    add(!probe, "503", "Something that is needed cannot be reached");
    for (status, response) in responses.iter_mut() {
        // What the protocol itself refuses is JSON-RPC or plain text.
        let by_protocol = agents && matches!(status.as_str(), "400" | "403" | "404" | "405" | "406");
        complete_response(status, response, submits, !by_protocol);
    }
}

/// A parameter that is optional can be left out; `null` is nothing that a query or a header can say.
fn without_null(schema: &mut Value) {
    let is_null = |kind: &Value| kind == "null" || kind["type"] == "null";
    if let Some(kinds) = schema.get_mut("type").and_then(Value::as_array_mut) {
        kinds.retain(|kind| !is_null(kind));
        if let [kind] = kinds.as_slice() {
            schema["type"] = kind.clone();
        }
    }
    if let Some(choices) = schema.get_mut("oneOf").and_then(Value::as_array_mut) {
        choices.retain(|choice| !is_null(choice));
        if let [choice] = choices.as_slice() {
            *schema = choice.clone();
        }
    }
}

fn complete_response(status: &str, response: &mut Value, submits: bool, is_problem: bool) {
    let Some(response) = response.as_object_mut() else { return };
    let succeeded = status.starts_with('2');
    if !succeeded && is_problem {
        let problem =
            json!({"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}});
        response.insert("content".to_owned(), problem);
    }
    let headers = response.entry("headers").or_insert_with(|| json!({}));
    let Some(headers) = headers.as_object_mut() else { return };
    let mut add = |when: bool, name: &str, required: bool, description: &str, schema: Value| {
        if when {
            let header = json!({"description": description, "required": required, "schema": schema});
            headers.insert(name.to_owned(), header);
        }
    };
    let text = || json!({"type": "string"});
    add(true, "X-Request-Id", true, "The request's id", json!({"type": "string", "maxLength": 64}));
    add(status == "202", "Location", true, "The run's path", text());
    add(status == "401", "WWW-Authenticate", true, "The scheme: `Bearer`", text());
    let seconds = || json!({"type": "integer", "minimum": 1});
    add(matches!(status, "429" | "503"), "Retry-After", true, "After how many seconds to repeat", seconds());
    let of_run = submits && (succeeded || matches!(status, "403" | "404" | "409" | "422" | "502" | "503"));
    let replayed = json!({"type": "string", "const": "true"});
    add(
        of_run,
        "Idempotency-Replayed",
        false,
        "The run is that of an earlier request with the same key",
        replayed,
    );
    add(of_run, "Preference-Applied", false, "The wait that was granted", text());
}
