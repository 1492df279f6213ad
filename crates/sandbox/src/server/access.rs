//! Who may do what: the rules of the roles that somebody is bound to, read as the real RBAC authorizer reads them.
//! Nothing is cached: a role that is gone counts for nothing from the next request on.

use axum::http::Method;

use super::route::Params;
use super::status::Status;
use crate::json::Value;
use crate::object::{list, name, text};
use crate::resource::{CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES};
use crate::storage::{Key, Storage};

/// Members of this group may do everything, whatever the roles say.
pub(crate) const ADMINISTRATORS: &str = "system:masters";
/// Everybody who has said who they are is a member.
pub(crate) const AUTHENTICATED: &str = "system:authenticated";

/// Everybody who has not is a member.
pub(crate) const UNAUTHENTICATED: &str = "system:unauthenticated";

/// Somebody who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) name: String,
    pub(crate) groups: Vec<String>,
}

impl Identity {
    /// A member of these groups, and of the one that everybody is in.
    pub(crate) fn new(name: &str, groups: &[String]) -> Identity {
        let mut groups = groups.to_vec();
        if !groups.iter().any(|group| group == AUTHENTICATED) {
            groups.push(AUTHENTICATED.into());
        }
        Identity { name: name.into(), groups }
    }

    /// A `ServiceAccount`.
    pub(crate) fn service_account(namespace: &str, name: &str) -> Identity {
        let groups = ["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
        Identity::new(&format!("{SERVICE_ACCOUNT}{namespace}:{name}"), &groups)
    }

    /// Somebody who has not said who they are: they may ask how the server is, and which.
    pub(crate) fn anonymous() -> Identity {
        Identity { name: "system:anonymous".into(), groups: vec![UNAUTHENTICATED.into()] }
    }

    fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|member_of| member_of == group)
    }
}

/// What the names of service accounts begin with; namespace and name follow.
pub(crate) const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

/// What somebody is about to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) verb: String,
    /// Of what is no resource; empty for what is one.
    pub(crate) path: String,
    pub(crate) group: String,
    pub(crate) resource: String,
    pub(crate) subresource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Attributes {
    /// What a request is about to do, whether or not there is such a resource.
    pub(crate) fn of(method: &Method, path: &str, params: &Params) -> Attributes {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (group, parts) = match parts.as_slice() {
            ["api", _, rest @ ..] if !rest.is_empty() => ("", rest),
            ["apis", group, _, rest @ ..] if !rest.is_empty() => (*group, rest),
            _ => {
                let verb = method.as_str().to_lowercase();
                return Attributes { verb, path: path.into(), ..Attributes::default() };
            }
        };
        let (namespace, parts) = match parts {
            ["namespaces", namespace] | ["namespaces", namespace, "status" | "finalize"] => {
                (*namespace, parts)
            }
            ["namespaces", namespace, inner @ ..] => (*namespace, inner),
            _ => ("", parts),
        };
        let part = |index: usize| parts.get(index).copied().unwrap_or_default().to_owned();
        let mut about = Attributes {
            group: group.into(),
            resource: part(0),
            name: part(1),
            subresource: part(2),
            namespace: namespace.into(),
            ..Attributes::default()
        };
        about.verb = about.verb_of(method, params).into();
        if matches!(&*about.verb, "list" | "watch" | "deletecollection") {
            // As the real server has it: who lists a single object by its name needs a right to that name only.
            let fields = params.text("fieldSelector").split(',');
            about.name = fields.filter_map(|field| field.strip_prefix("metadata.name=")).collect();
        }
        about
    }

    fn verb_of(&self, method: &Method, params: &Params) -> &'static str {
        match (method.as_str(), self.name.is_empty()) {
            ("POST", _) => "create",
            ("PUT", _) => "update",
            ("PATCH", _) => "patch",
            ("DELETE", false) => "delete",
            ("DELETE", true) => "deletecollection",
            // One object is read whatever the query says.
            (_, false) => "get",
            (_, true) if params.flag("watch") => "watch",
            (_, true) => "list",
        }
    }

    /// What a review asks about.
    pub(crate) fn of_review(spec: &Value) -> Attributes {
        let at = |field: &str| text(spec, &format!("/resourceAttributes/{field}")).to_owned();
        if spec.get("nonResourceAttributes").is_some_and(Value::is_object) {
            let at = |field: &str| text(spec, &format!("/nonResourceAttributes/{field}")).to_owned();
            return Attributes { verb: at("verb"), path: at("path"), ..Attributes::default() };
        }
        Attributes {
            verb: at("verb"),
            path: String::new(),
            group: at("group"),
            resource: at("resource"),
            subresource: at("subresource"),
            namespace: at("namespace"),
            name: at("name"),
        }
    }

    /// The resource as rules name it: `pods`, or `pods/log`.
    pub(crate) fn combined(&self) -> String {
        let slash = if self.subresource.is_empty() { "" } else { "/" };
        format!("{}{slash}{}", self.resource, self.subresource)
    }

    fn describe(&self) -> String {
        if !self.path.is_empty() {
            return format!("{} path \"{}\"", self.verb, self.path);
        }
        let place = match &*self.namespace {
            "" => "at the cluster scope".to_owned(),
            namespace => format!("in the namespace \"{namespace}\""),
        };
        format!("{} resource \"{}\" in API group \"{}\" {place}", self.verb, self.combined(), self.group)
    }
}

/// Whether it is allowed, and by what; or what went wrong with the answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) allowed: bool,
    pub(crate) reason: String,
}

/// Lets somebody do something, or says no in the words of the real server.
pub(crate) fn check(storage: &Storage, who: &Identity, about: &Attributes) -> Result<(), Status> {
    let verdict = decide(storage, who, about);
    if verdict.allowed {
        return Ok(());
    }
    let mut why = format!("User \"{}\" cannot {}", who.name, about.describe());
    if !verdict.reason.is_empty() {
        why = format!("{why}: {}", verdict.reason);
    }
    tracing::debug!(why, "forbidden");
    Err(Status::denied(&about.group, &about.resource, &about.name, &why))
}

/// Says whether somebody may do something.
pub(crate) fn decide(storage: &Storage, who: &Identity, about: &Attributes) -> Verdict {
    if who.is_in(ADMINISTRATORS) {
        return Verdict { allowed: true, reason: String::new() };
    }
    let grants = grants(storage, who, &about.namespace);
    if let Some(grant) = grants.found.iter().find(|grant| allows(&grant.rule, about)) {
        return Verdict { allowed: true, reason: format!("RBAC: allowed by {}", grant.through) };
    }
    let reason = match grants.missing.as_slice() {
        [] => String::new(),
        [one] => format!("RBAC: {one}"),
        many => format!("RBAC: [{}]", many.join(", ")),
    };
    Verdict { allowed: false, reason }
}

/// The rules that hold for somebody in a namespace, or with an empty one for the whole cluster.
pub(crate) fn rules(storage: &Storage, who: &Identity, namespace: &str) -> Vec<Value> {
    grants(storage, who, namespace).found.into_iter().map(|grant| grant.rule).collect()
}

#[derive(Default)]
struct Grants {
    found: Vec<Grant>,
    /// Roles that bindings name and that are not there.
    missing: Vec<String>,
}

/// A rule, and what gives it to somebody.
struct Grant {
    rule: Value,
    through: String,
}

fn grants(storage: &Storage, who: &Identity, namespace: &str) -> Grants {
    let mut grants = Grants::default();
    for binding in storage.list(&CLUSTER_ROLE_BINDINGS, "") {
        grants.add(storage, who, &binding, "");
    }
    if !namespace.is_empty() {
        for binding in storage.list(&ROLE_BINDINGS, namespace) {
            grants.add(storage, who, &binding, namespace);
        }
    }
    grants
}

impl Grants {
    fn add(&mut self, storage: &Storage, who: &Identity, binding: &Value, namespace: &str) {
        let subjects = list(binding, "/subjects");
        let Some(subject) = subjects.iter().find(|subject| is_meant(subject, who, namespace)) else { return };
        let (kind, role) = (text(binding, "/roleRef/kind"), text(binding, "/roleRef/name"));
        let key = match kind {
            "ClusterRole" => Key::new(&CLUSTER_ROLES, "", role),
            _ => Key::new(&ROLES, namespace, role),
        };
        let Some(found) = storage.get(&key) else {
            let kind = kind.to_lowercase();
            let missing = format!("{kind}.rbac.authorization.k8s.io \"{role}\" not found");
            if !self.missing.contains(&missing) {
                self.missing.push(missing);
            }
            return;
        };
        let (binding_kind, place) = match namespace {
            "" => ("ClusterRoleBinding", String::new()),
            namespace => ("RoleBinding", format!("/{namespace}")),
        };
        let to = describe(subject, namespace);
        let through = format!("{binding_kind} \"{}{place}\" of {kind} \"{role}\" to {to}", name(binding));
        let rules = list(&found, "/rules").iter().cloned();
        self.found.extend(rules.map(|rule| Grant { rule, through: through.clone() }));
    }
}

fn is_meant(subject: &Value, who: &Identity, binding_namespace: &str) -> bool {
    let subject_name = text(subject, "/name");
    match text(subject, "/kind") {
        "User" => who.name == subject_name,
        "Group" => who.is_in(subject_name),
        "ServiceAccount" => {
            let namespace = home(subject, binding_namespace);
            !namespace.is_empty() && who.name == format!("{SERVICE_ACCOUNT}{namespace}:{subject_name}")
        }
        _ => false,
    }
}

fn describe(subject: &Value, binding_namespace: &str) -> String {
    let (kind, subject_name) = (text(subject, "/kind"), text(subject, "/name"));
    match kind {
        "ServiceAccount" => format!("{kind} \"{subject_name}/{}\"", home(subject, binding_namespace)),
        _ => format!("{kind} \"{subject_name}\""),
    }
}

fn home<'a>(subject: &'a Value, binding_namespace: &'a str) -> &'a str {
    let namespace = text(subject, "/namespace");
    if namespace.is_empty() { binding_namespace } else { namespace }
}

/// Whether a rule of a role covers this.
fn allows(rule: &Value, about: &Attributes) -> bool {
    let has = |field: &str, wanted: &str| {
        list(rule, field).iter().filter_map(Value::as_str).any(|entry| entry == "*" || entry == wanted)
    };
    if !has("/verbs", &about.verb) {
        return false;
    }
    if !about.path.is_empty() {
        let urls = list(rule, "/nonResourceURLs").iter().filter_map(Value::as_str);
        let covers = |url: &str| match url.strip_suffix('*') {
            Some(start) => about.path.starts_with(start.trim_end_matches('*')),
            None => about.path == url,
        };
        return urls.into_iter().any(covers);
    }
    let any_parent = format!("*/{}", about.subresource);
    let resource = has("/resources", &about.combined())
        || (!about.subresource.is_empty() && has("/resources", &any_parent));
    let names = list(rule, "/resourceNames");
    has("/apiGroups", &about.group)
        && resource
        && (names.is_empty() || names.iter().any(|name| name.as_str() == Some(&about.name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::json;

    fn about(method: &str, address: &str) -> Attributes {
        let uri = address.parse().unwrap();
        Attributes::of(
            &method.parse().unwrap(),
            address.split('?').next().unwrap(),
            &Params::parse(&uri).unwrap(),
        )
    }

    #[test]
    fn a_request_is_read_as_the_real_server_reads_it() {
        let table = [
            ("GET /api/v1/namespaces/a/pods", "list pods  a  "),
            ("GET /api/v1/namespaces/a/pods?watch=true", "watch pods  a  "),
            ("GET /api/v1/namespaces/a/pods?fieldSelector=metadata.name=x", "list pods  a x "),
            ("GET /api/v1/namespaces/a/pods/x/log", "get pods/log  a x "),
            ("DELETE /api/v1/pods", "deletecollection pods    "),
            ("DELETE /apis/apps/v1/namespaces/a/deployments/x", "delete deployments apps a x "),
            ("PUT /apis/apps/v1/namespaces/a/deployments/x/scale", "update deployments/scale apps a x "),
            ("GET /api/v1/namespaces/a", "get namespaces  a a "),
            ("PATCH /api/v1/namespaces/a/status", "patch namespaces/status  a a "),
            ("POST /api/v1/namespaces", "create namespaces    "),
            ("GET /api/v1/secrets", "list secrets    "),
            ("GET /apis/apps/v1", "get     /apis/apps/v1"),
            ("DELETE /sandbox/faults/x", "delete     /sandbox/faults/x"),
        ];
        for (request, expected) in table {
            let (method, address) = request.split_once(' ').unwrap();
            let read = about(method, address);
            let shown = [&*read.verb, &read.combined(), &read.group, &read.namespace, &read.name, &read.path];
            assert_eq!(shown.join(" "), expected, "{request}");
        }
    }

    #[test]
    fn a_rule_covers_what_it_names() {
        let rule = |verbs: &[&str], groups: &[&str], resources: &[&str], names: &[&str]| json!({ "verbs": verbs, "apiGroups": groups, "resources": resources, "resourceNames": names });
        let scale = "PUT /apis/apps/v1/namespaces/a/deployments/x/scale";
        let paths = |url: &str| json!({ "verbs": ["get"], "nonResourceURLs": [url] });
        let table = [
            (rule(&["update"], &["apps"], &["deployments/scale"], &[]), scale, true),
            (rule(&["update"], &["apps"], &["*/scale"], &["x"]), scale, true),
            (rule(&["*"], &["*"], &["*"], &[]), scale, true),
            (rule(&["update"], &["apps"], &["deployments"], &[]), scale, false),
            (rule(&["update"], &["apps"], &["*/status"], &[]), scale, false),
            (rule(&["update"], &["apps"], &["deployments/*"], &[]), scale, false),
            (rule(&["update"], &[""], &["*"], &[]), scale, false),
            (rule(&["patch"], &["*"], &["*"], &[]), scale, false),
            (rule(&["update"], &["apps"], &["*/scale"], &["y"]), scale, false),
            (rule(&["list"], &[""], &["pods"], &["x"]), "GET /api/v1/pods", false),
            (rule(&["*"], &["*"], &["*"], &[]), "GET /version", false),
            (paths("*"), "GET /version", true),
            (paths("/apis/*"), "GET /apis/apps", true),
            (paths("/apis/*"), "GET /apis", false),
            (paths("/version"), "GET /version", true),
            (paths("/version"), "PUT /version", false),
            (paths("*"), "GET /api/v1/pods", false),
        ];
        for (rule, request, expected) in table {
            let (method, address) = request.split_once(' ').unwrap();
            assert_eq!(allows(&rule, &about(method, address)), expected, "{request} by {rule}");
        }
    }
}
