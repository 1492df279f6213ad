//! Verification: another request, asked again and again until its answer has what it must have.

use super::send::{Sent, send};
use super::{Request, filled};
use crate::declared::{Filling, unclear};
use crate::expectation::Expectation;
use crate::http::url::Address;
use crate::manifest::section::{Fault, Section};
use crate::parameters::Parameters;
use crate::secret::Secrets;
use crate::template::{Template, Values};
use ::http::{HeaderName, Method};
use astradesk_core::{Code, Error, Result};
use astradesk_runtime::port;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

const KEYS: &[&str] = &["url", "pointer", "equals", "every_seconds"];
/// The longest that one question may take.
const QUESTION: Duration = Duration::from_secs(10);
/// The largest answer, in bytes.
const MAX_ANSWER: usize = 1 << 20;

/// A request that reads, with the headers of the one that writes.
#[derive(Debug)]
pub(super) struct Verification {
    address: Address,
    expectation: Expectation,
    every: Duration,
}

impl Verification {
    pub(super) fn read(http: &mut Section, parameters: &Parameters) -> Result<Option<Self>, Fault> {
        let Some(mut verify) = http.section("verify", KEYS)? else { return Ok(None) };
        let address = Address::read(&mut verify, "url", parameters)?;
        let expectation = Expectation::read(&mut verify, parameters)?;
        let every = Duration::from_secs(verify.number("every_seconds", 1, 1..=60)?);
        Ok(Some(Self { address, expectation, every }))
    }

    pub(super) fn is_open(&self) -> bool {
        self.address.is_open()
    }

    pub(super) fn preview(&self, values: &mut Values<'_>) -> Result<Value> {
        let expected = self.expectation.with(values)?;
        let url = self.address.fill(values)?;
        Ok(json!({"url": url.as_str(), "pointer": expected.pointer.as_str(), "equals": expected.value}))
    }

    /// Asks until it is so, or the time is over.
    pub(super) async fn watch(
        &self,
        client: &reqwest::Client,
        filling: &Filling<'_>,
        headers: &[(HeaderName, Template)],
        receipt: &Value,
    ) -> Result<Value, port::Fault> {
        let deadline = filling.step.deadline;
        let expected = self.expectation.with(&mut filling.preview_values())?;
        let mut last: Result<String, String>;
        loop {
            let asked = Instant::now();
            let mut secrets = Secrets::default();
            let request = self.request(headers, &mut filling.values(&mut secrets));
            // A secret that is missing by now leaves open what came of it.
            let request = request.map_err(|error| unclear(filling.step, &error.message))?;
            match send(client, request, MAX_ANSWER, deadline.min(asked + QUESTION)).await {
                Sent::Answered(status, Ok(body)) if status.is_success() => {
                    match serde_json::from_slice::<Value>(&body) {
                        Ok(answer) if expected.is_met(&answer) => {
                            return Ok(verified(receipt, &expected.value));
                        }
                        Ok(answer) => last = Ok(secrets.hide(&expected.instead(&answer))),
                        Err(_) => last = Err("the answer is not JSON".to_owned()),
                    }
                }
                Sent::Answered(status, Ok(_)) => last = Err(format!("the answer is {status}")),
                Sent::Answered(_, Err(why)) | Sent::Never(why) | Sent::Unanswered(why) => last = Err(why),
            }
            let seen = last.as_ref().map_or_else(Clone::clone, |instead| format!("there is {instead}"));
            filling.step.progress.report(format!("not seen yet: {seen}"), Value::Null);
            if asked + self.every >= deadline {
                break;
            }
            sleep_until(asked + self.every).await;
        }
        let was_answered = receipt.get("unanswered").is_none();
        Err(match last {
            Ok(instead) if was_answered => {
                let message = format!(
                    "it was accepted, but what it should change was not seen in time: there is {instead}"
                );
                port::Fault::Failed(Error::new(Code::UpstreamNotVerified, message))
            }
            Ok(why) | Err(why) => unclear(filling.step, &format!("its verification did not tell: {why}")),
        })
    }

    fn request(&self, headers: &[(HeaderName, Template)], values: &mut Values<'_>) -> Result<Request> {
        let url = self.address.fill(values)?;
        Ok(Request { method: Method::GET, url, headers: filled(headers, values)?, body: None })
    }
}

fn verified(receipt: &Value, value: &Value) -> Value {
    let mut output = receipt.clone();
    if let Some(fields) = output.as_object_mut() {
        fields.insert("verified".to_owned(), value.clone());
    }
    output
}
