//! The socket table: owns every listening socket of the process.
//!
//! Listeners borrow duplicates. A listener, its arbiter or its supervisor may die: the socket and
//! its accept queue stay, and nobody is refused.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::config::names::ListenAddress;
use crate::net::endpoint::Endpoint;
use crate::net::listen::{BindError, Bound, bind};
use crate::net::tuning::Tuning;

/// Every listening socket. Cheap to clone; clones share it.
#[derive(Debug, Clone)]
pub struct SocketTable {
    table: Arc<Mutex<BTreeMap<ListenAddress, Arc<Bound>>>>,
    /// Those that were bound by somebody else, who keeps them too: they are never given up.
    inherited: Arc<[Arc<Bound>]>,
    /// Those of the process before us that no address has led to yet.
    handed_over: Arc<Mutex<Vec<Arc<Bound>>>>,
    /// May anybody accept now?
    is_open: Arc<watch::Sender<bool>>,
}

/// Duplicates of everything that listens, for a process that is to succeed this one.
#[derive(Debug)]
pub struct HandedOver {
    /// Those that somebody else keeps too.
    pub lasting: Vec<OwnedFd>,
    /// Ours.
    pub own: Vec<OwnedFd>,
}

impl Default for SocketTable {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl SocketTable {
    /// A table in which nothing is bound, but what others have bound for us.
    pub fn new(lasting: Vec<Bound>) -> Self {
        Self::begin(lasting, Vec::new(), true)
    }

    /// The same with those of a process that is to be succeeded: until `open`, that one accepts.
    pub fn handed_over(lasting: Vec<Bound>, own: Vec<Bound>) -> Self {
        Self::begin(lasting, own, false)
    }

    fn begin(lasting: Vec<Bound>, own: Vec<Bound>, is_open: bool) -> Self {
        Self {
            table: Arc::default(),
            inherited: lasting.into_iter().map(Arc::new).collect(),
            handed_over: Arc::new(Mutex::new(own.into_iter().map(Arc::new).collect())),
            is_open: Arc::new(watch::Sender::new(is_open)),
        }
    }

    /// From now on whoever listens accepts; what no address has led to until now is given up.
    pub fn open(&self) {
        *self.handed_over.lock().unwrap_or_else(PoisonError::into_inner) = Vec::new();
        self.is_open.send_replace(true);
    }

    /// From now on nobody accepts any more: a successor does, from the same queues.
    pub fn shut(&self) {
        self.is_open.send_replace(false);
    }

    /// May anybody accept now?
    pub fn is_open(&self) -> bool {
        *self.is_open.borrow()
    }

    /// Waits until it is so (or not so).
    pub async fn turns(&self, open: bool) {
        // The sender is here.
        drop(self.is_open.subscribe().wait_for(|is_open| *is_open == open).await);
    }

    /// Duplicates of everything that listens.
    ///
    /// # Errors
    /// What the system says.
    pub fn hand_over(&self) -> io::Result<HandedOver> {
        let lasting = self.inherited.iter().map(|bound| bound.lend()).collect::<io::Result<_>>()?;
        let is_lasting =
            |bound: &Arc<Bound>| self.inherited.iter().any(|it| Arc::ptr_eq(it, bound));
        let table = self.lock();
        let own = table.values().filter(|bound| !is_lasting(bound));
        Ok(HandedOver { lasting, own: own.map(|bound| bound.lend()).collect::<io::Result<_>>()? })
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
        let Some(bound) = self.find(address) else {
            return bind(address, tuning).map(Arc::new);
        };
        match bound.tune(tuning) {
            Ok(()) => Ok(bound),
            Err(source) => Err(BindError { address: address.clone(), source }),
        }
    }

    fn find(&self, address: &ListenAddress) -> Option<Arc<Bound>> {
        let handed_over = self.handed_over.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = self.inherited.iter().chain(&*handed_over);
        all.find(|bound| bound.is_at(address)).cloned()
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
