//! Tuning: the TCP options that every socket of a service carries.
//!
//! Set on a listener, they are inherited by what it accepts (Linux copies them with the socket),
//! which saves six system calls a connection. On a unix socket they mean nothing and are left out.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt;

use crate::config::model::{KeepAlive, SessionLimits};

/// The longest keep-alive idle time and interval that Linux takes.
const LONGEST_KEEP_ALIVE: Duration = Duration::from_secs(32_767);
/// The most keep-alive probes that Linux takes.
const MOST_PROBES: u32 = 127;

/// TCP options of a service's sockets. No delay (RFC 896 off) is always among them: a relay passes
/// on what it has and never waits for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuning {
    /// Keep-alive, rounded to what the kernel takes: whole seconds from 1.
    pub keep_alive: KeepAlive,
    /// TCP_USER_TIMEOUT (RFC 5482): how long sent data may stay unacknowledged.
    pub user_timeout: Option<Duration>,
}

impl Tuning {
    /// What a service's limits ask for.
    pub fn of(limits: &SessionLimits) -> Self {
        Self { keep_alive: limits.keep_alive, user_timeout: limits.tcp_user_timeout }
    }

    /// Sets the options on a TCP socket; a socket that knows no TCP options is left as it is.
    pub fn apply(&self, socket: impl AsFd) -> io::Result<()> {
        let socket = socket.as_fd();
        match sockopt::set_tcp_nodelay(socket, true) {
            Ok(()) => {}
            Err(Errno::OPNOTSUPP | Errno::NOPROTOOPT) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let KeepAlive { idle, interval, count } = self.keep_alive;
        let whole = |time: Duration| time.clamp(Duration::from_secs(1), LONGEST_KEEP_ALIVE);
        sockopt::set_socket_keepalive(socket, true)?;
        sockopt::set_tcp_keepidle(socket, whole(idle))?;
        sockopt::set_tcp_keepintvl(socket, whole(interval))?;
        match self.user_timeout {
            // Linux counts no keep-alive probes where there is a user timeout: one call less for
            // every dial.
            Some(timeout) => {
                sockopt::set_tcp_user_timeout(socket, milliseconds(timeout))?;
            }
            None => sockopt::set_tcp_keepcnt(socket, count.clamp(1, MOST_PROBES))?,
        }
        Ok(())
    }
}

/// The kernel takes an int: more than 24 days is as good as for ever.
fn milliseconds(time: Duration) -> u32 {
    const LONGEST: u32 = i32::MAX as u32;
    u32::try_from(time.as_millis()).map_or(LONGEST, |time| time.clamp(1, LONGEST))
}

impl Default for Tuning {
    fn default() -> Self {
        Self::of(&SessionLimits::default())
    }
}
