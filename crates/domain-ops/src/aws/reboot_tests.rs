use super::super::ec2::Instance;
use super::super::tests::{Answer, aws, job};
use super::*;
use crate::upstream::testing::{Asked, Scripted};
use std::sync::{Arc, Mutex};

const ID: &str = "i-0123456789abcdef0";

/// What there is, and what becomes of the next requests for a reboot.
#[derive(Default)]
struct World {
    state: &'static str,
    /// The checks (system, instance) that are told, one after the other; the last one stays.
    checks: Vec<(&'static str, &'static str)>,
    spoil: Vec<Spoil>,
    rebooted: usize,
}

#[derive(Clone, Copy)]
enum Spoil {
    Request,
    Silence,
    Fail,
    Refuse(u16, &'static str),
    Other(&'static str),
}

fn refusal(status: u16, code: &str) -> Answer {
    let text = format!(
        "<?xml version=\"1.0\"?><Response><Errors><Error><Code>{code}</Code><Message>because password=hunter2</Message></Error>\
         </Errors><RequestID>1</RequestID></Response>"
    );
    Answer::Text(status, text)
}

impl World {
    fn answer(&mut self, asked: &Asked) -> Answer {
        let of = |name: &str| asked.text.split('&').find_map(|pair| pair.strip_prefix(name));
        assert_eq!(of("InstanceId.1="), Some(ID), "{}", asked.text);
        match of("Action=").unwrap() {
            "DescribeInstances" => self.instance(),
            "DescribeInstanceStatus" => self.status(),
            "RebootInstances" if of("DryRun=").is_some() => refusal(412, "DryRunOperation"),
            _ => self.reboot(),
        }
    }

    fn instance(&self) -> Answer {
        if self.state.is_empty() {
            return refusal(400, "InvalidInstanceID.NotFound");
        }
        Answer::Text(
            200,
            format!(
                "<?xml version=\"1.0\"?><DescribeInstancesResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>1</requestId>\
                 <reservationSet><item><ownerId>1</ownerId><instancesSet><item><instanceId>{ID}</instanceId><instanceState><code>16</code>\
                 <name>{}</name></instanceState><instanceType>t3.large</instanceType><launchTime>2026-11-01T00:00:00.000Z</launchTime>\
                 <monitoring><state>disabled</state></monitoring><tagSet><item><key>Name</key><value>web &amp; co</value></item><item>\
                 <key>env</key><value>prod</value></item></tagSet></item></instancesSet></item></reservationSet></DescribeInstancesResponse>",
                self.state
            ),
        )
    }

    fn status(&mut self) -> Answer {
        if self.state.is_empty() {
            return refusal(400, "InvalidInstanceID.NotFound");
        }
        let (system, instance) = if self.checks.len() > 1 { self.checks.remove(0) } else { self.checks[0] };
        let detail = "<details><item><name>reachability</name><status>passed</status></item></details>";
        Answer::Text(
            200,
            format!(
                "<DescribeInstanceStatusResponse><instanceStatusSet><item><instanceId>{ID}</instanceId><instanceState><name>{}</name>\
                 </instanceState><systemStatus><status>{system}</status>{detail}</systemStatus><instanceStatus><status>{instance}</status>\
                 {detail}</instanceStatus></item></instanceStatusSet></DescribeInstanceStatusResponse>",
                self.state
            ),
        )
    }

    fn reboot(&mut self) -> Answer {
        let done = "<RebootInstancesResponse><requestId>1</requestId><return>true</return></RebootInstancesResponse>";
        if !self.spoil.is_empty() {
            match self.spoil.remove(0) {
                Spoil::Request => return Answer::Break,
                Spoil::Silence => return Answer::Silence,
                Spoil::Fail => return refusal(500, "InternalError"),
                Spoil::Refuse(status, code) => return refusal(status, code),
                Spoil::Other(text) => return Answer::Text(200, text.to_owned()),
            }
        }
        self.rebooted += 1;
        Answer::Text(200, done.to_owned())
    }
}

async fn place(
    state: &'static str,
    checks: &[(&'static str, &'static str)],
) -> (Aws, Scripted, Arc<Mutex<World>>) {
    let world = Arc::new(Mutex::new(World { state, checks: checks.to_vec(), ..World::default() }));
    let shared = world.clone();
    let (aws, server) = aws(move |asked| shared.lock().unwrap().answer(asked)).await;
    (aws, server, world)
}

const OK: (&str, &str) = ("ok", "ok");

fn intent() -> Intent {
    let checks = Checks { system: "ok".to_owned(), instance: "ok".to_owned() };
    Intent { instance: ID.to_owned(), state: "running".to_owned(), launched: String::new(), checks }
}

#[tokio::test]
async fn it_is_asked_for_once_whatever_becomes_of_the_request() {
    let unknown = Some(Code::RunOutcomeUnknown);
    for (name, repeated, spoil, sent, rebooted, code) in [
        ("nothing goes wrong", false, vec![], 1, 1, None),
        ("the connection breaks", false, vec![Spoil::Request], 1, 0, unknown),
        ("no reply comes", false, vec![Spoil::Silence], 1, 0, unknown),
        ("it fails inside", false, vec![Spoil::Fail], 1, 0, unknown),
        ("something else answers", false, vec![Spoil::Other("<html></html>")], 1, 0, unknown),
        (
            "it says no",
            false,
            vec![Spoil::Other("<RebootInstancesResponse><return>false</return></RebootInstancesResponse>")],
            1,
            0,
            unknown,
        ),
        ("an earlier process may have asked", true, vec![], 0, 0, unknown),
        ("throttled once", false, vec![Spoil::Refuse(503, "RequestLimitExceeded")], 2, 1, None),
        (
            "not permitted",
            false,
            vec![Spoil::Refuse(403, "UnauthorizedOperation")],
            1,
            0,
            Some(Code::UpstreamForbidden),
        ),
        (
            "it is gone",
            false,
            vec![Spoil::Refuse(400, "InvalidInstanceID.NotFound")],
            1,
            0,
            Some(Code::UpstreamNotFound),
        ),
        (
            "it is stopped",
            false,
            vec![Spoil::Refuse(400, "IncorrectInstanceState")],
            1,
            0,
            Some(Code::UpstreamConflict),
        ),
    ] {
        let (aws, server, world) = place("running", &[OK]).await;
        world.lock().unwrap().spoil = spoil;
        let done = perform(&aws, &job(repeated, 20), &intent()).await;
        assert!(!format!("{done:?}").contains("hunter2"), "{name}: {done:?}");
        match (done, code) {
            (Ok(receipt), None) => assert!(receipt.user_agent.ends_with("(m)"), "{name}: {receipt:?}"),
            (Err(Fault::Unknown(error)), Some(Code::RunOutcomeUnknown)) => {
                assert_eq!(error.code, Code::RunOutcomeUnknown, "{name}");
                let remedy = error.remedy;
                assert!(remedy.contains("(m)") && remedy.contains(ID), "{name}: {remedy}");
            }
            (Err(Fault::Failed(error)), Some(code)) => assert_eq!(error.code, code, "{name}: {error}"),
            (done, _) => panic!("{name}: {done:?}"),
        }
        let asked = server.asked();
        assert_eq!((asked.len(), world.lock().unwrap().rebooted), (sent, rebooted), "{name}");
        // What CloudTrail keeps.
        assert!(asked.iter().all(|asked| asked.agent == agent("m")), "{name}: {asked:?}");
    }
}

#[tokio::test]
async fn nobody_is_there_so_it_certainly_did_not_happen() {
    let (aws, server, _world) = place("running", &[OK]).await;
    drop(server);
    let done = perform(&aws, &job(false, 1), &intent()).await;
    let Err(Fault::Failed(error)) = done else { panic!("{done:?}") };
    assert_eq!(error.code, Code::UpstreamUnreachable);
}

#[tokio::test]
async fn its_end_is_what_the_checks_show() {
    let impaired = ("ok", "impaired");
    let starting = ("initializing", "initializing");
    for (state, before_ok, checks, watch, code, seen) in [
        ("running", true, vec![OK], 1, None, Some(false)),
        ("running", true, vec![OK, starting, OK], 60, None, Some(true)),
        ("running", true, vec![OK, impaired, OK], 60, None, Some(true)),
        ("running", false, vec![OK], 60, None, Some(true)),
        ("running", false, vec![impaired, OK], 60, None, Some(true)),
        ("running", true, vec![OK], 60, Some(Code::RolloutTimedOut), None),
        ("running", true, vec![impaired], 1, Some(Code::UpstreamNotVerified), None),
        ("running", true, vec![starting], 1, Some(Code::RolloutTimedOut), None),
        ("stopped", true, vec![OK], 1, Some(Code::RolloutSuperseded), None),
        ("terminated", true, vec![OK], 1, Some(Code::RolloutWorkloadDeleted), None),
        ("", true, vec![OK], 1, Some(Code::RolloutWorkloadDeleted), None),
    ] {
        let name = format!("{state} {before_ok} {checks:?} {watch}");
        let (aws, _server, _world) = place(state, &checks).await;
        let mut checks = intent().checks;
        if !before_ok {
            checks.instance = "impaired".to_owned();
        }
        let receipt = Receipt { instance: ID.to_owned(), checks, user_agent: "a".to_owned() };
        let done = verify(&aws, &job(false, 3), Duration::from_secs(watch), &receipt).await;
        match (done, code) {
            (Ok(output), None) => {
                assert_eq!(output["seen"].is_string(), seen.unwrap(), "{name}: {output}");
                assert_eq!(output["user_agent"], "a", "{name}");
            }
            (Err(Fault::Failed(error)), Some(code)) => assert_eq!(error.code, code, "{name}: {error}"),
            (done, _) => panic!("{name}: {done:?}"),
        }
    }
    let (aws, server, _world) = place("running", &[OK]).await;
    drop(server);
    let receipt = Receipt { instance: ID.to_owned(), checks: intent().checks, user_agent: String::new() };
    let done = verify(&aws, &job(false, 1), Duration::from_secs(1), &receipt).await;
    assert!(matches!(&done, Err(Fault::Unknown(error)) if error.code == Code::RunOutcomeUnknown), "{done:?}");
}

#[tokio::test]
async fn an_insane_moment_is_refused() {
    for (state, code) in [
        ("running", None),
        ("stopped", Some(Code::UpstreamConflict)),
        ("terminated", Some(Code::UpstreamConflict)),
        ("", Some(Code::UpstreamNotFound)),
    ] {
        let (aws, server, _world) = place(state, &[OK]).await;
        let until = Instant::now() + Duration::from_secs(5);
        let found = sane(&aws, ID, until).await;
        assert_eq!(found.as_ref().err().map(|error| error.code), code, "{state}");
        let Ok((Instance { kind, tags, .. }, checks)) = found else { continue };
        assert_eq!(
            (kind.as_str(), tags["Name"].as_str(), tags["env"].as_str()),
            ("t3.large", "web & co", "prod")
        );
        assert!(checks.are_ok());
        aws.may_reboot(ID, until).await.unwrap();
        let asked = server.asked();
        let signed = "AWS4-HMAC-SHA256 Credential=id/";
        for asked in &asked {
            let authorization = asked.authorization.as_deref().unwrap();
            assert!(authorization.starts_with(signed), "{authorization}");
            assert!(authorization.contains("/eu-central-1/ec2/aws4_request"), "{authorization}");
        }
    }
}

#[tokio::test]
async fn a_dry_run_that_was_none_is_told() {
    let (aws, _server) = aws(|_| {
        Answer::Text(
            200,
            "<RebootInstancesResponse><return>true</return></RebootInstancesResponse>".to_owned(),
        )
    })
    .await;
    let failure = aws.may_reboot(ID, Instant::now() + Duration::from_secs(5)).await.unwrap_err();
    assert_eq!((failure.error.code, failure.applied), (Code::UpstreamAnswerInvalid, Applied::Maybe));
}
