//! How a pod behaves, and which states it passes.

use std::str::FromStr;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;

use crate::{BEHAVIOUR, BEHAVIOUR_ONCE_RESTARTED, RESTARTED_AT};

/// The most seconds of `slow:SECONDS`: a day.
const SLOWEST: u32 = 86_400;

/// A value of the annotation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Behaviour {
    /// `ready`, or no annotation: ready after the usual delay.
    #[default]
    Ready,
    /// `slow:SECONDS`: runs after the usual delay, and is ready only after so many seconds.
    Slow(Duration),
    /// `crash:EXIT_CODE`: its container ends with that code each time.
    Crash(i32),
    /// `image-pull`: its image cannot be pulled.
    ImagePull,
    /// `never-ready`: runs, and its readiness probe fails.
    NeverReady,
}

impl Behaviour {
    /// How this pod behaves.
    ///
    /// # Errors
    ///
    /// A sentence, when the annotation has no known value.
    pub fn of(pod: &Pod) -> Result<Self, String> {
        let annotation = |name| pod.metadata.annotations.as_ref()?.get(name).map(String::as_str);
        let once_restarted = annotation(RESTARTED_AT).and_then(|_| annotation(BEHAVIOUR_ONCE_RESTARTED));
        once_restarted.or_else(|| annotation(BEHAVIOUR)).unwrap_or("ready").parse()
    }

    /// The states that such a pod passes, each with the time since the pod was scheduled.
    pub fn states(self, delay: Duration) -> Vec<(Duration, State)> {
        match self {
            Self::Ready => vec![(delay, State::Ready)],
            Self::Slow(after) => vec![(delay.min(after), State::Starting), (after, State::Ready)],
            Self::Crash(exit_code) => {
                vec![(delay, State::Crashed { exit_code }), (delay * 2, State::CrashLoop { exit_code })]
            }
            Self::ImagePull => vec![(delay, State::PullFailed), (delay * 2, State::PullBackOff)],
            Self::NeverReady => vec![(delay, State::Unhealthy)],
        }
    }
}

impl FromStr for Behaviour {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || {
            format!(
                "`{text}` is no behaviour: use ready, slow:SECONDS, crash:EXIT_CODE, image-pull or never-ready"
            )
        };
        match text.split_once(':') {
            None => match text {
                "ready" => Ok(Self::Ready),
                "image-pull" => Ok(Self::ImagePull),
                "never-ready" => Ok(Self::NeverReady),
                _ => Err(unknown()),
            },
            Some(("slow", seconds)) => {
                let seconds: u32 = seconds.parse().map_err(|_| unknown())?;
                if seconds > SLOWEST {
                    return Err(format!("`{text}` is too slow: {SLOWEST} seconds are the most"));
                }
                Ok(Self::Slow(Duration::from_secs(seconds.into())))
            }
            Some(("crash", code)) => {
                code.parse::<u8>().map(|code| Self::Crash(code.into())).map_err(|_| unknown())
            }
            Some(_) => Err(unknown()),
        }
    }
}

/// Where a pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Runs and is ready.
    Ready,
    /// Runs and is not ready yet, and nobody complains.
    Starting,
    /// Runs and its readiness probe fails.
    Unhealthy,
    /// Its container has just ended.
    Crashed {
        /// With this code.
        exit_code: i32,
    },
    /// The kubelet waits before it starts the container again.
    CrashLoop {
        /// How the container ended the last time.
        exit_code: i32,
    },
    /// Its image could not be pulled.
    PullFailed,
    /// The kubelet waits before it pulls again.
    PullBackOff,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_read() {
        for (text, expected) in [
            ("ready", Behaviour::Ready),
            ("slow:0", Behaviour::Slow(Duration::ZERO)),
            ("slow:90", Behaviour::Slow(Duration::from_secs(90))),
            ("crash:1", Behaviour::Crash(1)),
            ("crash:137", Behaviour::Crash(137)),
            ("image-pull", Behaviour::ImagePull),
            ("never-ready", Behaviour::NeverReady),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_by_name() {
        for text in [
            "",
            "Ready",
            "slow",
            "slow:",
            "slow:-1",
            "slow:1.5",
            "slow:99999999",
            "crash",
            "crash:256",
            "ready:1",
        ] {
            let error = text.parse::<Behaviour>().unwrap_err();
            assert!(error.contains(&format!("`{text}`")), "{error}");
        }
    }

    #[test]
    fn a_restart_changes_the_behaviour_when_it_says_so() {
        for (annotations, expected) in [
            (vec![], Ok(Behaviour::Ready)),
            (vec![(BEHAVIOUR, "never-ready")], Ok(Behaviour::NeverReady)),
            (vec![(BEHAVIOUR_ONCE_RESTARTED, "image-pull")], Ok(Behaviour::Ready)),
            (vec![(BEHAVIOUR_ONCE_RESTARTED, "image-pull"), (RESTARTED_AT, "t")], Ok(Behaviour::ImagePull)),
            (vec![(BEHAVIOUR, "crash:1"), (RESTARTED_AT, "t")], Ok(Behaviour::Crash(1))),
            (
                vec![(BEHAVIOUR, "crash:1"), (BEHAVIOUR_ONCE_RESTARTED, "ready"), (RESTARTED_AT, "t")],
                Ok(Behaviour::Ready),
            ),
        ] {
            let mut pod = Pod::default();
            pod.metadata.annotations =
                Some(annotations.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect());
            assert_eq!(Behaviour::of(&pod), expected, "{annotations:?}");
        }
    }

    #[test]
    fn states_never_go_back_in_time() {
        let delay = Duration::from_millis(200);
        for behaviour in [
            Behaviour::Ready,
            Behaviour::Slow(Duration::ZERO),
            Behaviour::Slow(Duration::from_secs(5)),
            Behaviour::Crash(1),
            Behaviour::ImagePull,
            Behaviour::NeverReady,
        ] {
            let states = behaviour.states(delay);
            assert!(states.is_sorted_by_key(|(at, _)| *at), "{states:?}");
        }
        assert_eq!(
            Behaviour::Slow(Duration::from_secs(5)).states(delay).last(),
            Some(&(Duration::from_secs(5), State::Ready))
        );
    }
}
