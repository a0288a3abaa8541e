//! Effects: what follows from a run of a check. Values; the health supervisor performs them.

use std::sync::Arc;

use actix::Message;
use tokio::time::Instant;

use crate::config::check::Check;
use crate::config::model::Service;
use crate::config::names::TargetKey;
use crate::health::lapse::Lapse;
use crate::health::leader::Change;
use crate::health::record::TargetRecord;
use crate::health::snapshot::{Health, ServiceHealth};
use crate::health::transcript::Transcript;
use crate::health::verdict::{OwnTrouble, Verdict};

/// A run of a check is over.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Which check it was. One that the board does not know (any more) is ignored.
    pub check: Arc<Check>,
    /// What happened, and the verdict.
    pub transcript: Arc<Transcript>,
}

/// What must be done, in the order given.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Publish this: new connections obey it from now on.
    Publish(Arc<ServiceHealth>),
    /// This target got traffic and gets none from now on: close its sessions as the service says.
    /// Where one leads, they are aborted, before anything that follows is done.
    Lost(TargetKey),
    /// A target has been heard for the first time.
    FirstVerdict(Transition),
    /// A target's health changed.
    Changed(Transition),
    /// Trouble of our own keeps a target from being checked, or does so no more.
    Trouble(Trouble),
    /// Another target leads, or none does; and what spoke against the one before.
    LeaderChanged(Change, Lapse),
    /// A person should know.
    Alarm(String),
}

/// A change of a target's health.
#[derive(Debug, Clone, PartialEq)]
pub struct Transition {
    /// Whose.
    pub target: TargetKey,
    /// What people call it.
    pub name: Arc<str>,
    /// From this.
    pub from: Health,
    /// To this.
    pub to: Health,
    /// The check that made the change.
    pub check: Arc<Check>,
    /// The run that made the change; its verdict is the reason.
    pub transcript: Arc<Transcript>,
}

/// A target's health changed, and that is in force: for whoever is to hear of it.
#[derive(Message, Debug, Clone)]
#[rtype(result = "()")]
pub struct TargetChanged {
    /// Its service, as it is judged.
    pub service: Arc<Service>,
    /// The change.
    pub transition: Transition,
}

/// Trouble of our own began, changed or ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Who cannot be checked.
    pub target: TargetKey,
    /// What people call it.
    pub name: Arc<str>,
    /// What keeps us from it; `None`: nothing any more.
    pub trouble: Option<OwnTrouble>,
    /// What it counts as meanwhile.
    pub health: Health,
}

/// Says so when a check meets trouble of our own after one that met none (or another), and when it
/// is over.
pub fn trouble(
    record: &TargetRecord,
    had: Option<&OwnTrouble>,
    transcript: &Transcript,
) -> Option<Effect> {
    let has = match &transcript.verdict {
        Verdict::CouldNotRun(trouble) => Some(trouble),
        Verdict::Passed | Verdict::Failed(_) => None,
    };
    (has != had).then(|| {
        Effect::Trouble(Trouble {
            target: record.target.clone(),
            name: record.name.clone(),
            trouble: has.cloned(),
            health: record.health(),
        })
    })
}

/// The change of a target's health that a run made, if it made one.
pub fn changed(
    record: &mut TargetRecord,
    from: Health,
    check: &Arc<Check>,
    transcript: &Arc<Transcript>,
    now: Instant,
) -> Option<Effect> {
    let to = record.health();
    if from == to {
        return None;
    }
    record.since = now;
    if let Some(run) = record.checks.iter_mut().find(|run| run.check == *check) {
        run.at_transition = Some(transcript.clone());
    }
    let (target, name) = (record.target.clone(), record.name.clone());
    let (check, transcript) = (Arc::clone(check), Arc::clone(transcript));
    let transition = Transition { target, name, from, to, check, transcript };
    Some(match from {
        Health::Unknown => Effect::FirstVerdict(transition),
        Health::Up | Health::Down => Effect::Changed(transition),
    })
}
