//! What a service manager such as systemd hears, and the sockets that it hands over.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use serde_json::json;

use crate::harness::client::{connect, exchange};
use crate::harness::eventually::eventually;
use crate::harness::port::free_port;
use crate::harness::stagedoor::Stagedoor;
use crate::harness::target::Target;

fn definition(listen: u16, target: &Target) -> serde_json::Value {
    json!({
        "name": "managed", "listen_port": listen, "protocol": "tcp",
        "proxy": { "target_url": target.address() },
    })
}

/// A service manager that only listens.
struct Manager {
    socket: UnixDatagram,
    /// `NOTIFY_SOCKET=…`
    variable: String,
    _folder: tempfile::TempDir,
}

impl Manager {
    fn at_a_path() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        Self::of(socket, path.display().to_string(), folder)
    }

    fn at_an_abstract_name() -> Self {
        let name = format!("stagedoor-test-{}", free_port());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        Self::of(socket, format!("@{name}"), tempfile::tempdir().unwrap())
    }

    fn of(socket: UnixDatagram, name: String, folder: tempfile::TempDir) -> Self {
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self { socket, variable: format!("NOTIFY_SOCKET={name}"), _folder: folder }
    }

    fn hears(&self) -> String {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).expect("it is told something");
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }
}

#[test]
fn a_manager_is_told_of_the_start_of_reloads_and_of_the_end() {
    for manager in [Manager::at_a_path(), Manager::at_an_abstract_name()] {
        let (target, listen) = (Target::echo(), free_port());
        let definition = definition(listen, &target);
        let mut stagedoor = Stagedoor::launch(&["env", &manager.variable], &[&definition], &[]);
        assert_eq!(manager.hears(), "READY=1\nSTATUS=1 service");
        // Whoever hears that may connect.
        assert_eq!(exchange(listen, b"now").0, b"now");
        let mut other = definition.clone();
        other["proxy"]["connect_timeout"] = json!("1s");
        for (written, words) in [
            (other.to_string(), "1 service"),
            ("{".to_owned(), "1 service; the last reload was refused"),
        ] {
            std::fs::write(stagedoor.file(), written).unwrap();
            stagedoor.signal(rustix::process::Signal::HUP);
            let begun = manager.hears();
            let time = begun.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect(&begun);
            assert!(time.parse::<u64>().unwrap() > 0);
            assert_eq!(manager.hears(), format!("READY=1\nSTATUS={words}"));
        }
        let session = connect(listen);
        stagedoor.signal(rustix::process::Signal::TERM);
        // shutdown.timeout, and a little.
        assert_eq!(manager.hears(), "STOPPING=1\nEXTEND_TIMEOUT_USEC=35000000");
        drop(session);
        assert!(stagedoor.ended().success());
    }
}

#[test]
fn a_manager_that_watches_hears_from_us_again_and_again() {
    let manager = Manager::at_a_path();
    let wrapper = ["env", &manager.variable, "WATCHDOG_USEC=20000"];
    let _stagedoor = Stagedoor::launch(&wrapper, &[&definition(free_port(), &Target::echo())], &[]);
    assert!(manager.hears().starts_with("READY=1"));
    for _ in 0..5 {
        assert_eq!(manager.hears(), "WATCHDOG=1");
    }
}

#[test]
fn a_watch_over_another_process_and_a_manager_that_is_gone_change_nothing() {
    let manager = Manager::at_a_path();
    let wrapper = ["env", &manager.variable, "WATCHDOG_USEC=20000", "WATCHDOG_PID=1"];
    let (target, listen) = (Target::echo(), free_port());
    let stagedoor = Stagedoor::launch(&wrapper, &[&definition(listen, &target)], &[]);
    assert!(manager.hears().starts_with("READY=1"));
    stagedoor.command(&["reload"]);
    // Nothing stands between.
    assert!(manager.hears().starts_with("RELOADING=1"));
    assert!(manager.hears().starts_with("READY=1"));
    drop(manager);
    stagedoor.command(&["reload"]);
    stagedoor.logged("the service manager does not hear RELOADING");
    assert_eq!(exchange(listen, b"still").0, b"still");
    let nowhere = Stagedoor::run_under(
        &["env", "NOTIFY_SOCKET=nowhere"],
        &[&definition(free_port(), &target)],
        &[],
    );
    nowhere.logged("nowhere is neither a path nor an abstract name");
}

/// systemd's own tool binds, waits for a first client, and becomes the proxy.
#[test]
fn sockets_that_are_handed_over_are_served_with_those_who_wait_there() {
    let (target, listen, other) = (Target::echo(), free_port(), free_port());
    let address = |port: u16| format!("--listen=127.0.0.1:{port}");
    let (address, unused) = (address(listen), address(other));
    let wrapper = ["systemd-socket-activate", &address, &unused];
    let mut definition = definition(listen, &target);
    definition["listen_address"] = json!("127.0.0.1");
    let stagedoor = Stagedoor::launch(&wrapper, &[&definition], &[]);
    let mut first =
        eventually("somebody listens", || TcpStream::connect(("127.0.0.1", listen)).ok());
    first.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    first.write_all(b"first").unwrap();
    let mut heard = [0; 5];
    first.read_exact(&mut heard).expect("whoever came before the proxy is served by it");
    assert_eq!(&heard, b"first");
    stagedoor.logged(&format!("no service listens at 127.0.0.1:{other}"));
    // Given up and wanted again: somebody else has it bound all the time.
    let mut elsewhere = definition.clone();
    elsewhere["listen_port"] = json!(free_port());
    for definition in [&elsewhere, &definition] {
        std::fs::write(stagedoor.file(), definition.to_string()).unwrap();
        let output = stagedoor.command(&["reload"]);
        assert!(output.status.success(), "{output:?}");
    }
    assert_eq!(exchange(listen, b"again").0, b"again");
}

#[test]
fn what_is_no_listening_socket_is_left_alone_and_told() {
    let definition = definition(free_port(), &Target::echo());
    // 3 and 4: a file, and nothing.
    let script = "exec 3</dev/null; LISTEN_FDS=2 LISTEN_PID=$$ exec \"$@\"";
    let stagedoor = Stagedoor::run_under(&["sh", "-c", script, "sh"], &[&definition], &[]);
    for index in [0, 1] {
        stagedoor.logged(&format!("socket {index} is not used: it is neither a TCP nor a unix"));
    }
}
