//! Node settings → `Node`. The built-in defaults are their own layer, so everything is written.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;

use crate::config::file::settings::{Settings, WrittenLogFormat};
use crate::config::model::{Log, LogFormat, Node, Supervision};
use crate::config::place::KeyPath;
use crate::config::problem::{Complaint, did_you_mean};
use crate::config::store::Store;
use crate::config::validate::limits::{at_least, optional};
use crate::config::validate::name_directory;
use crate::config::validate::report::Report;
use crate::config::validate::service::{ListenPlace, listen_place};

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// The settings of the process.
pub fn node(written: &Settings, report: &mut Report<'_>) -> Node {
    let default = Node::default();
    let shutdown = written.shutdown.as_ref();
    let timeout = shutdown.and_then(|shutdown| shutdown.timeout);
    let upgrade_timeout = shutdown.and_then(|shutdown| shutdown.upgrade_timeout);
    let limits = written.limits.as_ref().and_then(|limits| limits.max_connections);
    Node {
        workers: written.workers.and_then(NonZeroUsize::new).unwrap_or(default.workers),
        control_socket: socket(written, report),
        state_folder: state_folder(written, report),
        state_max_age: at_least(
            written.state_max_age,
            default.state_max_age,
            &KeyPath::dotted("state_max_age"),
            report,
        ),
        store: store(written, report),
        name_servers: name_directory::servers(written, report),
        log: log(written, report),
        shutdown_timeout: timeout.map_or(default.shutdown_timeout, |timeout| timeout.0),
        upgrade_timeout: optional(upgrade_timeout, default.upgrade_timeout),
        max_connections: limits.and_then(NonZeroUsize::new),
        supervision: supervision(written, report),
    }
}

/// The node's `listen_address`, where one is written.
pub fn listen_address(written: &Settings, report: &mut Report<'_>) -> Option<ListenPlace> {
    let at = KeyPath::dotted("listen_address");
    let address = written.listen_address.as_deref().filter(|address| !address.trim().is_empty())?;
    let place = report.keep(&at, listen_place(address))?;
    if let ListenPlace::Unix(_) = place {
        let right = "write an IP address; one service may listen on a unix socket of its own";
        report.error(&at, "all services cannot share one unix socket", right);
        return None;
    }
    Some(place)
}

fn socket(written: &Settings, report: &mut Report<'_>) -> Option<PathBuf> {
    let socket = written.admin.as_ref().and_then(|admin| admin.socket.as_deref());
    let at = KeyPath::dotted("admin.socket");
    let path = path(socket.filter(|socket| *socket != "none"), &at, report)?;
    if path.as_os_str().len() > 107 {
        report.error(&at, "the path of a unix socket has at most 107 bytes", "");
    }
    Some(path)
}

fn state_folder(written: &Settings, report: &mut Report<'_>) -> Option<PathBuf> {
    let folder = written.state_dir.as_deref().filter(|folder| *folder != "none");
    path(folder, &KeyPath::dotted("state_dir"), report)
}

fn store(written: &Settings, report: &mut Report<'_>) -> Store {
    let folder = written.certificates.as_ref().and_then(|store| store.folder.as_deref());
    let at = KeyPath::dotted("certificates.folder");
    let store = path(folder, &at, report).map(Store::new).unwrap_or_default();
    if store.is_exposed() {
        let folder = store.folder().display();
        let what = format!("others may look into the certificate store {folder}: keys are in it");
        report.warning(&at, what, format!("`chmod 0700 {folder}`"));
    }
    store
}

/// A path relative to the file that names it.
fn path(written: Option<&str>, at: &KeyPath, report: &mut Report<'_>) -> Option<PathBuf> {
    let written = written.filter(|written| !written.is_empty())?;
    if written.contains('\0') {
        report.error(at, "a path holds no NUL", "");
        return None;
    }
    let place = report.place(at);
    Some(place.source().folder().join(written))
}

fn log(written: &Settings, report: &mut Report<'_>) -> Log {
    let log = written.log.clone().unwrap_or_default();
    let level = log.level.unwrap_or_else(|| Node::default().log.level);
    let at = KeyPath::dotted("log.level");
    report.keep(&at, filter(&level));
    let format = match log.format {
        None | Some(WrittenLogFormat::Text) => LogFormat::Text,
        Some(WrittenLogFormat::Json) => LogFormat::Json,
    };
    Log { format, level }
}

/// Is this a filter that env_logger understands: `info`, or `module=debug`, with commas?
fn filter(level: &str) -> Result<(), Complaint> {
    let form = "write one of off, error, warn, info, debug, trace, or module=level";
    let is_level = |text: &str| LEVELS.contains(&text.to_ascii_lowercase().as_str());
    for directive in level.split('/').next().unwrap_or_default().split(',') {
        let directive = directive.trim();
        let wanted = match directive.split_once('=') {
            Some((_, wanted)) => wanted.trim(),
            // A module alone is everything it says.
            None if directive.contains("::") || directive == "stagedoor" => continue,
            None => directive,
        };
        if !is_level(wanted) {
            let right = match did_you_mean(wanted, LEVELS) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => form.to_owned(),
            };
            return Err(Complaint::new(format!("{wanted:?} is no log level"), right));
        }
    }
    Ok(())
}

fn supervision(written: &Settings, report: &mut Report<'_>) -> Supervision {
    let default = Supervision::default();
    let at = KeyPath::dotted("supervision");
    let Some(written) = &written.supervision else { return default };
    Supervision {
        intensity: written.intensity.and_then(NonZeroU32::new).unwrap_or(default.intensity),
        window: at_least(written.window, default.window, &at.key("window"), report),
        hang: at_least(written.hang, default.hang, &at.key("hang"), report),
    }
}
