//! Judging: what the health supervisor works with, and who hears of what it finds.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::app::closing::Closer;
use crate::app::house::House;
use crate::health::effect::TargetChanged;
use crate::health::lapse::LeaderChanged;
use crate::health::publisher::{Publisher, TargetLeads};
use crate::health::staff::Staff;
use crate::health::supervisor::{HealthArgs, TargetLost};
use crate::supervise::handle::Recipient;
use crate::supervise::intensity::Intensity;

/// What the health supervisor works with.
pub fn health_args(house: &House, closer: &Closer, intensity: Intensity) -> HealthArgs {
    HealthArgs {
        memory: Arc::default(),
        names: Arc::clone(&house.names),
        keeper: house.keeper.clone(),
        staff: Arc::new(Staff::new(
            house.checkers.clone(),
            Arc::clone(&house.names),
            house.connectors.clone(),
            house.health.recipient(),
            intensity,
        )),
        publisher: Publisher {
            snapshot: Arc::clone(&house.snapshot),
            published: {
                let house = house.clone();
                Recipient::from_fn(move |_| {
                    house.reconsider();
                    true
                })
            },
            leads: {
                let closer = closer.clone();
                Recipient::from_fn(move |leads: TargetLeads| {
                    closer.target_leads(&leads.service, &leads.target);
                    true
                })
            },
        },
        lost: {
            let closer = closer.clone();
            Recipient::from_fn(move |lost: TargetLost| {
                closer.target_lost(&lost.service, &lost.target);
                true
            })
        },
        changed: {
            let (herald, succeeded) = (Arc::clone(&house.herald), Arc::clone(&house.is_succeeded));
            Recipient::from_fn(move |changed: TargetChanged| {
                // Else the successor tells, and everything would be told twice.
                if !succeeded.load(Ordering::Relaxed) {
                    herald.target_changed(&changed);
                }
                true
            })
        },
        led: {
            let closer = closer.clone();
            let (herald, model) = (Arc::clone(&house.herald), Arc::clone(&house.model));
            let succeeded = Arc::clone(&house.is_succeeded);
            Recipient::from_fn(move |changed: LeaderChanged| {
                closer.leader_changed(&changed);
                if !succeeded.load(Ordering::Relaxed)
                    && let Some(service) = model.load().services.get(&changed.service)
                {
                    herald.leader_changed(service, &changed);
                }
                true
            })
        },
    }
}
