//! A network of a test's own: nothing that it breaks there is felt anywhere else.

use std::process::{Command, Stdio};

use rustix::thread::UnshareFlags;

/// Runs `test` on a thread with a network that holds a loopback and nothing else; the processes
/// and threads that it starts are in there too. Without the right to that, says so and returns.
pub(crate) fn in_own_network(test: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let inside = scope.spawn(|| {
            if enter() {
                test();
            } else {
                eprintln!("skipped: no right to make network namespaces");
            }
        });
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
        eprintln!("skipped: no right to set net/{key}");
    }
    is_set
}

/// Drops what arrives and fits these nftables expressions, until `drop_nothing`; `false`, after
/// saying so, where packets cannot be filtered.
pub(crate) fn drop_packets(expressions: &[&str]) -> bool {
    let made = ran("nft", &["add", "table", "inet", "faults"])
        && ran("nft", &["add chain inet faults in { type filter hook input priority 0; }"]);
    if !made {
        eprintln!("skipped: packets cannot be filtered here");
        return false;
    }
    for expression in expressions {
        assert!(ran("nft", &[&format!("add rule inet faults in {expression} drop")]));
    }
    true
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
        eprintln!("skipped: sockets cannot be destroyed here");
    }
    destroyed
}

fn ran(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
