//! The descriptors of the process: what they are kept for, and how many sessions they are enough
//! for. Sessions get what is left, so that none can keep a check, a reload or a command from its own.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::model::Model;
use crate::proxy::splice;

/// For the control socket and its clients, files of a reload, names being looked up, the log.
const RESERVED: usize = 64;
/// An arbiter's runtime has an epoll, an event and a pair of sockets, some of them twice.
const PER_ARBITER: usize = 8;
/// The socket, its duplicate at the listener, and the connection that waits there for a permit.
const PER_LISTENER: usize = 3;
/// A session holds two sockets.
const PER_SESSION: usize = 2;
/// A pipe has two ends.
const PER_PIPE: usize = 2;
/// Sessions can do without pipes: these get at most this part of what is left.
const PIPES_PART: usize = 4;

/// Raises the limit of open descriptors as far as the system lets it.
pub fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        log::warn!("the limit of open descriptors cannot be raised: {error}");
    }
}

/// Shares the descriptors out for `model`, served by so many workers: bounds the pipes of the relays, and returns as many
/// sessions as there may be. `None`: there is no bound.
///
/// Where a model wants more, that is told, once for the same `shortage`: lists of targets that are
/// found may change every second.
pub fn share_out(
    model: &Model,
    workers: usize,
    shortage: &Mutex<Shortage>,
) -> Option<NonZeroUsize> {
    let wanted = model.node.max_connections;
    let Some(descriptors) = getrlimit(Resource::Nofile).current else { return wanted };
    let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
    let share = Share::of(descriptors, kept(model, workers), workers);
    splice::allow(share.pipes_a_worker);
    let is_news = {
        // A change is one assignment: sound whatever panicked.
        let mut shortage = shortage.lock().unwrap_or_else(PoisonError::into_inner);
        shortage.is_news(wanted, share.sessions)
    };
    match wanted {
        Some(wanted) if wanted > share.sessions => {
            if is_news {
                log::warn!(
                    "limits.max_connections is {wanted}, but {descriptors} descriptors are enough for \
                 {} sessions only: raise the limit (LimitNOFILE=, ulimit -n)",
                    share.sessions
                );
            }
            Some(share.sessions)
        }
        Some(wanted) => Some(wanted),
        None => Some(share.sessions),
    }
}

/// What has been told of sessions that cannot be had: how many were wanted, and the fewest that
/// there were instead.
#[derive(Debug, Default)]
pub struct Shortage(Option<(NonZeroUsize, NonZeroUsize)>);

impl Shortage {
    /// So many are wanted, and can be had: is it to be told that these are fewer?
    fn is_news(&mut self, wanted: Option<NonZeroUsize>, had: NonZeroUsize) -> bool {
        let Some(wanted) = wanted.filter(|wanted| *wanted > had) else {
            self.0 = None;
            return false;
        };
        let is_told = self.0.is_some_and(|(told, fewest)| told == wanted && fewest <= had);
        if !is_told {
            self.0 = Some((wanted, had));
        }
        !is_told
    }
}

/// Descriptors that are never given to sessions.
fn kept(model: &Model, workers: usize) -> usize {
    let specs = model.services.values().filter_map(|service| service.health.as_deref());
    let checks: usize = specs.map(|spec| spec.all_checks().count()).sum();
    let directories = model.services.values().filter(|it| it.discovery.is_some()).count();
    let arbiters = workers.saturating_add(2);
    [arbiters.saturating_mul(PER_ARBITER), model.services.len() * PER_LISTENER, checks, directories]
        .into_iter()
        .fold(RESERVED, usize::saturating_add)
}

/// What sessions get.
#[derive(Debug, PartialEq, Eq)]
struct Share {
    sessions: NonZeroUsize,
    pipes_a_worker: usize,
}

impl Share {
    fn of(descriptors: usize, kept: usize, workers: usize) -> Self {
        let left = descriptors.saturating_sub(kept);
        let most = workers.saturating_mul(splice::MOST * PER_PIPE);
        let pipes_a_worker = most.min(left / PIPES_PART) / workers / PER_PIPE;
        let sessions = (left - pipes_a_worker * workers * PER_PIPE) / PER_SESSION;
        Self { sessions: NonZeroUsize::new(sessions).unwrap_or(NonZeroUsize::MIN), pipes_a_worker }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_is_told_once_and_again_when_it_is_another_or_worse() {
        let mut shortage = Shortage::default();
        let mut check = |wanted, had, expected| {
            let (wanted, had) = (NonZeroUsize::new(wanted), NonZeroUsize::new(had).unwrap());
            assert_eq!(shortage.is_news(wanted, had), expected, "{wanted:?} of {had}");
        };
        check(1_000, 1_000, false);
        check(1_000, 900, true);
        check(1_000, 900, false);
        check(1_000, 899, true);
        // A target comes and goes.
        check(1_000, 900, false);
        check(1_000, 899, false);
        check(2_000, 900, true);
        check(0, 900, false);
        check(2_000, 900, true);
    }

    #[test]
    fn sessions_get_what_is_not_kept_and_pipes_at_most_a_quarter_of_it() {
        let check = |descriptors, kept, workers, sessions, pipes_a_worker| {
            let sessions = NonZeroUsize::new(sessions).unwrap();
            let expected = Share { sessions, pipes_a_worker };
            assert_eq!(Share::of(descriptors, kept, workers), expected, "{descriptors}, {kept}");
        };
        check(20_100, 100, 2, 9_872, 64);
        check(1_100, 100, 2, 376, 62);
        check(200, 100, 2, 38, 6);
        check(108, 100, 4, 4, 0);
        // There is always one: else the process would serve nobody and not say why.
        check(100, 100, 2, 1, 0);
        check(10, 100, 2, 1, 0);
        check(usize::MAX, 100, 1, (usize::MAX - 228) / 2, 64);
    }
}
