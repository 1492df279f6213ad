//! What kubectl's typed commands send in protobuf since its version 1.32 (`create …`, `drain`, `auth can-i`), as JSON:
//! a reader of the wire format, and the fields of those kinds by their numbers in Kubernetes' `generated.proto` files.
//! Anything else is answered as by a server that reads JSON only.

use crate::json::{Value, json};
use crate::object::set;

/// A kind of message: its fields, by number.
type Message = &'static [(u32, &'static str, Shape)];

/// How a field is read.
#[derive(Clone, Copy)]
enum Shape {
    Text,
    /// A number of which zero says that there is none.
    Count,
    /// A number of which zero says something.
    Number,
    Flag,
    IntOrText,
    Of(Message),
    /// A mapping of texts; it comes pair by pair.
    Pairs,
    /// A mapping of quantities, each a message that has only a text.
    Amounts,
    Texts,
    List(Message),
}

use Shape::{Amounts, Count, Flag, IntOrText, List, Number, Of, Pairs, Text, Texts};

const UNKNOWN: Message = &[(1, "type", Of(&[(1, "apiVersion", Text), (2, "kind", Text)]))];
const METADATA: Message = &[
    (1, "name", Text),
    (2, "generateName", Text),
    (3, "namespace", Text),
    (5, "uid", Text),
    (6, "resourceVersion", Text),
    (11, "labels", Pairs),
    (12, "annotations", Pairs),
    (14, "finalizers", Texts),
];
const DELETE_OPTIONS: Message = &[
    (1, "gracePeriodSeconds", Number),
    (2, "preconditions", Of(&[(1, "uid", Text), (2, "resourceVersion", Text)])),
    (3, "orphanDependents", Flag),
    (4, "propagationPolicy", Text),
    (5, "dryRun", Texts),
];
const SELECTOR: Message = &[
    (1, "matchLabels", Pairs),
    (2, "matchExpressions", List(&[(1, "key", Text), (2, "operator", Text), (3, "values", Texts)])),
];
const BUDGET: Message = &[
    (1, "minAvailable", IntOrText),
    (2, "selector", Of(SELECTOR)),
    (3, "maxUnavailable", IntOrText),
    (4, "unhealthyPodEvictionPolicy", Text),
];
const PORT: Message =
    &[(1, "name", Text), (2, "hostPort", Count), (3, "containerPort", Count), (4, "protocol", Text)];
const CONTAINER: Message = &[
    (1, "name", Text),
    (2, "image", Text),
    (3, "command", Texts),
    (4, "args", Texts),
    (6, "ports", List(PORT)),
    (7, "env", List(&[(1, "name", Text), (2, "value", Text)])),
    (14, "imagePullPolicy", Text),
];
const POD: Message = &[
    (2, "containers", List(CONTAINER)),
    (3, "restartPolicy", Text),
    (4, "terminationGracePeriodSeconds", Number),
    (7, "nodeSelector", Pairs),
    (10, "nodeName", Text),
];
const ROLLING: Message = &[(1, "maxUnavailable", IntOrText), (2, "maxSurge", IntOrText)];
const DEPLOYMENT: Message = &[
    (1, "replicas", Number),
    (2, "selector", Of(SELECTOR)),
    (3, "template", Of(&[(1, "metadata", Of(METADATA)), (2, "spec", Of(POD))])),
    (4, "strategy", Of(&[(1, "type", Text), (2, "rollingUpdate", Of(ROLLING))])),
    (5, "minReadySeconds", Count),
    (6, "revisionHistoryLimit", Number),
    (7, "paused", Flag),
    (9, "progressDeadlineSeconds", Number),
];
const SERVICE_PORT: Message = &[
    (1, "name", Text),
    (2, "protocol", Text),
    (3, "port", Count),
    (4, "targetPort", IntOrText),
    (5, "nodePort", Count),
];
const SERVICE: Message = &[
    (1, "ports", List(SERVICE_PORT)),
    (2, "selector", Pairs),
    (3, "clusterIP", Text),
    (4, "type", Text),
    (5, "externalIPs", Texts),
    (10, "externalName", Text),
];
const ATTRIBUTES: Message = &[
    (1, "namespace", Text),
    (2, "verb", Text),
    (3, "group", Text),
    (4, "version", Text),
    (5, "resource", Text),
    (6, "subresource", Text),
    (7, "name", Text),
];
const REVIEW: Message = &[
    (1, "resourceAttributes", Of(ATTRIBUTES)),
    (2, "nonResourceAttributes", Of(&[(1, "path", Text), (2, "verb", Text)])),
    (3, "user", Text),
    (4, "groups", Texts),
];
const RULE: Message = &[
    (1, "verbs", Texts),
    (2, "apiGroups", Texts),
    (3, "resources", Texts),
    (4, "resourceNames", Texts),
    (5, "nonResourceURLs", Texts),
];
const SUBJECT: Message =
    &[(1, "kind", Text), (2, "apiGroup", Text), (3, "name", Text), (4, "namespace", Text)];
const ROLE: Message = &[(1, "metadata", Of(METADATA)), (2, "rules", List(RULE))];
const BINDING: Message = &[
    (1, "metadata", Of(METADATA)),
    (2, "subjects", List(SUBJECT)),
    (3, "roleRef", Of(&[(1, "apiGroup", Text), (2, "kind", Text), (3, "name", Text)])),
];

/// The fields of a kind that is read.
fn fields_of(kind: &str) -> Option<Message> {
    Some(match kind {
        "DeleteOptions" => DELETE_OPTIONS,
        "Eviction" => &[(1, "metadata", Of(METADATA)), (2, "deleteOptions", Of(DELETE_OPTIONS))],
        "Namespace" | "ServiceAccount" | "SelfSubjectReview" => &[(1, "metadata", Of(METADATA))],
        "ResourceQuota" => &[(1, "metadata", Of(METADATA)), (2, "spec", Of(&[(1, "hard", Amounts)]))],
        "ConfigMap" => &[(1, "metadata", Of(METADATA)), (2, "data", Pairs)],
        "Deployment" => &[(1, "metadata", Of(METADATA)), (2, "spec", Of(DEPLOYMENT))],
        "Service" => &[(1, "metadata", Of(METADATA)), (2, "spec", Of(SERVICE))],
        "PodDisruptionBudget" => &[(1, "metadata", Of(METADATA)), (2, "spec", Of(BUDGET))],
        "Role" | "ClusterRole" => ROLE,
        "RoleBinding" | "ClusterRoleBinding" => BINDING,
        "SelfSubjectAccessReview" | "SubjectAccessReview" | "LocalSubjectAccessReview" => {
            &[(1, "metadata", Of(METADATA)), (2, "spec", Of(REVIEW))]
        }
        "SelfSubjectRulesReview" => &[(2, "spec", Of(&[(1, "namespace", Text)]))],
        "TokenRequest" => &[(2, "spec", Of(&[(4, "expirationSeconds", Number)]))],
        _ => return None,
    })
}

/// The object in a body: `k8s` and a zero, then its type and itself. `None` when it cannot be read.
pub(super) fn decode(body: &[u8]) -> Option<Value> {
    let body = body.strip_prefix(b"k8s\0")?;
    let kind = read(body, UNKNOWN)?.get("type")?.clone();
    let mut raw = None;
    each(body, |number, content| {
        if let (2, Content::Bytes(bytes)) = (number, content) {
            raw = Some(bytes);
        }
        Some(())
    })?;
    let mut object = read(raw?, fields_of(kind.get("kind")?.as_str()?)?)?;
    object.merge(&kind);
    Some(object)
}

/// What a field holds.
#[derive(Clone, Copy)]
enum Content<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn read(bytes: &[u8], message: Message) -> Option<Value> {
    let mut object = json!({});
    each(bytes, |number, content| {
        let Some((_, name, shape)) = message.iter().find(|(known, ..)| *known == number) else {
            return Some(());
        };
        let value = match (shape, content) {
            (Count | Flag, Content::Number(0)) | (Text, Content::Bytes([])) => return Some(()),
            (Flag, Content::Number(_)) => true.into(),
            (Count | Number, Content::Number(number)) => (number as i64).into(),
            (Text, Content::Bytes(bytes)) => text(bytes)?,
            (IntOrText, Content::Bytes(bytes)) => {
                let read = read(bytes, &[(1, "isText", Flag), (2, "number", Number), (3, "text", Text)])?;
                let chosen = if read.get("isText").is_some() { "text" } else { "number" };
                read.get(chosen).cloned().unwrap_or_else(|| 0.into())
            }
            (Of(message), Content::Bytes(bytes)) => read(bytes, message)?,
            (Pairs, Content::Bytes(bytes)) => {
                let pair = read(bytes, &[(1, "key", Text), (2, "value", Text)])?;
                let value = pair.get("value").cloned().unwrap_or_else(|| "".into());
                set(&mut object, &[name, pair.get("key")?.as_str()?], value);
                return Some(());
            }
            (Amounts, Content::Bytes(bytes)) => {
                let pair = read(bytes, &[(1, "key", Text), (2, "value", Of(&[(1, "text", Text)]))])?;
                set(&mut object, &[name, pair.get("key")?.as_str()?], pair.pointer("/value/text")?.clone());
                return Some(());
            }
            (Texts | List(_), Content::Bytes(bytes)) => {
                let item = if let List(message) = shape { read(bytes, message)? } else { text(bytes)? };
                if let Some(items) = object.get_mut(name).and_then(Value::as_array_mut) {
                    items.push(item);
                    return Some(());
                }
                vec![item].into()
            }
            _ => return None,
        };
        set(&mut object, &[name], value);
        Some(())
    })?;
    Some(object)
}

fn text(bytes: &[u8]) -> Option<Value> {
    std::str::from_utf8(bytes).ok().map(Into::into)
}

/// Walks through the fields of a message; `None` when it is cut, or the visitor is not content.
fn each<'a>(mut bytes: &'a [u8], mut visit: impl FnMut(u32, Content<'a>) -> Option<()>) -> Option<()> {
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        let content = match tag & 7 {
            0 => Content::Number(varint(&mut bytes)?),
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                let (content, rest) = bytes.split_at_checked(length)?;
                bytes = rest;
                Content::Bytes(content)
            }
            _ => return None,
        };
        visit(u32::try_from(tag >> 3).ok()?, content)?;
    }
    Some(())
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, content.len() as u8], content].concat()
    }

    fn body(kind: &str, object: &[u8]) -> Vec<u8> {
        let of_type = [field(1, b"policy/v1"), field(2, kind.as_bytes())].concat();
        [b"k8s\0".to_vec(), field(1, &of_type), field(2, object), field(4, b"")].concat()
    }

    #[test]
    fn an_eviction_is_read() {
        let metadata = [field(1, b"web-1"), field(2, b""), field(3, b"shop"), field(8, b"")].concat();
        let options = [vec![8, 0], field(5, b"All")].concat();
        let eviction = [field(1, &metadata), field(2, &options)].concat();
        let expected = json!({
            "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": "web-1", "namespace": "shop" },
            "deleteOptions": { "gracePeriodSeconds": 0, "dryRun": ["All"] },
        });
        assert_eq!(decode(&body("Eviction", &eviction)), Some(expected));
    }

    #[test]
    fn a_budget_is_read() {
        let percent = [vec![8, 1], field(3, b"50%")].concat();
        let label = [field(1, b"app"), field(2, b"web")].concat();
        let budget =
            field(2, &[field(1, &percent), field(2, &field(1, &label)), field(3, &[8, 0, 16, 2])].concat());
        let expected = json!({
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
            "spec": { "minAvailable": "50%", "maxUnavailable": 2, "selector": { "matchLabels": { "app": "web" } } },
        });
        assert_eq!(decode(&body("PodDisruptionBudget", &budget)), Some(expected));
    }

    #[test]
    fn a_quota_is_read() {
        let pods = [field(1, b"pods"), field(2, &field(1, b"3"))].concat();
        let expected = json!({ "apiVersion": "policy/v1", "kind": "ResourceQuota", "spec": { "hard": { "pods": "3" } } });
        assert_eq!(decode(&body("ResourceQuota", &field(2, &field(1, &pods)))), Some(expected));
    }

    #[test]
    fn what_cannot_be_read_is_none() {
        let whole = body("Eviction", &field(1, &field(1, b"web-1")));
        // The last two bytes are an empty field, which says nothing.
        for end in 0..whole.len() - 2 {
            assert_eq!(decode(&whole[..end]), None, "{end}");
        }
        assert_eq!(decode(&body("Sofa", b"")), None);
        assert_eq!(decode(b"{}"), None);
    }
}
