use super::super::testing::{Fake, Spoil, job};
use super::*;
use serde_json::json;

async fn with_silence() -> (Fake, Ending) {
    let fake = Fake::start().await;
    fake.state.lock().unwrap().silences.push(json!({
        "id": "s", "status": {"state": "active"}, "createdBy": "kim", "comment": "",
        "matchers": [{"name": "alertname", "value": "Down", "isRegex": false}],
        "startsAt": "2026-01-01T00:00:00Z", "endsAt": "2030-01-01T00:00:00Z", "updatedAt": "2026-01-01T00:00:00Z",
    }));
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(5);
    let ending = Ending::of(&fake.alertmanager.silence("s", deadline).await.unwrap());
    (fake, ending)
}

#[tokio::test]
async fn it_ends_once_whatever_becomes_of_the_request() {
    for (name, repeated, spoil, writes) in [
        ("nothing goes wrong", false, vec![], 1),
        ("the request is lost", false, vec![Spoil::Request], 2),
        ("the reply is lost", false, vec![Spoil::Reply], 1),
        ("the server fails", false, vec![Spoil::Fail], 2),
        ("an earlier process may have", true, vec![], 1),
    ] {
        let (fake, ending) = with_silence().await;
        fake.state.lock().unwrap().spoil = spoil.into();
        let job = job("m", repeated, 30);
        let done = perform(&fake.alertmanager, &job, &ending).await.unwrap();
        let output = verify(&fake.alertmanager, &job, &done).await.unwrap();
        assert!(fake.active().is_empty(), "{name}");
        assert_eq!(
            output["summary"], "silence s of {alertname=\"Down\"} has ended; no alert of it fires now",
            "{name}"
        );
        assert_eq!(fake.state.lock().unwrap().writes, writes, "{name}");
    }
}

#[tokio::test]
async fn one_that_has_ended_is_left_alone_and_what_replaced_it_is_told() {
    let (fake, _) = with_silence().await;
    {
        let mut state = fake.state.lock().unwrap();
        let mut other = state.silences[0].clone();
        other["id"] = json!("t");
        state.silences[0]["status"]["state"] = json!("expired");
        state.silences.push(other);
    }
    let job = job("m", false, 30);
    let ending = Ending::of(&fake.alertmanager.silence("s", job.deadline).await.unwrap());
    let done = perform(&fake.alertmanager, &job, &ending).await.unwrap();
    let output = verify(&fake.alertmanager, &job, &done).await.unwrap();
    assert_eq!((fake.state.lock().unwrap().writes, &output["still_silenced_by"]), (0, &json!(["t"])));
}

#[tokio::test]
async fn faults_are_told_for_what_they_are() {
    let (fake, ending) = with_silence().await;
    // Somebody made it longer meanwhile: it is decided anew.
    fake.state.lock().unwrap().silences[0]["updatedAt"] = json!("2026-01-02T00:00:00Z");
    let moved = perform(&fake.alertmanager, &job("m", false, 5), &ending).await;
    assert!(matches!(moved, Err(Fault::Moved(_))), "{moved:?}");
    for (spoil, deaf, code) in [
        (vec![Spoil::Refuse(403)], 0, Code::UpstreamForbidden),
        (vec![Spoil::Fail, Spoil::Refuse(403)], 0, Code::RunOutcomeUnknown),
        (vec![], 1000, Code::UpstreamUnreachable),
    ] {
        let (fake, ending) = with_silence().await;
        {
            let mut state = fake.state.lock().unwrap();
            (state.spoil, state.deaf) = (spoil.into(), deaf);
        }
        let fault = perform(&fake.alertmanager, &job("m", false, 1), &ending).await.unwrap_err();
        let (Fault::Failed(error) | Fault::Unknown(error) | Fault::Moved(error)) = fault;
        assert_eq!(error.code, code, "{error}");
    }
}
