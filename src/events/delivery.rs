//! One try to send an event: a request on a connection of its own, by one deadline over all of it.
//!
//! No redirect is followed, and of the answer only the head is read: a receiver that hangs, floods
//! or answers nonsense costs the deadline, and nobody but itself.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use crate::discovery::connecting::{Endpoint, connect_to};
use crate::discovery::look_up::LookUps;
use crate::events::body;
use crate::events::outbox::Delivery;
use crate::events::retry::Said;
use crate::net::connectors::Connectors;
use crate::net::http::{self, Question};
use crate::state::wall_clock::WallTime;

/// So many tries are under way at once at most, of all webhooks together.
const AT_ONCE: usize = 64;

/// What is sent with.
#[derive(Clone)]
pub struct Means {
    look_ups: LookUps,
    connectors: Connectors,
    turns: Arc<Semaphore>,
}

// === impl Means ===

impl Means {
    /// Means of this process.
    pub fn new(look_ups: LookUps, connectors: Connectors) -> Self {
        Self { look_ups, connectors, turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Tries once. The deadline begins with its turn.
    pub async fn deliver(&self, delivery: &Delivery) -> Said {
        let turn = self.turns.acquire().await;
        let deadline = Instant::now() + delivery.webhook.timeout;
        let said = timeout_at(deadline, self.send(delivery, deadline)).await;
        drop(turn);
        let timeout = humantime::format_duration(delivery.webhook.timeout);
        said.unwrap_or_else(|_| Err(format!("no answer within {timeout}")))
    }

    async fn send(&self, delivery: &Delivery, deadline: Instant) -> Said {
        let Delivery { event, webhook, .. } = delivery;
        let body = body::fill(&webhook.body, event, WallTime::now());
        let question = Question {
            method: webhook.method,
            path: &webhook.path,
            host: &webhook.host,
            headers: &webhook.headers,
            body: body.as_bytes(),
        };
        let request = question.build().map_err(|what| format!("HTTP cannot say {what}"))?;
        let endpoint = Endpoint {
            address: &webhook.address,
            tls: webhook.tls.as_ref(),
            certificate_key: "handler_meta.transport.certificate",
        };
        let peer = connect_to(&endpoint, &self.look_ups, &self.connectors, deadline).await?;
        let status = http::status(peer, request).await;
        status.map(|status| status.as_u16()).map_err(|error| http::in_words(&error).to_owned())
    }
}
