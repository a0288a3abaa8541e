//! How fast a service notices what becomes of its targets, for people and for machines.

use std::time::Duration;

use serde_json::{Value, json};

use crate::config::check::{Check, HealthSpec};
use crate::config::model::{Balance, Service};
use crate::health::detection::{Bounds, Wrong, bounds};

/// What all checks notice, a line each; or a line for each check, where they differ.
pub fn lines(service: &Service, health: &HealthSpec) -> Vec<String> {
    let all: Vec<Bounds> = health.checks.iter().map(|check| of(service, health, check)).collect();
    match &all[..] {
        [] => Vec::new(),
        [first, rest @ ..] if rest.iter().all(|bounds| bounds == first) => parts(first),
        _ => {
            let addresses = health.checks.iter().map(|check| check.address.to_string());
            addresses
                .zip(&all)
                .map(|(at, bounds)| format!("{at}: {}", parts(bounds).join(", ")))
                .collect()
        }
    }
}

/// The bounds of one check, in milliseconds.
pub fn json(service: &Service, health: &HealthSpec, check: &Check) -> Value {
    let Bounds { killed, wrong, silent, back, promoted } = of(service, health, check);
    let within = |wrong: Option<Wrong>| wrong.map(|wrong| millis(wrong.within));
    let unless_resp = |wrong: Option<Wrong>| wrong.and_then(|it| it.unless_resp).map(millis);
    json!({
        "killed": millis(killed),
        "wrong": within(wrong),
        "wrong_unless_resp": unless_resp(wrong),
        "silent": millis(silent),
        "back": millis(back),
        "promoted": within(promoted),
        "promoted_unless_resp": unless_resp(promoted),
    })
}

fn of(service: &Service, health: &HealthSpec, check: &Check) -> Bounds {
    bounds(check, &health.thresholds, service.pool.balance == Balance::Leader)
}

fn parts(bounds: &Bounds) -> Vec<String> {
    let Bounds { killed, wrong, silent, back, promoted } = bounds;
    let mut parts = vec![format!("a killed target within {}", shown(*killed))];
    parts.extend(wrong.as_ref().map(|it| format!("a wrong answer within {}", either(it))));
    parts.push(format!("a silent target within {}", shown(*silent)));
    parts.push(format!("one that is back within {}", shown(*back)));
    parts.extend(promoted.as_ref().map(|it| format!("a promoted one within {}", either(it))));
    parts
}

fn either(wrong: &Wrong) -> String {
    let unless = wrong.unless_resp.filter(|time| *time != wrong.within);
    let unless = unless.map(|time| format!(" ({} if it does not answer in RESP)", shown(time)));
    format!("{}{}", shown(wrong.within), unless.unwrap_or_default())
}

/// Seconds, rounded up to hundredths.
fn shown(time: Duration) -> String {
    let hundredths = millis(time).div_ceil(10);
    let text = format!("{}.{:02}", hundredths / 100, hundredths % 100);
    let text = text.strip_suffix('0').unwrap_or(&text);
    format!("{} s", text.strip_suffix(".0").unwrap_or(text))
}

/// Rounded up.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rounded_up() {
        let check = |micros, expected| {
            assert_eq!(shown(Duration::from_micros(micros)), expected, "{micros}");
        };
        check(276_000, "0.28 s");
        check(270_001, "0.28 s");
        check(3_500_000, "3.5 s");
        check(2_999_999, "3 s");
        check(12_000_000, "12 s");
        check(1, "0.01 s");
    }

    #[test]
    fn a_line_says_what_is_noticed_and_what_it_depends_on() {
        let ms = Duration::from_millis;
        let wrong = Wrong { within: ms(280), unless_resp: Some(ms(3_500)) };
        let promoted = Some(Wrong { within: ms(280), unless_resp: None });
        let (killed, silent, back) = (ms(280), ms(3_500), ms(1_300));
        let all = Bounds { killed, wrong: Some(wrong), silent, back, promoted };
        assert_eq!(
            parts(&all),
            [
                "a killed target within 0.28 s",
                "a wrong answer within 0.28 s (3.5 s if it does not answer in RESP)",
                "a silent target within 3.5 s",
                "one that is back within 1.3 s",
                "a promoted one within 0.28 s",
            ]
        );
        let connect = Bounds { wrong: None, promoted: None, ..all };
        assert_eq!(parts(&connect).len(), 3);
    }
}
