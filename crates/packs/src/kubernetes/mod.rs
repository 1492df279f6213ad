//! Tools that patch one object of the cluster.
//!
//! The patch is bound to the version of the object that was there when it was intended, and leaves the mark `RUN/STEP`
//! in an annotation: so what became of it can be found out by reading, whatever happened in between.

mod perform;
mod port;
#[cfg(test)]
mod tests;

pub use port::{Change, NoCluster, ObjectRef, Objects, Refusal};

use crate::expectation::{self, Expectation, Expected};
use crate::http::json::Node;
use crate::manifest::section::{Fault, Section};
use crate::manifest::template;
use crate::parameters::Parameters;
use crate::template::{Place, Template, Values, unfit};
use astradesk_core::name::{Namespace, ObjectKind, ObjectName};
use astradesk_core::target::Kind;
use astradesk_core::{Code, Effect, Error, Facts, Result, Target};
use serde_json::{Map, Value, json};
use std::sync::Arc;

const KEYS: &[&str] = &["api_version", "kind", "plural", "namespace", "name", "patch", "verify"];
/// The annotation that says which step has patched the object last: `RUN/STEP`.
pub const MARK: &str = "astradesk.dev/run";
/// What begins so is AstraDesk's own.
const OWN: &str = "astradesk.dev/";
/// The most values that are verified.
const MAX_EXPECTATIONS: usize = 16;

/// A tool that patches one object.
pub(crate) struct Patch {
    objects: Arc<dyn Objects>,
    resource: Resource,
    namespace: Template,
    name: Template,
    body: Node,
    expectations: Vec<Expectation>,
}

/// Which kind of object, and where the API server has it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Resource {
    group: String,
    version: String,
    kind: String,
    plural: String,
}

impl Patch {
    pub(crate) fn read(
        tool: &mut Section,
        parameters: &Parameters,
        effect: Effect,
        objects: Arc<dyn Objects>,
    ) -> Result<Self, Fault> {
        if effect != Effect::Write {
            return Err(tool.fault_of("effect", "a patch writes: say `effect = \"write\"`"));
        }
        let Some(mut section) = tool.section("kubernetes-patch", KEYS)? else {
            return Err(tool.fault("has no table `kubernetes-patch`"));
        };
        let resource = Resource::read(&mut section)?;
        let part = |section: &mut Section, key: &str| {
            let text = section.text(key, 253)?;
            template(section, key, &text, parameters, Place::Target)
        };
        let (namespace, name) = (part(&mut section, "namespace")?, part(&mut section, "name")?);
        let patch = section.value("patch").ok_or_else(|| section.fault("has no `patch`"))?;
        let body = Node::document(&section, "patch", patch, parameters, Place::Plain)?;
        check_patch(&section, &body)?;
        let expectations = expectations(&mut section, parameters)?;
        Ok(Self { objects, resource, namespace, name, body, expectations })
    }

    /// The object that a call is about.
    fn object(&self, values: &mut Values<'_>) -> Result<ObjectRef> {
        let one_part = |value: &str| {
            if value.contains('/') {
                Err(unfit("has a `/`, which no name has"))
            } else {
                Ok(value.to_owned())
            }
        };
        let wrong = |error: Error| Error::new(Code::ToolArgumentsInvalid, error.message);
        Ok(ObjectRef {
            group: self.resource.group.clone(),
            version: self.resource.version.clone(),
            kind: self.resource.kind.clone(),
            plural: self.resource.plural.clone(),
            namespace: Namespace::parse(self.namespace.fill(values, one_part)?).map_err(wrong)?,
            name: ObjectName::parse(self.name.fill(values, one_part)?).map_err(wrong)?,
        })
    }

    pub(crate) fn target(&self, values: &mut Values<'_>) -> Result<Target> {
        let ObjectRef { namespace, name, .. } = self.object(values)?;
        let cluster = self.objects.cluster();
        Ok(match self.resource.short_kind() {
            Some(kind) => Target::Kubernetes { cluster, namespace, kind, name },
            None => Target::Object { cluster, namespace, kind: self.resource.object_kind()?, name },
        })
    }

    fn body(&self, values: &mut Values<'_>) -> Result<Map<String, Value>> {
        match self.body.fill(values)? {
            Some(Value::Object(body)) => Ok(body),
            _ => Err(Error::internal("a patch is no object")),
        }
    }

    fn expected(&self, values: &mut Values<'_>) -> Result<Vec<Expected>> {
        self.expectations.iter().map(|expectation| expectation.with(values)).collect()
    }

    /// What would be patched.
    pub(crate) fn preview(&self, values: &mut Values<'_>) -> Result<Value> {
        let object = self.object(values)?;
        let verified: Map<String, Value> = self
            .expected(values)?
            .into_iter()
            .map(|expected| (expected.pointer.as_str().to_owned(), expected.value))
            .collect();
        Ok(json!({"object": object.to_string(), "patch": self.body(values)?, "verified": verified}))
    }

    pub(crate) async fn facts(&self, values: &mut Values<'_>) -> Result<Facts> {
        let object = self.object(values)?;
        self.objects.facts(&object).await
    }
}

impl Resource {
    fn read(section: &mut Section) -> Result<Self, Fault> {
        let api_version = section.text("api_version", 128)?;
        let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
        let kind = section.text("kind", 63)?;
        let plain = |text: &str| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'))
        };
        if !plain(version) || (api_version.contains('/') && !plain(group)) {
            return Err(section.fault_of(
                "api_version",
                "it must be `v1`, or a group and a version: `networking.k8s.io/v1`",
            ));
        }
        if !kind.starts_with(|c: char| c.is_ascii_uppercase())
            || !kind.bytes().all(|b| b.is_ascii_alphanumeric())
        {
            return Err(section.fault_of("kind", "it must be a kind as objects have it: `Ingress`"));
        }
        let plural = section.text_if("plural")?.unwrap_or_else(|| plural(&kind));
        if !plural.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            || plural.is_empty()
        {
            return Err(
                section.fault_of("plural", "it must be the resource's name in lower case: `ingresses`")
            );
        }
        let resource = Self { group: group.to_owned(), version: version.to_owned(), kind, plural };
        if resource.short_kind().is_none() && resource.object_kind().is_err() {
            return Err(
                section.fault_of("kind", format!("`{}` is no kind that a target can have", resource.kind))
            );
        }
        if resource.short_kind() == Some(Kind::Namespace) {
            return Err(
                section.fault_of("kind", "a namespace is in no namespace, and cannot be patched by a pack")
            );
        }
        Ok(resource)
    }

    /// The kind, if it is one that is written without its group.
    fn short_kind(&self) -> Option<Kind> {
        match (self.group.as_str(), self.kind.as_str()) {
            ("apps", "Deployment") => Some(Kind::Deployment),
            ("apps", "StatefulSet") => Some(Kind::StatefulSet),
            ("apps", "DaemonSet") => Some(Kind::DaemonSet),
            ("", "Pod") => Some(Kind::Pod),
            ("", "Namespace") => Some(Kind::Namespace),
            _ => None,
        }
    }

    fn object_kind(&self) -> Result<ObjectKind> {
        let group = if self.group.is_empty() { "core" } else { &self.group };
        ObjectKind::parse(format!("{}.{group}", self.kind.to_ascii_lowercase()))
    }
}

/// The resource's name as the API has it for all kinds of Kubernetes itself.
fn plural(kind: &str) -> String {
    let lower = kind.to_ascii_lowercase();
    match lower.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{stem}ies"),
        _ if lower.ends_with(['s', 'x']) || lower.ends_with("ch") || lower.ends_with("sh") => {
            format!("{lower}es")
        }
        _ => format!("{lower}s"),
    }
}

/// A patch changes what its author says: neither which object it is, nor what AstraDesk and the API server keep in it.
fn check_patch(section: &Section, patch: &Node) -> Result<(), Fault> {
    let wrong = |why: String| section.fault_of("patch", why);
    let Node::Object(fields) = patch else {
        return Err(wrong("it must be a table, or a text with a JSON object".to_owned()));
    };
    if let Some((key, _)) =
        fields.iter().find(|(key, _)| matches!(key.as_str(), "apiVersion" | "kind" | "status"))
    {
        return Err(wrong(format!("it must leave `{key}` out")));
    }
    for (key, value) in fields.iter().filter(|(key, _)| key == "metadata") {
        let Node::Object(metadata) = value else { return Err(wrong(format!("its `{key}` must be a table"))) };
        for (key, value) in metadata {
            if !matches!(key.as_str(), "annotations" | "labels") {
                return Err(wrong(format!(
                    "of `metadata` it may have `annotations` and `labels`, and not `{key}`"
                )));
            }
            let Node::Object(names) = value else {
                return Err(wrong(format!("its `{key}` must be a table")));
            };
            if let Some((name, _)) = names.iter().find(|(name, _)| name.starts_with(OWN)) {
                return Err(wrong(format!("`{name}` is AstraDesk's own")));
            }
        }
    }
    Ok(())
}

fn expectations(section: &mut Section, parameters: &Parameters) -> Result<Vec<Expectation>, Fault> {
    let tables = match section.value("verify") {
        None => return Ok(Vec::new()),
        Some(Value::Array(tables)) if tables.len() <= MAX_EXPECTATIONS => tables,
        Some(_) => {
            let why =
                format!("it must be a list of at most {MAX_EXPECTATIONS} tables with `pointer` and `equals`");
            return Err(section.fault_of("verify", why));
        }
    };
    let read = |table: Value| {
        let Value::Object(table) = table else {
            return Err(section.fault_of("verify", "it has what is no table"));
        };
        let mut one = Section::new("`verify`", table, expectation::KEYS)?;
        Expectation::read(&mut one, parameters)
    };
    tables.into_iter().map(read).collect()
}

#[cfg(test)]
mod plural_tests {
    use super::plural;

    #[test]
    fn plurals_are_those_of_the_api() {
        for (kind, expected) in [
            ("Ingress", "ingresses"),
            ("NetworkPolicy", "networkpolicies"),
            ("ConfigMap", "configmaps"),
            ("Deployment", "deployments"),
            ("Gateway", "gateways"),
        ] {
            assert_eq!(plural(kind), expected);
        }
    }
}
