//! Who asks: a bearer token's owner, and whoever an administrator speaks for.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Json;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::access::{self, Attributes, Identity, SERVICE_ACCOUNT};
use super::status::Status;
use super::{Call, Shared};
use crate::json::json;
use crate::object::{self, int};
use crate::storage::{Key, Storage};

/// Tokens of service accounts that are remembered; of more the oldest ends early.
const ISSUED: usize = 1_000;
/// How many groups a request may speak for.
const GROUPS: usize = 100;

/// Who may ask.
#[derive(Default)]
pub(crate) struct Accounts {
    /// Those of the start, each with its token.
    known: Vec<(String, Identity)>,
    issued: Mutex<VecDeque<Issued>>,
}

/// A service account's token.
struct Issued {
    token: String,
    account: Key,
    /// The account's: another one of the same name is somebody else.
    uid: String,
    until: Instant,
}

/// A token that nobody guesses.
pub(crate) fn fresh_token() -> String {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}

impl Accounts {
    pub(crate) fn new(known: Vec<(String, Identity)>) -> Accounts {
        Accounts { known, issued: Mutex::default() }
    }

    /// Whose token these headers carry.
    pub(crate) fn authenticate(&self, storage: &Storage, headers: &HeaderMap) -> Option<Identity> {
        let given = headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")?;
        let mut owner = None;
        for (token, identity) in &self.known {
            if is_same(given, token) {
                owner = Some(identity.clone());
            }
        }
        owner.or_else(|| self.service_account(storage, given))
    }

    fn service_account(&self, storage: &Storage, given: &str) -> Option<Identity> {
        let now = Instant::now();
        let issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        let found = issued.iter().find(|issued| is_same(given, &issued.token) && now < issued.until)?;
        let account = storage.get(&found.account).filter(|account| object::uid(account) == found.uid)?;
        Some(Identity::service_account(object::namespace(&account), object::name(&account)))
    }

    fn issue(&self, issued: Issued) {
        let mut all = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() == ISSUED {
            all.pop_front();
        }
        all.push_back(issued);
    }
}

/// Compares the whole token whatever comes, so that the time it takes tells nothing.
fn is_same(given: &str, token: &str) -> bool {
    given.len() == token.len() && given.bytes().zip(token.bytes()).fold(0, |diff, (a, b)| diff | (a ^ b)) == 0
}

/// `serviceaccounts/token`: a token of the account, for as long as is asked.
pub(crate) fn create_token(shared: &Shared, key: &Key, call: &Call) -> Result<Response, Status> {
    if call.method != Method::POST {
        return Err(Status::method_not_allowed());
    }
    let asked = call.json()?;
    let account = shared.storage.get(key).ok_or_else(|| Status::not_found(key.resource, &key.name))?;
    let seconds = int(&asked, "/spec/expirationSeconds", 3_600);
    let Some(lasts) = u64::try_from(seconds).ok().filter(|seconds| (600..=1 << 32).contains(seconds)) else {
        let what = if seconds < 600 { "less than 10 minutes" } else { "larger than 2^32 seconds" };
        let why =
            format!("spec.expirationSeconds: Invalid value: {seconds}: may not specify a duration {what}");
        return Err(Status::invalid_request("TokenRequest.authentication.k8s.io", &why));
    };
    let token = fresh_token();
    let ends = Timestamp::now().saturating_add(SignedDuration::from_secs(seconds)).unwrap_or_default();
    let answer = json!({
        "kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1",
        "metadata": { "name": key.name, "namespace": key.namespace, "creationTimestamp": object::now() },
        "spec": { "audiences": ["sandbox"], "expirationSeconds": seconds, "boundObjectRef": null },
        "status": { "token": token, "expirationTimestamp": ends.strftime("%Y-%m-%dT%H:%M:%SZ").to_string() },
    });
    shared.accounts.issue(Issued {
        token,
        account: key.clone(),
        uid: object::uid(&account).to_owned(),
        until: Instant::now() + Duration::from_secs(lasts),
    });
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

/// Who is meant when somebody speaks for somebody else, if they may.
pub(crate) fn impersonate(storage: &Storage, who: Identity, headers: &HeaderMap) -> Result<Identity, Status> {
    // What cannot be read must not pass for what is not there: the caller would act with rights of their own.
    let texts = |name: &str| -> Result<Vec<String>, Status> {
        let values: Vec<&[u8]> = headers.get_all(name).into_iter().map(HeaderValue::as_bytes).collect();
        let read =
            values.iter().map(|value| String::from_utf8(value.to_vec())).collect::<Result<Vec<_>, _>>();
        let read = read.map_err(|_| Status::bad_request(format!("the header `{name}` is not in UTF-8")))?;
        if read.len() > GROUPS {
            return Err(Status::bad_request(format!("there are more than {GROUPS} headers `{name}`")));
        }
        Ok(read)
    };
    let groups = texts("impersonate-group")?;
    let users = texts("impersonate-user")?;
    let Some(user) = users.first().filter(|user| !user.is_empty()) else {
        return match groups.as_slice() {
            [] => Ok(who),
            _ => Err(Status::internal("requested groups without impersonating a user")),
        };
    };
    let may = |resource: &str, namespace: &str, name: &str| {
        let about = Attributes {
            verb: "impersonate".into(),
            resource: resource.into(),
            namespace: namespace.into(),
            name: name.into(),
            ..Attributes::default()
        };
        access::check(storage, &who, &about)
    };
    let account = user.strip_prefix(SERVICE_ACCOUNT).and_then(|account| account.split_once(':'));
    match account {
        Some((namespace, name)) => may("serviceaccounts", namespace, name)?,
        None => may("users", "", user)?,
    }
    for group in &groups {
        may("groups", "", group)?;
    }
    Ok(match account {
        Some((namespace, name)) if groups.is_empty() => Identity::service_account(namespace, name),
        _ => Identity::new(user, &groups),
    })
}
