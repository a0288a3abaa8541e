//! Rules between definitions: one name each, one listening place each, and nobody to himself.

use std::collections::HashMap;

use crate::config::circles::{Places, Ways};
use crate::config::model::Service;
use crate::config::place::KeyPath;
use crate::config::problem::Problem;
use crate::config::reach::{overlap, port, reaches};
use crate::config::validate::service::Draft;

/// Checks all definitions against each other.
pub fn check(drafts: &[Draft], problems: &mut Vec<Problem>) {
    one_name_each(drafts, problems);
    let listening: Vec<&Draft> = drafts.iter().filter(|it| it.active && it.listens).collect();
    one_place_each(&listening, problems);
    nobody_to_himself(&listening, problems);
}

fn one_name_each(drafts: &[Draft], problems: &mut Vec<Problem>) {
    let mut seen: HashMap<_, &Draft> = HashMap::new();
    for draft in drafts {
        let name = &draft.service.name;
        match seen.get(name) {
            None => {
                seen.insert(name, draft);
            }
            Some(first) => {
                let what = format!("two services are named {name}");
                problems.push(
                    Problem::error(draft.name_place.clone(), KeyPath::dotted("name"), what)
                        .right("give each service a name of its own")
                        .also(first.name_place.clone(), "the other one"),
                );
            }
        }
    }
}

fn one_place_each(drafts: &[&Draft], problems: &mut Vec<Problem>) {
    let mut by_port: HashMap<Option<u16>, Vec<&Draft>> = HashMap::new();
    for draft in drafts {
        let others = by_port.entry(port(&draft.service.listen)).or_default();
        let meets = |other: &&&Draft| overlap(&other.service.listen, &draft.service.listen);
        problems.extend(others.iter().filter(meets).find_map(|other| conflict(other, draft)));
        others.push(draft);
    }
}

/// What comes before the hello is the port's: nobody knows yet whose the connection is.
fn unlike_before_hello(first: &Draft, draft: &Draft) -> Option<Problem> {
    let (one, other) = (&first.service, &draft.service);
    if one.receiving == other.receiving {
        return None;
    }
    let shown = |service: &Service| match &service.receiving {
        Some(rules) => format!("for {}, {rules}", service.name),
        None => format!("for {}, none is read", service.name),
    };
    let what = format!(
        "{} and {} share {}, and expect different PROXY headers: {}; {}",
        one.name,
        other.name,
        other.listen,
        shown(one),
        shown(other)
    );
    let place = draft.domain_place.clone();
    Some(
        Problem::error(place, KeyPath::dotted("enable_proxy_protocol"), what)
            .right("write the same in both: the header comes before a client says whom it wants")
            .also(first.domain_place.clone(), "the other one"),
    )
}

/// Two that answer one name, told apart by their protocols only, ask the same of clients: else a
/// client could leave out the protocol, and with it the certificate.
fn unequal(first: &Draft, draft: &Draft) -> Option<Problem> {
    let (one, other) = (&first.service, &draft.service);
    if one.answers.domain != other.answers.domain || one.is_mutual() == other.is_mutual() {
        return None;
    }
    let what = format!(
        "{} and {} answer one name on {}, and only one of them asks for client certificates",
        one.name, other.name, other.listen
    );
    let place = draft.domain_place.clone();
    Some(
        Problem::error(place, KeyPath::dotted("use_mutual_tls_auth"), what)
            .right("let both ask, or give each a domain of its own")
            .also(first.domain_place.clone(), "the other one"),
    )
}

/// Why these two cannot share their place.
fn conflict(first: &Draft, draft: &Draft) -> Option<Problem> {
    let (one, other) = (&first.service, &draft.service);
    let by_hello = one.is_chosen_by_hello() && other.is_chosen_by_hello();
    if by_hello && one.listen == other.listen {
        if !one.answers.collides_with(&other.answers) {
            return unequal(first, draft).or_else(|| unlike_before_hello(first, draft));
        }
        let name = match &other.answers.domain {
            Some(domain) => format!("answer {domain}"),
            None => "be the default".to_owned(),
        };
        let what = format!("{} and {} would both {name} on {}", one.name, other.name, other.listen);
        let place = draft.domain_place.clone();
        return Some(
            Problem::error(place, KeyPath::dotted("domain"), what)
                .right("give each a domain of its own, or an alpn that the other has not")
                .also(first.domain_place.clone(), "the other one"),
        );
    }
    let what = format!("{} and {} would both listen on {}", one.name, other.name, other.listen);
    let right = if by_hello {
        "services share a port only where both listen on the very same address"
    } else {
        "give each a port or an address of its own: only services that end TLS, or pass it \
         through, can share one, told apart by their domain"
    };
    Some(
        Problem::error(draft.listen_place.clone(), KeyPath::dotted("listen_port"), what)
            .right(right)
            .also(first.listen_place.clone(), "taken here"),
    )
}

fn nobody_to_himself(drafts: &[&Draft], problems: &mut Vec<Problem>) {
    let places = Places::of(drafts.iter().map(|draft| &draft.service.listen));
    let mut ways = Ways::among(drafts.len());
    for (from, draft) in drafts.iter().enumerate() {
        for target in &draft.service.pool.targets {
            places.ends(&target.address, reaches).for_each(|to| ways.add(from, to));
        }
    }
    let key = || KeyPath::dotted("proxy");
    for (from, to) in ways.each().filter(|(from, to)| ways.lead(*to, *from)) {
        let (draft, other) = (drafts[from], drafts[to]);
        let (one, two) = (&draft.service.name, &other.service.name);
        let right = "name the servers behind them: a connection would run in a circle";
        let (what, right) = if from == to {
            (
                "a target is this service itself".to_owned(),
                "name the server behind it: a connection would run in a circle",
            )
        } else if ways.has(to, from) {
            (format!("{one} and {two} send to each other"), right)
        } else {
            (format!("{one} sends to {two}, whose connections come back to {one}"), right)
        };
        problems.push(
            Problem::error(draft.targets_place.clone(), key(), what)
                .right(right)
                .also(other.listen_place.clone(), "this is where it ends"),
        );
    }
}
