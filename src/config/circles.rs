//! Circles: targets by which a connection would come back to the service that sent it.
//!
//! Pure. Written ones are refused (`validate/cross`). Of those that are found, the one that closes a
//! circle is left out, as a service's own address is, and everything else is in force: those that
//! are in force already come first, so that whoever joins gives way, whatever its name.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::config::model::{Model, Service, Target};
use crate::config::names::{ListenAddress, ServiceName, TargetAddress, TargetKey};
use crate::config::reach::{port, target_port};

/// Places to listen, by their numbers in order.
pub struct Places<'a> {
    all: Vec<&'a ListenAddress>,
    by_port: HashMap<Option<u16>, Vec<usize>>,
}

/// Who sends to whom, by numbers.
pub struct Ways {
    to: Vec<BTreeSet<usize>>,
}

/// A model without circles.
#[derive(Debug, Clone, PartialEq)]
pub struct Cut {
    /// The model.
    pub model: Model,
    /// What was left out, by service, in words.
    pub left_out: BTreeMap<ServiceName, Vec<String>>,
}

/// Leaves out the targets of `model`, of services that find them, that would close a circle;
/// `in_force` is what it takes the place of, and `ends_at` tells whose connections end where.
pub fn cut(
    model: &Model,
    in_force: &Model,
    ends_at: impl Fn(&TargetAddress, &ListenAddress) -> bool,
) -> Cut {
    let services: Vec<&Arc<Service>> = model.services.values().collect();
    let places = Places::of(services.iter().map(|service| &service.listen));
    let mut ways = Ways::among(services.len());
    let mut found: Vec<(usize, &Target, Vec<usize>)> = Vec::new();
    for (from, service) in services.iter().enumerate() {
        for target in &service.pool.targets {
            let ends: Vec<usize> = places.ends(&target.address, &ends_at).collect();
            if service.discovery.is_none() {
                ends.into_iter().for_each(|to| ways.add(from, to));
            } else if !ends.is_empty() {
                found.push((from, target, ends));
            }
        }
    }
    found.sort_by_key(|(from, target, _)| !is_in_force(in_force, services[*from], target));
    let mut left_out: BTreeMap<ServiceName, (HashSet<TargetKey>, Vec<String>)> = BTreeMap::new();
    for (from, target, ends) in found {
        match ends.iter().find(|to| ways.lead(**to, from)) {
            None => ends.into_iter().for_each(|to| ways.add(from, to)),
            Some(to) => {
                let (keys, words) = left_out.entry(services[from].name.clone()).or_default();
                keys.insert(target.key.clone());
                words.push(in_words(target, services[*to], from == *to));
            }
        }
    }
    let mut model = model.clone();
    for (name, (keys, _)) in &left_out {
        if let Some(service) = model.services.get_mut(name) {
            *service = without(service, keys, in_force);
        }
    }
    let left_out = left_out.into_iter().map(|(name, (_, words))| (name, words)).collect();
    Cut { model, left_out }
}

fn is_in_force(in_force: &Model, service: &Service, target: &Target) -> bool {
    let known = in_force.services.get(&service.name);
    known.is_some_and(|known| known.pool.targets.iter().any(|one| one.key == target.key))
}

/// The service without these targets; the same one as in force where nothing differs.
fn without(service: &Arc<Service>, keys: &HashSet<TargetKey>, in_force: &Model) -> Arc<Service> {
    let Some(discovery) = &service.discovery else { return Arc::clone(service) };
    let targets = service.pool.targets.iter().filter(|target| !keys.contains(&target.key));
    let rest = discovery.mould.over(service, targets.cloned().collect());
    let old = in_force.services.get(&service.name).filter(|old| ***old == rest);
    old.map_or_else(|| Arc::new(rest), Arc::clone)
}

fn in_words(target: &Target, end: &Service, is_itself: bool) -> String {
    if is_itself {
        return format!("{} is this service itself", target.key);
    }
    format!("{} leads through service \"{}\" back to this one", target.key, end.name)
}

// === impl Places ===

impl<'a> Places<'a> {
    /// These.
    pub fn of(all: impl IntoIterator<Item = &'a ListenAddress>) -> Self {
        let all: Vec<_> = all.into_iter().collect();
        let mut by_port: HashMap<Option<u16>, Vec<usize>> = HashMap::new();
        for (number, listen) in all.iter().enumerate() {
            by_port.entry(port(listen)).or_default().push(number);
        }
        Self { all, by_port }
    }

    /// Where connections to a target end, if anywhere here.
    pub fn ends<'b>(
        &'b self,
        target: &'b TargetAddress,
        ends_at: impl Fn(&TargetAddress, &ListenAddress) -> bool + 'b,
    ) -> impl Iterator<Item = usize> + 'b {
        let near = self.by_port.get(&target_port(target)).into_iter().flatten().copied();
        near.filter(move |number| ends_at(target, self.all[*number]))
    }
}

// === impl Ways ===

impl Ways {
    /// Among so many, of whom nobody sends to anybody.
    pub fn among(count: usize) -> Self {
        Self { to: vec![BTreeSet::new(); count] }
    }

    /// One sends to another.
    pub fn add(&mut self, from: usize, to: usize) {
        self.to[from].insert(to);
    }

    /// Does one send to the other, with nobody between?
    pub fn has(&self, from: usize, to: usize) -> bool {
        self.to[from].contains(&to)
    }

    /// Who sends to whom.
    pub fn each(&self) -> impl Iterator<Item = (usize, usize)> {
        self.to.iter().enumerate().flat_map(|(from, to)| to.iter().map(move |to| (from, *to)))
    }

    /// Does what is sent to `from` come to `to`, perhaps through others?
    pub fn lead(&self, from: usize, to: usize) -> bool {
        let (mut seen, mut ahead) = (BTreeSet::from([from]), vec![from]);
        while let Some(here) = ahead.pop() {
            if here == to {
                return true;
            }
            ahead.extend(self.to[here].iter().filter(|next| seen.insert(**next)));
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::config::address;
    use crate::config::discovery::{Directory, Discovery};
    use crate::config::model::{Balance, Closing, Pool, Protocol, SessionLimits};
    use crate::config::mould::{Found, Mould};
    use crate::config::reach::reaches;
    use crate::config::tls::Answers;

    /// `a=b c 9` finds its targets: the listeners of the services b and c, and a server that is
    /// none; `a:b` has its target written. Services listen at the number of their letter.
    fn model(services: &str) -> Model {
        let port = |letter: &str| match letter.parse::<u16>() {
            Ok(port) => port,
            Err(_) => u16::from(letter.as_bytes()[0]),
        };
        let service = |text: &str| {
            let (name, sign, targets) = (&text[..1], &text[1..2], &text[2..]);
            let found = targets.split(',').filter(|it| !it.is_empty());
            let found = found.map(|letter| {
                let (spoken, address) =
                    address::target(&format!("127.0.0.1:{}", port(letter))).unwrap();
                Found::at(spoken, address)
            });
            let discovery = (sign == "=").then(|| Arc::new(discovery()));
            let service = Service { discovery, ..service(name, port(name)) };
            Arc::new(Mould::default().cast(&service, &found.collect::<Vec<_>>()))
        };
        let services = services.split_whitespace().map(service);
        Model { services: services.map(|it| (it.name.clone(), it)).collect(), ..Model::default() }
    }

    fn service(name: &str, port: u16) -> Service {
        let pool = Pool {
            targets: Vec::new(),
            balance: Balance::RoundRobin,
            balance_inferred: false,
            sending: None,
            check_health: false,
            connect_timeout: Duration::from_secs(3),
            retries: 2,
            hold: Duration::ZERO,
            hold_limit: 1_000,
            on_down: Closing::Keep,
            on_removed: Closing::Keep,
            close_spread: Duration::ZERO,
        };
        Service {
            name: ServiceName::new(name),
            source: Path::new("x.json").into(),
            listen: ListenAddress::AnyOnPort(port),
            protocol: Protocol::Tcp,
            answers: Answers::default(),
            receiving: None,
            access: None,
            pool,
            limits: SessionLimits::default(),
            health: None,
            discovery: None,
            events: Arc::default(),
        }
    }

    fn discovery() -> Discovery {
        Discovery {
            directory: Directory::File(Path::new("x.json").into()),
            interval: Duration::from_secs(1),
            by_ttl: false,
            name_servers: Arc::default(),
            timeout: Duration::from_secs(1),
            allow_empty: false,
            first_only: false,
            mould: Mould::default(),
        }
    }

    fn shown(model: &Model) -> String {
        let one = |service: &Arc<Service>| {
            let targets = service.pool.targets.iter().map(|target| match target.address.port() {
                port @ 97..=122 => char::from(u8::try_from(port).unwrap()).to_string(),
                port => port.to_string(),
            });
            let sign = if service.discovery.is_some() { "=" } else { ":" };
            format!("{}{sign}{}", service.name, targets.collect::<Vec<_>>().join(","))
        };
        model.services.values().map(one).collect::<Vec<_>>().join(" ")
    }

    #[track_caller]
    fn check(in_force: &str, found: &str, expected: &str) -> Cut {
        let (in_force, found) = (model(in_force), model(found));
        let cut = cut(&found, &in_force, reaches);
        assert_eq!(shown(&cut.model), expected, "{:?}", cut.left_out);
        assert_eq!(cut.left_out.is_empty(), cut.model == found);
        cut
    }

    #[test]
    fn what_closes_a_circle_is_left_out_and_all_else_is_in_force() {
        let cut = check("", "a=b,9 b=a,9", "a=b,9 b=9");
        let words = &cut.left_out[&ServiceName::new("b")];
        assert_eq!(words, &["127.0.0.1:97 leads through service \"a\" back to this one"]);
        check("", "a=b b=c c=a,9", "a=b b=c c=9");
        check("", "a=b,c b=c c=9", "a=b,c b=c c=9");
        let cut = check("", "a=a,9", "a=9");
        let words = &cut.left_out[&ServiceName::new("a")];
        assert_eq!(words, &["127.0.0.1:97 is this service itself"]);
    }

    #[test]
    fn who_joins_gives_way_to_what_is_in_force_and_both_to_what_is_written() {
        check("a= b=a", "a=b b=a", "a= b=a");
        check("a=b b=", "a=b b=a", "a=b b=");
        check("a=c b=a c=", "a=c b=a c=b", "a=c b=a c=");
        check("a=b", "a=b b:a", "a= b:a");
        check("", "a=b b:c c:a", "a= b:c c:a");
    }

    #[test]
    fn it_is_back_when_the_circle_is_open_elsewhere() {
        check("a= b=a", "a=b b=9", "a=b b=9");
    }

    #[test]
    fn written_targets_are_not_touched() {
        check("", "a:b b:a", "a:b b:a");
    }

    proptest! {
        #[test]
        fn nothing_that_is_found_closes_a_circle_and_nothing_else_is_lost(
            lists in prop::collection::vec(prop::collection::vec(0..6_u8, 0..4), 6),
            before in prop::collection::vec(prop::collection::vec(0..6_u8, 0..4), 6),
        ) {
            let text = |lists: &[Vec<u8>]| {
                let letter = |number: usize| char::from(b'a' + u8::try_from(number).unwrap());
                let one = |(number, list): (usize, &Vec<u8>)| {
                    let to: BTreeSet<String> =
                        list.iter().map(|to| letter(usize::from(*to)).to_string()).collect();
                    format!("{}={}", letter(number), to.into_iter().collect::<Vec<_>>().join(","))
                };
                lists.iter().enumerate().map(one).collect::<Vec<_>>().join(" ")
            };
            let found = model(&text(&lists));
            let first = cut(&found, &cut(&model(&text(&before)), &Model::default(), reaches).model, reaches);
            let ways = |model: &Model| {
                let services: Vec<_> = model.services.values().collect();
                let places = Places::of(services.iter().map(|it| &it.listen));
                let mut ways = Ways::among(services.len());
                for (from, service) in services.iter().enumerate() {
                    for target in &service.pool.targets {
                        places.ends(&target.address, reaches).for_each(|to| ways.add(from, to));
                    }
                }
                ways
            };
            let (all, kept) = (ways(&found), ways(&first.model));
            prop_assert!(kept.each().all(|(from, to)| !kept.lead(to, from)), "a circle is left");
            for (from, to) in all.each().filter(|(from, to)| !kept.has(*from, *to)) {
                prop_assert!(kept.lead(to, from), "{from} to {to} closed none");
            }
            // What is in force stays when it is looked at again.
            prop_assert_eq!(cut(&found, &first.model, reaches).model, first.model);
        }
    }
}
