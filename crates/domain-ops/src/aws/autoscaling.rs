//! Auto Scaling groups: requests, and views of groups and instance refreshes.

use super::Aws;
use super::failure::{failure, late};
use crate::upstream::{Applied, Failure};
use astradesk_core::{Code, Error, redact};
use aws_sdk_autoscaling::types::{self, InstanceRefreshStatus, RefreshPreferences};
use tokio::time::{Instant, timeout_at};

/// An instance refresh.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refresh {
    pub(crate) id: String,
    pub(crate) state: State,
    /// Its state in AWS's word.
    pub(crate) status: String,
    pub(crate) reason: String,
    /// How much of it is done, in percent.
    pub(crate) percentage: i32,
}

/// Where an instance refresh stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Going,
    Successful,
    /// Failed, cancelled, or rolled back.
    Ended,
}

impl Refresh {
    fn of(refresh: &types::InstanceRefresh) -> Self {
        let status = refresh.status();
        Self {
            id: refresh.instance_refresh_id().unwrap_or_default().to_owned(),
            state: match status {
                Some(InstanceRefreshStatus::Successful) => State::Successful,
                Some(
                    InstanceRefreshStatus::Failed
                    | InstanceRefreshStatus::Cancelled
                    | InstanceRefreshStatus::RollbackFailed
                    | InstanceRefreshStatus::RollbackSuccessful,
                ) => State::Ended,
                _ => State::Going,
            },
            status: redact::line(status.map_or("Pending", InstanceRefreshStatus::as_str), 40),
            reason: redact::line(refresh.status_reason().unwrap_or_default(), 300),
            percentage: refresh.percentage_complete().unwrap_or_default(),
        }
    }
}

impl Aws {
    /// How many instances a group is to have.
    pub(crate) async fn group_size(&self, group: &str, deadline: Instant) -> Result<i32, Failure> {
        let client = &self.clients().await.autoscaling;
        let ask = || async {
            let request = client.describe_auto_scaling_groups().auto_scaling_group_names(group);
            request.send().await.map_err(failure)
        };
        let answer = self.read(deadline, ask).await?;
        let found = answer.auto_scaling_groups().first();
        found.map(|group| group.desired_capacity().unwrap_or_default()).ok_or_else(|| {
            let error =
                Error::new(Code::UpstreamNotFound, format!("there is no Auto Scaling group `{group}`"));
            Failure { error, applied: Applied::No, is_transient: false }
        })
    }

    /// The group's instance refreshes of the last six weeks, the newest 100; or the one with this id.
    pub(crate) async fn refreshes(
        &self,
        group: &str,
        id: Option<&str>,
        deadline: Instant,
    ) -> Result<Vec<Refresh>, Failure> {
        let client = &self.clients().await.autoscaling;
        let ask = || async {
            let request =
                client.describe_instance_refreshes().auto_scaling_group_name(group).max_records(100);
            let request = request.set_instance_refresh_ids(id.map(|id| vec![id.to_owned()]));
            request.send().await.map_err(failure)
        };
        Ok(self.read(deadline, ask).await?.instance_refreshes().iter().map(Refresh::of).collect())
    }

    /// Begins an instance refresh; gives its id.
    pub(super) async fn start_refresh(
        &self,
        group: &str,
        min_healthy: Option<i32>,
        until: Instant,
    ) -> Result<String, Failure> {
        let client = &self.clients().await.autoscaling;
        let preferences =
            min_healthy.map(|percent| RefreshPreferences::builder().min_healthy_percentage(percent).build());
        let request = client.start_instance_refresh().auto_scaling_group_name(group);
        let sent = timeout_at(until, request.set_preferences(preferences).send()).await;
        let answer = sent.map_err(|_| late())?.map_err(failure)?;
        answer.instance_refresh_id().map(str::to_owned).ok_or_else(|| {
            let message = "AWS accepted the instance refresh, and did not say which one it is";
            let error = Error::new(Code::UpstreamAnswerInvalid, message);
            Failure { error, applied: Applied::Maybe, is_transient: true }
        })
    }

    /// Cancels the instance refresh that is in progress; what was replaced stays so.
    pub(super) async fn cancel_refresh(&self, group: &str, until: Instant) -> Result<(), Failure> {
        let client = &self.clients().await.autoscaling;
        let sent = timeout_at(until, client.cancel_instance_refresh().auto_scaling_group_name(group).send());
        sent.await.map_err(|_| late())?.map(drop).map_err(failure)
    }
}
