//! Tools that send an HTTP request.

pub(crate) mod json;
mod send;
#[cfg(test)]
mod tests;
pub(crate) mod url;
mod verify;

use crate::declared::{Filling, unrepeatable};
use crate::expectation::{self, Expectation, Pointer};
use crate::manifest::section::{Fault, Section};
use crate::manifest::{code, template};
use crate::parameters::Parameters;
use crate::template::{Place, Template, Values, unfit};
use ::http::{HeaderMap, HeaderName, HeaderValue, Method};
use astradesk_core::{Code, Effect, Error, Result};
use astradesk_runtime::port::{self, StepContext};
use json::Node;
use reqwest::Url;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use url::Address;
use verify::Verification;

const KEYS: &[&str] = &[
    "method",
    "url",
    "headers",
    "body",
    "success",
    "statuses",
    "answer",
    "output",
    "expect",
    "verify",
    "idempotency_header",
    "idempotent",
    "max_answer_bytes",
    "ca_file",
    "allow_http",
];
/// The size of an answer, in bytes: unless the tool says so, and at most.
const ANSWER: (u64, u64) = (256 << 10, 4 << 20);
/// The longest that a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);

/// What an answer is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Json,
    Text,
    /// It is not looked at.
    None,
}

/// A tool that sends a request.
pub(crate) struct Http {
    client: Client,
    effect: Effect,
    method: Method,
    address: Address,
    headers: Vec<(HeaderName, Template)>,
    body: Option<Node>,
    success: Vec<u16>,
    statuses: BTreeMap<u16, Code>,
    answer: Answer,
    output: Option<Pointer>,
    expect: Option<Expectation>,
    verification: Option<Verification>,
    idempotency_header: Option<HeaderName>,
    idempotent: bool,
    max_answer: usize,
}

/// A request with every value in its place.
struct Request {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Option<Value>,
}

impl Http {
    pub(crate) fn read(
        tool: &mut Section,
        parameters: &Parameters,
        effect: Effect,
        shared: &Client,
    ) -> Result<Self, Fault> {
        let Some(mut http) = tool.section("http", KEYS)? else {
            return Err(tool.fault("has no table `http`"));
        };
        let method = method(&mut http, effect)?;
        let address = Address::read(&mut http, "url", parameters)?;
        let headers = headers(&mut http, parameters, Place::Secret)?;
        let body = match http.value("body") {
            Some(_) if matches!(method, Method::GET | Method::HEAD) => {
                return Err(http.fault_of("body", format!("a request with the method {method} has none")));
            }
            Some(body) => Some(Node::document(&http, "body", body, parameters, Place::Plain)?),
            None => None,
        };
        let verification = Verification::read(&mut http, parameters)?;
        if verification.is_some() && effect == Effect::Read {
            return Err(http.fault_of("verify", "what reads has nothing to verify: leave it out"));
        }
        let open = address.is_open() || verification.as_ref().is_some_and(Verification::is_open);
        let allow_http = http.flag("allow_http")?;
        if open && !allow_http && headers.iter().any(|(_, header)| header.has_secret()) {
            let why = "a secret would go over the network unencrypted: use `https://`, or say `allow_http = true` if \
                       the network is yours";
            return Err(http.fault_of("url", why));
        }
        let idempotency_header = match http.text_if("idempotency_header")? {
            Some(name) => Some(header_name(&http, "idempotency_header", &name)?),
            None => None,
        };
        Ok(Self {
            client: Client::read(&mut http, shared)?,
            effect,
            method,
            address,
            headers,
            body,
            success: success(&mut http)?,
            statuses: statuses(&mut http)?,
            answer: answer(&mut http)?,
            output: http.text_if("output")?.map(|text| Pointer::read(&http, "output", text)).transpose()?,
            expect: match http.section("expect", expectation::KEYS)? {
                Some(mut section) => Some(Expectation::read(&mut section, parameters)?),
                None => None,
            },
            verification,
            idempotency_header,
            idempotent: http.flag("idempotent")?,
            max_answer: http.number("max_answer_bytes", ANSWER.0, 1..=ANSWER.1)? as usize,
        })
    }

    /// Whether sending it again changes nothing.
    pub(crate) fn is_repeatable(&self) -> bool {
        self.effect == Effect::Read || self.idempotent || self.idempotency_header.is_some()
    }

    /// What would be sent.
    pub(crate) fn preview(&self, values: &mut Values<'_>) -> Result<Value> {
        let url = self.address.fill(values)?;
        let mut headers = serde_json::Map::new();
        for (name, header) in &self.headers {
            headers.insert(name.to_string(), header.fill_plain(values)?.into());
        }
        if let Some(name) = &self.idempotency_header {
            headers.insert(name.to_string(), "RUN/STEP".into());
        }
        let body = self.body.as_ref().map(|body| body.fill(values)).transpose()?.flatten();
        let mut shown = json!({"method": self.method.as_str(), "url": url.as_str(), "headers": headers});
        if let (Some(body), Some(fields)) = (body, shown.as_object_mut()) {
            fields.insert("body".to_owned(), body);
        }
        if let (Some(verification), Some(fields)) = (&self.verification, shown.as_object_mut()) {
            fields.insert("verified_by".to_owned(), verification.preview(values)?);
        }
        Ok(shown)
    }

    fn request(&self, values: &mut Values<'_>, step: &StepContext) -> Result<Request> {
        let url = self.address.fill(values)?;
        let mut headers = filled(&self.headers, values)?;
        if let Some(name) = &self.idempotency_header {
            let key = HeaderValue::from_str(&format!("{}/{}", step.run, step.step));
            headers.insert(name, key.map_err(|_| Error::internal("a run's id is no header"))?);
        }
        let body = self.body.as_ref().map(|body| body.fill(values)).transpose()?.flatten();
        Ok(Request { method: self.method.clone(), url, headers, body })
    }

    pub(crate) async fn perform(&self, filling: &Filling<'_>) -> Result<Value, port::Fault> {
        if filling.step.repeated && !self.is_repeatable() {
            return Err(unrepeatable(
                filling.step,
                "look whether it was done; its pack can say `idempotent` or `idempotency_header` if sending it again does no harm",
            ));
        }
        self.exchange(filling).await
    }

    pub(crate) async fn verify(&self, filling: &Filling<'_>, receipt: &Value) -> Result<Value, port::Fault> {
        match &self.verification {
            Some(verification) => {
                verification.watch(self.client.get()?, filling, &self.headers, receipt).await
            }
            None => Ok(receipt.clone()),
        }
    }
}

/// Headers with the values of a call.
pub(crate) fn filled(headers: &[(HeaderName, Template)], values: &mut Values<'_>) -> Result<HeaderMap> {
    let mut all = HeaderMap::new();
    for (name, header) in headers {
        let text = header.fill(values, |value| {
            let fits = value.bytes().all(|b| (0x20..0x7f).contains(&b));
            if fits { Ok(value.to_owned()) } else { Err(unfit("has a character that a header cannot have")) }
        })?;
        let value = HeaderValue::from_str(&text);
        let mut value = value.map_err(|_| {
            Error::new(
                Code::SecretMissing,
                format!("the header `{name}` has a character that a header cannot have"),
            )
        })?;
        value.set_sensitive(header.has_secret());
        all.insert(name, value);
    }
    Ok(all)
}

fn method(http: &mut Section, effect: Effect) -> Result<Method, Fault> {
    let text = http.text("method", 16)?;
    let known = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
    let method = known.into_iter().find(|known| known.as_str() == text);
    let method = method.ok_or_else(|| {
        http.fault_of("method", "it must be `GET`, `HEAD`, `POST`, `PUT`, `PATCH` or `DELETE`, in capitals")
    })?;
    if effect != Effect::Read && matches!(method, Method::GET | Method::HEAD) {
        let why =
            format!("{method} changes nothing by its definition: a tool that writes needs another method");
        return Err(http.fault_of("method", why));
    }
    Ok(method)
}

fn header_name(http: &Section, key: &str, name: &str) -> Result<HeaderName, Fault> {
    let fixed = [
        "host",
        "content-length",
        "content-type",
        "transfer-encoding",
        "connection",
        "te",
        "trailer",
        "upgrade",
    ];
    let parsed = HeaderName::from_bytes(name.as_bytes()).ok().filter(|name| !fixed.contains(&name.as_str()));
    parsed.ok_or_else(|| {
        let name = astradesk_core::text::shown(name, 64);
        http.fault_of(key, format!("`{name}` is no header, or one that follows from the request"))
    })
}

pub(crate) fn headers(
    http: &mut Section,
    parameters: &Parameters,
    place: Place,
) -> Result<Vec<(HeaderName, Template)>, Fault> {
    let texts = http.table_of_texts("headers")?;
    if texts.len() > 32 {
        return Err(http.fault_of("headers", format!("there are {}, and there may be 32", texts.len())));
    }
    let read = |(name, text): (String, String)| {
        let value = template(http, "headers", &text, parameters, place)?;
        if value.is_fixed() && name.eq_ignore_ascii_case("authorization") {
            return Err(
                http.fault_of("headers", "a secret never stands here: write `{env:NAME}` or `{file:/PATH}`")
            );
        }
        Ok((header_name(http, "headers", &name)?, value))
    };
    texts.into_iter().map(read).collect()
}

fn success(http: &mut Section) -> Result<Vec<u16>, Fault> {
    let Some(value) = http.value("success") else { return Ok((200..300).collect()) };
    let numbers = value.as_array().map(|all| all.iter().filter_map(Value::as_u64).collect::<Vec<_>>());
    let fine = numbers.filter(|all| {
        !all.is_empty()
            && value.as_array().map(Vec::len) == Some(all.len())
            && all.iter().all(|n| (200..500).contains(n))
    });
    let fine =
        fine.ok_or_else(|| http.fault_of("success", "it must be a list of statuses from 200 to 499"))?;
    Ok(fine.into_iter().map(|status| status as u16).collect())
}

fn statuses(http: &mut Section) -> Result<BTreeMap<u16, Code>, Fault> {
    let mut read = BTreeMap::new();
    for (status, text) in http.table_of_texts("statuses")? {
        let number = status.parse::<u16>().ok().filter(|status| (300..600).contains(status));
        let number = number.ok_or_else(|| {
            http.fault_of("statuses", format!("`{status}` must be a status from 300 to 599"))
        })?;
        read.insert(number, code(http, "statuses", &text)?);
    }
    Ok(read)
}

fn answer(http: &mut Section) -> Result<Answer, Fault> {
    match http.text_if("answer")?.as_deref() {
        None | Some("json") => Ok(Answer::Json),
        Some("text") => Ok(Answer::Text),
        Some("none") => Ok(Answer::None),
        Some(_) => Err(http.fault_of("answer", "it must be `json`, `text` or `none`")),
    }
}

/// A client that follows no redirect and retries nothing by itself. It is made when it is first used, for all tools of a
/// pack that trust the authorities of the machine; one with a `ca_file` has its own.
#[derive(Debug, Clone, Default)]
pub(crate) struct Client(Arc<OnceLock<reqwest::Client>>);

impl Client {
    pub(crate) fn read(http: &mut Section, shared: &Self) -> Result<Self, Fault> {
        let Some(path) = http.text_if("ca_file")? else { return Ok(shared.clone()) };
        let pem = std::fs::read(&path)
            .map_err(|error| http.fault_of("ca_file", format!("`{path}` cannot be read: {error}")))?;
        let none = || http.fault_of("ca_file", format!("`{path}` has no certificate in PEM"));
        let certificates = reqwest::Certificate::from_pem_bundle(&pem).map_err(|_| none())?;
        if certificates.is_empty() {
            return Err(none());
        }
        let client = builder().tls_certs_merge(certificates).build().map_err(|_| none())?;
        Ok(Self(Arc::new(OnceLock::from(client))))
    }

    pub(crate) fn get(&self) -> Result<&reqwest::Client> {
        if let Some(client) = self.0.get() {
            return Ok(client);
        }
        let client = builder().build();
        let client = client.map_err(|error| Error::internal(format!("no HTTP client: {error}")))?;
        Ok(self.0.get_or_init(|| client))
    }
}

fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .connect_timeout(CONNECT)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .pool_max_idle_per_host(4)
        .user_agent(concat!("astradesk/", env!("CARGO_PKG_VERSION")))
}
