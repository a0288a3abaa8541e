//! `stagedoor run`: one process, from its configuration to its exit code.
//!
//! Exit codes: 0 stopped as asked, 1 could not start, 70 a part of it could not be kept running.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use actix_rt::{Arbiter, System};
use anyhow::anyhow;
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};

use crate::app::answers::AnswererArgs;
use crate::app::apply::apply;
use crate::app::certificates::{Certificates, CertificatesArgs};
use crate::app::closing::Closer;
use crate::app::house::House;
use crate::app::newcomer::Program;
use crate::app::predecessor::Predecessor;
use crate::app::rediscoverer::{Rediscoverer, RediscovererArgs};
use crate::app::reload::{Reload, Reloader, ReloaderArgs};
use crate::app::service_manager::ServiceManager;
use crate::app::signals::Asked;
use crate::app::tree::RunningTree;
use crate::app::upgrade::{Upgrader, Upgrades};
use crate::app::{control_socket, judging, limits, shutdown, signals};
use crate::config::load::Sources;
use crate::config::model::Node;
use crate::config::origin::Configuration;
use crate::discovery::look_up::LookUps;
use crate::discovery::resolver::{NameMoved, Resolver, ResolverArgs};
use crate::events::courier::{Courier, CourierArgs};
use crate::events::delivery::Means;
use crate::health::supervisor::{HealthSupervisor, HostMoved};
use crate::net::inherited::{self, Inherited};
use crate::proxy::desk::Desk;
use crate::proxy::router::Router;
use crate::proxy::sockets::SocketTable;
use crate::supervise::arbiters::{Slots, Subscription};
use crate::supervise::child::ChildSpec;
use crate::supervise::handle::{Recipient, Ref};
use crate::supervise::intensity::Intensity;
use crate::supervise::policy::GiveUp;
use crate::supervise::root::start_root;
use crate::supervise::slot::{SlotId, SlotReplaced};
use crate::supervise::supervisor::{Group, StartChild};
use crate::supervise::view::GaveUp;
use crate::telemetry::log::LogControl;

/// What is logged last is written within this.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Beyond `shutdown.timeout`, an orderly end takes at most this.
const STOPS_WITHIN: Duration = Duration::from_secs(5);
const GAVE_UP: u8 = 70;
/// So many arbiters of one slot may hang for good, each with its thread, before the process is
/// better started anew.
const MOST_HUNG: usize = 8;

/// Runs the process until it is told to stop. Returns its exit code.
pub fn run(configuration: Configuration, sources: Sources, log: &LogControl) -> u8 {
    limits::raise_descriptors();
    crate::supervise::panics::install_hook();
    let logging = log.clone();
    // actix would make the runtime by itself, and panic if it cannot.
    // First of all: they are known by their numbers.
    let inherited = inherited::take();
    let program = Program::of_this_process();
    let code =
        Builder::new_current_thread().enable_all().build().map_err(waiting).and_then(|runtime| {
            let system = System::with_tokio_rt(move || runtime);
            system.block_on(live((configuration, sources), logging, inherited, program?))
        });
    let code = code.unwrap_or_else(|error| {
        log::error!("cannot start: {error}");
        1
    });
    log.flush_within(LAST_WORDS);
    code
}

/// Why nothing can be waited for, and what limits that.
fn waiting(error: io::Error) -> anyhow::Error {
    anyhow!(
        "the system lets this process wait for nothing: {error} (`ulimit -n` limits its files, and \
         the sysctl fs.epoll.max_user_watches what they are waited for with)"
    )
}

/// Why there are too few threads, and what limits them.
fn too_few_threads(error: io::Error) -> anyhow::Error {
    anyhow!(
        "a thread for each worker cannot be started: {error} (`ulimit -u`, and pids.max of its \
         cgroup, limit threads; fewer `workers` need fewer)"
    )
}

async fn live(
    (Configuration { model, origin }, sources): (Configuration, Sources),
    log: LogControl,
    Inherited { lasting, handed_over, line }: Inherited,
    program: Program,
) -> anyhow::Result<u8> {
    let predecessor = line.map(Predecessor::at);
    let sockets = match &predecessor {
        Some(_) => SocketTable::handed_over(lasting, handed_over),
        None => SocketTable::new(lasting),
    };
    let mut asked = signals::catch()?;
    let (gave_up, mut given_up) = mpsc::unbounded_channel();
    let process = Process::start(&model.node, sources, log, (gave_up, sockets)).await?;
    {
        let _turn = process.house.applying.lock().await;
        apply(&process.house, &process.closer, Arc::clone(&model)).await?;
        process.house.origin.store(origin);
    }
    for local in process.house.sockets.unclaimed() {
        log::warn!("LISTEN_FDS: no service listens at {local}, where its clients wait in vain");
    }
    let (upgrades, wanted) = Upgrades::channel();
    let answers = process.answerer_args(upgrades.clone());
    if let Some(predecessor) = &predecessor {
        predecessor.verdicts(&process.house).await;
    }
    let before = predecessor.as_ref();
    let control = control_socket::open(&model.node, process.root.handle(), answers, before).await;
    process.house.sockets.open();
    let level = if model.services.is_empty() { log::Level::Warn } else { log::Level::Info };
    let services = process.house.services_in_words();
    log::log!(level, "ready: {services}, process {}", std::process::id());
    match predecessor {
        Some(predecessor) => predecessor.tell(),
        None => process.house.manager.ready(&services),
    }
    let mut upgrader = Upgrader::new(process.house.clone(), program, wanted);
    actix_rt::spawn(process.house.manager.clone().keep_alive());
    let code = loop {
        tokio::select! {
            Some(what) = asked.recv() => match what {
                Asked::Reload => process.reload(),
                Asked::Upgrade => upgrades.tell(),
                Asked::Nothing(name) => log::warn!("signal {name} has no meaning in this release"),
                Asked::Stop => break 0,
            },
            Some(GaveUp { name, reason }) = given_up.recv() => {
                log::error!(component:% = name; "cannot be kept running, stopping: {reason}");
                break GAVE_UP;
            }
            () = upgrader.done() => break 0,
        }
    };
    // A newcomer that does not serve yet is not to serve any more.
    drop(upgrader);
    process.stop(&mut asked).await;
    shutdown::send_last_events(&process.house).await;
    process.house.keeper.close_within(LAST_WORDS);
    if let Some(control) = control {
        control.remove();
    }
    log::info!("stopped");
    Ok(code)
}

fn give_up_over_hung_threads(gave_up: mpsc::UnboundedSender<GaveUp>) -> Recipient<SlotReplaced> {
    Recipient::from_fn(move |news: SlotReplaced| {
        if news.hung < MOST_HUNG {
            return true;
        }
        let reason = format!("{} of its arbiters hang and do not wake", news.hung);
        gave_up.send(GaveUp { name: format!("arbiter/{}", news.slot).into(), reason }).is_ok()
    })
}

/// The running process.
struct Process {
    house: House,
    closer: Closer,
    root: Arc<Group>,
    slots: Arc<Slots>,
    reloader: Ref<Reloader>,
    rediscoverer: Ref<Rediscoverer>,
    sources: Arc<Sources>,
    #[expect(dead_code, reason = "held for its drop")]
    hung: Subscription,
}

impl Process {
    async fn start(
        node: &Node,
        sources: Sources,
        log: LogControl,
        (gave_up, sockets): (mpsc::UnboundedSender<GaveUp>, SocketTable),
    ) -> anyhow::Result<Self> {
        let workers = u16::try_from(node.workers.get()).unwrap_or(u16::MAX);
        let ids = (0..workers).map(SlotId::Data).chain([SlotId::Control]);
        let slots = Slots::open(ids, node.supervision.hang).map_err(too_few_threads)?;
        let intensity = Intensity {
            restarts: node.supervision.intensity.get(),
            window: node.supervision.window,
        };
        let group = |name: &str| Group::new(name, &slots, intensity, fastrand::u64(..));
        let root = group("stagedoor");
        let groups = [group("data"), group("checkers"), group("discovery")];
        let rediscoverer = Ref::vacant("rediscoverer");
        let handles = groups.each_ref().map(|group| group.handle().clone());
        let house = House {
            sockets,
            manager: ServiceManager::of_environment(),
            ..House::new(node, log, handles, rediscoverer.recipient())
        };
        let closer = Closer {
            live: Arc::clone(&house.live),
            snapshot: Arc::clone(&house.snapshot),
            registry: Arc::clone(&house.registry),
            main: Arbiter::current(),
        };
        let reloader = Ref::vacant("reloader");
        let sources = Arc::new(sources);
        let hung = slots.subscribe(give_up_over_hung_threads(gave_up.clone()));
        let process = Self { house, closer, root, slots, reloader, rediscoverer, sources, hung };
        start_root(&process.root, Recipient::from_fn(move |up| gave_up.send(up).is_ok()));
        for spec in process.top_children(&groups, intensity) {
            process.root.handle().ask(StartChild(spec)).await?;
        }
        for spec in process.routers(intensity) {
            process.house.data.ask(StartChild(spec)).await?;
        }
        Ok(process)
    }

    fn top_children(
        &self,
        [data, checkers, discovery]: &[Arc<Group>; 3],
        intensity: Intensity,
    ) -> Vec<ChildSpec> {
        let house = &self.house;
        let health = judging::health_args(house, &self.closer, intensity);
        let resolver = ResolverArgs {
            book: Arc::clone(&house.names),
            wanted: Arc::clone(&house.wanted_names),
            moved: {
                let health = house.health.clone();
                Recipient::from_fn(move |NameMoved { host, to }| {
                    health.tell(HostMoved { host, to })
                })
            },
            look_ups: LookUps::of_the_system(),
        };
        let rediscoverer = RediscovererArgs { house: house.clone(), closer: self.closer.clone() };
        let reloader = ReloaderArgs {
            sources: Arc::clone(&self.sources),
            house: house.clone(),
            closer: self.closer.clone(),
        };
        let certificates = CertificatesArgs {
            sources: Arc::clone(&self.sources),
            house: house.clone(),
            closer: self.closer.clone(),
            memory: Arc::default(),
        };
        vec![
            checkers.spec().intensity(intensity),
            ChildSpec::new(&house.health, SlotId::Control, move |_| {
                HealthSupervisor::new(health.clone())
            })
            .intensity(intensity)
            .on_give_up(GiveUp::Escalate),
            ChildSpec::new(&house.resolver, SlotId::Control, move |_| {
                Resolver::new(resolver.clone())
            })
            .intensity(intensity)
            .on_give_up(GiveUp::Park),
            self.courier(intensity),
            data.spec().intensity(intensity),
            discovery.spec().intensity(intensity).on_give_up(GiveUp::Park),
            ChildSpec::new(&self.rediscoverer, SlotId::Control, move |_| {
                Rediscoverer::new(rediscoverer.clone())
            })
            .intensity(intensity)
            .on_give_up(GiveUp::Park),
            ChildSpec::new(&self.reloader, SlotId::Control, move |_| {
                Reloader::new(reloader.clone())
            })
            .intensity(intensity)
            .on_give_up(GiveUp::Park),
            ChildSpec::new(&Ref::vacant("certificates"), SlotId::Control, move |_| {
                Certificates::new(certificates.clone())
            })
            .intensity(intensity)
            .on_give_up(GiveUp::Park),
        ]
    }

    fn courier(&self, intensity: Intensity) -> ChildSpec {
        let house = &self.house;
        let herald = Arc::clone(&house.herald);
        let args = CourierArgs {
            outboxes: Arc::new(move || herald.outboxes()),
            means: Means::new(LookUps::of_the_system(), house.connectors.clone()),
        };
        ChildSpec::new(&house.courier, SlotId::Control, move |_| Courier::new(args.clone()))
            .intensity(intensity)
            .on_give_up(GiveUp::Park)
    }

    fn routers(&self, intensity: Intensity) -> Vec<ChildSpec> {
        let house = &self.house;
        let spec = |(index, router): (usize, &Ref<Router>)| {
            let desk = Arc::new(Desk {
                index,
                workers: Arc::clone(&house.workers),
                routes: router.recipient(),
                live: Arc::clone(&house.live),
                snapshot: Arc::clone(&house.snapshot),
                names: Arc::clone(&house.names),
                connectors: house.connectors.clone(),
                registry: Arc::clone(&house.registry),
                suspicions: house.health.recipient(),
            });
            let slot = SlotId::Data(u16::try_from(index).unwrap_or(u16::MAX));
            ChildSpec::new(router, slot, move |_| Router::new(Arc::clone(&desk)))
                .intensity(intensity)
        };
        house.routers.iter().enumerate().map(spec).collect()
    }

    fn answerer_args(&self, upgrades: Upgrades) -> AnswererArgs {
        let tree = RunningTree { root: Arc::clone(&self.root), slots: Arc::clone(&self.slots) };
        AnswererArgs {
            house: self.house.clone(),
            reloader: self.reloader.clone(),
            upgrades,
            tree: Arc::new(tree),
        }
    }

    fn reload(&self) {
        let (reply, _) = oneshot::channel();
        self.reloader.tell(Reload { reply });
    }

    /// Drains, or ends at once when asked to stop a second time.
    async fn stop(&self, asked: &mut mpsc::UnboundedReceiver<Asked>) {
        let limit = self.house.model.load().node.shutdown_timeout;
        self.house.manager.stopping(limit + STOPS_WITHIN);
        let again = async {
            while let Some(what) = asked.recv().await {
                if what == Asked::Stop {
                    return;
                }
            }
        };
        tokio::select! {
            () = shutdown::drain(&self.house, limit) => {}
            () = again => shutdown::cut_what_is_left(&self.house).await,
        }
    }
}
