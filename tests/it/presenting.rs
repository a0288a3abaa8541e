//! What `validate` says of how a service meets its clients.

use serde_json::json;

use crate::harness::certificates::Authority;
use crate::harness::port::free_port;
use crate::harness::stagedoor::stagedoor;
use crate::harness::target::Target;

#[test]
fn what_is_presented_is_told_before_it_is_and_an_expired_one_is_a_warning() {
    let (authority, target) = (Authority::new("ca"), Target::echo());
    let expired = authority.issue_as(&["a.test", "b.test"], |params| {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    let file = authority.folder().join("service.json");
    let definition = json!({
        "listen_port": free_port(), "protocol": "tls", "domain": "a.test",
        "certificate": expired.path, "proxy": { "target_url": target.address().to_string() },
    });
    std::fs::write(&file, definition.to_string()).unwrap();
    let file = file.display().to_string();
    let output = stagedoor(&["validate", &file], authority.folder());
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{output:?}");
    assert!(said.contains("ask for a.test"), "{said}");
    assert!(said.contains("for a.test, b.test, which has expired"), "{said}");
    let warned = String::from_utf8_lossy(&output.stderr).into_owned();
    let expected = "has expired on 2020-01-01: whoever it is shown to will refuse it";
    assert!(warned.contains(expected), "{warned}");
}

#[test]
fn what_ends_soon_is_a_warning_wherever_in_a_chain_it_stands_but_not_an_authority() {
    const DAY: i64 = 86_400;
    let (authority, target) = (Authority::new("ca"), Target::echo());
    let file = authority.folder().join("service.json");
    // Of a chain only dates are looked at here, so that any certificate may stand for another.
    let warned = |leaf: i64, link: i64| {
        let link = authority.issue_for(&["link.test"], link).certificate;
        let leaf = authority.issue_for(&["a.test"], leaf);
        let chain = format!("{}{link}{}", leaf.certificate, leaf.key);
        std::fs::write(authority.folder().join("chain.pem"), chain).unwrap();
        let definition = json!({
            "listen_port": free_port(), "protocol": "tls", "certificate": "chain.pem",
            "proxy": {
                "target_url": format!("tls://{}", target.address()),
                "transport": { "ssl_ca": "old.pem" },
            },
        });
        std::fs::write(&file, definition.to_string()).unwrap();
        let output = stagedoor(&["validate", "service.json"], authority.folder());
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let old = authority.issue_as(&["old.test"], |params| {
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    std::fs::write(authority.folder().join("old.pem"), old.certificate).unwrap();
    let said = warned(31 * DAY, 31 * DAY);
    assert!(!said.contains("expire"), "{said}");
    let said = warned(29 * DAY + 60, 31 * DAY);
    assert!(said.contains("chain.pem expires in 29 days, on 20"), "{said}");
    assert!(!said.contains("certificate 2"), "{said}");
    let said = warned(31 * DAY, 3_600);
    let expected = "chain.pem (CN=link.test) expires within a day, on 20";
    assert!(said.contains("certificate 2 in ") && said.contains(expected), "{said}");
    let said = warned(31 * DAY, -3_600);
    assert!(said.contains("chain.pem (CN=link.test) has expired on 20"), "{said}");
}
