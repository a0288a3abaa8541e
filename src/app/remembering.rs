//! Remembering: what this process or the one before it left on disk of services that start now, or
//! whose targets are known only now.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::app::house::House;
use crate::config::model::{Balance, Model, Service};
use crate::config::names::ServiceName;
use crate::health::leader::remembered::Remembered;
use crate::health::remembering;

/// A disk that takes longer holds up no start.
const READ: Duration = Duration::from_secs(2);

/// What is remembered of the led services of `new` that are not in `old`, or had no targets there:
/// until now nothing was heard of anybody. Their names have been looked up: a target that is
/// elsewhere now is another one.
pub async fn of_new_services(
    house: &House,
    old: &Model,
    new: &Model,
) -> HashMap<ServiceName, Remembered> {
    let is_led =
        |service: &&Arc<Service>| service.is_judged() && service.pool.balance == Balance::Leader;
    let is_new = |service: &&Arc<Service>| {
        let before = old.services.get(&service.name);
        let had_none = before.is_none_or(|before| before.pool.targets.is_empty());
        had_none && !service.pool.targets.is_empty()
    };
    let starting = new.services.values().filter(is_new);
    let starting: Vec<Arc<Service>> = starting.filter(is_led).cloned().collect();
    if starting.is_empty() {
        return HashMap::new();
    }
    let (keeper, names) = (house.keeper.clone(), house.names.load_full());
    let reading = actix_rt::task::spawn_blocking(move || {
        let read = |service: Arc<Service>| {
            let remembered = remembering::read(&keeper, &service, &names)?;
            Some((service.name.clone(), remembered))
        };
        starting.into_iter().filter_map(read).collect()
    });
    match tokio::time::timeout(READ, reading).await {
        Ok(Ok(remembered)) => remembered,
        Ok(Err(_)) | Err(_) => {
            log::warn!("state_dir takes long to read: starting without what was remembered");
            HashMap::new()
        }
    }
}
