//! Circling: targets by which a session would come back to this process, and to the service that
//! sent it. They are left out of what is put in force.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use crate::app::house::House;
use crate::config::circles::{self, Cut};
use crate::config::model::Model;
use crate::config::names::{ListenAddress, ServiceName, TargetAddress};
use crate::config::reach::ends_at;
use crate::discovery::own::is_of_this_machine;
use crate::net::dial::Destination;

/// A model without what would close a circle, as far as names are known.
pub fn cut(house: &House, model: &Model) -> Cut {
    let names = house.names.load();
    let known = RefCell::new(HashMap::new());
    let is_ours =
        |ip: IpAddr| *known.borrow_mut().entry(ip).or_insert_with(|| is_of_this_machine(ip));
    circles::cut(model, &house.model.load(), |target: &TargetAddress, listen: &ListenAddress| {
        let placed = match names.resolve(target) {
            Ok(Destination::Ip(address)) => TargetAddress::Ip(address),
            // One that is not resolved gets no connection.
            Ok(Destination::Unix(_)) | Err(_) => target.clone(),
        };
        ends_at(&placed, listen, is_ours)
    })
}

/// What was left out is in force so: tells what is new of it, once.
pub fn tell(house: &House, left_out: BTreeMap<ServiceName, Vec<String>>) {
    let before = house.circles.swap(Arc::new(left_out.clone()));
    for (service, words) in &left_out {
        let known = before.get(service);
        let is_new = |word: &&String| known.is_none_or(|known| !known.contains(word));
        for word in words.iter().filter(is_new) {
            log::warn!(
                service = service.as_str();
                "discovery: left out, a connection would run in a circle: {word}"
            );
        }
    }
}
