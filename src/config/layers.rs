//! The node settings in layers, later wins: built in < every `--config` < `conf.d` < environment
//! < `--set`. Each layer is checked where it was written; only then are they merged.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::environment::Environment;
use crate::config::file::foreign::SETTINGS_SPELLINGS;
use crate::config::place::{KeyPath, Place, Segment, SourceText};
use crate::config::problem::Problem;
use crate::config::tree::{Kind, Tree};
use crate::config::{defaults, json, merge, schema, shape, spelling, text};

/// What stands before a variable of ours.
const PREFIX: &str = "STAGEDOOR__";

/// Where the settings come from, besides what is built in.
#[derive(Debug, Clone, Default)]
pub struct SettingsSources {
    /// `--config`, in order.
    pub config_files: Vec<PathBuf>,
    /// Read where no `--config` is given, if it is there.
    pub usual_file: Option<PathBuf>,
    /// The environment.
    pub env: Environment,
    /// `--set section.key=value`, in order.
    pub set: Vec<String>,
}

/// All layers, merged: every value has the place it was written at.
pub fn settings(sources: &SettingsSources, problems: &mut Vec<Problem>) -> Tree {
    let built_in = Place::whole(&SourceText::named("default", String::new()));
    let mut layers = vec![Tree::from_value(&defaults::settings(&sources.env), &built_in)];
    let mut add = |tree: Tree, problems: &mut Vec<Problem>| {
        let mut tree = shape::check(&tree, schema::settings(), &sources.env, problems);
        spelling::modernise(&mut tree, SETTINGS_SPELLINGS, problems);
        layers.push(tree);
    };
    let reader = sources.env.files();
    for path in files(sources, problems) {
        if let Some(tree) = text::read_tree(&path, None, reader, problems) {
            add(tree, problems);
        }
    }
    for tree in from_environment(&sources.env, problems) {
        add(tree, problems);
    }
    for argument in &sources.set {
        if let Some(tree) = from_argument(argument, problems) {
            add(tree, problems);
        }
    }
    merge::merge(&layers.iter().collect::<Vec<_>>())
}

/// The settings files in the order in which they are laid over each other.
fn files(sources: &SettingsSources, problems: &mut Vec<Problem>) -> Vec<PathBuf> {
    let reader = sources.env.files();
    let mut files = sources.config_files.clone();
    if files.is_empty() {
        files.extend(
            sources.usual_file.iter().filter(|path| reader.holds(path) == Ok(true)).cloned(),
        );
    }
    let mut folders: Vec<PathBuf> = Vec::new();
    for file in &files {
        let folder = file.parent().unwrap_or(Path::new("")).join("conf.d");
        if reader.is_folder(&folder) && !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    for folder in folders {
        match reader.list(&folder) {
            Ok(more) => files.extend(more),
            Err(error) => {
                problems.push(text::unreadable(&folder, None, &error.to_string()));
            }
        }
    }
    files
}

/// A layer a variable, in the order of their names.
fn from_environment(env: &Environment, problems: &mut Vec<Problem>) -> Vec<Tree> {
    let mut trees = Vec::new();
    for (name, value) in env.iter() {
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
        let source_name = format!("environment variable {name}");
        let Some(value) = value.to_str() else {
            let place = Place::whole(&SourceText::named(&source_name, String::new()));
            problems.push(Problem::error(place, KeyPath::root(), "its value is not UTF-8"));
            continue;
        };
        let source = SourceText::named(&source_name, format!("{name}={value}"));
        let keys = name[PREFIX.len()..].split("__");
        let mut path = KeyPath::root();
        for key in keys {
            let known = shape::spelled(schema::settings(), &path, key);
            path = path.key(&known.unwrap_or_else(|| key.to_lowercase()));
        }
        trees.extend(one_value(&source, &path, 0..name.len(), problems));
    }
    trees
}

/// The layer of one `--set section.key=value`.
fn from_argument(argument: &str, problems: &mut Vec<Problem>) -> Option<Tree> {
    let source = SourceText::named("--set", argument.to_owned());
    let Some((key, _)) = argument.split_once('=') else {
        let place = Place::new(&source, 0..argument.len());
        let what = format!("--set {argument} sets nothing");
        let problem = Problem::error(place, KeyPath::root(), what);
        problems.push(problem.right("write --set section.key=value"));
        return None;
    };
    one_value(&source, &KeyPath::dotted(key.trim()), 0..key.len(), problems)
}

/// The layer that says one thing: `key=value`, with the key in `span`.
fn one_value(
    source: &Arc<SourceText>,
    path: &KeyPath,
    span: std::ops::Range<usize>,
    problems: &mut Vec<Problem>,
) -> Option<Tree> {
    let key_place = Place::new(source, span.clone());
    let value = literal(source, path, span.end + 1, problems)?;
    let mut tree = Tree::empty(key_place.clone());
    let keys = path.segments().iter().filter_map(|segment| match segment {
        Segment::Key(key) => Some(key.as_str()),
        Segment::Index(_) => None,
    });
    tree.put(&keys.collect::<Vec<_>>(), &key_place, value);
    Some(tree)
}

/// A value that is written without its format: JSON where that fits the key, else text.
fn literal(
    source: &Arc<SourceText>,
    path: &KeyPath,
    offset: usize,
    problems: &mut Vec<Problem>,
) -> Option<Tree> {
    let text = &source.text[offset..];
    let place = Place::new(source, offset..source.text.len());
    let plain = Tree { kind: Kind::String(text.to_owned()), place };
    let fits = |kind: &Kind| shape::accepts(schema::settings(), path, kind);
    let mut said = Vec::new();
    match json::parse_at(source, offset, &mut said) {
        Some(tree) if said.is_empty() && (fits(&tree.kind) || !fits(&plain.kind)) => Some(tree),
        None if text.starts_with(['[', '{']) && !fits(&plain.kind) => {
            problems.append(&mut said);
            None
        }
        Some(_) | None => Some(plain),
    }
}
