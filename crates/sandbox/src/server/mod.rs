//! The API over HTTP: one door for every request, and one path for every kind.
//!
//! [`route`] reads the address, [`resources`] does the verbs on objects, [`watch`] streams changes,
//! [`identity`] knows who asks, [`access`] what they may do, and [`reviews`] tells it; [`discovery`] and [`openapi`] say
//! what there is, [`logs`], [`eviction`] and [`table`] answer what is special to pods and to kubectl, [`older`] speaks an
//! older version.

mod access;
mod discovery;
mod eviction;
mod identity;
mod logs;
mod managed_fields;
mod older;
mod openapi;
mod patch;
mod protobuf;
mod resources;
mod reviews;
mod route;
mod selector;
mod status;
mod table;
mod watch;

use std::sync::Arc;

use crate::json::Value;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::storage::Storage;
use access::Attributes;
use route::{Params, Route};
use status::Status;

pub(crate) use access::{ADMINISTRATORS, AUTHENTICATED, Identity, UNAUTHENTICATED};
pub(crate) use identity::{Accounts, fresh_token};
pub(crate) use resources::create_object;
pub(crate) use selector::Selector;

/// The largest body that is read, in bytes, as the real server's limit.
const BODY_LIMIT: usize = 3 * 1024 * 1024;

/// What the handlers share.
pub(crate) struct Shared {
    pub(crate) storage: Arc<Storage>,
    pub(crate) accounts: Accounts,
    pub(crate) stop: CancellationToken,
}

/// A request that was read and let in.
struct Call {
    method: Method,
    params: Params,
    headers: HeaderMap,
    body: Bytes,
}

impl Call {
    fn header(&self, name: header::HeaderName) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body as JSON; an empty body reads as null.
    fn json(&self) -> Result<Value, Status> {
        if self.body.is_empty() {
            return Ok(Value::Null);
        }
        if self.header(header::CONTENT_TYPE).contains("protobuf") {
            let read = protobuf::decode(&self.body).map(older::read);
            return read.ok_or_else(|| Status::unsupported_media_type("application/json"));
        }
        serde_json::from_slice(&self.body).map(older::read).map_err(|error| {
            Status::bad_request(format!(
                "the object provided is unrecognized (must be of type JSON): {error}"
            ))
        })
    }

    /// Who is writing: the parameter, or else the program's name in its user agent, as the real server has it.
    fn manager(&self) -> String {
        let given = self.params.text("fieldManager");
        let agent = self.header(header::USER_AGENT).split('/').next().unwrap_or_default();
        let manager = if given.is_empty() { agent } else { given };
        if manager.is_empty() { "unknown".into() } else { manager.chars().take(128).collect() }
    }

    fn dry_run(&self) -> Result<bool, Status> {
        match self.params.text("dryRun") {
            "" => Ok(false),
            "All" => Ok(true),
            other => Err(Status::bad_request(format!("unsupported dryRun value: `{other}`, expected `All`"))),
        }
    }

    fn wants_whole_rows(&self) -> bool {
        self.params.text("includeObject") == "Object"
    }

    fn wants_table(&self) -> bool {
        self.header(header::ACCEPT).contains("as=Table")
    }
}

pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new().fallback(serve).with_state(shared)
}

async fn serve(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = answer(&shared, request).await.unwrap_or_else(IntoResponse::into_response);
    let response = if older::is_asked(&path) { older::answer(response) } else { response };
    tracing::debug!(%method, path, status = response.status().as_u16(), "request");
    response
}

/// Finds out who asks and what for, and whether they may.
async fn answer(shared: &Arc<Shared>, request: Request) -> Result<Response, Status> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    let route = Route::parse(path);
    let about_itself = matches!(route, Some(Route::Health | Route::Version));
    let who = shared.accounts.authenticate(&shared.storage, &parts.headers);
    let who = who.or_else(|| about_itself.then(Identity::anonymous)).ok_or_else(Status::unauthorized)?;
    let who = identity::impersonate(&shared.storage, who, &parts.headers)?;
    let params = Params::parse(&parts.uri)?;
    access::check(&shared.storage, &who, &Attributes::of(&parts.method, path, &params))?;
    let call = Call { method: parts.method, params, headers: parts.headers, body: read(body).await? };
    dispatch(shared, route, &who, &call)
}

fn dispatch(
    shared: &Arc<Shared>,
    route: Option<Route>,
    who: &Identity,
    call: &Call,
) -> Result<Response, Status> {
    match route.ok_or_else(Status::unknown_path)? {
        Route::Health => Ok("ok".into_response()),
        Route::Version => Ok(discovery::version().into_response()),
        Route::Versions => Ok(discovery::versions().into_response()),
        Route::Groups => Ok(discovery::groups().into_response()),
        Route::Group(group) => discovery::group(&group).map(IntoResponse::into_response),
        Route::Resources(group, version) => {
            discovery::resources(&group, &version).map(IntoResponse::into_response)
        }
        Route::OpenApi => Ok(openapi::document(call)),
        Route::Review(review) => review.answer(shared, who, call),
        Route::Collection { resource, namespace } => {
            resources::collection(shared, resource, &namespace, call)
        }
        Route::Object { key, subresource } => resources::object(shared, &key, &subresource, call),
    }
}

async fn read(body: Body) -> Result<Bytes, Status> {
    axum::body::to_bytes(body, BODY_LIMIT).await.map_err(|_| Status::too_large(BODY_LIMIT))
}
