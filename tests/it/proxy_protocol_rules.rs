//! The PROXY protocol in a definition: what is wrong is told, and what is dangerous.

use crate::definitions::{Files, TARGET, key_refused};

#[test]
fn who_may_send_a_header_is_said_without_doubt() {
    let refuse = |keys: &str, expected: &[&str]| {
        let keys = format!("\"listen_port\": 1, \"enable_proxy_protocol\": true, {keys}, {TARGET}");
        key_refused(&keys, expected);
    };
    refuse(
        "\"proxy_protocol_from\": [\"10.0.0.0/8\", \"10.1.2.3/8\"]",
        &["proxy_protocol_from[1]", "write 10.0.0.0/8, or 10.1.2.3", "f.json:1:90"],
    );
    refuse("\"proxy_protocol_from\": [\"lb\"]", &["lb is no IP address"]);
    refuse("\"proxy_protocol_from\": []", &["the list is empty"]);
    refuse("\"proxy_protocol_others\": \"direct\"", &["there are no others"]);
    let from = "\"proxy_protocol_from\": [\"::1\"]";
    refuse(
        &format!("{from}, \"proxy_protocol_others\": \"drop\""),
        &["proxy_protocol_others", "is not one of refuse, direct"],
    );
    let unix = format!("\"listen_address\": \"unix:/s\", \"enable_proxy_protocol\": true, {from}");
    key_refused(&format!("{unix}, {TARGET}"), &["have no addresses"]);
    let warned = |keys: &str, expected: &str| {
        let files = Files::new();
        let text = format!("{{ \"listen_port\": 1, {keys}, {TARGET} }}");
        let output = files.write("f.json", text).validate(&["f.json"]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && said.contains(expected), "{said}");
        String::from_utf8(output.stdout).unwrap()
    };
    warned("\"enable_proxy_protocol\": true", "anyone may say to be any client");
    warned(from, "`proxy_protocol_from` does nothing");
    let shown = warned(&format!("\"enable_proxy_protocol\": true, {from}"), "");
    assert!(shown.contains("a PROXY header is required by ::1; others are refused"), "{shown}");
}

#[test]
fn services_of_one_port_expect_the_same_header() {
    let files = Files::new();
    let service = |name: &str, keys: &str| {
        format!(
            "{{ \"listen_port\": 1, \"protocol\": \"tls_passthrough\", \"domain\": \"{name}.test\", \
             {keys} {TARGET} }}"
        )
    };
    let header = "\"enable_proxy_protocol\": true, \"proxy_protocol_from\": [\"::1\"],";
    files
        .write("a.json", service("a", header))
        .write("b.json", service("b", header))
        .write("c.json", service("c", ""));
    assert!(files.validate(&["a.json", "b.json"]).status.success());
    let output = files.validate(&["a.json", "b.json", "c.json"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    for expected in [
        "a and c share *:1, and expect different PROXY headers",
        "for a, a PROXY header is required by ::1",
        "for c, none is read",
        "c.json:1:62",
    ] {
        assert!(said.contains(expected), "misses {expected:?} in:\n{said}");
    }
}

#[test]
fn what_targets_are_told_is_said_without_doubt() {
    let proxy = |keys: &str| {
        format!("\"listen_port\": 1, \"proxy\": {{ \"target_url\": \"a:1\", {keys} }}")
    };
    let refuse = |keys: &str, expected: &[&str]| key_refused(&proxy(keys), expected);
    refuse("\"send_proxy_protocol\": \"v3\"", &["\"v3\" is not one of v1, v2"]);
    refuse("\"proxy_protocol_tlvs\": [\"sni\"]", &["they are sent in a PROXY header"]);
    let tlvs = "\"proxy_protocol_tlvs\": [\"sni\", \"unique_id\"]";
    refuse(&format!("\"send_proxy_protocol\": \"v1\", {tlvs}"), &["has no room for them"]);
    refuse(
        "\"send_proxy_protocol\": \"v2\", \"proxy_protocol_tlvs\": [\"snl\"]",
        &["proxy_protocol_tlvs[0]", "did you mean `sni`?"],
    );
    let files = Files::new();
    let text = format!("{{ {} }}", proxy(&format!("\"send_proxy_protocol\": \"v2\", {tlvs}")));
    let output = files.write("f.json", text).validate(&["f.json"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("told first a PROXY header, version 2 with sni, unique_id"), "{said}");
    let received = "\"send_proxy_protocol\": \"v2\", \"proxy_protocol_tlvs\": [\"received\"]";
    let output = files.write("f.json", format!("{{ {} }}", proxy(received))).validate(&["f.json"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.contains("`received` does nothing"), "{said}");
    let believed = format!(
        "\"enable_proxy_protocol\": true, \"proxy_protocol_from\": [\"::1\"], {}",
        proxy(received)
    );
    let output = files.write("f.json", format!("{{ {believed} }}")).validate(&["f.json"]);
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8(said).unwrap()).concat();
    assert!(
        said.contains("version 2 with what was received") && !said.contains("does nothing"),
        "{said}"
    );
}
