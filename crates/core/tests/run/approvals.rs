//! Approvals: who counts, for what, and how long.

use super::{asked, claimed, given, person, run};
use astradesk_core::approval::{MAX_REASON, check_reason, is_same_person};
use astradesk_core::run::{By, Event, OnFailure, Run, decide};
use astradesk_core::{Code, Error, Principal, Requirement, RoleName, Timestamp};

fn second(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn after(run: &Run, event: Event, at: i64) -> Result<Run, Error> {
    decide(run, By::Anyone, event, second(at)).map(|(run, _)| run)
}

fn awaiting(count: u32, leads: u32) -> Run {
    after(&run(&[OnFailure::Leave]), asked(count, leads), 1).unwrap()
}

fn agent(of: &str, actor: &str) -> Principal {
    Principal { actor: Some(actor.into()), ..person(of, &["lead"]) }
}

#[test]
fn who_asked_does_not_approve_by_any_token_or_agent() {
    let other_issuer = Principal { issuer: "https://other.example".into(), ..person("ada", &["lead"]) };
    let table = [
        (person("ada", &["lead"]), Code::ApprovalBySelf),
        (person("Ada", &["lead"]), Code::ApprovalBySelf),
        (other_issuer, Code::ApprovalBySelf),
        (agent("ada", "bot"), Code::ApprovalBySelf),
        (agent("bo", "ada"), Code::ApprovalBySelf),
        (agent("bo", "bot"), Code::ApprovalByAgent),
        (person("cy", &["viewer"]), Code::ApprovalRoleRequired),
    ];
    for (by, code) in table {
        let error = after(&awaiting(1, 1), given(&by, 2), 2).unwrap_err();
        assert_eq!(error.code, code, "{by:?}");
    }
    // The agent that asked for somebody is not somebody else.
    let mut asked_by_agent = awaiting(1, 1);
    asked_by_agent.principal.actor = Some("bot".into());
    let error = after(&asked_by_agent, given(&person("bot", &["lead"]), 2), 2).unwrap_err();
    assert_eq!(error.code, Code::ApprovalBySelf);
}

#[test]
fn a_name_is_the_same_however_it_is_written() {
    for (one, other, same) in [
        ("ada", " ADA\t", true),
        ("ŻÓŁW", "żółw", true),
        ("zo\u{eb}", "zoe\u{308}", true),
        ("ad\u{200b}a", "ada", true),
        ("ａｄａ", "ada", true),
        ("ada", "adam", false),
        ("", "ada", false),
        // A Cyrillic letter is another one: whoever gives the names must not give both.
        ("\u{430}da", "ada", false),
    ] {
        assert_eq!(is_same_person(&person(one, &[]), &person(other, &[])), same, "{one:?} {other:?}");
        assert_eq!(is_same_person(&agent("bo", one), &person(other, &[])), same, "{one:?} {other:?}");
    }
}

#[test]
fn a_reason_is_one_line_that_shows_all_it_says() {
    for reason in ["checkout is down, INC-4711", "żółw \u{26a0}\u{fe0f} 再起動", "x"] {
        assert_eq!(check_reason(reason), Ok(()), "{reason:?}");
    }
    check_reason(&"ż".repeat(MAX_REASON)).unwrap();
    let long = "ż".repeat(MAX_REASON + 1);
    for reason in [
        "",
        " \u{a0}",
        &long,
        "fine\napproved by `lea`",
        "fine\r",
        "a\tb",
        "\u{1b}[2K",
        "\u{9b}2K",
        "a\u{2028}b",
        "a\u{202e}b",
        "a\u{2067}b",
        "a\u{61c}b",
        "a\u{200b}b",
        "a\u{200d}b",
        "a\u{ad}b",
        "a\u{2060}b",
        "a\u{2064}b",
        "a\u{feff}b",
        "a\u{fff9}b",
        "a\u{180e}b",
        "a\u{3164}b",
        "a\u{e0041}b",
        "a\u{e0100}b",
    ] {
        let error = check_reason(reason).unwrap_err();
        assert_eq!(error.code, Code::RequestReasonRequired, "{reason:?}");
    }
}

#[test]
fn an_approval_is_for_one_digest_in_time_and_once() {
    let waiting = awaiting(2, 0);
    let mut other = waiting.clone();
    other.reason = Some("another reason".into());
    assert_ne!(other.digest(), run(&[OnFailure::Leave]).digest());
    let mut elsewhere = waiting.clone();
    elsewhere.approvals.as_mut().unwrap().digest = other.digest();
    let error = after(&elsewhere, given(&person("bo", &[]), 2), 2).unwrap_err();
    assert_eq!(error.code, Code::ApprovalDigestMismatch);

    let error = after(&waiting, given(&person("bo", &[]), 100), 100).unwrap_err();
    assert_eq!(error.code, Code::ApprovalExpired);
    let once = after(&waiting, given(&person("bo", &[]), 99), 99).unwrap();
    let error = after(&once, given(&person("bo", &[]), 99), 99).unwrap_err();
    assert_eq!(error.code, Code::ApprovalAlreadyGiven);
    let twice = after(&once, given(&person("cy", &[]), 99), 99).unwrap();
    assert_eq!(twice.state.name(), "queued");
    assert_eq!(after(&twice, given(&person("dee", &[]), 99), 99).unwrap_err().code, Code::RunStateConflict);
}

#[test]
fn a_quorum_counts_people_and_their_roles() {
    let lead = |name| person(name, &["lead"]);
    let one = after(&awaiting(2, 1), given(&lead("bo"), 2), 2).unwrap();
    assert_eq!(one.state.name(), "awaiting_approval");
    assert_eq!(after(&one, given(&lead("cy"), 3), 3).unwrap().state.name(), "queued");
    assert_eq!(after(&one, given(&person("cy", &[]), 3), 3).unwrap().state.name(), "queued");
    let another = after(&awaiting(2, 1), given(&person("cy", &[]), 2), 2).unwrap();
    let two = after(&another, given(&person("dee", &[]), 3), 3).unwrap();
    assert_eq!(two.state.name(), "awaiting_approval", "none of them is a lead");
    assert_eq!(after(&two, given(&lead("bo"), 4), 4).unwrap().state.name(), "queued");
}

#[test]
fn what_is_asked_for_reads_well() {
    let asked = |count, roles: &[(&str, u32)]| {
        let roles = roles.iter().map(|(role, wanted)| (RoleName::parse(*role).unwrap(), *wanted)).collect();
        Requirement { count, roles }.to_string()
    };
    assert_eq!(asked(0, &[]), "no approval");
    assert_eq!(asked(1, &[]), "1 approval");
    assert_eq!(asked(1, &[("lead", 1)]), "1 approval by `lead`");
    assert_eq!(asked(2, &[("lead", 2)]), "2 approvals by `lead`");
    assert_eq!(asked(2, &[("lead", 1)]), "2 approvals, 1 of them by `lead`");
    assert_eq!(asked(1, &[("lead", 1), ("sre", 2)]), "1 approval by `lead` and 2 by `sre`");
    assert_eq!(asked(3, &[("lead", 1), ("sre", 1)]), "3 approvals, 1 of them by `lead` and 1 by `sre`");
}

#[test]
fn it_can_be_revoked_until_it_is_used() {
    let approved = after(&awaiting(1, 0), given(&person("bo", &[]), 2), 2).unwrap();
    let claimed = after(&approved, claimed("a"), 3).unwrap();
    let revoke = Event::ApprovalRevoked(person("bo", &[]));
    let revoked = after(&claimed, revoke.clone(), 4).unwrap();
    assert_eq!((revoked.state.name(), revoked.holder.clone()), ("awaiting_approval", None));
    assert!(revoked.approved_by().is_empty());
    let error = after(&revoked, revoke.clone(), 4).unwrap_err();
    assert_eq!(error.code, Code::ApprovalNotGiven);
    let other = Event::ApprovalRevoked(person("cy", &[]));
    assert_eq!(after(&claimed, other, 4).unwrap_err().code, Code::ApprovalNotGiven);

    let intent = Event::StepIntended { step: 0, intent: serde_json::Value::Null };
    let (begun, _) = decide(&claimed, By::Holder(claimed.fence), intent, second(4)).unwrap();
    assert_eq!(after(&begun, revoke, 5).unwrap_err().code, Code::RunStateConflict);
}

#[test]
fn a_run_loses_no_time_while_somebody_thinks_about_it() {
    let mut waiting = awaiting(1, 0);
    waiting.deadline = second(50);
    let approved = after(&waiting, given(&person("bo", &[]), 30), 30).unwrap();
    assert_eq!(approved.deadline, second(80));
    let revoked = after(&approved, Event::ApprovalRevoked(person("bo", &[])), 35).unwrap();
    let again = after(&revoked, given(&person("cy", &[]), 45), 45).unwrap();
    assert_eq!(again.deadline, second(90), "each wait counts once");
}

#[test]
fn the_digest_binds_the_run_who_asked_and_why() {
    let base = run(&[OnFailure::Leave]);
    let mut others = vec![base.clone(); 6];
    others[0].id = astradesk_core::RunId::parse("01890a5d-ac96-774b-bcce-b302099a8058").unwrap();
    others[1].principal.subject = "eve".into();
    others[2].principal.actor = Some("bot".into());
    others[3].reason = Some("why".into());
    others[4].break_glass = true;
    others[5].steps[0].call.digest = astradesk_core::canonical::Digest::of("other");
    for other in others {
        assert_ne!(other.digest(), base.digest());
    }
}
