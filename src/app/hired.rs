//! Who finds the targets of which service, and what has been heard. It outlives them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::config::discovery::Discovery;
use crate::config::names::{ListenAddress, ServiceName};
use crate::discovery::discoverer::Heard;

/// The discoverers that run, by service.
pub type Discoverers = Arc<Mutex<BTreeMap<ServiceName, Hired>>>;

/// A discoverer that runs.
#[derive(Clone)]
pub struct Hired {
    /// Where its service listens.
    pub listen: ListenAddress,
    /// How it finds the targets.
    pub discovery: Arc<Discovery>,
    /// What it has heard.
    pub heard: Arc<Heard>,
}
