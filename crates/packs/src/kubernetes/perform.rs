//! The patch: intended, sent once, settled by reading when its answer is lost, verified.

use super::{Change, MARK, ObjectRef, Patch, Refusal};
use crate::declared::{Filling, unclear};
use crate::secret::Secrets;
use crate::template::Values;
use astradesk_core::{Code, Error, Result};
use astradesk_runtime::port::Fault;
use serde_json::{Map, Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout_at};

/// Between two looks at the object.
const PAUSE: Duration = Duration::from_millis(500);

/// What an intent is bound to.
struct Bound<'a> {
    uid: &'a str,
    version: &'a str,
}

impl Patch {
    /// Asks the API server to do everything but store the patch.
    pub(crate) async fn dry_run(&self, values: &mut Values<'_>) -> Result<&'static str> {
        let (object, body) = (self.object(values)?, self.body(values)?);
        let patch = with_metadata(body, None, "RUN/STEP")?;
        match self.objects.patch(&object, &patch, Change::DryRun).await {
            Ok(_) => Ok("the API server accepted the same patch as a dry run"),
            Err(refusal) => Err(refusal.into_error()),
        }
    }

    /// Binds the patch to the object as it is.
    pub(crate) async fn intend(&self, filling: &Filling<'_>) -> Result<Value> {
        let object = self.object(&mut filling.preview_values())?;
        let seen = self.objects.get(&object).await.map_err(Refusal::into_error)?;
        match (at(&seen, "uid"), at(&seen, "resourceVersion")) {
            (Some(uid), Some(version)) => Ok(json!({"uid": uid, "resource_version": version})),
            _ => Err(Error::new(Code::KubernetesRejected, format!("{object} has no uid or no version"))),
        }
    }

    /// Sends the patch, bound to the version that was intended, until it is clear what became of it.
    pub(crate) async fn perform(&self, filling: &Filling<'_>) -> Result<Value, Fault> {
        let step = filling.step;
        let mut secrets = Secrets::default();
        let object = self.object(&mut filling.preview_values())?;
        let body = self.body(&mut filling.values(&mut secrets))?;
        let mark = format!("{}/{}", step.run, step.step);
        let bound = Bound::of(&step.intent).ok_or_else(|| unclear(step, "its intent cannot be read"))?;
        let patch = with_metadata(body, Some(&bound), &mark)?;
        let mut sent = step.repeated;
        loop {
            if sent {
                // It may have arrived: the object tells, and a patch that is bound to a version that is gone cannot
                // arrive any more.
                match self.look(&object, step.deadline).await {
                    Ok(seen) if at(&seen, "uid") != Some(bound.uid) => {
                        return Err(unclear(step, &format!("{object} was deleted and made anew")));
                    }
                    Ok(seen) if is_marked(&seen, &mark) => return Ok(receipt(&seen)),
                    Ok(seen) if at(&seen, "resourceVersion") != Some(bound.version) => {
                        let why =
                            format!("{object} was changed in between, and does not carry the mark `{mark}`");
                        return Err(unclear(step, &why));
                    }
                    Ok(_) => {}
                    Err(refusal) => return Err(unclear(step, &refusal.into_error().message)),
                }
            }
            if Instant::now() >= step.deadline {
                return Err(if sent {
                    unclear(step, "its time was over")
                } else {
                    Fault::Failed(late(&object))
                });
            }
            match self.objects.patch(&object, &patch, Change::Until(step.deadline)).await {
                Ok(seen) if is_marked(&seen, &mark) => return Ok(receipt(&seen)),
                Ok(_) => {
                    let message = format!(
                        "the cluster accepted the patch of {object}, but took the annotation `{MARK}` away"
                    );
                    return Err(Fault::Unknown(Error::new(Code::RunOutcomeUnknown, message)));
                }
                Err(Refusal::Not(error)) if !sent => return Err(Fault::Failed(error)),
                Err(Refusal::Conflict(error)) if !sent => return Err(Fault::Moved(error)),
                Err(Refusal::Not(_) | Refusal::Conflict(_) | Refusal::Maybe(_)) => {
                    sent = true;
                    sleep_until((Instant::now() + PAUSE).min(step.deadline)).await;
                }
            }
        }
    }

    /// The object, asked for until it can be read.
    async fn look(&self, object: &ObjectRef, deadline: Instant) -> Result<Value, Refusal> {
        loop {
            match self.objects.get(object).await {
                Err(Refusal::Maybe(_)) if Instant::now() + PAUSE < deadline => {
                    sleep_until(Instant::now() + PAUSE).await;
                }
                answer => return answer,
            }
        }
    }

    /// Looks at the object until it has every value, or the time is over.
    pub(crate) async fn verify(&self, filling: &Filling<'_>, receipt: &Value) -> Result<Value, Fault> {
        let step = filling.step;
        let mut values = filling.preview_values();
        let (object, expected) = (self.object(&mut values)?, self.expected(&mut values)?);
        if expected.is_empty() {
            return Ok(receipt.clone());
        }
        loop {
            let (last, was_seen) = match timeout_at(step.deadline, self.objects.get(&object)).await {
                Ok(Ok(seen)) if at(&seen, "uid") != receipt.get("uid").and_then(Value::as_str) => {
                    let message = format!("{object} was deleted and made anew after it was patched");
                    return Err(Fault::Failed(Error::new(Code::UpstreamNotVerified, message)));
                }
                Ok(Ok(seen)) => match expected.iter().find(|expected| !expected.is_met(&seen)) {
                    None => return Ok(receipt.clone()),
                    Some(missing) => (format!("there is {}", missing.instead(&seen)), true),
                },
                Ok(Err(Refusal::Not(error))) if error.code == Code::KubernetesNotFound => {
                    let message = format!("{object} was deleted after it was patched");
                    return Err(Fault::Failed(Error::new(Code::KubernetesNotFound, message)));
                }
                Ok(Err(refusal)) => (refusal.into_error().message, false),
                Err(_) => ("it did not answer in time".to_owned(), false),
            };
            step.progress.report(format!("not seen yet: {last}"), Value::Null);
            if Instant::now() + PAUSE >= step.deadline {
                let message =
                    format!("{object} was patched, but what it should have was not seen in time: {last}");
                return Err(if was_seen {
                    Fault::Failed(Error::new(Code::UpstreamNotVerified, message))
                } else {
                    unclear(step, &message)
                });
            }
            sleep_until(Instant::now() + PAUSE).await;
        }
    }
}

impl<'a> Bound<'a> {
    fn of(intent: &'a Value) -> Option<Self> {
        Some(Self { uid: intent.get("uid")?.as_str()?, version: intent.get("resource_version")?.as_str()? })
    }
}

/// The patch with its mark, bound to a version of the object.
fn with_metadata(mut body: Map<String, Value>, bound: Option<&Bound<'_>>, mark: &str) -> Result<Value> {
    let metadata = body.entry("metadata").or_insert_with(|| json!({}));
    let metadata =
        metadata.as_object_mut().ok_or_else(|| Error::internal("`metadata` of a patch is no object"))?;
    if let Some(bound) = bound {
        metadata.insert("uid".to_owned(), bound.uid.into());
        metadata.insert("resourceVersion".to_owned(), bound.version.into());
    }
    let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
    let annotations = annotations.as_object_mut();
    let annotations = annotations.ok_or_else(|| Error::internal("`annotations` of a patch are no object"))?;
    annotations.insert(MARK.to_owned(), mark.into());
    Ok(Value::Object(body))
}

fn is_marked(object: &Value, mark: &str) -> bool {
    let annotations = object.pointer("/metadata/annotations");
    annotations.and_then(|all| all.get(MARK)).and_then(Value::as_str) == Some(mark)
}

fn at<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get("metadata")?.get(key)?.as_str()
}

fn receipt(object: &Value) -> Value {
    json!({"uid": at(object, "uid"), "resource_version": at(object, "resourceVersion")})
}

fn late(object: &ObjectRef) -> Error {
    Error::new(Code::ToolTimedOut, format!("the time limit passed before {object} could be patched"))
}
