//! From an address to what it means.

use std::collections::BTreeMap;

use axum::extract::Query;
use axum::http::Uri;

use super::reviews::Review;
use super::status::Status;
use crate::resource::Resource;
use crate::storage::Key;

/// What an address is about.
pub(crate) enum Route {
    Health,
    Version,
    /// `/api`
    Versions,
    /// `/apis`
    Groups,
    /// `/apis/apps`
    Group(String),
    /// `/apis/apps/v1`
    Resources(String, String),
    /// `/openapi/v2`
    OpenApi,
    /// A question about what somebody may do.
    Review(Review),
    /// All objects of a kind; the namespace is empty for all of them.
    Collection {
        resource: &'static Resource,
        namespace: String,
    },
    /// One object, or (when it is not empty) a subresource of it.
    Object {
        key: Key,
        subresource: String,
    },
}

impl Route {
    pub(crate) fn parse(path: &str) -> Option<Route> {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        match parts.as_slice() {
            ["healthz" | "readyz" | "livez", ..] => Some(Route::Health),
            ["version"] => Some(Route::Version),
            ["openapi", "v2"] => Some(Route::OpenApi),
            ["api"] => Some(Route::Versions),
            ["apis"] => Some(Route::Groups),
            ["api", version] => Some(Route::Resources(String::new(), (*version).into())),
            ["apis", group] => Some(Route::Group((*group).into())),
            ["apis", group, version] => Some(Route::Resources((*group).into(), (*version).into())),
            ["api", version, rest @ ..] => Route::of_resource("", version, rest),
            ["apis", group, version, rest @ ..] => {
                let review = Review::at(group, version, rest).map(Route::Review);
                review.or_else(|| Route::of_resource(group, version, rest))
            }
            _ => None,
        }
    }

    fn of_resource(group: &str, version: &str, rest: &[&str]) -> Option<Route> {
        let (namespace, rest) = match rest {
            // `/namespaces/x/status` is about the namespace; `/namespaces/x/pods` is about what is in it.
            ["namespaces", _, "status" | "finalize"] => ("", rest),
            ["namespaces", namespace, inner @ ..] if !inner.is_empty() => (*namespace, inner),
            _ => ("", rest),
        };
        let (plural, rest) = rest.split_first()?;
        let resource = Resource::find(group, version, plural)?;
        let inside = !namespace.is_empty();
        match rest {
            [] if resource.namespaced || !inside => {
                Some(Route::Collection { resource, namespace: namespace.into() })
            }
            [name, subresource @ ..] if resource.namespaced == inside && subresource.len() <= 1 => {
                let subresource = subresource.first().copied().unwrap_or_default().to_owned();
                Some(Route::Object { key: Key::new(resource, namespace, name), subresource })
            }
            _ => None,
        }
    }
}

/// The query's parameters; of a repeated one the last counts.
pub(crate) struct Params(BTreeMap<String, String>);

impl Params {
    pub(crate) fn parse(uri: &Uri) -> Result<Params, Status> {
        Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map(|Query(pairs)| Params(pairs.into_iter().collect()))
            .map_err(|error| Status::bad_request(format!("invalid query: {error}")))
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        matches!(self.text(name), "true" | "1")
    }

    /// A whole number, if it is given.
    pub(crate) fn signed(&self, name: &str) -> Result<Option<i64>, Status> {
        match self.text(name) {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| not_a_number(text)),
        }
    }

    /// A whole number that is not negative, if it is given.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, Status> {
        match self.text(name) {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| not_a_number(text)),
        }
    }
}

fn not_a_number(text: &str) -> Status {
    Status::bad_request(format!("strconv.ParseInt: parsing \"{text}\": invalid syntax"))
}
