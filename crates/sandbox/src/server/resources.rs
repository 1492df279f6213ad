//! The verbs, for every kind alike.

use std::sync::{Arc, MutexGuard};

use crate::json::{Map, Value, json};
use axum::Json;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use uuid::Uuid;

use super::patch::Language;
use super::selector::Selector;
use super::status::{self, Status};
use super::{Call, Shared, eviction, identity, logs, managed_fields, patch, scale, table, watch};
use crate::deletion::{self, Deleted, Propagation};
use crate::object::{self, child, default, int, is_deleting, list, name, namespace, set, text};
use crate::resource::{NAMESPACES, PODS, Resource};
use crate::storage::{Key, Object, Snapshot, Storage};
use crate::{quota, resource, rules, storage};

/// Answers for all objects of a kind.
pub(crate) fn collection(
    shared: &Arc<Shared>,
    resource: &'static Resource,
    namespace: &str,
    call: &Call,
) -> Result<Response, Status> {
    let _turn = turn_to_write(&shared.storage, call);
    let selector =
        || Selector::parse(resource, call.params.text("labelSelector"), call.params.text("fieldSelector"));
    match call.method {
        Method::GET if call.params.flag("watch") => {
            watch::start(shared, resource, namespace, selector()?, call)
        }
        Method::GET => list_objects(&shared.storage, resource, namespace, &selector()?, call),
        Method::POST if resource.namespaced && namespace.is_empty() => Err(Status::method_not_allowed()),
        Method::POST => {
            let dry_run = call.dry_run()?;
            let object = prepare(resource, namespace, call.json()?)?;
            let write = Write { manager: &call.manager(), operation: "Update", dry_run, is_patch: false };
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
    let _turn = turn_to_write(storage, call);
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
        (&Method::GET, Some("scale")) => {
            find(storage, key).map_err(|status| status.of_scale(key.resource))?
        }
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
        return Ok(Json(scale::of(&changed)).into_response());
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

/// What a write has checked (quotas, preconditions, budgets) still holds when it is written.
fn turn_to_write<'a>(storage: &'a Storage, call: &Call) -> Option<MutexGuard<'a, ()>> {
    (call.method != Method::GET).then(|| storage.turn())
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
    check_version_match(call)?;
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
    let limit = call.params.signed("limit")?.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(0);
    if limit > 0 && items.len() > limit {
        if selector.is_empty() {
            set(&mut metadata, &["remainingItemCount"], items.len() - limit);
        }
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
    Ok(Json(list_of(resource, metadata, items)).into_response())
}

fn list_of<'a>(resource: &Resource, metadata: Value, items: Vec<Item<'a>>) -> List<'a> {
    List { kind: format!("{}List", resource.kind), api_version: resource.api_version(), metadata, items }
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

/// What a list asks of its version must fit together.
fn check_version_match(call: &Call) -> Result<(), Status> {
    let (wanted, version) = (call.params.text("resourceVersionMatch"), call.params.text("resourceVersion"));
    let (field, why) = match (wanted, version) {
        ("", "" | "0") => return Ok(()),
        ("", _) if call.params.text("continue").is_empty() => return Ok(()),
        ("", _) => {
            return Err(Status::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        (_, "") => (
            "resourceVersionMatch",
            "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided".to_owned(),
        ),
        ("Exact", "0") => (
            "resourceVersionMatch",
            "Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"".to_owned(),
        ),
        ("Exact" | "NotOlderThan", _) => return Ok(()),
        (other, _) => (
            "resourceVersionMatch",
            format!("Unsupported value: \"{other}\": supported values: \"Exact\", \"NotOlderThan\", \"\""),
        ),
    };
    Err(Status::bad_options("ListOptions", field, &why))
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
        // Pages of a version are of just that version, unless something else is asked for.
        Some(version) if version > 0 && is_exact(call) => storage
            .snapshot_at(resource, namespace, version)
            .map_err(|too_old| Status::expired(version, too_old.oldest)),
        _ => Ok(storage.snapshot(resource, namespace)),
    }
}

fn is_exact(call: &Call) -> bool {
    match call.params.text("resourceVersionMatch") {
        "" => !matches!(call.params.text("limit"), "" | "0"),
        given => given == "Exact",
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
    /// What is wrong then is wrong with the patch.
    is_patch: bool,
}

/// Creates an object on behalf of the sandbox itself, with its namespace if that is missing.
pub(crate) fn create_object(storage: &Storage, object: Value) -> Result<Object, String> {
    let resource = Resource::of(&object).ok_or_else(|| {
        let (version, kind) = (text(&object, "/apiVersion"), text(&object, "/kind"));
        format!("no kind `{kind}` in version `{version}` is served")
    })?;
    let write = Write { manager: "astradesk-sandbox", operation: "Update", dry_run: false, is_patch: false };
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
    let _turn = storage.turn();
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
    if object.get("metadata").is_some_and(|metadata| !metadata.is_object() && !metadata.is_null()) {
        let (kind, version) = (resource.kind, resource.version);
        let why =
            format!("{kind} in version \"{version}\" cannot be handled as a {kind}: metadata is no object");
        return Err(Status::bad_request(why));
    }
    let (version, kind) = (text(object, "/apiVersion"), text(object, "/kind"));
    let fits = |given: &str, wanted: &str| given.is_empty() || given == wanted;
    if fits(version, &resource.api_version()) && fits(kind, resource.kind) {
        return Ok(());
    }
    let (expected, short) = (resource.kind, version.rsplit('/').next().unwrap_or_default());
    Err(Status::bad_request(format!(
        "{kind} in version \"{short}\" cannot be handled as a {expected}: {}",
        no_kind(kind, version)
    )))
}

fn no_kind(kind: &str, version: &str) -> String {
    format!(
        "no kind \"{kind}\" is registered for version \"{version}\" in scheme \
         \"k8s.io/kubernetes/pkg/api/legacyscheme/scheme.go:30\""
    )
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
            Some(present) => Err(Status::already_exists(resource, &present)),
            None => Ok(Storage::would_create(resource, object)),
        };
    }
    storage.create(resource, object).map_err(|present| Status::already_exists(resource, &present))
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
    let shown = if write.is_patch { candidate.to_string() } else { String::new() };
    let mut object = (resource.normalise)(candidate).map_err(|error| {
        let (kind, version) = (resource.kind, resource.version);
        if write.is_patch {
            return Status::bad_patch(&shown, &error.to_string());
        }
        Status::bad_request(format!("{kind} in version \"{version}\" cannot be handled as a {kind}: {error}"))
    })?;
    if let Some(before) = before {
        restrict(resource, before, &mut object, subresource);
    }
    rules::apply_defaults(resource, &mut object);
    if before.is_none() {
        rules::begin_status(resource, &mut object);
    }
    rules::count_templates(resource, before, &mut object);
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
        // Metadata goes with the status; but a Deployment keeps its labels.
        let kept =
            if resource.kind == "Deployment" { "/metadata/labels" } else { "/metadata/ownerReferences" };
        let mut next = before.clone();
        for field in ["metadata", "status"] {
            match object.get(field) {
                Some(value) => set(&mut next, &[field], value.clone()),
                None => _ = next.as_object_mut().and_then(|fields| fields.remove(field)),
            }
        }
        let field = kept.rsplit('/').next().unwrap_or_default();
        match before.pointer(kept) {
            Some(value) => set(&mut next, &["metadata", field], value.clone()),
            None => _ = child(&mut next, "metadata").remove(field),
        }
        *object = next;
    } else if resource.status {
        match before.get("status") {
            Some(status) => set(object, &["status"], status.clone()),
            None => _ = object.as_object_mut().and_then(|fields| fields.remove("status")),
        }
    }
    default(object, &["metadata", "uid"], object::uid(before));
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
            let scale = next(&scale::of(current))?;
            check_place(key, &scale)?;
            let replicas = replicas_of(&scale, key, write)?;
            let mut scaled = current.clone();
            set(&mut scaled, &["spec", "replicas"], replicas);
            check_preconditions(key, current, &scale)?;
            scaled
        } else {
            let candidate = next(current)?;
            check_place(key, &candidate)?;
            if !write.is_patch {
                check_uid(key, current, text(&candidate, "/metadata/uid"))?;
            }
            check_preconditions(key, current, &candidate)?;
            candidate
        };
        *current = settle(key.resource, Some(current), candidate, subresource, write)?;
        Ok(())
    };
    if write.dry_run {
        let mut value = (*find(storage, key)?).clone();
        let before = value.clone();
        apply(&mut value)?;
        storage::keep_identity(key.resource, &before, &mut value);
        return Ok(Arc::new(value));
    }
    storage.modify(key, apply)?.ok_or_else(|| Status::not_found(key.resource, &key.name))
}

/// A candidate must be what the address names.
fn check_place(key: &Key, candidate: &Value) -> Result<(), Status> {
    let (given, place) = (name(candidate), namespace(candidate));
    if given.is_empty() {
        return Err(Status::bad_request(format!(
            "the name of the object ({} based on URL) was undeterminable: name must be provided",
            key.name
        )));
    }
    if given != &*key.name {
        return Err(Status::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({})",
            key.name
        )));
    }
    if !key.namespace.is_empty() && !place.is_empty() && place != &*key.namespace {
        return Err(Status::bad_request(format!(
            "the namespace of the object ({place}) does not match the namespace on the request ({})",
            key.namespace
        )));
    }
    Ok(())
}

/// A candidate that carries another version or identity than the object's was made from something else.
fn check_preconditions(key: &Key, current: &Value, candidate: &Value) -> Result<(), Status> {
    let version = text(candidate, "/metadata/resourceVersion");
    if !matches!(version, "" | "0") && version != text(current, "/metadata/resourceVersion") {
        return Err(Status::stale(key.resource, &key.name));
    }
    if version.is_empty() && *key.resource == resource::DISRUPTION_BUDGETS {
        return Err(Status::unversioned(key.resource, &key.name));
    }
    Ok(())
}

fn check_uid(key: &Key, current: &Value, wanted: &str) -> Result<(), Status> {
    let uid = object::uid(current);
    if wanted.is_empty() || wanted == uid {
        return Ok(());
    }
    let (plural, namespace, name) = (key.resource.plural, &key.namespace, &key.name);
    let why = format!(
        "StorageError: invalid object, Code: 4, Key: /registry/{plural}/{namespace}/{name}, ResourceVersion: 0, \
         AdditionalErrorMsg: Precondition failed: UID in precondition: {wanted}, UID in object meta: {uid}"
    );
    Err(Status::conflict(key.resource, name, &why))
}

fn put(storage: &Storage, key: &Key, subresource: Option<&str>, call: &Call) -> Result<Object, Status> {
    let body = call.json()?;
    check_kind(if subresource == Some("scale") { &resource::SCALE } else { key.resource }, &body)?;
    check_place(key, &body)?;
    let write =
        Write { manager: &call.manager(), operation: "Update", dry_run: call.dry_run()?, is_patch: false };
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
    let write = Write { manager: &call.manager(), operation, dry_run: call.dry_run()?, is_patch: true };
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
    let patched = change(storage, key, subresource, &write, |current| {
        let patched = patch::apply(language, current, &body)?;
        let (kind, given) = (text(current, "/kind"), text(&patched, "/kind"));
        if kind != given {
            return Err(Status::bad_patch(
                &patched.to_string(),
                &no_kind(given, text(&patched, "/apiVersion")),
            ));
        }
        Ok(patched)
    })?;
    Ok((patched, false))
}

/// How many replicas a scale asks for.
fn replicas_of(scale: &Value, key: &Key, write: &Write<'_>) -> Result<i64, Status> {
    let replicas = scale.pointer("/spec/replicas").filter(|replicas| !replicas.is_null());
    let Some(number) = replicas.map_or(Some(0), Value::as_i64) else {
        let why = "spec.replicas must be a whole number";
        return Err(if write.is_patch {
            Status::bad_patch(&scale.to_string(), why)
        } else {
            Status::bad_request(format!("Scale in version \"v1\" cannot be handled as a Scale: {why}"))
        });
    };
    if number < 0 {
        let why = format!("Invalid value: {number}: must be greater than or equal to 0");
        return Err(Status::invalid(&resource::SCALE, &key.name, &[("spec.replicas".into(), why)]));
    }
    Ok(number)
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
            other => {
                let known = "\"Foreground\", \"Background\", \"Orphan\", \"nil\"";
                let why = format!("Unsupported value: \"{other}\": supported values: {known}");
                return Err(Status::bad_options("DeleteOptions", "propagationPolicy", &why));
            }
        };
        if !asked.is_empty() && body.get("orphanDependents").is_some() {
            let why = "orphanDependents and deletionPropagation cannot be both set";
            return Err(Status::bad_options(
                "DeleteOptions",
                "propagationPolicy",
                &format!("Invalid value: \"{asked}\": {why}"),
            ));
        }
        let dry_run = call.dry_run()? || list(&body, "/dryRun").iter().any(|value| value == "All");
        Ok(DeleteOptions { grace, propagation, dry_run, body })
    }
}

fn delete_object(storage: &Storage, key: &Key, call: &Call) -> Result<Response, Status> {
    let options = DeleteOptions::read(call)?;
    match delete(storage, key, &options)? {
        Deleted::Going(object) => Ok(Json((*object).clone()).into_response()),
        Deleted::Gone(object) if *key.resource == PODS => {
            let mut last = (*object).clone();
            default(&mut last, &["metadata", "deletionTimestamp"], object::now());
            let own = int(&object, "/spec/terminationGracePeriodSeconds", 30);
            let grace = if options.dry_run { options.grace.unwrap_or(own) } else { 0 };
            set(&mut last, &["metadata", "deletionGracePeriodSeconds"], grace);
            Ok(Json(last).into_response())
        }
        Deleted::Gone(object) => {
            Ok(Json(status::done(key.resource, &key.name, object::uid(&object))).into_response())
        }
    }
}

/// Deletes an object as asked, if it is the one that is meant.
pub(super) fn delete(storage: &Storage, key: &Key, options: &DeleteOptions) -> Result<Deleted, Status> {
    let current = find(storage, key)?;
    let (wanted, uid) = (text(&options.body, "/preconditions/uid"), object::uid(&current));
    if !wanted.is_empty() && wanted != uid {
        let why = format!(
            "the UID in the precondition ({wanted}) does not match the UID in record ({uid}). The object might \
             have been deleted and then recreated"
        );
        return Err(Status::not_meant(key.resource, &key.name, &why));
    }
    let version = text(&options.body, "/preconditions/resourceVersion");
    let present = text(&current, "/metadata/resourceVersion");
    if !version.is_empty() && version != present {
        let why = format!(
            "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record \
             ({present}). The object might have been modified"
        );
        return Err(Status::not_meant(key.resource, &key.name, &why));
    }
    if options.dry_run {
        return Ok(Deleted::Gone(current));
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
    let items = chosen.iter().map(|object| Item(object)).collect();
    let metadata = json!({ "resourceVersion": storage.version().to_string() });
    Ok(Json(list_of(resource, metadata, items)).into_response())
}
