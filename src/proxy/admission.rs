//! Admission: may this client have a session of this service? Asked as soon as the service and the
//! client's address are known: on a port of one service before a byte is read, elsewhere before TLS
//! is ended. Whoever is turned away is reset, and no target hears of it.

use std::net::IpAddr;

use tokio::time::Instant;

use crate::proxy::denial::Denial;
use crate::proxy::live::LiveService;
use crate::proxy::permits::Permit;
use crate::proxy::sources::{Place, SourceLimits};

/// What a session holds for as long as it lives.
#[derive(Debug)]
pub struct Admission {
    #[expect(dead_code, reason = "held for its drop")]
    permit: Permit,
    #[expect(dead_code, reason = "held for its drop")]
    place: Option<Place>,
}

/// Admits a client, or says why it is turned away. What is asked first costs least: the address,
/// what is counted of it, and the service as a whole.
///
/// # Errors
/// It is turned away.
pub fn admit(
    live: &LiveService,
    client: Option<IpAddr>,
    now: Instant,
) -> Result<Admission, Denial> {
    let service = live.service();
    if service.access.as_ref().is_some_and(|access| !access.admits(client)) {
        return Err(Denial::Access);
    }
    let limits = SourceLimits {
        sessions: service.limits.max_connections_per_ip,
        rate: service.limits.connection_rate_per_ip,
    };
    let place = client.filter(|_| limits.are_any());
    let place = place.map(|client| live.sources.take(client, limits, now)).transpose()?;
    let permit = live.permits.try_take().ok_or(Denial::OverService)?;
    Ok(Admission { permit, place })
}
