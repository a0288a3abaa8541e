//! Certificate files are watched: what is renewed serves the next handshake, without a reload, and
//! what is broken changes nothing.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use rcgen::SerialNumber;
use rustls::HandshakeKind;
use serde_json::{Value, json};

use crate::harness::certificates::{Authority, Issued, rename_over};
use crate::harness::eventually::eventually;
use crate::harness::port::free_port;
use crate::harness::stagedoor::Stagedoor;
use crate::harness::target::Target;
use crate::harness::tls::{Trust, echoed};

/// A service that presents what is in `file`, and who signs that.
struct World {
    authority: Authority,
    target: Target,
    listen: u16,
    file: PathBuf,
}

impl World {
    fn new() -> Self {
        let authority = Authority::new("ca");
        let file = authority.folder().join("presented.pem");
        std::fs::copy(authority.issue(&["a.test"]).path, &file).unwrap();
        Self { authority, target: Target::echo(), listen: free_port(), file }
    }

    fn definition(&self) -> Value {
        json!({
            "name": "renewed", "listen_port": self.listen, "listen_address": "127.0.0.1",
            "protocol": "tls", "certificates": self.file,
            "proxy": { "target_url": self.target.address().to_string() },
        })
    }

    /// Another certificate for the same name.
    fn renewed(&self) -> Issued {
        self.authority.issue(&["a.test", "renewed.test"])
    }

    fn trust(&self) -> Trust {
        Trust::of(&self.authority).forgetful()
    }

    /// The certificate that is presented now.
    fn presented(&self) -> Vec<u8> {
        let tls = self.trust().connect(self.listen, "a.test").unwrap();
        tls.conn.peer_certificates().unwrap()[0].to_vec()
    }

    /// Waits until this one is presented.
    #[track_caller]
    fn presents(&self, issued: &Issued) {
        let expected = der(issued);
        eventually("it is presented", || (self.presented() == expected).then_some(()));
    }
}

fn der(issued: &Issued) -> Vec<u8> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap().to_vec()
}

fn both(issued: &Issued) -> String {
    format!("{}{}", issued.certificate, issued.key)
}

fn first_service(stagedoor: &Stagedoor) -> Value {
    stagedoor.json(&["status"])["services"][0].clone()
}

#[test]
fn a_renewed_certificate_serves_the_next_handshake_however_it_came_there() {
    let world = World::new();
    // Behind two links, as Kubernetes has it.
    let folder = world.authority.folder();
    let (data, link) = (folder.join("..data"), folder.join("linked.pem"));
    let in_folder = |name: &str, issued: &Issued| {
        std::fs::create_dir(folder.join(name)).unwrap();
        std::fs::write(folder.join(name).join("linked.pem"), both(issued)).unwrap();
    };
    in_folder("one", &world.renewed());
    std::os::unix::fs::symlink("one", &data).unwrap();
    std::os::unix::fs::symlink("..data/linked.pem", &link).unwrap();
    let mut definition = world.definition();
    definition["certificates"] = json!(link);
    let stagedoor = Stagedoor::run(&definition);
    let mut living = world.trust().connect(world.listen, "a.test").unwrap();
    let mut check = |change: &dyn Fn(&Issued)| {
        let (renewed, mark) = (world.renewed(), stagedoor.mark());
        change(&renewed);
        world.presents(&renewed);
        let line = stagedoor.logged_after(mark, r#"certificate of service "renewed" renewed"#);
        assert!(line.contains(": a.test, renewed.test, until "), "{line}");
        assert_eq!(echoed(&mut living, b"lives"), b"lives");
    };
    check(&|renewed| {
        in_folder("two", renewed);
        std::os::unix::fs::symlink("two", folder.join("..next")).unwrap();
        std::fs::rename(folder.join("..next"), &data).unwrap();
    });
    check(&|renewed| rename_over(&folder.join("two/linked.pem"), &both(renewed)));
    check(&|renewed| std::fs::write(&link, both(renewed)).unwrap());
    assert!(stagedoor.complaints().is_empty(), "{:?}", stagedoor.complaints());
}

#[test]
fn a_broken_new_file_is_told_of_once_and_the_old_certificate_stays_until_there_is_a_good_one() {
    let world = World::new();
    let stagedoor = Stagedoor::run(&world.definition());
    let old = world.presented();
    let (renewed, other) = (world.renewed(), world.authority.issue(&["other.test"]));
    let check = |change: &dyn Fn(), why: &str| {
        let mark = stagedoor.mark();
        change();
        let line = stagedoor.logged_after(mark, why);
        assert!(line.contains(" error ") && line.contains("stays in use"), "{line}");
        assert!(line.contains(&world.file.display().to_string()), "{line}");
        assert_eq!(world.presented(), old, "{why}");
        let certificate = &first_service(&stagedoor)["certificates"][0];
        eventually("status tells the same", || {
            let fault = first_service(&stagedoor)["certificates"][0]["fault"].clone();
            fault.as_str().is_some_and(|fault| fault.contains(why)).then_some(())
        });
        assert_eq!(certificate["names"], json!(["a.test"]), "what is in use is shown");
    };
    let write = |text: &str| rename_over(&world.file, text);
    // The certificate first and its key a moment later, as with two files that are copied.
    check(&|| write(&format!("{}{}", renewed.certificate, other.key)), "does not belong to");
    check(&|| write(&renewed.certificate), "no private key");
    check(&|| write(&format!("{}{}", both(&renewed), other.key)), "more than one private key");
    check(&|| write(&both(&renewed)[..500]), "has no end");
    check(&|| std::fs::remove_file(&world.file).unwrap(), "there is no such file");
    check(&|| std::fs::create_dir(&world.file).unwrap(), "a folder, not a regular file");
    let output = stagedoor.command(&["status"]);
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(shown.contains("ALARM: the file was changed since, and is not taken"), "{shown}");
    assert_eq!(stagedoor.complaints().len(), 6, "each once: {:?}", stagedoor.complaints());

    std::fs::remove_dir(&world.file).unwrap();
    write(&both(&renewed));
    world.presents(&renewed);
    eventually("nothing is wrong any more", || {
        first_service(&stagedoor)["certificates"][0]["fault"].is_null().then_some(())
    });
}

#[test]
fn what_was_edited_beside_it_is_left_for_a_reload() {
    let world = World::new();
    let stagedoor = Stagedoor::run(&world.definition());
    std::fs::write(stagedoor.file(), "{ half").unwrap();
    let renewed = world.renewed();
    rename_over(&world.file, &both(&renewed));
    world.presents(&renewed);
    assert!(stagedoor.complaints().is_empty(), "{:?}", stagedoor.complaints());
    // A reload that is refused takes nothing back, and does not end the watch.
    assert!(!stagedoor.command(&["reload"]).status.success());
    assert_eq!(world.presented(), der(&renewed));
    let again = world.renewed();
    rename_over(&world.file, &both(&again));
    world.presents(&again);
    // So it is with one that is refused for a broken certificate.
    std::fs::write(stagedoor.file(), world.definition().to_string()).unwrap();
    rename_over(&world.file, &again.certificate);
    assert!(!stagedoor.command(&["reload"]).status.success());
    assert_eq!(world.presented(), der(&again));
}

#[test]
fn a_reload_takes_a_renewed_certificate_at_once_and_says_so() {
    let world = World::new();
    let stagedoor = Stagedoor::run(&world.definition());
    let renewed = world.renewed();
    rename_over(&world.file, &both(&renewed));
    let output = stagedoor.command(&["reload"]);
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!said.contains("targets"), "they are what they were: {said}");
    assert_eq!(world.presented(), der(&renewed));
    // Whoever was first has said it, the reload or the watch.
    stagedoor.logged(r#"certificate of service "renewed" renewed: a.test, renewed.test"#);
}

#[test]
fn clients_that_are_taken_back_are_refused_without_a_reload() {
    let world = World::new();
    let clients = Authority::new("clients");
    let issue = |name, serial: u64| {
        clients.issue_as(&[name], |params| params.serial_number = Some(SerialNumber::from(serial)))
    };
    let (stays, goes) = (issue("stays", 65), issue("goes", 66));
    let list = clients.folder().join("revoked.pem");
    std::fs::write(&list, clients.revoke(&[1])).unwrap();
    let mut definition = world.definition();
    definition["use_mutual_tls_auth"] = json!(true);
    definition["client_certificates"] = json!(clients.path());
    definition["client_crl"] = json!(list);
    let stagedoor = Stagedoor::run(&definition);
    let [stays, goes] = [&stays, &goes].map(|one| Trust::of(&world.authority).showing(one));
    for trust in [&stays, &goes] {
        let mut tls = trust.connect(world.listen, "a.test").unwrap();
        assert_eq!(echoed(&mut tls, b"x"), b"x");
    }
    rename_over(&list, &clients.revoke(&[66]));
    stagedoor.logged(r#"revocation list of service "renewed" renewed"#);
    // Not even by a ticket from before.
    assert!(goes.refused(world.listen, "a.test").contains("alert"));
    let mut served = stays.connect(world.listen, "a.test").unwrap();
    assert_eq!(echoed(&mut served, b"x"), b"x");

    // Another authority: tickets of the old one are worth nothing, sessions go on.
    std::fs::write(clients.folder().join("authority.pem"), Authority::new("others").pem()).unwrap();
    stagedoor.logged(r#"authority of clients of service "renewed" renewed"#);
    assert!(stays.refused(world.listen, "a.test").contains("alert"));
    assert_eq!(echoed(&mut served, b"lives"), b"lives");
}

#[test]
fn tickets_outlive_a_renewed_certificate() {
    let world = World::new();
    let stagedoor = Stagedoor::run(&world.definition());
    let trust = Trust::of(&world.authority);
    let mut tls = trust.connect(world.listen, "a.test").unwrap();
    assert_eq!(echoed(&mut tls, b"x"), b"x");
    rename_over(&world.file, &both(&world.renewed()));
    stagedoor.logged("renewed: a.test");
    let tls = trust.connect(world.listen, "a.test").unwrap();
    assert_eq!(tls.conn.handshake_kind(), Some(HandshakeKind::Resumed));
}

#[test]
fn the_end_of_a_certificate_is_told_in_time_and_shown() {
    const DAY: i64 = 86_400;
    let world = World::new();
    let authority = &world.authority;
    let named = |name: &str, left: i64| authority.issue_for(&[name], left * DAY + 3_600).path;
    let mut definition = world.definition();
    definition["certificates"] = json!([
        named("far.test", 31),
        named("month.test", 29),
        named("week.test", 6),
        named("day.test", 0),
        named("past.test", -2),
    ]);
    let stagedoor = Stagedoor::run(&definition);
    let check = |text: &str, level: &str| {
        let line = stagedoor.logged(text);
        assert!(line.contains(level) && line.contains(": renew it"), "{line}");
        assert!(line.contains(r#"certificate of service "renewed" ("#), "{line}");
    };
    check("month.test) expires in 29 days, on 20", " warn ");
    check("week.test) expires in 6 days", " warn ");
    check("day.test) expires within a day", " warn ");
    check("past.test) has expired on 20", " error ");
    let status = first_service(&stagedoor);
    let certificates = status["certificates"].as_array().unwrap();
    let shown = |key: &str| certificates.iter().map(|one| one[key].clone()).collect::<Vec<_>>();
    assert_eq!(shown("expiry"), ["far", "30 days", "7 days", "1 day", "expired"]);
    assert_eq!(shown("days_left"), [31, 29, 6, 0, -2]);
    assert!(certificates.iter().all(|one| one["not_after"].is_i64()), "{status}");
    let output = stagedoor.command(&["status"]);
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(shown.contains("certificate week.test: good for 6 days, until 20"), "{shown}");

    // A renewed one is told as such, and nothing of its end.
    let mark = stagedoor.mark();
    authority.issue_for(&["week.test"], 90 * DAY);
    stagedoor.logged_after(mark, "renewed: week.test, until 20");
    let log = stagedoor.log();
    let again = |line: &&String| line.contains("expire") && line.contains("month.test");
    assert_eq!(log.iter().skip(mark).find(again), None, "each is told once");
}

#[test]
fn a_link_of_a_chain_that_ends_soon_is_told_and_shown_by_itself() {
    let world = World::new();
    let link = |left: i64| world.authority.issue_for(&["link.test"], left).certificate;
    let with = |link: &str| {
        let issued = world.renewed();
        format!("{}{link}{}", issued.certificate, issued.key)
    };
    rename_over(&world.file, &with(&link(6 * 86_400 + 3_600)));
    let stagedoor = Stagedoor::run(&world.definition());
    let line = stagedoor.logged(", link.test) expires in 6 days");
    let expected = r#"certificate 2 in the chain of the certificate of service "renewed" ("#;
    assert!(line.contains(expected), "{line}");
    let shown = || first_service(&stagedoor)["certificates"].as_array().unwrap().clone();
    let certificates = shown();
    assert_eq!(certificates.len(), 2, "{certificates:#?}");
    assert_eq!(certificates[1]["what"], "certificate 2 in the chain of the certificate");
    assert_eq!(certificates[1]["expiry"], "7 days");

    // Renewed, it is told of with its leaf, and there is nothing to show of it.
    let mark = stagedoor.mark();
    rename_over(&world.file, &with(&link(90 * 86_400)));
    stagedoor.logged_after(mark, "renewed: a.test");
    eventually("it is good for long", || (shown().len() == 1).then_some(()));
    let log = stagedoor.log();
    let renewed = log.iter().skip(mark).filter(|line| line.contains(" renewed")).count();
    assert_eq!(renewed, 1, "{log:#?}");
}

#[test]
fn no_handshake_fails_while_certificates_are_renewed() {
    let world = World::new();
    let stagedoor = Stagedoor::run(&world.definition());
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let mut tls = world.trust().connect(world.listen, "a.test").unwrap();
                    assert_eq!(echoed(&mut tls, b"x"), b"x");
                }
            });
        }
        for _ in 0..20 {
            let renewed = world.renewed();
            rename_over(&world.file, &both(&renewed));
            assert!(stagedoor.command(&["reload"]).status.success());
            assert_eq!(world.presented(), der(&renewed), "from the answer on");
        }
        for _ in 0..2 {
            let renewed = world.renewed();
            rename_over(&world.file, &both(&renewed));
            world.presents(&renewed);
        }
        over.store(true, Ordering::Relaxed);
    });
    assert_eq!(first_service(&stagedoor)["failed_handshakes"], 0);
}

#[test]
fn whatever_is_reloaded_meanwhile_the_newest_is_served() {
    let world = World::new();
    let stagedoor = Stagedoor::run(&world.definition());
    std::thread::scope(|scope| {
        for _ in 0..5 {
            scope.spawn(|| {
                for _ in 0..4 {
                    rename_over(&world.file, &both(&world.renewed()));
                    stagedoor.command(&["reload"]);
                }
            });
        }
    });
    let newest = world.renewed();
    rename_over(&world.file, &both(&newest));
    world.presents(&newest);
    let definition = std::fs::read_to_string(stagedoor.file()).unwrap();
    std::fs::write(stagedoor.file(), definition.replace("renewed", "called otherwise")).unwrap();
    assert!(stagedoor.command(&["reload"]).status.success());
    let again = world.renewed();
    rename_over(&world.file, &both(&again));
    world.presents(&again);
}

#[cfg(feature = "chaos")]
#[test]
fn the_watch_goes_on_when_whoever_keeps_it_falls_or_its_thread_dies() {
    let world = World::new();
    let stagedoor = Stagedoor::run(&world.definition());
    for (component, fault) in
        [("certificates", "panic"), ("certificates", "stop"), ("arbiter/control", "kill")]
    {
        eventually("it is hit", || stagedoor.hit(component, fault).then_some(()));
        let renewed = world.renewed();
        rename_over(&world.file, &both(&renewed));
        world.presents(&renewed);
    }
}
