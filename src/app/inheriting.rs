//! Inheriting: the lists that earlier processes heard of the directories that are asked from now on.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::app::house::House;
use crate::config::model::Service;
use crate::config::names::ServiceName;
use crate::discovery::discoverer::Heard;
use crate::discovery::kept::{self, KeptList};
use crate::state::page::{Owner, whole_seconds};

/// A disk that takes longer holds up no start.
const READ: Duration = Duration::from_secs(2);

/// What was kept of the directories of these services, as far as it is to be believed.
pub async fn lists(house: &House, services: Vec<Arc<Service>>) -> HashMap<ServiceName, KeptList> {
    if services.is_empty() || !house.keeper.keeps() {
        return HashMap::new();
    }
    let keeper = house.keeper.clone();
    let reading = actix_rt::task::spawn_blocking(move || {
        let read = |service: Arc<Service>| {
            let discovery = service.discovery.as_deref()?;
            let is_checked = service.is_judged() && discovery.mould.for_all.is_some();
            let of = Owner::of(&service);
            let kept = kept::read(&keeper, &of, &service.listen, discovery, is_checked)?;
            Some((service.name.clone(), kept))
        };
        services.into_iter().filter_map(read).collect()
    });
    match tokio::time::timeout(READ, reading).await {
        Ok(Ok(kept)) => kept,
        Ok(Err(_)) | Err(_) => {
            log::warn!("state_dir takes long to read: starting without the lists that were kept");
            HashMap::new()
        }
    }
}

/// Tells of a list that is used as it was kept, since its directory has said nothing good yet.
pub fn tell(service: &ServiceName, heard: &Heard) {
    let history = heard.history();
    let age = history.age(Instant::now()).filter(|_| history.inherited.is_some());
    if let Some((age, listed)) = age.zip(history.listed) {
        let count = listed.targets.len();
        let plural = if count == 1 { "" } else { "s" };
        log::warn!(
            service = service.as_str();
            "discovery: no good answer yet: beginning with the list of {} ago, {count} \
             target{plural}, which was kept", whole_seconds(age)
        );
    }
}
