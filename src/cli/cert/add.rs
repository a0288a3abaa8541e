//! `stagedoor cert add`.
//!
//! The ID goes to standard output, alone, so that a script can take it; what else is said, to
//! standard error.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::cli::cert::outcome::{self, Refusal};
use crate::cli::cert::row;
use crate::cli::output;
use crate::cli::show_tls::now;
use crate::cli::sources::SettingsArgs;
use crate::config::read::{ReadError, read_bytes};
use crate::config::store::Store;
use crate::config::validate::certificates::{FILE_CAP, right};
use crate::wire::certificate::{CertificateFault, facts_of, revocation_lists};
use crate::wire::entry::Entry;

/// `cert add`.
#[derive(Debug, Clone, Args)]
pub struct AddArgs {
    /// A PEM file: a certificate, its chain and its key, or a bare public key. `-` reads standard
    /// input.
    pub file: PathBuf,
    /// The PEM file of its private key, where that stands alone.
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Where the node settings come from, which name the store.
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// Print for machines.
    #[arg(long)]
    pub json: bool,
}

/// Adds it.
pub fn main(args: &AddArgs) -> ExitCode {
    outcome::code(add(args), args.json)
}

fn add(args: &AddArgs) -> Result<(), Refusal> {
    let store = outcome::store(&args.settings)?;
    let (entry, lists) = read(args)?;
    let stored = stored(&store, &entry)?;
    let completes = stored.is_some();
    let entry = match stored {
        None => entry,
        Some(stored) => stored.completed_by(&entry).ok_or_else(|| {
            let folder = store.folder().display();
            Refusal::Because(format!("{} is in the store {folder} already", entry.id))
        })?,
    };
    put(&store, &entry)?;
    if lists > 0 {
        let (are, it) =
            if lists == 1 { ("list is", "it belongs") } else { ("lists are", "they belong") };
        eprintln!(
            "stagedoor: {lists} revocation {are} not stored: {it} into a file of its own, which \
             `client_crl` of a definition names"
        );
    }
    if args.json {
        let mut shown = row::json(&entry);
        shown["completed"] = json!(completes);
        shown["path"] = json!(store.path_of(&entry.id));
        output::print_json(&shown);
        return Ok(());
    }
    output::print(&format!("{}\n", entry.id));
    let done = if completes { "its key was missing, and is added" } else { "added" };
    let (kind, names) = (row::kind(&entry), row::names(&entry));
    eprintln!("{done}: {kind}, {names}, good until {}", row::good(&entry));
    old_links(&entry).for_each(|index| {
        eprintln!("stagedoor: certificate {index} of its chain has expired");
    });
    Ok(())
}

/// What is to be added, if it may be; and how many revocation lists stand beside it, which the store
/// does not keep.
fn read(args: &AddArgs) -> Result<(Entry, usize), Refusal> {
    let name = if args.file == Path::new("-") {
        "standard input".to_owned()
    } else {
        args.file.display().to_string()
    };
    let text = text_of(&args.file)?;
    let key = args.key.as_deref().map(text_of).transpose()?;
    let entry = Entry::from_pem(&text, key.as_deref()).map_err(|fault| {
        let key = args.key.as_ref().map(|key| format!(" with {}", key.display()));
        let name = format!("{name}{}", key.unwrap_or_default());
        let right = match fault {
            CertificateFault::NoKey => "there must be one in the file that --key names",
            CertificateFault::NoCertificate => {
                "a certificate is added with its key or without, a key never alone; a public key \
                 on its own"
            }
            CertificateFault::Pem(_)
            | CertificateFault::ManyKeys
            | CertificateFault::KeyKind
            | CertificateFault::KeyMismatch
            | CertificateFault::Broken(_)
            | CertificateFault::NoList => right(&fault),
        };
        Refusal::Because(format!("{name} cannot be added: {fault}: {right}"))
    })?;
    let expired = entry.certificate.as_ref().filter(|it| it.facts.not_after < now());
    match expired {
        None => Ok((entry, revocation_lists(&text).map_or(0, |lists| lists.len()))),
        Some(expired) => {
            let when = row::time(expired.facts.not_after);
            Err(Refusal::Because(format!("{name} cannot be added: it has expired on {when}")))
        }
    }
}

fn text_of(path: &Path) -> Result<String, Refusal> {
    let bytes = if path == Path::new("-") {
        read_input().map_err(|error| error.to_string())
    } else {
        read_bytes(path, FILE_CAP).map_err(|error| error.to_string())
    };
    let cannot = |why| Refusal::Because(format!("{} cannot be read: {why}", path.display()));
    bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).map_err(cannot)
}

/// Standard input, no longer than a file may be.
fn read_input() -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::new();
    std::io::stdin().lock().take(FILE_CAP + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_CAP { Err(ReadError::TooLarge(FILE_CAP)) } else { Ok(bytes) }
}

/// What is in the store under the same ID.
fn stored(store: &Store, entry: &Entry) -> Result<Option<Entry>, Refusal> {
    if !outcome::ids(store)?.contains(&entry.id) {
        return Ok(None);
    }
    outcome::entry(store, &entry.id).map(Some).map_err(Refusal::Because)
}

fn put(store: &Store, entry: &Entry) -> Result<(), Refusal> {
    let text = entry.to_pem();
    if text.len() as u64 > FILE_CAP {
        let why = format!("it cannot be added: {}", ReadError::TooLarge(FILE_CAP));
        return Err(Refusal::Because(why));
    }
    store.put(&entry.id, &text).map_err(|error| {
        let (folder, why) = (store.folder().display(), error.to_string());
        let why = why.split(" (os error").next().unwrap_or_default().to_lowercase();
        let right = "run this as who owns it, or name another one: --set certificates.folder=PATH";
        Refusal::Because(format!("the store {folder} cannot be written to: {why}: {right}"))
    })
}

/// Which certificates behind the first one have expired, by their numbers.
fn old_links(entry: &Entry) -> impl Iterator<Item = usize> {
    let chain = entry.chain().iter().enumerate().skip(1);
    let is_old = |der: &[u8]| facts_of(der, 1).is_ok_and(|facts| facts.not_after < now());
    chain.filter(move |(_, der)| is_old(der)).map(|(index, _)| index + 1)
}
