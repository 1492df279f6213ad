//! What a workload's specification may say: its selector, its template and how it is updated.

use super::{Causes, annotations, at_least, labels, pod};
use crate::json::{Value, json};
use crate::object::{int, list, strings, text};
use crate::resource::Resource;
use crate::server::Selector;

/// Checks a workload, against the one that it replaces if there is one.
pub(super) fn check(resource: &Resource, before: Option<&Value>, object: &Value, causes: &mut Causes) {
    at_least(object, "/spec/replicas", "spec.replicas", 0, causes);
    at_least(object, "/spec/minReadySeconds", "spec.minReadySeconds", 0, causes);
    check_selector(resource, object, causes);
    template(object, causes);
    if before.is_some_and(|before| before.pointer("/spec/selector") != object.pointer("/spec/selector"))
        && resource.kind != "StatefulSet"
    {
        let shown = object.pointer("/spec/selector").cloned().unwrap_or_default();
        causes.push(("spec.selector".into(), format!("Invalid value: {shown}: field is immutable")));
    }
    match resource.kind {
        "Deployment" => deployment(object, causes),
        "StatefulSet" => stateful_set(before, object, causes),
        "DaemonSet" => daemon_set(object, causes),
        _ => {}
    }
}

/// Checks the selector of an object, which the field `spec.selector` has.
pub(super) fn selector(object: &Value, causes: &mut Causes) {
    labels(object.pointer("/spec/selector/matchLabels"), "spec.selector.matchLabels", causes);
    for (index, expression) in list(object, "/spec/selector/matchExpressions").iter().enumerate() {
        let field = |name: &str| format!("spec.selector.matchExpressions[{index}].{name}");
        let none = list(expression, "/values").is_empty();
        match text(expression, "/operator") {
            "In" | "NotIn" if none => {
                let why = "Required value: must be specified when `operator` is 'In' or 'NotIn'";
                causes.push((field("values"), why.into()));
            }
            "Exists" | "DoesNotExist" if !none => {
                let why = "Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                causes.push((field("values"), why.into()));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => {
                let why = format!("Invalid value: \"{other}\": not a valid selector operator");
                causes.push((field("operator"), why));
            }
        }
    }
}

fn check_selector(resource: &Resource, object: &Value, causes: &mut Causes) {
    let none = json!({});
    let asked = object.pointer("/spec/selector").unwrap_or(&none);
    let faults = causes.len();
    selector(object, causes);
    if asked.as_object().is_none_or(|asked| asked.iter().all(|(_, part)| super::is_empty(part))) {
        // None and an empty one are the same here; none is the more frequent.
        if resource.kind != "DaemonSet" {
            causes.push(("spec.selector".into(), "Required value".into()));
        }
        mismatch(object, causes);
    } else if causes.len() > faults {
        if resource.kind == "DaemonSet" {
            return;
        }
        causes.push(("spec.selector".into(), format!("Invalid value: {asked}: invalid label selector")));
    } else {
        let labelled = json!({ "metadata": object.pointer("/spec/template/metadata") });
        if !Selector::of(Some(asked)).is_some_and(|selector| selector.matches(&labelled)) {
            mismatch(object, causes);
        }
    }
}

fn mismatch(object: &Value, causes: &mut Causes) {
    let shown = serde_json::to_string(&strings(object, "/spec/template/metadata/labels")).unwrap_or_default();
    let why = format!("Invalid value: {shown}: `selector` does not match template `labels`");
    causes.push(("spec.template.metadata.labels".into(), why));
}

fn template(object: &Value, causes: &mut Causes) {
    labels(object.pointer("/spec/template/metadata/labels"), "spec.template.labels", causes);
    annotations(object.pointer("/spec/template/metadata/annotations"), "spec.template.annotations", causes);
    pod::check(object, "/spec/template/spec", "spec.template.spec", causes);
    let policy = text(object, "/spec/template/spec/restartPolicy");
    if matches!(policy, "Never" | "OnFailure") {
        let why = format!("Unsupported value: \"{policy}\": supported values: \"Always\"");
        causes.push(("spec.template.spec.restartPolicy".into(), why));
    }
}

fn deployment(object: &Value, causes: &mut Causes) {
    let rolling = "/spec/strategy/rollingUpdate";
    match text(object, "/spec/strategy/type") {
        "Recreate" if object.pointer(rolling).is_some() => {
            let why = "Forbidden: may not be specified when strategy `type` is 'Recreate'";
            causes.push(("spec.strategy.rollingUpdate".into(), why.into()));
        }
        "RollingUpdate" => {
            let field = |name: &str| format!("spec.strategy.rollingUpdate.{name}");
            let is_zero = |name: &str| share(object, &format!("{rolling}/{name}")) == Some(0);
            let faults = causes.len();
            for (name, most) in [("maxUnavailable", Some(100)), ("maxSurge", None)] {
                check_share(object, &format!("{rolling}/{name}"), &field(name), most, causes);
            }
            if causes.len() == faults && is_zero("maxUnavailable") && is_zero("maxSurge") {
                let shown = object.pointer(&format!("{rolling}/maxUnavailable")).cloned().unwrap_or_default();
                let why = format!("Invalid value: {shown}: may not be 0 when `maxSurge` is 0");
                causes.push((field("maxUnavailable"), why));
            }
        }
        "Recreate" => {}
        _ => unsupported(object, "/spec/strategy", &["Recreate", "RollingUpdate"], causes),
    }
    at_least(object, "/spec/revisionHistoryLimit", "spec.revisionHistoryLimit", 0, causes);
    at_least(object, "/spec/progressDeadlineSeconds", "spec.progressDeadlineSeconds", 0, causes);
    let deadline = int(object, "/spec/progressDeadlineSeconds", 600);
    if deadline <= int(object, "/spec/minReadySeconds", 0) {
        let why = format!("Invalid value: {deadline}: must be greater than minReadySeconds");
        causes.push(("spec.progressDeadlineSeconds".into(), why));
    }
}

fn stateful_set(before: Option<&Value>, object: &Value, causes: &mut Causes) {
    let management = text(object, "/spec/podManagementPolicy");
    if !matches!(management, "" | "OrderedReady" | "Parallel") {
        let why = format!("Invalid value: \"{management}\": must be 'OrderedReady' or 'Parallel'");
        causes.push(("spec.podManagementPolicy".into(), why));
    }
    let strategy = object.pointer("/spec/updateStrategy").cloned().unwrap_or_default();
    match text(object, "/spec/updateStrategy/type") {
        "RollingUpdate" => {
            let partition = "/spec/updateStrategy/rollingUpdate/partition";
            at_least(object, partition, "spec.updateStrategy.rollingUpdate.partition", 0, causes);
        }
        "OnDelete" => {
            if let Some(rolling) = strategy.get("rollingUpdate") {
                let why =
                    format!("Invalid value: {rolling}: only allowed for updateStrategy 'RollingUpdate'");
                causes.push(("spec.updateStrategy.rollingUpdate".into(), why));
            }
        }
        _ => {
            let why = format!("Invalid value: {strategy}: must be 'RollingUpdate' or 'OnDelete'");
            causes.push(("spec.updateStrategy".into(), why));
        }
    }
    let fixed = |object: &Value| {
        let mut spec = object.get("spec").cloned().unwrap_or_default();
        if let Some(spec) = spec.as_object_mut() {
            let free = [
                "replicas",
                "template",
                "updateStrategy",
                "minReadySeconds",
                "ordinals",
                "revisionHistoryLimit",
            ];
            spec.retain(|field, _| !free.contains(&field) && field != "persistentVolumeClaimRetentionPolicy");
        }
        spec
    };
    if before.is_some_and(|before| fixed(before) != fixed(object)) {
        let why = "Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
                   'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and \
                   'minReadySeconds' are forbidden";
        causes.push(("spec".into(), why.into()));
    }
}

fn daemon_set(object: &Value, causes: &mut Causes) {
    at_least(object, "/spec/revisionHistoryLimit", "spec.revisionHistoryLimit", 0, causes);
    if !matches!(text(object, "/spec/updateStrategy/type"), "RollingUpdate" | "OnDelete") {
        unsupported(object, "/spec/updateStrategy", &["RollingUpdate", "OnDelete"], causes);
    }
    let (pointer, field) = (
        "/spec/updateStrategy/rollingUpdate/maxUnavailable",
        "spec.updateStrategy.rollingUpdate.maxUnavailable",
    );
    let surges = share(object, "/spec/updateStrategy/rollingUpdate/maxSurge").unwrap_or(0) > 0;
    if share(object, pointer) == Some(0) && !surges {
        let shown = object.pointer(pointer).cloned().unwrap_or_default();
        causes.push((field.into(), format!("Invalid value: {shown}: cannot be 0")));
    }
    check_share(object, pointer, field, Some(100), causes);
}

fn unsupported(object: &Value, pointer: &str, known: &[&str], causes: &mut Causes) {
    let shown = object.pointer(pointer).cloned().unwrap_or_default();
    let known: Vec<String> = known.iter().map(|known| format!("\"{known}\"")).collect();
    let why = format!("Unsupported value: {shown}: supported values: {}", known.join(", "));
    causes.push((pointer.trim_start_matches('/').replace('/', "."), why));
}

/// A number, or the number of a percentage.
fn share(object: &Value, pointer: &str) -> Option<i64> {
    match object.pointer(pointer)? {
        Value::String(text) => text.strip_suffix('%')?.parse().ok(),
        number => number.as_i64(),
    }
}

/// Checks a number of pods or a percentage of them.
pub(super) fn check_share(
    object: &Value,
    pointer: &str,
    field: &str,
    most: Option<i64>,
    causes: &mut Causes,
) {
    let why = match (object.pointer(pointer), share(object, pointer)) {
        (Some(Value::String(given)), None) => format!(
            "Invalid value: \"{given}\": a valid percent string must be a numeric string followed by an ending '%' \
             (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"
        ),
        (Some(Value::String(given)), Some(share)) if most.is_some_and(|most| share > most) => {
            format!("Invalid value: \"{given}\": must not be greater than 100%")
        }
        (Some(_), Some(share)) if share < 0 => {
            format!("Invalid value: {share}: must be greater than or equal to 0")
        }
        _ => return,
    };
    causes.push((field.into(), why));
}
