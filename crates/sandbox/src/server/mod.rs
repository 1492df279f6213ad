//! The API over HTTP: one door for every request, and one path for every kind.
//!
//! [`route`] reads the address, [`resources`] does the verbs on objects, [`watch`] streams changes,
//! [`identity`] knows who asks, [`access`] what they may do, [`reviews`] tells it, and [`faults`] lets things go
//! wrong on demand; [`discovery`] and [`openapi`] say
//! what there is, [`logs`], [`eviction`] and [`table`] answer what is special to pods and to kubectl, [`older`] speaks an
//! older version.

mod access;
mod cut;
mod discovery;
mod eviction;
pub(crate) mod faults;
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
mod scale;
mod selector;
mod status;
mod table;
mod watch;

use std::sync::Arc;

use crate::json::Value;
use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::storage::{Key, Storage};
use access::Attributes;
use faults::Faults;
use route::{Params, Route};

pub(crate) use access::{ADMINISTRATORS, AUTHENTICATED, Identity, UNAUTHENTICATED};
pub(crate) use cut::{Cuttable, Scissors};
pub(crate) use identity::{Accounts, fresh_token};
pub(crate) use resources::create_object;
pub(crate) use selector::Selector;
pub(crate) use status::Status;

/// The largest body that is read, in bytes, as the real server's limit.
const BODY_LIMIT: usize = 3 * 1024 * 1024;

/// What the handlers share.
pub(crate) struct Shared {
    pub(crate) storage: Arc<Storage>,
    pub(crate) accounts: Accounts,
    pub(crate) faults: Faults,
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
        let given = self.header(header::CONTENT_TYPE);
        if !given.is_empty() && !["json", "yaml", "protobuf"].iter().any(|known| given.contains(known)) {
            let known = "application/json, application/yaml, application/vnd.kubernetes.protobuf";
            return Err(Status::unsupported_media_type(known));
        }
        if given.contains("protobuf") {
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

    /// What the real server calls the parameters of such a request.
    fn options(&self) -> &'static str {
        match self.method {
            Method::POST => "CreateOptions",
            Method::PUT => "UpdateOptions",
            Method::PATCH => "PatchOptions",
            _ => "DeleteOptions",
        }
    }

    fn dry_run(&self) -> Result<bool, Status> {
        if self.params.text("fieldManager").len() > 128 {
            let why = "Too long: must have at most 128 bytes";
            return Err(Status::bad_options(self.options(), "fieldManager", why));
        }
        match self.params.text("dryRun") {
            "" => Ok(false),
            "All" => Ok(true),
            other => {
                let why = format!("Unsupported value: []string{{\"{other}\"}}: supported values: \"All\"");
                Err(Status::bad_options(self.options(), "dryRun", &why))
            }
        }
    }

    fn accepts_something(&self) -> bool {
        let accepted = self.header(header::ACCEPT);
        let spoken = ["json", "*/*", "application/*", "protobuf", "yaml", "text/plain"];
        accepted.is_empty() || spoken.iter().any(|kind| accepted.contains(kind))
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

/// Asks for a change of an object from inside, as the administrator does; no fault happens to it.
pub(crate) fn ask(
    shared: &Arc<Shared>,
    method: Method,
    key: &Key,
    kind: &'static str,
    body: &Value,
) -> Result<(), String> {
    let address = Uri::from_static("/?fieldManager=astradesk-sandbox");
    let params = Params::parse(&address).map_err(|status| status.to_string())?;
    let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(kind))]);
    let call = Call { method, params, headers, body: body.to_string().into() };
    resources::object(shared, key, "", &call).map(drop).map_err(|status| status.to_string())
}

async fn serve(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(scissors): ConnectInfo<Scissors>,
    request: Request,
) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = answer(&shared, &scissors, request).await.unwrap_or_else(IntoResponse::into_response);
    let response = if older::is_asked(&path) { older::answer(response) } else { response };
    tracing::debug!(%method, path, status = response.status().as_u16(), "request");
    response
}

/// Finds out who asks and what for, lets a fault happen if one is due, and only then asks whether they may.
async fn answer(shared: &Arc<Shared>, scissors: &Scissors, request: Request) -> Result<Response, Status> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    let route = Route::parse(path);
    let about_itself = matches!(route, Some(Route::Health | Route::Version));
    let who = shared.accounts.authenticate(&shared.storage, &parts.headers);
    let who = who.or_else(|| about_itself.then(Identity::anonymous)).ok_or_else(Status::unauthorized)?;
    let who = identity::impersonate(&shared.storage, who, &parts.headers)?;
    let params = Params::parse(&parts.uri)?;
    let about = Attributes::of(&parts.method, path, &params);
    let faults_name = path.strip_prefix(faults::PATH).map(|rest| rest.trim_matches('/').to_owned());
    let call = Call { method: parts.method, params, headers: parts.headers, body: read(body).await? };

    let exempt = about_itself || faults_name.is_some();
    let agent = call.header(header::USER_AGENT);
    let strike = if exempt { None } else { shared.faults.strike(&who, &about, agent) };
    let admitted = async {
        access::check(&shared.storage, &who, &about)?;
        if creates_by_patch(shared, route.as_ref(), &call) {
            access::check(&shared.storage, &who, &Attributes { verb: "create".into(), ..about.clone() })?;
        }
        match faults_name {
            Some(name) => shared.faults.answer(&name, &call),
            None => dispatch(shared, route, &who, &about.namespace, &call),
        }
    };
    match strike {
        Some(strike) => strike.befall(scissors, &shared.stop, admitted).await,
        None => admitted.await,
    }
}

/// Whether an applied configuration is to make what is missing, which takes a right of its own.
fn creates_by_patch(shared: &Shared, route: Option<&Route>, call: &Call) -> bool {
    let Some(Route::Object { key, .. }) = route else { return false };
    let applies = call.method == Method::PATCH && call.header(header::CONTENT_TYPE).contains("apply-patch");
    applies && shared.storage.get(key).is_none()
}

fn dispatch(
    shared: &Arc<Shared>,
    route: Option<Route>,
    who: &Identity,
    namespace: &str,
    call: &Call,
) -> Result<Response, Status> {
    let route = route.ok_or_else(Status::unknown_path)?;
    if matches!(route, Route::Collection { .. } | Route::Object { .. }) && !call.accepts_something() {
        return Err(Status::not_acceptable());
    }
    match route {
        Route::Health => Ok("ok".into_response()),
        Route::Version => Ok(discovery::version().into_response()),
        Route::Versions => Ok(discovery::versions().into_response()),
        Route::Groups => Ok(discovery::groups().into_response()),
        Route::Group(group) => discovery::group(&group).map(IntoResponse::into_response),
        Route::Resources(group, version) => {
            discovery::resources(&group, &version).map(IntoResponse::into_response)
        }
        Route::OpenApi => Ok(openapi::document(call)),
        Route::Review(review) => review.answer(shared, who, namespace, call),
        Route::Collection { resource, namespace } => {
            resources::collection(shared, resource, &namespace, call)
        }
        Route::Object { key, subresource } => resources::object(shared, &key, &subresource, call),
    }
}

async fn read(body: Body) -> Result<Bytes, Status> {
    axum::body::to_bytes(body, BODY_LIMIT).await.map_err(|_| Status::too_large(BODY_LIMIT))
}
