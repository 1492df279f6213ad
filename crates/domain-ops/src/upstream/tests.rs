use super::testing::{Answer, Scripted};
use super::{Applied, Credentials, Settings, Upstream};
use astradesk_core::Code;
use astradesk_runtime::secret::Secret;
use http::Method;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn times(what: u16) -> impl FnMut() -> Answer {
    move || Answer::Text(what, format!("\"{what} because password=hunter2\""))
}

/// What one answer means for a read, and for a write.
#[tokio::test]
async fn each_answer_has_its_code_and_says_whether_a_write_may_have_arrived() {
    type Case = (&'static str, fn() -> Answer, Code, Applied, usize);
    let cases: Vec<Case> = vec![
        ("unauthorized", || times(401)(), Code::UpstreamForbidden, Applied::No, 1),
        ("forbidden", || times(403)(), Code::UpstreamForbidden, Applied::No, 1),
        ("not found", || times(404)(), Code::UpstreamNotFound, Applied::No, 1),
        ("conflict", || times(409)(), Code::UpstreamConflict, Applied::No, 1),
        ("bad", || times(400)(), Code::UpstreamRejected, Applied::No, 1),
        ("too many", || times(429)(), Code::UpstreamUnreachable, Applied::Maybe, 3),
        ("failed", || times(500)(), Code::UpstreamFailed, Applied::Maybe, 3),
        ("proxy", || times(503)(), Code::UpstreamFailed, Applied::Maybe, 3),
        (
            "redirect",
            || Answer::Redirect("http://elsewhere/"),
            Code::UpstreamAnswerInvalid,
            Applied::Maybe,
            1,
        ),
        (
            "no JSON",
            || Answer::Text(200, "<html>".to_owned()),
            Code::UpstreamAnswerInvalid,
            Applied::Maybe,
            1,
        ),
        (
            "huge",
            || Answer::Text(200, format!("\"{}\"", "x".repeat(70_000))),
            Code::UpstreamAnswerInvalid,
            Applied::Maybe,
            1,
        ),
        ("broken", || Answer::Break, Code::UpstreamUnreachable, Applied::Maybe, 3),
        ("slow", || Answer::Silence, Code::UpstreamUnreachable, Applied::Maybe, 3),
    ];
    for (name, answer, code, applied, reads) in cases {
        let server = Scripted::start(move |_| answer()).await;
        let timeout = Duration::from_millis(300);
        let upstream = Upstream::new(Settings { timeout, ..server.settings("Thing") }).unwrap();
        let failure = upstream.get("a/b", &[("x", "1 2".to_owned())], soon()).await.unwrap_err();
        assert_eq!(failure.error.code, code, "{name}: {}", failure.error.message);
        assert!(failure.error.message.starts_with("Thing "), "{name}: {}", failure.error.message);
        assert!(!format!("{failure:?}").contains("hunter2"), "{name}: {failure:?}");
        assert_eq!(server.asked().len(), reads, "{name}: how often a read is sent");
        let before = server.asked().len();
        let body = json!({"a": 1});
        let failure = upstream.send(Method::POST, "a/b", &[], Some(&body), soon()).await.unwrap_err();
        assert_eq!(failure.applied, applied, "{name}");
        let asked = server.asked();
        assert_eq!(asked.len(), before + 1, "{name}: a write is sent once");
        assert_eq!((asked[0].what.as_str(), asked[0].query.as_str()), ("GET /a/b", "x=1+2"));
        assert_eq!(asked[before].body, body);
    }
}

#[tokio::test]
async fn nobody_there_is_told_and_a_write_did_not_arrive() {
    let server = Scripted::start(|_| Answer::Break).await;
    let settings = server.settings("Thing");
    drop(server);
    let upstream = Upstream::new(settings).unwrap();
    let failure = upstream.send(Method::POST, "a", &[], None, soon()).await.unwrap_err();
    assert_eq!((failure.error.code, failure.applied), (Code::UpstreamUnreachable, Applied::No));
}

#[tokio::test]
async fn a_read_is_asked_again_and_an_empty_answer_is_null() {
    let mut answers = vec![Answer::Text(200, String::new()), Answer::Break, Answer::Text(503, String::new())];
    let server = Scripted::start(move |_| answers.pop().unwrap()).await;
    let upstream = Upstream::new(server.settings("Thing")).unwrap();
    assert_eq!(upstream.get("a", &[], soon()).await.unwrap(), Value::Null);
    assert_eq!(server.asked().len(), 3);
}

#[tokio::test]
async fn credentials_are_looked_up_for_each_request_and_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let secret = Secret::parse(&format!("file:{}", path.display())).unwrap().unwrap();
    let server = Scripted::start(|_| Answer::Json(200, json!([]))).await;
    let with = |credentials| {
        Upstream::new(Settings { credentials: Some(credentials), ..server.settings("Thing") }).unwrap()
    };
    let bearer = with(Credentials::Bearer(secret.clone()));
    let missing = bearer.get("a", &[], soon()).await.unwrap_err().error;
    assert_eq!(missing.code, Code::SecretMissing, "{}", missing.message);
    assert!(server.asked().is_empty());
    std::fs::write(&path, "hunter2\n").unwrap();
    bearer.get("a", &[], soon()).await.unwrap();
    let basic = with(Credentials::Basic { user: "ada".to_owned(), password: secret });
    basic.get("a", &[], soon()).await.unwrap();
    std::fs::write(&path, "hun\nter2").unwrap();
    let bad = bearer.get("a", &[], soon()).await.unwrap_err();
    assert!(bad.error.code == Code::SecretMissing && !format!("{bad:?}").contains("ter2"), "{bad:?}");
    let sent: Vec<_> = server.asked().into_iter().filter_map(|asked| asked.authorization).collect();
    assert_eq!(sent, ["Bearer hunter2", "Basic YWRhOmh1bnRlcjI="]);
}

#[test]
fn a_file_of_certificates_that_is_none_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    let settings = |path: &std::path::Path| Settings {
        name: "Thing",
        url: "https://thing.example/".parse().unwrap(),
        credentials: None,
        ca_file: Some(path.to_owned()),
        timeout: Duration::from_secs(1),
        max_answer: 1,
    };
    assert_eq!(Upstream::new(settings(&path)).err().unwrap().code, Code::ConfigInvalid);
    std::fs::write(&path, "no certificate").unwrap();
    assert_eq!(Upstream::new(settings(&path)).err().unwrap().code, Code::ConfigInvalid);
}
