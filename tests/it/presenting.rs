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
    assert!(warned.contains("has expired: clients will refuse it"), "{warned}");
}
