//! The one way from files to a model, at start and at every reload.
//!
//! All problems of all files at once; a model only where none of them is an error.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::environment::Environment;
use crate::config::file::definition::Definition;
use crate::config::file::foreign::DEFINITION_SPELLINGS;
use crate::config::file::settings::Settings;
use crate::config::files::{Files, Record};
use crate::config::layers::{self, SettingsSources};
use crate::config::model::{Model, Node, Service};
use crate::config::names::ListenAddress;
use crate::config::place::{KeyPath, Place, SourceText};
use crate::config::problem::{self, Problem};
use crate::config::references::References;
use crate::config::tree::Tree;
use crate::config::validate::certificates::Finder;
use crate::config::validate::report::Report;
use crate::config::validate::service::{Draft, Facts, ListenPlace};
use crate::config::validate::{cross, node, service};
use crate::config::{merge, named, schema, shape, spelling, text};

/// Where everything comes from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The node settings.
    pub settings: SettingsSources,
    /// Definitions and folders of them; they replace `services` of the settings.
    pub paths: Vec<PathBuf>,
    /// The lowest port that this process may open, where that matters: what lies below is an
    /// error. 0 where nothing will be opened.
    pub lowest_port: u16,
}

/// What came of it.
#[derive(Debug)]
pub struct Loaded {
    /// The model; `None` if any problem is an error.
    pub model: Option<Model>,
    /// Every problem, by file and line.
    pub problems: Vec<Problem>,
    /// The settings in force, each value with the place it was written at.
    pub settings: Tree,
    /// The services that are written but not `active`.
    pub inactive: Vec<Arc<Service>>,
    /// What each definition refers to, by files.
    pub references: Vec<(Arc<Service>, References)>,
    /// Every file that was read, as it was.
    pub record: Record,
}

/// The node settings alone.
#[derive(Debug)]
pub struct LoadedSettings {
    /// The settings, good only if no problem is an error.
    pub node: Node,
    /// The node's `listen_address`, where one is written.
    pub listen_address: Option<ListenPlace>,
    /// As they are written, each value with its place.
    pub tree: Tree,
    /// Files and folders of definitions.
    pub written: Settings,
    /// Every problem.
    pub problems: Vec<Problem>,
}

/// Loads the node settings alone.
pub fn load_settings(sources: &SettingsSources) -> LoadedSettings {
    let mut problems = Vec::new();
    let tree = layers::settings(sources, &mut problems);
    let written: Settings = shape::deserialise(&tree, &mut problems);
    let mut report = Report::new(&tree);
    let node = node::node(&written, &mut report);
    let listen_address = node::listen_address(&written, &mut report);
    problems.extend(report.into_problems());
    problem::tidy(&mut problems);
    LoadedSettings { node, listen_address, tree, written, problems }
}

/// Loads everything, off the disk.
pub fn load(sources: &Sources) -> Loaded {
    load_through(sources, Record::default())
}

/// Loads everything as it stands in `record`; what is not in it is read.
pub fn load_through(sources: &Sources, record: Record) -> Loaded {
    let files = Files::recorded(record);
    let mut sources = sources.clone();
    sources.settings.env = sources.settings.env.reading(files.clone());
    let loaded = load_all(&sources);
    Loaded { record: files.record(), ..loaded }
}

fn load_all(sources: &Sources) -> Loaded {
    let LoadedSettings { node, listen_address, tree: settings, written, mut problems } =
        load_settings(&sources.settings);
    let loader = Loader {
        env: &sources.settings.env,
        under: under_services(&settings),
        listen_address,
        name_servers: &node.name_servers,
        finder: Finder { store: &node.store, files: sources.settings.env.files() },
        lowest_port: sources.lowest_port,
    };
    let (mut drafts, mut references) = (Vec::new(), Vec::new());
    for (path, asked_by) in definitions(sources, &written, &settings, &mut problems) {
        if let Some((draft, means)) = loader.definition(&path, asked_by.as_ref(), &mut problems) {
            references.push((Arc::clone(&draft.service), means));
            drafts.push(draft);
        }
    }
    cross::check(&drafts, &mut problems);
    problem::tidy(&mut problems);

    let (active, inactive): (Vec<_>, Vec<_>) = drafts.into_iter().partition(|it| it.active);
    let services = active.into_iter().map(|it| (it.service.name.clone(), it.service)).collect();
    let failed = problems.iter().any(Problem::is_error);
    Loaded {
        model: (!failed).then_some(Model { node, services }),
        problems,
        settings,
        inactive: inactive.into_iter().map(|draft| draft.service).collect(),
        references,
        record: Record::default(),
    }
}

/// The files of all definitions, each with the place that names it, if one does.
fn definitions(
    sources: &Sources,
    written: &Settings,
    settings: &Tree,
    problems: &mut Vec<Problem>,
) -> Vec<(PathBuf, Option<Place>)> {
    let mut named: Vec<(PathBuf, Option<Place>)> =
        sources.paths.iter().map(|path| (path.clone(), None)).collect();
    if named.is_empty() {
        let services = written.services.as_ref().map_or(&[][..], |services| services.as_slice());
        let at = KeyPath::dotted("services");
        named.extend(services.iter().enumerate().map(|(index, path)| {
            let own = settings.find(&at.index(index)).map(|tree| tree.place.clone());
            let place = own.unwrap_or_else(|| settings.place_of(&at));
            (place.source().folder().join(path), Some(place))
        }));
    }
    if named.is_empty() {
        let place = Place::whole(&SourceText::named("command line", String::new()));
        let what = "no service is defined: neither here nor as `services` of the node settings";
        let right = "name a definition, or a folder of them: `stagedoor run redis.json`, or \
                     `services = [\"services\"]` in stagedoor.toml";
        problems.push(Problem::error(place, KeyPath::root(), what).right(right));
    }
    let reader = sources.settings.env.files();
    let mut files = Vec::new();
    for (path, place) in named {
        if !reader.is_folder(&path) {
            files.push((path, place));
            continue;
        }
        match reader.list(&path) {
            Ok(found) if found.is_empty() => {
                let whole = Place::whole(&SourceText::file(&path, String::new()));
                let what = "there is no definition in this folder";
                let problem = Problem::warning(place.unwrap_or(whole), KeyPath::root(), what);
                problems.push(problem.right("put a .json or .toml file into it"));
            }
            Ok(found) => files.extend(found.into_iter().map(|file| (file, place.clone()))),
            Err(error) => {
                problems.push(text::unreadable(&path, place.as_ref(), &error.to_string()));
            }
        }
    }
    files
}

/// The layers under every definition: Tyk's place for times and counts, and `[defaults]`.
fn under_services(settings: &Tree) -> Vec<Tree> {
    let mut under = Vec::new();
    if let Some(uptime_tests) = settings.get("uptime_tests") {
        let mut tree = Tree::empty(uptime_tests.place.clone());
        tree.put(&["uptime_tests"], &uptime_tests.place, uptime_tests.clone());
        under.push(tree);
    }
    under.extend(settings.get("defaults").cloned());
    under
}

struct Loader<'a> {
    env: &'a Environment,
    under: Vec<Tree>,
    listen_address: Option<ListenPlace>,
    name_servers: &'a Arc<[SocketAddr]>,
    finder: Finder<'a>,
    lowest_port: u16,
}

impl Loader<'_> {
    fn definition(
        &self,
        path: &Path,
        asked_by: Option<&Place>,
        problems: &mut Vec<Problem>,
    ) -> Option<(Draft, References)> {
        let tree = text::read_tree(path, asked_by, self.env.files(), problems)?;
        let mut tree = shape::check(&tree, schema::definition(), self.env, problems);
        spelling::modernise(&mut tree, DEFINITION_SPELLINGS, problems);
        if !self.under.is_empty() {
            let layers: Vec<&Tree> = self.under.iter().chain([&tree]).collect();
            tree = merge::merge(&layers);
        }
        let written: Definition = shape::deserialise(&tree, problems);
        let mut report = Report::new(&tree);
        let named = named::of_definition(&written, self.env, &mut report, problems);
        let listen_address = self.listen_address.as_ref();
        let (env, finder, name_servers) = (self.env, self.finder, self.name_servers);
        let facts = Facts { path, env, listen_address, name_servers, finder };
        let draft = service::service(&written, &tree, named, facts, &mut report);
        self.may_open(&draft, &mut report);
        let references = report.take_references();
        problems.extend(report.into_problems());
        Some((draft, references))
    }

    fn may_open(&self, draft: &Draft, report: &mut Report<'_>) {
        let port = match &draft.service.listen {
            ListenAddress::AnyOnPort(port) => *port,
            ListenAddress::Ip(address) => address.port(),
            ListenAddress::Unix(_) => return,
        };
        if draft.active && draft.listens && port < self.lowest_port {
            let what = format!("this user may not open ports below {}", self.lowest_port);
            let right = "use a higher port, run as root, or grant CAP_NET_BIND_SERVICE";
            report.error(&KeyPath::dotted("listen_port"), what, right);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::model::{Balance, Closing};
    use crate::config::problem::Severity;

    #[test]
    fn the_pages_definition_loads_and_its_leader_is_inferred() {
        let paths = vec![PathBuf::from("examples/redis-sentinel/redis.json")];
        let loaded = load(&Sources { paths, ..Sources::default() });
        let severities: Vec<_> = loaded.problems.iter().map(|it| it.severity).collect();
        assert_eq!(severities, [Severity::Notice], "{:#?}", loaded.problems);
        let model = loaded.model.unwrap();
        let service = model.services.values().next().unwrap();
        assert_eq!(service.name.as_str(), "Redis Sentinel");
        assert_eq!(service.listen, ListenAddress::AnyOnPort(6379));
        assert_eq!(service.pool.balance, Balance::Leader);
        assert!(service.pool.balance_inferred && service.pool.check_health);
        assert_eq!(service.pool.on_down, Closing::Close);
        let targets: Vec<_> = service.pool.targets.iter().map(|it| it.key.as_str()).collect();
        assert_eq!(targets, ["127.0.0.1:7001", "127.0.0.1:7002"]);
        let health = service.health.as_ref().unwrap();
        assert_eq!(health.thresholds.interval, Duration::from_millis(250));
        assert_eq!(health.thresholds.fall_refused, 1);
        assert_eq!(health.checks.len(), 2);
        assert!(health.checks.iter().all(|check| check.target.is_some()));
    }
}
