//! The keeper of certificates: looks at their files once a second, has renewed ones put in force,
//! and tells in time which are about to expire.
//!
//! A renewed certificate comes in force as a reload would bring it, and nothing else does: what has
//! become of definitions and secrets meanwhile is for a reload to see. What cannot be used is told
//! once, and what was there before goes on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, Context, WrapFuture};
use rustls::pki_types::UnixTime;
use tokio::time::Instant;

use crate::app::closing::Closer;
use crate::app::force::{Put, put_in_force};
use crate::app::house::House;
use crate::app::renewals::{names, of_services};
use crate::config::load::Sources;
use crate::config::lookout::{Look, Lookout};
use crate::config::names::ServiceName;
use crate::config::origin::{Configuration, Origin};
use crate::config::references::Referred;
use crate::config::refresh::{Refreshed, refresh};
use crate::telemetry::standing_fault::StandingFault;
use crate::wire::certificate::Digest;
use crate::wire::expiry::{Expiry, Told, near_end};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// After so many looks the time that certificates have left is counted again.
const COUNT: u32 = 60;

/// What it works with; all of it outlives the actor.
#[derive(Clone)]
pub struct CertificatesArgs {
    /// Where the configuration was read from.
    pub sources: Arc<Sources>,
    /// What renewed certificates are applied to.
    pub house: House,
    /// Who closes sessions; renewed certificates close none.
    pub closer: Closer,
    /// What is remembered.
    pub memory: Arc<Mutex<Memory>>,
}

/// What is remembered of one look at the next.
#[derive(Default)]
pub struct Memory {
    lookout: Lookout,
    told: Told<(ServiceName, Digest)>,
    /// The origin of the configuration that was looked at.
    origin: Arc<Origin>,
    /// Looks until the time that is left is counted again.
    until_count: u32,
    /// Why renewed certificates are not in force yet.
    not_in_force: StandingFault,
}

/// The actor.
pub struct Certificates {
    args: CertificatesArgs,
}

// === impl Certificates ===

impl Certificates {
    /// A keeper with these means.
    pub fn new(args: CertificatesArgs) -> Self {
        Self { args }
    }

    fn look_later(&self, ctx: &mut Context<Self>) {
        ctx.run_later(LOOK, |actor, ctx| {
            let args = actor.args.clone();
            let looking = async move { look(&args).await }.into_actor(actor);
            ctx.spawn(looking.map(|(), actor, ctx| actor.look_later(ctx)));
        });
    }
}

impl Actor for Certificates {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.look_later(ctx);
    }
}

// === impl Memory ===

impl Memory {
    /// Another configuration may have come in force.
    fn turn_to(&mut self, origin: &Arc<Origin>) {
        if !Arc::ptr_eq(&self.origin, origin) {
            self.lookout.forget();
            self.origin = Arc::clone(origin);
            self.until_count = 0;
        }
    }

    /// This one is in force, and its files are those that were looked at last.
    fn goes_on_with(&mut self, origin: Arc<Origin>) {
        self.origin = origin;
        self.until_count = 0;
    }

    fn is_time_to_count(&mut self) -> bool {
        let is_time = self.until_count == 0;
        self.until_count = if is_time { COUNT } else { self.until_count - 1 };
        is_time
    }
}

/// The time of now, in seconds since 1970.
pub fn now() -> i64 {
    i64::try_from(UnixTime::now().as_secs()).unwrap_or(i64::MAX)
}

async fn look(args: &CertificatesArgs) {
    let origin = args.house.origin.load_full();
    let (memory, sources, on) =
        (Arc::clone(&args.memory), Arc::clone(&args.sources), Arc::clone(&origin));
    let idle = origin.record.watched().is_empty();
    let looking = move || {
        let mut memory = locked(&memory);
        memory.turn_to(&on);
        let look = memory.lookout.look(&on.record);
        let refreshed = match look.renewed.is_empty() {
            true => Refreshed::default(),
            false => refresh(&sources, &on.record, &look.renewed),
        };
        (look, refreshed)
    };
    // Disks may hang, and thousands of files take their time.
    let found = if idle { Ok(looking()) } else { actix_rt::task::spawn_blocking(looking).await };
    let Ok((look, refreshed)) = found else {
        log::error!("looking at certificate files crashed: it is tried again");
        return;
    };
    tell(&look);
    take(args, &origin, look, refreshed).await;
    let faults = locked(&args.memory).lookout.faults();
    if *args.house.certificate_faults.load_full() != faults {
        args.house.certificate_faults.store(Arc::new(faults));
    }
    tell_expiries(&mut locked(&args.memory), &args.house.origin.load());
}

/// Has what is good put in force, and remembers what is not.
async fn take(args: &CertificatesArgs, on: &Arc<Origin>, look: Look, refreshed: Refreshed) {
    if look.renewed.is_empty() {
        return;
    }
    let Refreshed { loaded, refused } = refreshed;
    let configuration = loaded.and_then(|mut loaded| Configuration::of(&mut loaded));
    if let Some(configuration) = configuration {
        let origin = Arc::clone(&configuration.origin);
        let on = Some(Arc::clone(on));
        match put_in_force(&args.house, &args.closer, configuration, on).await {
            Ok(Put::Done { renewals, .. }) => {
                locked(&args.memory).not_in_force.is_over();
                for renewal in renewals {
                    log::info!(file:% = renewal.file.display(); "{renewal}");
                }
                locked(&args.memory).goes_on_with(origin);
            }
            // It is all looked at again.
            Ok(Put::Overtaken) => return locked(&args.memory).lookout.forget(),
            Err(why) => {
                // It is tried again at each look.
                let mut memory = locked(&args.memory);
                if memory.not_in_force.is_news(&why, Instant::now()) {
                    log::error!("renewed certificates are not in force yet: {why}");
                }
                return memory.lookout.forget();
            }
        }
    }
    locked(&args.memory).lookout.refuse(&look.renewed, refused);
}

fn tell(look: &Look) {
    for (path, why) in &look.broken {
        log::error!(
            file:% = path.display();
            "a changed certificate file is not taken, and what it held before stays in use: {why}"
        );
    }
    for path in &look.mended {
        log::info!(file:% = path.display(); "a certificate file holds again what is in use");
    }
}

/// Tells which certificates have come nearer their end.
fn tell_expiries(memory: &mut Memory, origin: &Origin) {
    if !memory.is_time_to_count() {
        return;
    }
    let now = now();
    let all = origin.services.iter().flat_map(|(name, references)| {
        let of = |reference| Some(((name.clone(), id(reference)?), not_after(reference)?));
        references.iter().filter_map(of)
    });
    // One that serves many is told of once.
    let mut news: BTreeMap<Digest, (Expiry, Vec<ServiceName>)> = BTreeMap::new();
    for ((name, id), expiry) in memory.told.news(all, now) {
        news.entry(id).or_insert_with(|| (expiry, Vec::new())).1.push(name);
    }
    for (digest, (expiry, services)) in news {
        let mut references = services.iter().filter_map(|name| origin.services.get(name)).flatten();
        if let Some(reference) = references.find(|reference| id(reference) == Some(digest)) {
            tell_expiry(reference, expiry, &services, now);
        }
    }
}

fn tell_expiry(reference: &Referred, expiry: Expiry, services: &[ServiceName], now: i64) {
    let Some(facts) = &reference.facts else { return };
    let Some(end) = near_end(facts.not_after, now) else { return };
    let (what, source) = (reference.what(), &reference.source);
    let level = if expiry == Expiry::Past { log::Level::Error } else { log::Level::Warn };
    let of = of_services(services);
    log::log!(level, "{what} of {of} ({source}, {}) {end}: renew it", names(facts));
}

fn id(reference: &Referred) -> Option<Digest> {
    reference.facts.as_ref().map(|facts| facts.id)
}

fn not_after(reference: &Referred) -> Option<i64> {
    reference.facts.as_ref().map(|facts| facts.not_after)
}

fn locked(memory: &Mutex<Memory>) -> MutexGuard<'_, Memory> {
    // What is half-changed in it is looked at again.
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}
