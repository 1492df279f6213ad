//! The verbs, for every kind alike.

use std::sync::Arc;

use crate::json::{Map, Value, json};
use axum::Json;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use uuid::Uuid;

use super::patch::Language;
use super::selector::Selector;
use super::status::Status;
use super::{Call, Shared, eviction, identity, logs, managed_fields, patch, table, watch};
use crate::deletion::{self, Deleted, Propagation};
use crate::object::{self, child, int, is_deleting, list, name, namespace, set, text};
use crate::resource::{NAMESPACES, PODS, Resource};
use crate::storage::{Key, Object, Snapshot, Storage};
use crate::{quota, rules};

/// Answers for all objects of a kind.
pub(crate) fn collection(
    shared: &Arc<Shared>,
    resource: &'static Resource,
    namespace: &str,
    call: &Call,
) -> Result<Response, Status> {
    let selector =
        || Selector::parse(resource, call.params.text("labelSelector"), call.params.text("fieldSelector"));
    match call.method {
        Method::GET if call.params.flag("watch") => {
            watch::start(shared, resource, namespace, selector()?, call)
        }
        Method::GET => list_objects(&shared.storage, resource, namespace, &selector()?, call),
        Method::POST if resource.namespaced && namespace.is_empty() => Err(Status::method_not_allowed()),
        Method::POST => {
            let object = prepare(resource, namespace, call.json()?)?;
            let write = Write { manager: &call.manager(), operation: "Update", dry_run: call.dry_run()? };
            let created = create(&shared.storage, resource, object, &write)?;
            Ok((StatusCode::CREATED, Json(&*created)).into_response())
        }
        Method::DELETE => delete_collection(&shared.storage, resource, namespace, &selector()?, call),
        _ => Err(Status::method_not_allowed()),
    }
}

/// Answers for one object, or for a subresource of it.
pub(crate) fn object(
    shared: &Arc<Shared>,
    key: &Key,
    subresource: &str,
    call: &Call,
) -> Result<Response, Status> {
    let storage = &shared.storage;
    let subresource = match subresource {
        "" => None,
        "status" if key.resource.status => Some("status"),
        "scale" if key.resource.scale => Some("scale"),
        "log" if key.resource.kind == "Pod" && call.method == Method::GET => {
            return logs::read(shared, key, call);
        }
        "eviction" if key.resource.kind == "Pod" => return eviction::evict(storage, key, call),
        "token" if key.resource.kind == "ServiceAccount" => return identity::create_token(shared, key, call),
        _ => return Err(Status::unknown_path()),
    };
    let changed = match (&call.method, subresource) {
        (&Method::GET, _) => find(storage, key)?,
        (&Method::PUT, _) => put(storage, key, subresource, call)?,
        (&Method::PATCH, _) => {
            let (object, created) = patch_object(storage, key, subresource, call)?;
            if created {
                return Ok((StatusCode::CREATED, Json(&*object)).into_response());
            }
            object
        }
        (&Method::DELETE, None) => return delete_object(storage, key, call),
        _ => return Err(Status::method_not_allowed()),
    };
    if subresource == Some("scale") {
        return Ok(Json(scale_of(&changed)).into_response());
    }
    if call.method == Method::GET && call.wants_table() {
        return Ok(Json(table::of(
            key.resource,
            std::iter::once(&*changed),
            &json!({}),
            call.wants_whole_rows(),
        ))
        .into_response());
    }
    Ok(Json(&*changed).into_response())
}

/// The object, or that there is none.
pub(super) fn find(storage: &Storage, key: &Key) -> Result<Object, Status> {
    storage.get(key).ok_or_else(|| Status::not_found(key.resource, &key.name))
}

// --- reading ---

fn list_objects(
    storage: &Storage,
    resource: &'static Resource,
    namespace: &str,
    selector: &Selector,
    call: &Call,
) -> Result<Response, Status> {
    let page = call.params.text("continue");
    let (snapshot, after) = if page.is_empty() {
        (first_snapshot(storage, resource, namespace, call)?, None)
    } else {
        let (version, after) = read_page_token(page)?;
        let snapshot = storage.snapshot_at(resource, namespace, version);
        (snapshot.map_err(|_| Status::expired_continue())?, Some(after))
    };
    let is_after = |object: &Value| {
        let position = (object::namespace(object), name(object));
        after.as_ref().is_none_or(|(namespace, name)| position > (namespace.as_str(), name.as_str()))
    };
    let mut items: Vec<&Object> =
        snapshot.items.iter().filter(|object| is_after(object) && selector.matches(object)).collect();
    let mut metadata = json!({ "resourceVersion": snapshot.version.to_string() });
    let limit = call.params.number("limit")?.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(0);
    if limit > 0 && items.len() > limit {
        set(&mut metadata, &["remainingItemCount"], items.len() - limit);
        items.truncate(limit);
        if let Some(last) = items.last() {
            let token = format!("{}/{}/{}", snapshot.version, object::namespace(last), name(last));
            set(&mut metadata, &["continue"], token);
        }
    }
    if call.wants_table() {
        let items = items.into_iter().map(|object| &**object);
        return Ok(Json(table::of(resource, items, &metadata, call.wants_whole_rows())).into_response());
    }
    let items = items.into_iter().map(|object| Item(object)).collect();
    let kind = format!("{}List", resource.kind);
    Ok(Json(List { kind, api_version: resource.api_version(), metadata, items }).into_response())
}

/// As the real server's lists: what each item is, the list says once.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List<'a> {
    kind: String,
    api_version: String,
    metadata: Value,
    items: Vec<Item<'a>>,
}

/// An object without its kind; it is not copied on its way.
struct Item<'a>(&'a Value);

impl Serialize for Item<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = self.0.as_object().into_iter().flat_map(Map::iter);
        serializer.collect_map(fields.filter(|(key, _)| !matches!(*key, "kind" | "apiVersion")))
    }
}

fn first_snapshot(
    storage: &Storage,
    resource: &'static Resource,
    namespace: &str,
    call: &Call,
) -> Result<Snapshot, Status> {
    let current = storage.version();
    match call.params.number("resourceVersion")? {
        Some(version) if version > current => Err(Status::ahead(version, current)),
        Some(version) if call.params.text("resourceVersionMatch") == "Exact" => storage
            .snapshot_at(resource, namespace, version)
            .map_err(|too_old| Status::expired(version, too_old.oldest)),
        _ => Ok(storage.snapshot(resource, namespace)),
    }
}

fn read_page_token(token: &str) -> Result<(u64, (String, String)), Status> {
    let read = || {
        let mut parts = token.splitn(3, '/');
        let version = parts.next()?.parse().ok()?;
        Some((version, (parts.next()?.to_owned(), parts.next()?.to_owned())))
    };
    read().ok_or_else(|| Status::bad_request("continue key is not valid"))
}

// --- writing ---

/// Who writes, and whether it counts.
struct Write<'a> {
    manager: &'a str,
    operation: &'a str,
    dry_run: bool,
}

/// Creates an object on behalf of the sandbox itself, with its namespace if that is missing.
pub(crate) fn create_object(storage: &Storage, object: Value) -> Result<Object, String> {
    let resource = Resource::of(&object).ok_or_else(|| {
        let (version, kind) = (text(&object, "/apiVersion"), text(&object, "/kind"));
        format!("no kind `{kind}` in version `{version}` is served")
    })?;
    let write = Write { manager: "astradesk-sandbox", operation: "Update", dry_run: false };
    let place = match (resource.namespaced, namespace(&object)) {
        (false, _) => String::new(),
        (true, "") => "default".to_owned(),
        (true, given) => given.to_owned(),
    };
    if resource.namespaced && storage.get(&Key::new(&NAMESPACES, "", &place)).is_none() {
        let made = json!({ "metadata": { "name": place } });
        let made = prepare(&NAMESPACES, "", made).and_then(|made| create(storage, &NAMESPACES, made, &write));
        made.map_err(|status| status.to_string())?;
    }
    let object = prepare(resource, &place, object).map_err(|status| status.to_string())?;
    create(storage, resource, object, &write).map_err(|status| status.to_string())
}

/// Reads an object that is to be created: it must be of the kind and in the place of the address.
fn prepare(resource: &'static Resource, place: &str, mut object: Value) -> Result<Value, Status> {
    check_kind(resource, &object)?;
    let given = namespace(&object);
    if !given.is_empty() && given != place {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    if !text(&object, "/metadata/resourceVersion").is_empty() {
        return Err(Status::bad_request("resourceVersion should not be set on objects to be created"));
    }
    let generate = text(&object, "/metadata/generateName").to_owned();
    if name(&object).is_empty() && !generate.is_empty() {
        let number = Uuid::new_v4().as_u128() as u64;
        set(&mut object, &["metadata", "name"], format!("{generate}{}", object::encode(number, 5)));
    }
    let metadata = child(&mut object, "metadata");
    for decided_here in ["uid", "generation", "creationTimestamp", "deletionTimestamp", "managedFields"] {
        metadata.remove(decided_here);
    }
    if resource.namespaced {
        metadata.insert("namespace", place);
    } else {
        metadata.remove("namespace");
    }
    if resource.status && resource.kind != "Node" {
        object.as_object_mut().and_then(|fields| fields.remove("status"));
    }
    Ok(object)
}

fn check_kind(resource: &Resource, object: &Value) -> Result<(), Status> {
    if !object.is_object() {
        return Err(Status::bad_request("the body of the request must be a JSON object"));
    }
    let (version, kind) = (text(object, "/apiVersion"), text(object, "/kind"));
    let fits = |given: &str, wanted: &str| given.is_empty() || given == wanted;
    if fits(version, &resource.api_version()) && fits(kind, resource.kind) {
        return Ok(());
    }
    Err(Status::bad_request(format!(
        "the object provided is of kind {kind} in version {version}, expected {} in version {}",
        resource.kind,
        resource.api_version()
    )))
}

fn create(
    storage: &Storage,
    resource: &'static Resource,
    object: Value,
    write: &Write<'_>,
) -> Result<Object, Status> {
    let object = settle(resource, None, object, None, write)?;
    let key = Key::of(resource, &object);
    if resource.namespaced {
        let home = storage.get(&Key::new(&NAMESPACES, "", &key.namespace));
        let home = home.ok_or_else(|| Status::not_found(&NAMESPACES, &key.namespace))?;
        if is_deleting(&home) {
            return Err(Status::namespace_terminating(resource, &key.name, &key.namespace));
        }
    }
    if *resource == PODS {
        quota::admit(storage, &object).map_err(|why| Status::forbidden(resource, &key.name, &why))?;
    }
    if write.dry_run {
        return match storage.get(&key) {
            Some(_) => Err(Status::already_exists(resource, &key.name)),
            None => Ok(Arc::new(object)),
        };
    }
    storage.create(resource, object).map_err(|_| Status::already_exists(resource, &key.name))
}

/// Makes a candidate what will be stored: typed, with defaults, checked, and with the writer's name on it.
fn settle(
    resource: &'static Resource,
    before: Option<&Value>,
    candidate: Value,
    subresource: Option<&str>,
    write: &Write<'_>,
) -> Result<Value, Status> {
    let mut candidate = candidate;
    set(&mut candidate, &["apiVersion"], resource.api_version());
    set(&mut candidate, &["kind"], resource.kind);
    let mut object = (resource.normalise)(candidate).map_err(|error| {
        let (kind, version) = (resource.kind, resource.version);
        Status::bad_request(format!("{kind} in version \"{version}\" cannot be handled as a {kind}: {error}"))
    })?;
    if let Some(before) = before {
        restrict(resource, before, &mut object, subresource);
    }
    rules::apply_defaults(resource, &mut object);
    let causes = rules::validate(resource, before, &object);
    if !causes.is_empty() {
        return Err(Status::invalid(resource, name(&object), &causes));
    }
    managed_fields::record(before, &mut object, write.manager, write.operation, subresource);
    Ok(object)
}

/// Undoes what a write may not touch: the status from outside `/status`, everything else from inside.
fn restrict(resource: &Resource, before: &Value, object: &mut Value, subresource: Option<&str>) {
    if subresource == Some("status") {
        let status = object.get("status").cloned();
        *object = before.clone();
        if let Some(status) = status {
            set(object, &["status"], status);
        }
    } else if resource.status {
        match before.get("status") {
            Some(status) => set(object, &["status"], status.clone()),
            None => _ = object.as_object_mut().and_then(|fields| fields.remove("status")),
        }
    }
    for kept in ["deletionTimestamp", "deletionGracePeriodSeconds"] {
        match before.pointer(&format!("/metadata/{kept}")) {
            Some(value) => set(object, &["metadata", kept], value.clone()),
            None => _ = child(object, "metadata").remove(kept),
        }
    }
}

/// Changes the object as the closure says, or only shows what would come of it.
fn change(
    storage: &Storage,
    key: &Key,
    subresource: Option<&str>,
    write: &Write<'_>,
    next: impl FnOnce(&Value) -> Result<Value, Status>,
) -> Result<Object, Status> {
    let apply = |current: &mut Value| {
        let candidate = if subresource == Some("scale") {
            let scale = next(&scale_of(current))?;
            let replicas = int(&scale, "/spec/replicas", 0);
            let mut scaled = current.clone();
            set(&mut scaled, &["spec", "replicas"], replicas);
            check_preconditions(key, current, &scale)?;
            scaled
        } else {
            let candidate = next(current)?;
            check_preconditions(key, current, &candidate)?;
            candidate
        };
        *current = settle(key.resource, Some(current), candidate, subresource, write)?;
        Ok(())
    };
    if write.dry_run {
        let mut value = (*find(storage, key)?).clone();
        apply(&mut value)?;
        return Ok(Arc::new(value));
    }
    storage.modify(key, apply)?.ok_or_else(|| Status::not_found(key.resource, &key.name))
}

/// A candidate that carries another version or identity than the object's was made from something else.
fn check_preconditions(key: &Key, current: &Value, candidate: &Value) -> Result<(), Status> {
    let version = text(candidate, "/metadata/resourceVersion");
    if !version.is_empty() && version != text(current, "/metadata/resourceVersion") {
        return Err(Status::stale(key.resource, &key.name));
    }
    check_uid(key, current, text(candidate, "/metadata/uid"))
}

fn check_uid(key: &Key, current: &Value, wanted: &str) -> Result<(), Status> {
    let uid = object::uid(current);
    if wanted.is_empty() || wanted == uid {
        return Ok(());
    }
    let why = format!("Precondition failed: UID in precondition: {wanted}, UID in object meta: {uid}");
    Err(Status::conflict(key.resource, &key.name, &why))
}

fn put(storage: &Storage, key: &Key, subresource: Option<&str>, call: &Call) -> Result<Object, Status> {
    let body = call.json()?;
    if subresource != Some("scale") {
        check_kind(key.resource, &body)?;
    }
    let given = name(&body);
    if given != &*key.name {
        return Err(Status::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({})",
            key.name
        )));
    }
    let write = Write { manager: &call.manager(), operation: "Update", dry_run: call.dry_run()? };
    change(storage, key, subresource, &write, |_| Ok(body))
}

/// Also says whether the object was created: an applied configuration makes what is missing.
fn patch_object(
    storage: &Storage,
    key: &Key,
    subresource: Option<&str>,
    call: &Call,
) -> Result<(Object, bool), Status> {
    let language = Language::of(call.header(header::CONTENT_TYPE))?;
    let body = call.json()?;
    let operation = if language == Language::Apply { "Apply" } else { "Update" };
    let write = Write { manager: &call.manager(), operation, dry_run: call.dry_run()? };
    if language == Language::Apply {
        if call.params.text("fieldManager").is_empty() {
            let why = "Required value: is required for apply patch".to_owned();
            return Err(Status::invalid(key.resource, "", &[("fieldManager".into(), why)]));
        }
        check_kind(key.resource, &body)?;
        if subresource.is_none() && storage.get(key).is_none() {
            let mut object = prepare(key.resource, &key.namespace, body)?;
            set(&mut object, &["metadata", "name"], &*key.name);
            return create(storage, key.resource, object, &write).map(|object| (object, true));
        }
    }
    let patched =
        change(storage, key, subresource, &write, |current| patch::apply(language, current, &body))?;
    Ok((patched, false))
}

fn scale_of(object: &Value) -> Value {
    let labels = object::strings(object, "/spec/selector/matchLabels");
    let selector: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let mut metadata = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        set(&mut metadata, &[field], text(object, &format!("/metadata/{field}")));
    }
    json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
        "spec": { "replicas": int(object, "/spec/replicas", 0) },
        "status": { "replicas": int(object, "/status/replicas", 0), "selector": selector.join(",") },
    })
}

// --- deleting ---

/// How a delete is to be done; parameters go before the body.
pub(super) struct DeleteOptions {
    grace: Option<i64>,
    propagation: Propagation,
    pub(super) dry_run: bool,
    body: Value,
}

impl DeleteOptions {
    fn read(call: &Call) -> Result<DeleteOptions, Status> {
        DeleteOptions::of(call, call.json()?)
    }

    pub(super) fn of(call: &Call, body: Value) -> Result<DeleteOptions, Status> {
        let grace = match call.params.number("gracePeriodSeconds")? {
            Some(seconds) => i64::try_from(seconds).ok(),
            None => body.pointer("/gracePeriodSeconds").and_then(Value::as_i64),
        };
        let asked = match call.params.text("propagationPolicy") {
            "" => text(&body, "/propagationPolicy"),
            given => given,
        };
        let propagation = match asked {
            "Foreground" => Propagation::Foreground,
            "Orphan" => Propagation::Orphan,
            "" if object::flag(&body, "/orphanDependents") => Propagation::Orphan,
            "" | "Background" => Propagation::Background,
            other => return Err(Status::bad_request(format!("unknown propagationPolicy: `{other}`"))),
        };
        let dry_run = call.dry_run()? || list(&body, "/dryRun").iter().any(|value| value == "All");
        Ok(DeleteOptions { grace, propagation, dry_run, body })
    }
}

fn delete_object(storage: &Storage, key: &Key, call: &Call) -> Result<Response, Status> {
    match delete(storage, key, &DeleteOptions::read(call)?)? {
        Deleted::Going(object) => Ok(Json((*object).clone()).into_response()),
        Deleted::Gone(object) if *key.resource == PODS => Ok(Json((*object).clone()).into_response()),
        Deleted::Gone(object) => Ok(Json(json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
            "details": {
                "name": key.name, "group": key.resource.group, "kind": key.resource.plural,
                "uid": object::uid(&object),
            },
        }))
        .into_response()),
    }
}

/// Deletes an object as asked, if it is the one that is meant.
pub(super) fn delete(storage: &Storage, key: &Key, options: &DeleteOptions) -> Result<Deleted, Status> {
    let current = find(storage, key)?;
    check_uid(key, &current, text(&options.body, "/preconditions/uid"))?;
    let version = text(&options.body, "/preconditions/resourceVersion");
    let present = text(&current, "/metadata/resourceVersion");
    if !version.is_empty() && version != present {
        let why = format!(
            "Precondition failed: ResourceVersion in precondition: {version}, ResourceVersion in object meta: {present}"
        );
        return Err(Status::conflict(key.resource, &key.name, &why));
    }
    if options.dry_run {
        return Ok(Deleted::Going(current));
    }
    let deleted = deletion::delete(storage, key, options.grace, options.propagation);
    deleted.ok_or_else(|| Status::not_found(key.resource, &key.name))
}

fn delete_collection(
    storage: &Storage,
    resource: &'static Resource,
    namespace: &str,
    selector: &Selector,
    call: &Call,
) -> Result<Response, Status> {
    let options = DeleteOptions::read(call)?;
    let chosen: Vec<Object> =
        storage.list(resource, namespace).into_iter().filter(|object| selector.matches(object)).collect();
    for object in &chosen {
        if !options.dry_run {
            deletion::delete(storage, &Key::of(resource, object), options.grace, options.propagation);
        }
    }
    let items: Vec<Value> = chosen.iter().map(|object| (**object).clone()).collect();
    Ok(Json(json!({
        "kind": format!("{}List", resource.kind), "apiVersion": resource.api_version(),
        "metadata": { "resourceVersion": storage.version().to_string() }, "items": items,
    }))
    .into_response())
}
