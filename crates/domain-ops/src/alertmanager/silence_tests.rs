use super::super::testing::{Fake, Spoil, alert, job};
use super::*;
use serde_json::json;

const MARK: &str = "astradesk.dev/run=01920000-0000-7000-8000-000000000001/0";

fn intent(seconds: i64) -> Intent {
    Intent {
        matchers: vec![Matcher::equal("alertname", "Down")],
        ends_at: Timestamp::from_second(Timestamp::now().as_second() + seconds).unwrap(),
        created_by: "ada (astradesk)".to_owned(),
        comment: "deploying".to_owned(),
    }
}

/// However the request ends, there is one silence, and its receipt.
#[tokio::test]
async fn there_is_one_silence_whatever_becomes_of_the_request() {
    for (name, repeated, spoil, writes) in [
        ("nothing goes wrong", false, vec![], 1),
        ("the request is lost", false, vec![Spoil::Request], 2),
        ("the reply is lost", false, vec![Spoil::Reply], 1),
        ("the server fails", false, vec![Spoil::Fail], 2),
        ("it arrives a little later", false, vec![Spoil::Late(2)], 1),
        ("the server fails, then the reply is lost", false, vec![Spoil::Fail, Spoil::Reply], 2),
        ("an earlier process did not send it", true, vec![], 1),
    ] {
        let fake = Fake::start().await;
        fake.state.lock().unwrap().spoil = spoil.into();
        let job = job(MARK, repeated, 30);
        let receipt = perform(&fake.alertmanager, &job, &intent(3600)).await.unwrap();
        let active = fake.active();
        assert_eq!(active.len(), 1, "{name}");
        assert_eq!(
            (&active[0]["id"], &active[0]["createdBy"]),
            (&json!(receipt.silence), &json!("ada (astradesk)"))
        );
        assert_eq!(active[0]["comment"], format!("deploying {MARK}"), "{name}");
        assert_eq!(fake.state.lock().unwrap().writes, writes, "{name}");
    }
}

#[tokio::test]
async fn what_an_earlier_process_made_is_found_and_not_made_again() {
    let fake = Fake::start().await;
    let intent = intent(3600);
    let first = perform(&fake.alertmanager, &job(MARK, false, 30), &intent).await.unwrap();
    // Other silences are not taken for it, whatever their comments say.
    for comment in [format!("{MARK} "), format!("x{MARK}"), MARK.replace("/0", "/1"), String::new()] {
        let mut other = fake.active()[0].clone();
        other["comment"] = json!(comment);
        fake.state.lock().unwrap().silences.insert(0, other);
    }
    let again = perform(&fake.alertmanager, &job(MARK, true, 30), &intent).await.unwrap();
    assert_eq!(again, first);
    assert_eq!(fake.state.lock().unwrap().writes, 1);
}

#[tokio::test]
async fn one_that_arrives_too_late_is_ended_when_the_other_is_verified() {
    let fake = Fake::start().await;
    // It arrives with the first look of the verification: long after it was sent again.
    fake.state.lock().unwrap().spoil = vec![Spoil::Late(1000)].into();
    let job = job(MARK, false, 30);
    let receipt = perform(&fake.alertmanager, &job, &intent(3600)).await.unwrap();
    let mut twin = fake.active()[0].clone();
    twin["id"] = json!("twin");
    // Somebody has edited a third one: that is theirs.
    let mut edited = twin.clone();
    (edited["id"], edited["matchers"][0]["value"]) = (json!("edited"), json!("Slow"));
    fake.state.lock().unwrap().silences.extend([twin, edited]);
    let output = verify(&fake.alertmanager, &job, &receipt).await.unwrap();
    assert_eq!(output["silence"], receipt.silence);
    let ids: Vec<_> = fake.active().iter().map(|silence| silence["id"].clone()).collect();
    assert_eq!(ids, [json!(receipt.silence), json!("edited")]);
}

#[tokio::test]
async fn an_end_is_certain_only_if_nothing_may_have_arrived() {
    for (name, repeated, spoil, deaf, code, is_known) in [
        ("refused", false, vec![Spoil::Refuse(400)], 0, Code::UpstreamRejected, true),
        ("forbidden", false, vec![Spoil::Refuse(403)], 0, Code::UpstreamForbidden, true),
        (
            "refused after a doubt",
            false,
            vec![Spoil::Fail, Spoil::Refuse(400)],
            0,
            Code::RunOutcomeUnknown,
            false,
        ),
        ("deaf after a doubt", false, vec![Spoil::Reply], 1000, Code::RunOutcomeUnknown, false),
        ("deaf, and an earlier process may have", true, vec![], 1000, Code::RunOutcomeUnknown, false),
    ] {
        let fake = Fake::start().await;
        {
            let mut state = fake.state.lock().unwrap();
            (state.spoil, state.deaf) = (spoil.into(), deaf);
        }
        let fault = perform(&fake.alertmanager, &job(MARK, repeated, 4), &intent(3600)).await.unwrap_err();
        let (Fault::Failed(error) | Fault::Unknown(error) | Fault::Moved(error)) = &fault;
        assert_eq!(error.code, code, "{name}: {error}");
        assert_eq!(matches!(fault, Fault::Failed(_)), is_known, "{name}");
    }
}

#[tokio::test]
async fn what_would_have_ended_by_now_is_not_made() {
    let fake = Fake::start().await;
    let fault = perform(&fake.alertmanager, &job(MARK, true, 30), &intent(-1)).await.unwrap_err();
    assert!(matches!(&fault, Fault::Failed(error) if error.code == Code::ToolTimedOut), "{fault:?}");
    assert_eq!(fake.state.lock().unwrap().writes, 0);
}

#[tokio::test]
async fn it_has_succeeded_once_the_alerts_are_suppressed() {
    let fake = Fake::start().await;
    let firing = alert("Down", &[]);
    let wire = json!({"fingerprint": firing.fingerprint, "labels": firing.labels, "startsAt": "2026-01-01T00:00:00Z",
        "status": {"state": "active", "silencedBy": [], "inhibitedBy": []}});
    fake.state.lock().unwrap().alerts.push(wire);
    let job = job(MARK, false, 30);
    let receipt = perform(&fake.alertmanager, &job, &intent(3600)).await.unwrap();
    let output = verify(&fake.alertmanager, &job, &receipt).await.unwrap();
    assert_eq!(output["silenced"], json!(["Down"]));
    let queries: Vec<_> = fake.server.asked().into_iter().map(|asked| asked.query).collect();
    assert!(queries.contains(&"filter=alertname%3D%22Down%22".to_owned()), "{queries:?}");
}

#[tokio::test]
async fn it_has_failed_if_somebody_ends_it_and_nobody_knows_if_nobody_can_look() {
    for (state, deaf, code) in [
        ("expired", 0, Code::UpstreamConflict),
        ("pending", 0, Code::UpstreamNotVerified),
        ("active", 1000, Code::RunOutcomeUnknown),
    ] {
        let fake = Fake::start().await;
        let receipt = perform(&fake.alertmanager, &job(MARK, false, 30), &intent(3600)).await.unwrap();
        {
            let mut fake = fake.state.lock().unwrap();
            fake.silences[0]["status"]["state"] = json!(state);
            fake.deaf = deaf;
        }
        let fault = verify(&fake.alertmanager, &job(MARK, false, 1), &receipt).await.unwrap_err();
        let (Fault::Failed(error) | Fault::Unknown(error) | Fault::Moved(error)) = fault;
        assert_eq!(error.code, code, "{state}: {error}");
    }
}
