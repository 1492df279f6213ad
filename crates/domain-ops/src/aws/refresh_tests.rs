use super::super::tests::{Answer, aws, job};
use super::*;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What there is of a group, and what becomes of the next request that changes it.
#[derive(Default)]
struct Group {
    /// Ids and states.
    refreshes: Vec<(String, &'static str)>,
    spoil: Vec<Spoil>,
    begun: usize,
    size: i32,
}

#[derive(Clone, Copy, PartialEq)]
enum Spoil {
    Request,
    Reply,
    Fail,
    Refuse(&'static str),
    Stranger,
}

impl Group {
    fn answer(&mut self, text: &str) -> Answer {
        let result = |operation: &str, inner: &str| {
            let xmlns = "http://autoscaling.amazonaws.com/doc/2011-01-01/";
            Answer::Text(
                200,
                format!(
                    "<{operation}Response xmlns=\"{xmlns}\"><{operation}Result>{inner}</{operation}Result></{operation}Response>"
                ),
            )
        };
        let operation = text.split('&').find_map(|pair| pair.strip_prefix("Action=")).unwrap();
        match operation {
            "DescribeAutoScalingGroups" => {
                let group = format!(
                    "<AutoScalingGroups><member><AutoScalingGroupName>w</AutoScalingGroupName><DesiredCapacity>{}</DesiredCapacity></member></AutoScalingGroups>",
                    self.size
                );
                result(operation, if self.size < 0 { "" } else { &group })
            }
            "DescribeInstanceRefreshes" => {
                let all = self.refreshes.iter().map(|(id, status)| {
                    format!(
                        "<member><InstanceRefreshId>{id}</InstanceRefreshId><Status>{status}</Status>\
                         <StatusReason>token=hunter2</StatusReason><PercentageComplete>40</PercentageComplete></member>"
                    )
                });
                result(
                    operation,
                    &format!("<InstanceRefreshes>{}</InstanceRefreshes>", all.collect::<String>()),
                )
            }
            "CancelInstanceRefresh" => {
                self.refreshes[0].1 = "Cancelled";
                result(operation, "<InstanceRefreshId>new-0</InstanceRefreshId>")
            }
            _ => self.start(operation, &result),
        }
    }

    fn start(&mut self, operation: &str, result: &dyn Fn(&str, &str) -> Answer) -> Answer {
        let next = if self.spoil.is_empty() { None } else { Some(self.spoil.remove(0)) };
        match next {
            Some(Spoil::Request) => return Answer::Break,
            Some(Spoil::Fail) => return Answer::Text(503, String::new()),
            Some(Spoil::Refuse(code)) => {
                let error = format!(
                    "<ErrorResponse><Error><Code>{code}</Code><Message>no</Message></Error></ErrorResponse>"
                );
                return Answer::Text(400, error);
            }
            Some(Spoil::Stranger) => {
                self.refreshes.insert(0, ("stranger-1".to_owned(), "Cancelled"));
                self.refreshes.insert(0, ("stranger-2".to_owned(), "InProgress"));
                return Answer::Break;
            }
            Some(Spoil::Reply) | None => {}
        }
        let id = format!("new-{}", self.begun);
        self.begun += 1;
        self.refreshes.insert(0, (id.clone(), "Pending"));
        if next == Some(Spoil::Reply) {
            Answer::Break
        } else {
            result(operation, &format!("<InstanceRefreshId>{id}</InstanceRefreshId>"))
        }
    }
}

async fn place(
    refreshes: &[(&str, &'static str)],
) -> (Aws, crate::upstream::testing::Scripted, Arc<Mutex<Group>>) {
    let refreshes = refreshes.iter().map(|(id, status)| ((*id).to_owned(), *status)).collect();
    let group = Arc::new(Mutex::new(Group { refreshes, size: 3, ..Group::default() }));
    let shared = group.clone();
    let (aws, server) = aws(move |asked| shared.lock().unwrap().answer(&asked.text)).await;
    (aws, server, group)
}

#[tokio::test]
async fn one_refresh_is_begun_whatever_becomes_of_the_request() {
    for (name, repeated, spoil, begun, code) in [
        ("nothing goes wrong", false, vec![], 1, None),
        ("the request is lost", false, vec![Spoil::Request], 1, None),
        ("the reply is lost", false, vec![Spoil::Reply], 1, None),
        ("it fails", false, vec![Spoil::Fail], 1, None),
        ("an earlier process did not send it", true, vec![], 1, None),
        ("it may not", false, vec![Spoil::Refuse("AccessDenied")], 0, Some(Code::UpstreamForbidden)),
        (
            "one is in progress",
            false,
            vec![Spoil::Refuse("InstanceRefreshInProgress")],
            0,
            Some(Code::UpstreamConflict),
        ),
        ("somebody else begins some", false, vec![Spoil::Stranger], 0, Some(Code::RunOutcomeUnknown)),
    ] {
        let (aws, server, group) = place(&[("old", "Successful")]).await;
        group.lock().unwrap().spoil = spoil;
        let intent = Intent { refreshes: vec!["old".to_owned()], min_healthy: Some(80) };
        let done = perform(&aws, &job(repeated, 30), "w", &intent).await;
        match (done, code) {
            (Ok(receipt), None) => assert_eq!(receipt.refresh, "new-0", "{name}"),
            (Err(Fault::Failed(error) | Fault::Unknown(error)), Some(code)) => {
                assert_eq!(error.code, code, "{name}: {error}");
            }
            (done, _) => panic!("{name}: {done:?}"),
        }
        assert_eq!(group.lock().unwrap().begun, begun, "{name}");
        let asked = server.asked();
        assert!(
            asked.iter().any(|asked| asked.text.contains("Preferences.MinHealthyPercentage=80")),
            "{name}"
        );
    }
}

#[tokio::test]
async fn each_end_of_a_refresh_has_its_code() {
    for (status, code) in [
        ("Successful", None),
        ("Failed", Some(Code::UpstreamNotVerified)),
        ("Cancelled", Some(Code::UpstreamNotVerified)),
        ("RollbackSuccessful", Some(Code::UpstreamNotVerified)),
        ("InProgress", Some(Code::RolloutTimedOut)),
        ("Baking", Some(Code::RolloutTimedOut)),
    ] {
        let (aws, _server, _group) = place(&[("new-0", status)]).await;
        let receipt = Receipt { refresh: "new-0".to_owned() };
        let done = verify(&aws, &job(false, 1), "w", &receipt).await;
        assert!(!format!("{done:?}").contains("hunter2"), "{done:?}");
        match (done, code) {
            (Ok(_), None) => {}
            (Err(Fault::Failed(error)), Some(code)) => assert_eq!(error.code, code, "{status}: {error}"),
            (done, _) => panic!("{status}: {done:?}"),
        }
    }
}

#[tokio::test]
async fn it_is_cancelled_and_says_how_far_it_came() {
    for (status, ended) in [("InProgress", "Cancelled"), ("Successful", "Successful")] {
        let (aws, _server, _group) = place(&[("new-0", status)]).await;
        let receipt = Receipt { refresh: "new-0".to_owned() };
        let told = stop(&aws, &job(false, 20), "w", &receipt).await.unwrap();
        assert!(told.contains(&format!("ended as {ended} at 40 %")), "{told}");
    }
}

#[tokio::test]
async fn an_insane_moment_is_refused() {
    for (size, status, code) in [
        (3, "Successful", None),
        (3, "InProgress", Some(Code::GuardRolloutInProgress)),
        (0, "Successful", Some(Code::GuardScaledToZero)),
        (-1, "Successful", Some(Code::UpstreamNotFound)),
    ] {
        let (aws, _server, group) = place(&[("old", status)]).await;
        group.lock().unwrap().size = size;
        let sane = sane(&aws, "w", Instant::now() + Duration::from_secs(5)).await;
        assert_eq!(sane.err().map(|error| error.code), code, "{size} {status}");
    }
}
