//! Casting: a service's targets, and what it makes of them, from its mould.
//!
//! Pure, and the only way from targets to their checks: those that are written and those that are
//! found take it alike.

use std::collections::HashSet;
use std::sync::Arc;

use crate::config::address::{self, Spoken};
use crate::config::check::{Check, CheckKind, HealthSpec, Template, Witnesses};
use crate::config::model::{Service, Target};
use crate::config::mould::{CommonCheck, Found, ListedCheck, Mould, WitnessList};
use crate::config::names::{TargetAddress, TargetKey};
use crate::config::transport::Transport;
use crate::wire::proxy_header::header::Version;

// === impl Mould ===

impl Mould {
    /// The service, with these targets and no others.
    #[must_use]
    pub fn cast(&self, service: &Service, found: &[Found]) -> Service {
        self.over(service, self.targets(found))
    }

    /// The same of targets that have been made.
    #[must_use]
    pub fn over(&self, service: &Service, targets: Vec<Target>) -> Service {
        let mut service = service.clone();
        service.pool.targets = targets;
        service.health = self.health(&service.pool.targets).map(Arc::new);
        service
    }

    /// Everything that is checked of these targets; `None`: nothing is, whatever they are.
    pub fn health(&self, targets: &[Target]) -> Option<HealthSpec> {
        let is_checked = self.for_all.is_some() || !self.listed.is_empty();
        (is_checked && !self.unchecked).then(|| HealthSpec {
            checks: self.checks(targets),
            thresholds: self.thresholds.clone(),
            witness: self.witnesses.as_ref().map(|list| list.about(targets)),
        })
    }

    fn targets(&self, found: &[Found]) -> Vec<Target> {
        let mut names = HashSet::new();
        let targets = found.iter().filter_map(|one| {
            let target = Target::at(one.address.clone());
            let mut target = match one.spoken {
                Spoken::Tcp => target,
                // Whoever listed it has left out what has no name to prove.
                Spoken::Tls => {
                    Target::over_tls(target.address, Arc::new(self.transport.policy(&one.address)?))
                }
            };
            (target.weight, target.backup) = (one.weight, one.backup);
            if let Some(name) = one.name.as_ref().filter(|name| names.insert(Arc::clone(name))) {
                target.name = Arc::clone(name);
            }
            Some(target)
        });
        targets.collect()
    }

    /// What is asked of these targets.
    pub fn checks(&self, targets: &[Target]) -> Vec<Arc<Check>> {
        let of_all = self.for_all.iter().flat_map(|common| {
            targets.iter().map(|target| common.of(target, &self.transport, self.header))
        });
        let listed = self.listed.iter().map(|one| one.bind(targets, &self.transport, self.header));
        let mut checks: Vec<Check> = of_all.chain(listed).collect();
        for check in &mut checks {
            check.keep_open = self.keep_open && check.kind.can_stay_open();
        }
        if let Some(rank) = &self.rank {
            give_rank(rank, &mut checks);
        }
        checks.into_iter().map(Arc::new).collect()
    }
}

/// Each target's first check that makes all of a rank's captures gives it its rank.
fn give_rank(rank: &Template, checks: &mut [Check]) {
    let mut ranked: HashSet<TargetKey> = HashSet::new();
    for check in checks {
        let Some(target) = &check.target else { continue };
        if let CheckKind::Script(script) = &mut check.kind
            && rank.captures().all(|name| script.captures().any(|made| *made == **name))
            && ranked.insert(target.clone())
        {
            script.rank = Some(rank.clone());
        }
    }
}

// === impl CommonCheck ===

impl CommonCheck {
    /// The same, of one target.
    pub fn of(&self, target: &Target, transport: &Transport, header: Option<Version>) -> Check {
        let begun = || Some(Arc::new(transport.policy(&target.address)?.at_once()));
        Check {
            target: Some(target.key.clone()),
            address: target.address.clone(),
            tls: target.tls.clone().or_else(|| self.kind.begins_tls().then(begun).flatten()),
            header,
            about: None,
            kind: self.kind.clone(),
            timeout: self.timeout,
            keep_open: false,
        }
    }
}

// === impl ListedCheck ===

impl ListedCheck {
    /// The target that it speaks for.
    pub fn target<'a>(&self, targets: &'a [Target]) -> Option<&'a Target> {
        let Some(names) = &self.names else { return at(targets, self.spoken, &self.address) };
        targets.iter().find(|target| target.name == *names).or_else(|| {
            let (spoken, address) = address::target(names).ok()?;
            at(targets, names.contains("://").then_some(spoken), &address)
        })
    }

    /// Is it asked over TLS, with this target?
    pub fn is_over_tls(&self, target: Option<&Target>) -> bool {
        let to_target = target.is_some_and(|target| target.tls.is_some());
        self.spoken.map_or(to_target, |spoken| spoken == Spoken::Tls)
    }

    /// Is TLS asked for as targets are asked for it? Other servers may be of another kind.
    fn asks_first(&self, targets: &[Target]) -> bool {
        match &self.kind {
            CheckKind::Postgres(_) => true,
            CheckKind::Script(script) if script.starttls().is_some() => false,
            CheckKind::Script(_) => targets.iter().any(|target| target.address == self.address),
            CheckKind::Http(_) => false,
        }
    }

    /// The check that it is among these targets.
    pub fn bind(
        &self,
        targets: &[Target],
        transport: &Transport,
        header: Option<Version>,
    ) -> Check {
        let target = self.target(targets);
        let policy = || {
            let policy = transport.policy(&self.address)?;
            Some(Arc::new(if self.asks_first(targets) { policy } else { policy.at_once() }))
        };
        Check {
            target: target.map(|target| target.key.clone()),
            address: self.address.clone(),
            tls: (self.is_over_tls(target) || self.kind.begins_tls()).then(policy).flatten(),
            header: self.header(target, header),
            about: None,
            kind: self.kind.clone(),
            timeout: self.timeout,
            keep_open: false,
        }
    }

    /// Which PROXY header it begins with. Where nothing is written of that: as sessions do, if it
    /// asks where they go.
    fn header(&self, target: Option<&Target>, of_sessions: Option<Version>) -> Option<Version> {
        match self.announced {
            Some(true) => Some(of_sessions.unwrap_or(Version::V2)),
            Some(false) => None,
            None => of_sessions.filter(|_| target.is_some_and(|it| it.address == self.address)),
        }
    }
}

/// The target at an address; where one is spoken to in the clear there and one over TLS, the one
/// that the check is like.
fn at<'a>(
    targets: &'a [Target],
    spoken: Option<Spoken>,
    address: &TargetAddress,
) -> Option<&'a Target> {
    let is_like = |target: &&Target| (spoken == Some(Spoken::Tls)) == target.tls.is_some();
    let mut there = targets.iter().filter(|target| target.address == *address);
    let first = there.clone().next();
    there.find(is_like).or(first)
}

// === impl WitnessList ===

impl WitnessList {
    /// What each of them is asked about each of these targets.
    pub fn about(&self, targets: &[Target]) -> Witnesses {
        let checks = self.each.iter().flat_map(|witness| {
            targets.iter().map(|target| {
                Arc::new(Check {
                    target: Some(target.key.clone()),
                    address: witness.address.clone(),
                    about: Some(target.address.clone()),
                    tls: witness.tls.clone(),
                    header: None,
                    kind: CheckKind::Script(witness.script.clone()),
                    timeout: witness.timeout,
                    keep_open: false,
                })
            })
        });
        Witnesses { agree: self.agree, count: self.each.len(), checks: checks.collect() }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use super::*;
    use crate::config::check::Script;
    use crate::config::mould::Witness;

    fn found(text: &str) -> Found {
        let (spoken, address) = address::target(text).unwrap();
        Found::at(spoken, address)
    }

    fn listed(text: &str, names: Option<&str>) -> ListedCheck {
        ListedCheck {
            address: address::target(text).unwrap().1,
            spoken: None,
            names: names.map(Arc::from),
            announced: None,
            kind: CheckKind::Script(Script::default()),
            timeout: Duration::from_secs(1),
        }
    }

    /// `address for target, over TLS` of each check.
    fn checks(mould: &Mould, found: &[Found]) -> Vec<String> {
        let targets = mould.targets(found);
        let health = mould.health(&targets).unwrap();
        let shown = health.all_checks().map(|check| {
            let target = check.target.as_ref().map_or("nobody", TargetKey::as_str);
            let tls = if check.tls.is_some() { ", over TLS" } else { "" };
            format!("{} for {target}{tls}", check.address)
        });
        shown.collect()
    }

    #[test]
    fn every_target_has_the_common_check_and_every_witness_is_asked_about_it() {
        let kind = CheckKind::Script(Script::default());
        let timeout = Duration::from_secs(1);
        let address = address::target("w:9").unwrap().1;
        let witness = Witness { address, tls: None, script: Script::default(), timeout };
        let mould = Mould {
            for_all: Some(CommonCheck { kind, timeout }),
            witnesses: Some(WitnessList { agree: 1, each: vec![witness] }),
            ..Mould::default()
        };
        let expected =
            ["a:1 for a:1", "b:2 for tls://b:2, over TLS", "w:9 for a:1", "w:9 for tls://b:2"];
        assert_eq!(checks(&mould, &[found("a:1"), found("tls://b:2")]), expected);
        assert!(checks(&mould, &[]).is_empty(), "nobody is there, and it is judged all the same");
        assert!(Mould { unchecked: true, ..mould }.health(&[]).is_none());
    }

    #[test]
    fn a_listed_check_finds_its_target_when_that_is_there() {
        let listed =
            vec![listed("a:1", None), listed("a:9", Some("tls://b:2")), listed("c:3", None)];
        let mould = Mould { listed, ..Mould::default() };
        let some = ["a:1 for a:1", "a:9 for tls://b:2, over TLS", "c:3 for nobody"];
        assert_eq!(checks(&mould, &[found("a:1"), found("tls://b:2")]), some);
        let other = ["a:1 for nobody", "a:9 for nobody", "c:3 for c:3"];
        assert_eq!(checks(&mould, &[found("c:3")]), other);
    }

    #[test]
    fn what_is_found_says_weight_backup_and_a_name_of_its_own() {
        let named = |text| Found { name: Some("n".into()), ..found(text) };
        let weight = NonZeroU32::new(3).unwrap();
        let all = [Found { weight, backup: true, ..named("a:1") }, named("b:2")];
        let targets = Mould::default().targets(&all);
        let shown: Vec<_> =
            targets.iter().map(|it| (&*it.name, it.weight.get(), it.backup)).collect();
        assert_eq!(shown, [("n", 3, true), ("b:2", 1, false)], "no name stands for two");
    }
}
