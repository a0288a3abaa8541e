//! `stagedoor probe`: runs the checks of one service, or one check by itself, once, and shows each
//! step.
//!
//! On the road that a running process takes: the same look-up, dial and script. It needs no
//! running process and tells none. Exit codes: 0 all passed, 1 one failed or could not run, 2 the
//! configuration or the choice is wrong.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use futures_util::future::join_all;

use crate::cli::output;
use crate::cli::show_probe::{self, Asked};
use crate::cli::sources::RunArgs;
use crate::config::address::{self, Spoken};
use crate::config::check::Check;
use crate::config::load::{self, Loaded};
use crate::config::model::Service;
use crate::config::named;
use crate::config::names::TargetAddress;
use crate::config::problem::did_you_mean;
use crate::config::thresholds::Thresholds;
use crate::config::transport::Transport;
use crate::discovery::look_up::LookUps;
use crate::health::dialled;
use crate::health::transcript::Transcript;
use crate::health::verdict::Verdict;
use crate::net::connectors::Connectors;
use crate::net::names::NameBook;

/// A check by itself says no deadline; this is the default of a definition.
const TIMEOUT: Duration = Duration::from_secs(1);

/// `probe`.
#[derive(Debug, Clone, Args)]
pub struct ProbeArgs {
    /// What to load; also one check file or preset, asked of `--target`.
    #[command(flatten)]
    pub run: RunArgs,
    /// The service, where there are several.
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,
    /// Ask this target only.
    #[arg(long, value_name = "NAME|ADDRESS")]
    pub target: Option<String>,
    /// A parameter of the check file or preset; holes such as ${file:PATH} are filled.
    #[arg(long, value_name = "NAME=VALUE")]
    pub with: Vec<String>,
    /// Again and again, at the check's interval, until Ctrl-C.
    #[arg(long)]
    pub watch: bool,
    /// Print for machines: an object a run, each on a line of its own.
    #[arg(long)]
    pub json: bool,
}

/// What is to be probed.
struct Chosen {
    probes: Vec<Probe>,
    interval: Duration,
}

/// One check, and for whom people take it.
struct Probe {
    asked: Asked,
    check: Arc<Check>,
}

/// Nothing can be probed, and the configuration or the command line is why.
enum Refused {
    /// The problems have been told.
    Told,
    /// What is wrong, and what would be right.
    Because(String),
}

/// How often one is asked, and how it is shown.
#[derive(Clone, Copy)]
struct Manner {
    watch: bool,
    json: bool,
    colour: bool,
}

/// Probes; the exit code is the last round's.
pub fn main(args: &ProbeArgs) -> ExitCode {
    let chosen = match choose(args) {
        Ok(chosen) => chosen,
        Err(refused) => {
            if let Refused::Because(why) = refused {
                eprintln!("stagedoor: {why}");
            }
            return ExitCode::from(2);
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("stagedoor: cannot probe: {error}");
            return ExitCode::from(1);
        }
    };
    let manner = Manner { watch: args.watch, json: args.json, colour: output::in_colour() };
    let passed = runtime.block_on(probe(&chosen, manner));
    // A look-up that hangs must not hold up the end.
    runtime.shutdown_background();
    if passed { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

fn choose(args: &ProbeArgs) -> Result<Chosen, Refused> {
    match args.run.paths.as_slice() {
        [path] if named::is_check(path) => of_check(args, path),
        _ if !args.with.is_empty() => {
            let why = "--with goes with one check file or preset";
            Err(Refused::Because(why.to_owned()))
        }
        _ => {
            let loaded = load::load(&args.run.sources(0));
            if loaded.model.is_none() {
                output::tell(&loaded.problems);
                return Err(Refused::Told);
            }
            let service = service(&loaded, args.service.as_deref()).map_err(Refused::Because)?;
            of_service(service, args.target.as_deref()).map_err(Refused::Because)
        }
    }
}

/// A check has no target by itself: that stands on the command line.
fn of_check(args: &ProbeArgs, path: &std::path::Path) -> Result<Chosen, Refused> {
    let env = args.run.settings.sources().env;
    let (kind, problems) = named::load_check(path, &args.with, &env);
    let Some(kind) = kind else {
        output::tell(&problems);
        return Err(Refused::Told);
    };
    let shown = path.display();
    if args.service.is_some() {
        let why = format!("{shown} is a check and has no service: leave --service out");
        return Err(Refused::Because(why));
    }
    let Some(written) = &args.target else {
        let why = format!("{shown} is a check: name whom to ask with --target host:port");
        return Err(Refused::Because(why));
    };
    let (spoken, address) = address::target(written).map_err(|complaint| {
        Refused::Because(format!("--target {written}: {}: {}", complaint.what, complaint.right))
    })?;
    if spoken == Spoken::Tls && kind.begins_tls() {
        let why = format!("{shown} begins TLS by itself: name whom to ask without tls://");
        return Err(Refused::Because(why));
    }
    let tls = match spoken {
        Spoken::Tcp if !kind.begins_tls() => None,
        Spoken::Tcp | Spoken::Tls => {
            Some(Arc::new(Transport::default().policy(&address).ok_or_else(|| {
                let why = format!("--target {written}: no certificate can be for such a name");
                Refused::Because(why)
            })?))
        }
    };
    let asked = Asked { service: None, target: None, address: address.to_string(), witness: false };
    let check = Arc::new(Check {
        target: None,
        address,
        tls,
        header: None,
        about: None,
        kind,
        timeout: TIMEOUT,
        keep_open: false,
    });
    let interval = Thresholds::default().interval;
    Ok(Chosen { probes: vec![Probe { asked, check }], interval })
}

/// The service of that name; without one, the only one. Inactive ones may be probed too.
fn service<'a>(loaded: &'a Loaded, name: Option<&str>) -> Result<&'a Service, String> {
    let active = loaded.model.iter().flat_map(|model| model.services.values());
    let services: Vec<&Service> =
        active.chain(&loaded.inactive).map(|service| &**service).collect();
    let names = || services.iter().map(|service| service.name.as_str());
    match (name, services.as_slice()) {
        (None, [only]) => Ok(only),
        (None, []) => Err("there is no service here: name a definition".to_owned()),
        (None, _) => {
            Err(format!("there are several services: name one with --service{}", list(names())))
        }
        (Some(name), _) => services
            .iter()
            .find(|service| service.name.as_str() == name)
            .copied()
            .ok_or_else(|| unknown("service", name, names())),
    }
}

/// The checks of a service, or those of one of its targets.
fn of_service(service: &Service, target: Option<&str>) -> Result<Chosen, String> {
    let name = &service.name;
    let Some(health) = &service.health else {
        return Err(format!("{name} has no checks: write `uptime_tests`"));
    };
    let asks = |check: &Check, wanted: &str| {
        let own = service.pool.targets.iter().find(|it| Some(&it.key) == check.target.as_ref());
        own.is_some_and(|own| *own.name == *wanted || own.key.as_str() == wanted)
            || check.address.to_string() == wanted
    };
    let probes: Vec<Probe> = health
        .all_checks()
        .filter(|check| target.is_none_or(|wanted| asks(check, wanted)))
        .map(|check| Probe { asked: asked(service, check), check: Arc::clone(check) })
        .collect();
    match target {
        Some(target) if probes.is_empty() => {
            let mut known: Vec<String> = health
                .checks
                .iter()
                .map(|check| asked(service, check))
                .map(|asked| asked.target.unwrap_or(asked.address))
                .collect();
            known.dedup();
            Err(unknown("checked target", target, known.iter().map(String::as_str)))
        }
        None if probes.is_empty() => Err(format!("{name} has no checks: write `uptime_tests`")),
        Some(_) | None => Ok(Chosen { probes, interval: health.thresholds.interval }),
    }
}

fn asked(service: &Service, check: &Check) -> Asked {
    let own = service.pool.targets.iter().find(|it| Some(&it.key) == check.target.as_ref());
    Asked {
        service: Some(service.name.as_str().to_owned()),
        target: own.map(|target| target.name.to_string()),
        address: check.address.to_string(),
        witness: check.about.is_some(),
    }
}

fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let meant = did_you_mean(name, known.clone());
    let meant = meant.map_or(String::new(), |meant| format!(", did you mean `{meant}`?"));
    format!("there is no {what} `{name}`{meant}{}", list(known))
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("\n  {name}")).collect()
}

/// Rounds until there is no further one: did all pass in the last?
async fn probe(chosen: &Chosen, manner: Manner) -> bool {
    let mut before: Vec<Transcript> = Vec::new();
    let connectors = Connectors::default();
    connectors.prepare(chosen.probes.iter().filter_map(|probe| probe.check.tls.as_ref()));
    // One for all rounds: a Ctrl-C between two waits must not be lost.
    let mut stop = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        let runs = tokio::select! {
            runs = round(&chosen.probes, &connectors) => runs,
            // The round that is given up says nothing.
            _ = &mut stop => return all_passed(&before),
        };
        let printed = print(chosen, &before, &runs, manner);
        before = runs;
        // A watch that nobody reads any more is over.
        if !manner.watch || printed.is_err() {
            return all_passed(&before);
        }
        tokio::select! {
            () = tokio::time::sleep(chosen.interval) => {}
            _ = &mut stop => return all_passed(&before),
        }
    }
}

fn all_passed(runs: &[Transcript]) -> bool {
    !runs.is_empty() && runs.iter().all(|run| run.verdict == Verdict::Passed)
}

/// Every check once, side by side, so that one that hangs holds up no other.
async fn round(probes: &[Probe], connectors: &Connectors) -> Vec<Transcript> {
    let hosts: BTreeSet<Arc<str>> = probes
        .iter()
        .filter_map(|probe| match &probe.check.address {
            TargetAddress::Name { host, .. } => Some(Arc::clone(host)),
            TargetAddress::Ip(_) | TargetAddress::Unix(_) => None,
        })
        .collect();
    let look_ups = LookUps::of_the_system();
    let found = join_all(hosts.into_iter().map(async |host| {
        let address = look_ups.look_up(&host).await;
        // One that has not ended leaves its name unknown, which the probe says.
        address.map(|address| (host, address))
    }));
    let names = NameBook { names: found.await.into_iter().flatten().collect() };
    let asked = probes.iter().map(|probe| dialled::probe(&probe.check, &names, connectors));
    join_all(asked).await.into_iter().map(|probed| probed.transcript).collect()
}

fn print(
    chosen: &Chosen,
    before: &[Transcript],
    runs: &[Transcript],
    manner: Manner,
) -> std::io::Result<()> {
    let now = clock();
    let mut shown = String::new();
    let mut news = false;
    for (index, (Probe { asked, .. }, run)) in chosen.probes.iter().zip(runs).enumerate() {
        let same =
            before.get(index).is_some_and(|old| show_probe::is_same(&old.verdict, &run.verdict));
        if manner.json {
            shown.push_str(&format!("{}\n", show_probe::json(asked, run)));
        } else if same {
            shown.push_str(&show_probe::line(asked, run, &now));
        } else {
            news = true;
            if !(shown.is_empty() && before.is_empty()) {
                shown.push('\n');
            }
            shown.push_str(&show_probe::whole(asked, run, manner.colour));
        }
    }
    if news && runs.len() > 1 {
        let passed = runs.iter().filter(|run| run.verdict == Verdict::Passed).count();
        shown.push('\n');
        shown.push_str(&show_probe::tally(passed, runs.len(), manner.colour));
    }
    output::try_print(&shown)
}

/// The time of day, for people.
#[expect(clippy::disallowed_types, reason = "shown, and nothing waits by it")]
fn clock() -> String {
    humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string()
}
