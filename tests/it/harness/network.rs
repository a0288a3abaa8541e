//! A network of a test's own: nothing that it breaks there is felt anywhere else.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::{Command, Stdio};

use rustix::thread::UnshareFlags;

/// Runs `test` on a thread with a network that holds a loopback and nothing else; the processes
/// and threads that it starts are in there too. Without the right to that, says so and returns.
pub(crate) fn in_own_network(test: impl FnOnce() + Send) {
    let thread = std::thread::current();
    let named = std::thread::Builder::new().name(thread.name().unwrap_or("a test").to_owned());
    std::thread::scope(|scope| {
        let inside = named.spawn_scoped(scope, || {
            if enter() {
                test();
            } else {
                skipped("no right to make network namespaces");
            }
        });
        let inside = inside.expect("a thread can be started");
        if let Err(panic) = inside.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

#[expect(deprecated, reason = "sound for a network, and keeps the tests free of unsafe code")]
fn enter() -> bool {
    rustix::thread::unshare(UnshareFlags::NEWNET).is_ok() && ran("ip", &["link", "set", "lo", "up"])
}

/// Gives the loopback packets of at most this many bytes.
pub(crate) fn set_mtu(bytes: u16) {
    assert!(ran("ip", &["link", "set", "lo", "mtu", &bytes.to_string()]));
}

/// Sets a value below `/proc/sys/net` of the own network; `false`, after saying so, without the
/// right to.
pub(crate) fn set(key: &str, value: &str) -> bool {
    let is_set = std::fs::write(format!("/proc/sys/net/{key}"), value).is_ok();
    if !is_set {
        skipped(&format!("no right to set net/{key}"));
    }
    is_set
}

/// Drops what arrives and fits these nftables expressions, until `drop_nothing`; `false`, after
/// saying so, where packets cannot be filtered.
pub(crate) fn drop_packets(expressions: &[&str]) -> bool {
    let made = ran("nft", &["add", "table", "inet", "faults"])
        && ran("nft", &["add chain inet faults in { type filter hook input priority 0; }"]);
    if !made {
        skipped("packets cannot be filtered here");
        return false;
    }
    for expression in expressions {
        assert!(ran("nft", &[&format!("add rule inet faults in {expression} drop")]));
    }
    true
}

/// Drops what these addresses send to those, and those to these, until `drop_nothing`.
pub(crate) fn cut(these: &[Ipv4Addr], those: &[Ipv4Addr]) -> bool {
    let set = |addresses: &[Ipv4Addr]| {
        addresses.iter().map(Ipv4Addr::to_string).collect::<Vec<_>>().join(", ")
    };
    let (these, those) = (set(these), set(those));
    drop_packets(&[
        &format!("ip saddr {{ {these} }} ip daddr {{ {those} }}"),
        &format!("ip saddr {{ {those} }} ip daddr {{ {these} }}"),
    ])
}

/// Lets everything arrive again.
pub(crate) fn drop_nothing() {
    assert!(ran("nft", &["flush", "table", "inet", "faults"]));
}

/// Destroys, as an administrator does, the sockets that `ss` selects so; `false`, after saying so,
/// where the kernel does not.
pub(crate) fn destroy_sockets(selection: &str) -> bool {
    let selection = selection.split_whitespace();
    let output = Command::new("ss").args(["-K", "-H", "-t", "-n"]).args(selection).output();
    let destroyed = output.is_ok_and(|output| !output.stdout.is_empty());
    if !destroyed {
        skipped("sockets cannot be destroyed here");
    }
    destroyed
}

/// How many connections of the loopback's first address to this one are established.
pub(crate) fn established(to: SocketAddrV4) -> usize {
    let hex = |address: SocketAddrV4| {
        let ip = u32::from_ne_bytes(address.ip().octets());
        format!("{ip:08X}:{:04X}", address.port())
    };
    let from = hex(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));
    let (from, to) = (from.trim_end_matches("0000").to_owned(), hex(to));
    let table = std::fs::read_to_string("/proc/thread-self/net/tcp").expect("Linux has it");
    let is_between = |line: &&str| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, remote, state) = (fields.next(), fields.next(), fields.next());
        local.is_some_and(|local| local.starts_with(&from))
            && remote == Some(&to)
            && state == Some("01")
    };
    table.lines().filter(is_between).count()
}

/// Says that this test was skipped, past whatever captures the output of tests that pass.
fn skipped(why: &str) {
    let thread = std::thread::current();
    let line = format!("{}: skipped: {why}\n", thread.name().unwrap_or("a test"));
    // If nobody listens, nobody needs to know.
    std::io::stderr().write_all(line.as_bytes()).ok();
}

fn ran(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
