//! The table: a service's compiled routes. Facts go in, a choice of one pool comes out.
//!
//! Tables are immutable and shared by all routers; a reload replaces them whole.

use std::sync::Arc;

use crate::config::model::Service;
use crate::routing::pool::Pool;

/// The compiled routes of one service.
#[derive(Debug)]
pub struct Table {
    service: Arc<Service>,
    pool: Arc<Pool>,
}

// === impl Table ===

impl Table {
    /// Compiles a service. Counts of targets that `previous` had too are kept.
    pub fn compile(service: Arc<Service>, previous: Option<&Self>) -> Self {
        let pool = Pool::compile(&service.pool, previous.map(|table| &*table.pool));
        Self { service, pool: Arc::new(pool) }
    }

    /// The service.
    pub fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// The pool that a connection is routed to.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }
}
