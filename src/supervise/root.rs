//! The root of the tree: runs the topmost supervisor, which no other supervises.

use std::sync::Arc;

use tokio::sync::mpsc::unbounded_channel;
use tokio::time::{Instant, sleep};

use crate::supervise::backoff::Backoff;
use crate::supervise::cell::Run;
use crate::supervise::child::{ChildSpec, Subtree};
use crate::supervise::effect::Decision;
use crate::supervise::exit::Epoch;
use crate::supervise::handle::{Recipient, Ref};
use crate::supervise::intensity::{History, Intensity};
use crate::supervise::residence::Seat;
use crate::supervise::slot::SlotId;
use crate::supervise::supervisor::{Group, Supervisor, report};
use crate::supervise::view::GaveUp;

/// Runs the group's supervisor on the system arbiter until `StopAll`, and starts it again whenever
/// it ends before that.
///
/// `on_give_up` hears when the tree cannot be kept running. What runs goes on running, so that it
/// can be drained before the process ends; what failed is tried further meanwhile.
pub fn start_root(group: &Arc<Group>, on_give_up: Recipient<GaveUp>) -> Ref<Supervisor> {
    let handle = group.handle().clone();
    group.adopt(on_give_up.clone());
    let seat = group.slots().seat(SlotId::System).expect("the system slot is always there");
    let spec = group.spec();
    spec.launcher.open(spec.mailbox_capacity);
    seat.arbiter().clone().spawn(keep(Arc::clone(group), spec, seat, on_give_up));
    handle
}

async fn keep(group: Arc<Group>, spec: ChildSpec, seat: Seat, on_give_up: Recipient<GaveUp>) {
    let (reports, mut downs) = unbounded_channel();
    let parent = Recipient::from_fn(move |down| reports.send(down).is_ok());
    let backoff = Backoff::default();
    let mut chance = fastrand::Rng::with_seed(0);
    let mut history = History::new(Intensity::default());
    let (mut epoch, mut attempt) = (Epoch::default(), 0);
    loop {
        epoch = epoch.next();
        let began = Instant::now();
        let name = spec.name.clone();
        let (seat, hang, parent) = (seat.clone(), group.slots().hang(), parent.clone());
        let _leash = spec.launcher.launch(Run { name, epoch, seat, hang, parent });
        let Some(down) = downs.recv().await else { return };
        if group.is_stopped() {
            return spec.launcher.close();
        }
        attempt = if began.elapsed() >= backoff.reset_after { 0 } else { attempt + 1 };
        let tally = history.record(Instant::now());
        let after = backoff.delay(attempt, &mut chance);
        report(&spec.name, &down.exit, Decision::Restart(after, tally));
        if tally.is_exceeded() {
            let reason = format!("{} {} ({tally})", spec.name, down.exit);
            on_give_up.tell(GaveUp { name: spec.name.clone(), reason });
        }
        sleep(after).await;
    }
}
