//! Putting a configuration in force: one at a time, by somebody who is there to the end.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;

use crate::app::apply::apply;
use crate::app::changes::in_words;
use crate::app::closing::Closer;
use crate::app::house::House;
use crate::app::renewals::{Renewal, renewals};
use crate::config::diff::diff;
use crate::config::origin::{Configuration, Origin};

/// What came of it.
#[derive(Debug)]
pub enum Put {
    /// It is in force.
    Done {
        /// What it changed.
        changes: Vec<String>,
        /// The certificates that it renewed, among other things.
        renewals: Vec<Renewal>,
    },
    /// Another one has come in force since, on which it was not built: it has been thrown away.
    Overtaken,
}

/// Puts a configuration in force, on the main arbiter, which nobody replaces. One that was built on
/// another (`on`) only as long as that is in force.
///
/// # Errors
/// Why nothing was changed.
pub async fn put_in_force(
    house: &House,
    closer: &Closer,
    configuration: Configuration,
    on: Option<Arc<Origin>>,
) -> Result<Put, String> {
    let (done, result) = oneshot::channel();
    let (house, closer) = (house.clone(), closer.clone());
    closer.main.clone().spawn(async move {
        let _turn = house.applying.lock().await;
        if house.is_succeeded.load(Ordering::Relaxed) {
            if on.is_some() {
                drop(done.send(Ok(Put::Overtaken)));
                return;
            }
            let why = "another process serves since an upgrade: this one only drains";
            drop(done.send(Err(why.to_owned())));
            return;
        }
        // Whoever asked may have fallen.
        drop(done.send(put(&house, &closer, configuration, on).await));
    });
    result.await.map_err(|_| "putting the configuration in force crashed".to_owned())?
}

async fn put(
    house: &House,
    closer: &Closer,
    configuration: Configuration,
    on: Option<Arc<Origin>>,
) -> Result<Put, String> {
    let Configuration { model, origin } = configuration;
    let before = house.origin.load_full();
    if on.is_some_and(|on| !Arc::ptr_eq(&on, &before)) {
        return Ok(Put::Overtaken);
    }
    let changes = in_words(&diff(&house.written.load(), &model));
    if changes.is_empty() {
        house.origin.store(origin);
        return Ok(Put::Done { changes, renewals: Vec::new() });
    }
    apply(house, closer, model).await.map_err(|error| error.to_string())?;
    let renewals = renewals(&before, &origin);
    house.origin.store(origin);
    Ok(Put::Done { changes, renewals })
}
