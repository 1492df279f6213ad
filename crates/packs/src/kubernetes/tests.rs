//! The patch, on an object in memory that others change, and whose API server loses requests and answers.

use super::{Change, MARK, ObjectRef, Objects, Refusal};
use crate::pack::DeclaredPack;
use crate::testing::{act, error, live, pack_on, step, word};
use astradesk_core::name::ClusterName;
use astradesk_core::{Code, Error, Facts, Result};
use astradesk_runtime::port::{Fault, StepContext, Tool as _};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

/// What becomes of a patch.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Fine,
    /// It is stored, and its answer is lost.
    AnswerLost,
    /// It never arrives.
    RequestLost,
    /// It is refused.
    Refused,
    /// Somebody else changes the object first.
    Overtaken,
    /// It never arrives, and somebody else changes the object.
    LostAndOvertaken,
    /// A webhook takes the mark away.
    Unmarked,
}

struct Cluster {
    object: Mutex<Option<Value>>,
    version: Mutex<u64>,
    fates: Mutex<VecDeque<Fate>>,
    /// The patches that were sent, and whether each was a dry run.
    sent: Mutex<Vec<(Value, bool)>>,
}

fn refused(code: Code, how: &str) -> Error {
    Error::new(code, how)
}

impl Cluster {
    fn new(fates: &[Fate]) -> Arc<Self> {
        let object = json!({"metadata": {"name": "web", "uid": "u1", "resourceVersion": "1", "annotations": {"a": "b"}}, "data": {"x": "1"}});
        Arc::new(Self {
            object: Mutex::new(Some(object)),
            version: Mutex::new(1),
            fates: Mutex::new(fates.iter().copied().collect()),
            sent: Mutex::default(),
        })
    }

    fn touch(&self, change: impl FnOnce(&mut Value)) {
        let mut object = self.object.lock().unwrap();
        let mut version = self.version.lock().unwrap();
        *version += 1;
        let object = object.as_mut().unwrap();
        change(object);
        object["metadata"]["resourceVersion"] = version.to_string().into();
    }

    fn stored(&self) -> Value {
        self.object.lock().unwrap().clone().unwrap()
    }

    fn stores(&self) -> usize {
        self.sent.lock().unwrap().iter().filter(|(_, dry)| !dry).count()
    }
}

fn merge(into: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else { return *into = patch.clone() };
    if !into.is_object() {
        *into = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            into.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut into[key], value);
        }
    }
}

#[async_trait]
impl Objects for Cluster {
    fn cluster(&self) -> ClusterName {
        ClusterName::parse("prod").unwrap()
    }

    async fn get(&self, _: &ObjectRef) -> Result<Value, Refusal> {
        let object = self.object.lock().unwrap().clone();
        object.ok_or_else(|| Refusal::Not(refused(Code::KubernetesNotFound, "there is no such object")))
    }

    async fn patch(&self, _: &ObjectRef, patch: &Value, change: Change) -> Result<Value, Refusal> {
        let dry = change == Change::DryRun;
        self.sent.lock().unwrap().push((patch.clone(), dry));
        let maybe = || Refusal::Maybe(refused(Code::KubernetesUnavailable, "the connection broke"));
        let fate =
            if dry { Fate::Fine } else { self.fates.lock().unwrap().pop_front().unwrap_or(Fate::Fine) };
        match fate {
            Fate::Refused => return Err(Refusal::Not(refused(Code::KubernetesForbidden, "no"))),
            Fate::RequestLost => return Err(maybe()),
            Fate::Overtaken => self.touch(|object| object["data"]["y"] = "theirs".into()),
            Fate::LostAndOvertaken => {
                self.touch(|object| object["data"]["y"] = "theirs".into());
                return Err(maybe());
            }
            Fate::Fine | Fate::AnswerLost | Fate::Unmarked => {}
        }
        let Some(bound) = patch["metadata"]["resourceVersion"].as_str() else { return Ok(self.stored()) };
        if self.stored()["metadata"]["resourceVersion"] != bound {
            return Err(Refusal::Conflict(refused(Code::KubernetesConflict, "the object has been modified")));
        }
        self.touch(|object| merge(object, patch));
        if fate == Fate::Unmarked {
            self.touch(|object| {
                object["metadata"]["annotations"].as_object_mut().unwrap().remove(MARK);
            });
        }
        if fate == Fate::AnswerLost { Err(maybe()) } else { Ok(self.stored()) }
    }

    async fn facts(&self, _: &ObjectRef) -> Result<Facts> {
        Ok(Facts { owner: Some("shop".into()), ..Facts::default() })
    }
}

const TOOL: &str = "effect = \"write\"\narguments = { value = { type = \"string\" }, count = { type = \"integer\", default = 3 } }\n\
    [tools.kubernetes-patch]\napi_version = \"v1\"\nkind = \"ConfigMap\"\nnamespace = \"shop\"\nname = \"web\"\n\
    patch = { data = { x = \"{value}\", n = \"{count}\" }, metadata = { annotations = { note = \"set to {value}\" } } }\n\
    verify = [{ pointer = \"/data/x\", equals = \"{value}\" }]";

fn on(cluster: &Arc<Cluster>) -> DeclaredPack {
    let objects: Arc<dyn Objects> = cluster.clone();
    pack_on(TOOL, &objects).unwrap()
}

async fn intended(pack: &DeclaredPack) -> StepContext {
    let mut context = step(pack, &json!({"value": "2\"}"}), 3.0);
    context.intent = act(pack).intend(&context).await.unwrap();
    context
}

#[tokio::test]
async fn the_patch_is_bound_marked_and_seen() {
    let cluster = Cluster::new(&[]);
    let pack = on(&cluster);
    let context = intended(&pack).await;
    assert_eq!(context.intent, json!({"uid": "u1", "resource_version": "1"}));
    assert_eq!(context.call.targets[0].to_string(), "kubernetes/prod/shop/configmap.core/web");
    assert_eq!(act(&pack).facts(&context.call, true).await.unwrap()[0].owner.as_deref(), Some("shop"));

    let preview = act(&pack).preview(&context.call).await.unwrap();
    assert_eq!(preview["patch"]["patch"]["data"], json!({"x": "2\"}", "n": 3}));
    assert!(preview["checked"].as_str().unwrap().contains("dry run") && cluster.stores() == 0);

    assert_eq!(word(&live(&pack, &context).await), "done");
    let mark = format!("{}/0", context.run);
    let stored = cluster.stored();
    assert_eq!(stored["data"], json!({"x": "2\"}", "n": 3}));
    assert_eq!(stored["metadata"]["annotations"], json!({"a": "b", "note": "set to 2\"}", MARK: mark}));
    let sent = cluster.sent.lock().unwrap()[1].0.clone();
    assert_eq!((&sent["metadata"]["resourceVersion"], &sent["metadata"]["uid"]), (&"1".into(), &"u1".into()));
}

#[tokio::test]
async fn whatever_happens_it_is_done_once_or_it_is_said() {
    for (fates, expected, sent, value) in [
        (vec![Fate::Fine], "done", 1, "2\"}"),
        (vec![Fate::AnswerLost], "done", 1, "2\"}"),
        (vec![Fate::RequestLost, Fate::Fine], "done", 2, "2\"}"),
        (vec![Fate::RequestLost, Fate::AnswerLost], "done", 2, "2\"}"),
        (vec![Fate::Refused], "failed kubernetes.forbidden", 1, "1"),
        (vec![Fate::Overtaken], "moved kubernetes.conflict", 1, "1"),
        (vec![Fate::LostAndOvertaken], "unknown run.outcome_unknown", 1, "1"),
        (vec![Fate::Unmarked], "unknown run.outcome_unknown", 1, "2\"}"),
    ] {
        let cluster = Cluster::new(&fates);
        let pack = on(&cluster);
        let ended = live(&pack, &intended(&pack).await).await;
        assert_eq!(word(&ended), expected, "{fates:?} {ended:?}");
        assert_eq!((cluster.stores(), &cluster.stored()["data"]["x"]), (sent, &value.into()), "{fates:?}");
    }
}

#[tokio::test]
async fn after_a_crash_the_object_tells() {
    // It was stored before the process died.
    let cluster = Cluster::new(&[]);
    let pack = on(&cluster);
    let mut context = intended(&pack).await;
    live(&pack, &context).await.unwrap();
    context.repeated = true;
    assert_eq!(
        (word(&live(&pack, &context).await).as_str(), cluster.stores()),
        ("done", 1),
        "it is found, not sent"
    );
    // It was never sent.
    let cluster = Cluster::new(&[]);
    let pack = on(&cluster);
    let mut context = intended(&pack).await;
    context.repeated = true;
    assert_eq!((word(&live(&pack, &context).await).as_str(), cluster.stores()), ("done", 1));
    // Somebody else changed the object: the patch that is bound to the version before may or may not have been let in.
    let cluster = Cluster::new(&[]);
    let pack = on(&cluster);
    let mut context = intended(&pack).await;
    context.repeated = true;
    cluster.touch(|object| object["data"]["y"] = "theirs".into());
    assert_eq!(
        (word(&live(&pack, &context).await).as_str(), cluster.stores()),
        ("unknown run.outcome_unknown", 0)
    );
    // The object is another one by now.
    cluster.touch(|object| object["metadata"]["uid"] = "u2".into());
    let ended = live(&pack, &context).await;
    assert!(error(&ended).message.contains("deleted and made anew"), "{ended:?}");
    *cluster.object.lock().unwrap() = None;
    assert_eq!(word(&live(&pack, &context).await), "unknown run.outcome_unknown");
}

#[tokio::test]
async fn it_succeeded_when_the_object_has_it() {
    let cluster = Cluster::new(&[]);
    let pack = on(&cluster);
    let context = intended(&pack).await;
    let filling = crate::declared::Filling {
        step: &context,
        parameters: &act(&pack).parameters,
        effect: act(&pack).effect(),
    };
    let crate::declared::Action::Patch(patch) = &act(&pack).action else { panic!("no patch") };
    let receipt = patch.perform(&filling).await.unwrap();
    cluster.touch(|object| object["data"]["x"] = "reverted".into());
    let ended = patch.verify(&filling, &receipt).await;
    assert_eq!(word(&ended), "failed upstream.not_verified");
    assert!(error(&ended).message.contains("\"reverted\""), "{ended:?}");
    *cluster.object.lock().unwrap() = None;
    let ended = patch.verify(&filling, &receipt).await;
    assert!(
        matches!(ended, Err(Fault::Failed(ref error)) if error.code == Code::KubernetesNotFound),
        "{ended:?}"
    );
}
