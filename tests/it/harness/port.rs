//! Ports that nobody else uses.

use std::net::{Ipv6Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below what the kernel gives to outgoing connections: one of those would be in the way.
const FIRST: u16 = 10_000;
const COUNT: u16 = 20_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port that was free a moment ago on every address, and that no other test of this run gets.
pub(crate) fn free_port() -> u16 {
    // Runs side by side begin at places of their own.
    let start = std::process::id().wrapping_mul(7_919) % u32::from(COUNT);
    loop {
        let turn = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let offset = (start + turn) % u32::from(COUNT);
        let port = FIRST + u16::try_from(offset).expect("less than COUNT");
        if TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).is_ok() {
            return port;
        }
    }
}
