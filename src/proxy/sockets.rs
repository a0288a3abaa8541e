//! The socket table: owns every listening socket of the process.
//!
//! Listeners borrow duplicates. A listener, its arbiter or its supervisor may die: the socket and
//! its accept queue stay, and nobody is refused.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::names::ListenAddress;
use crate::net::endpoint::Endpoint;
use crate::net::listen::{BindError, Bound, bind};
use crate::net::tuning::Tuning;

/// Every listening socket. Cheap to clone; clones share it.
#[derive(Debug, Clone, Default)]
pub struct SocketTable {
    table: Arc<Mutex<BTreeMap<ListenAddress, Arc<Bound>>>>,
    /// Those that were bound by somebody else, who keeps them too: they are never given up.
    inherited: Arc<[Arc<Bound>]>,
}

impl SocketTable {
    /// A table in which nothing is bound, but what others have bound for us.
    pub fn new(inherited: Vec<Bound>) -> Self {
        Self { table: Arc::default(), inherited: inherited.into_iter().map(Arc::new).collect() }
    }

    /// Where those of others listen that no address leads to.
    pub fn unclaimed(&self) -> Vec<Endpoint> {
        let table = self.lock();
        let is_claimed = |one: &&Arc<Bound>| !table.values().any(|bound| Arc::ptr_eq(bound, one));
        self.inherited.iter().filter(is_claimed).map(|bound| bound.local().clone()).collect()
    }

    /// Binds every one of `addresses` that is not bound yet: all of them or none.
    ///
    /// # Errors
    /// Everything that could not be bound; what was bound on the way is given up again.
    pub fn bind_all<'a>(
        &self,
        addresses: impl Iterator<Item = (&'a ListenAddress, Tuning)>,
    ) -> Result<(), Vec<BindError>> {
        let missing: Vec<_> = {
            let table = self.lock();
            addresses.filter(|(address, _)| !table.contains_key(address)).collect()
        };
        let (mut bound, mut errors) = (Vec::new(), Vec::new());
        // Not under the lock: listeners that are restarted meanwhile borrow from the table.
        for (address, tuning) in missing {
            match self.bind(address, &tuning) {
                Ok(socket) => bound.push((address.clone(), socket)),
                Err(error) => errors.push(error),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        self.lock().extend(bound);
        Ok(())
    }

    fn bind(&self, address: &ListenAddress, tuning: &Tuning) -> Result<Arc<Bound>, BindError> {
        let Some(bound) = self.inherited.iter().find(|bound| bound.is_at(address)) else {
            return bind(address, tuning).map(Arc::new);
        };
        match bound.tune(tuning) {
            Ok(()) => Ok(Arc::clone(bound)),
            Err(source) => Err(BindError { address: address.clone(), source }),
        }
    }

    /// The socket bound for `address`.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    pub fn lend(&self, address: &ListenAddress) -> io::Result<Arc<Bound>> {
        self.lock().get(address).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Where the socket for `address` really listens: with the port the kernel chose, if any.
    pub fn local_address(&self, address: &ListenAddress) -> Option<Endpoint> {
        self.lock().get(address).map(|bound| bound.local().clone())
    }

    /// Changes the TCP options that what is accepted from now on inherits.
    ///
    /// # Errors
    /// `NotFound` if no socket is bound for `address`, or what the system answers.
    pub fn tune(&self, address: &ListenAddress, tuning: &Tuning) -> io::Result<()> {
        self.lend(address)?.tune(tuning)
    }

    /// Closes the socket for `address`. Its accept queue must have been emptied before: what is
    /// still in it is reset by the kernel.
    pub fn close(&self, address: &ListenAddress) {
        self.lock().remove(address);
    }

    /// A table is sound whatever panicked beside it: every change is one call of `BTreeMap`.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<ListenAddress, Arc<Bound>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
