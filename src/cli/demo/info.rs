//! What `INFO replication` says, in the shape of Redis 7. Pure.

use std::net::SocketAddr;

/// What there is to say of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// A master, and its replica, where one is attached.
    Master {
        /// The replica's address.
        replica: Option<SocketAddr>,
    },
    /// A replica.
    Replica {
        /// Whose it is.
        of: SocketAddr,
        /// Does it hear its master?
        linked: bool,
    },
}

/// The section, with the identity of the data set and how much of it there is.
pub fn replication(standing: Standing, lineage: &str, offset: u64) -> String {
    let mut lines = vec!["# Replication".to_owned()];
    match standing {
        Standing::Master { replica } => {
            lines.push("role:master".to_owned());
            lines.push(format!("connected_slaves:{}", u8::from(replica.is_some())));
            lines.extend(replica.map(|replica| {
                format!(
                    "slave0:ip={},port={},state=online,offset={offset},lag=0",
                    replica.ip(),
                    replica.port()
                )
            }));
        }
        Standing::Replica { of, linked } => {
            let link = if linked { "up" } else { "down" };
            lines.extend([
                "role:slave".to_owned(),
                format!("master_host:{}", of.ip()),
                format!("master_port:{}", of.port()),
                format!("master_link_status:{link}"),
                format!("master_last_io_seconds_ago:{}", if linked { 0 } else { -1 }),
                "master_sync_in_progress:0".to_owned(),
                format!("slave_read_repl_offset:{offset}"),
                format!("slave_repl_offset:{offset}"),
                "slave_priority:100".to_owned(),
                "slave_read_only:1".to_owned(),
                "replica_announced:1".to_owned(),
                "connected_slaves:0".to_owned(),
            ]);
        }
    }
    lines.extend([
        "master_failover_state:no-failover".to_owned(),
        format!("master_replid:{lineage}"),
        format!("master_replid2:{:0>40}", 0),
        format!("master_repl_offset:{offset}"),
        "second_repl_offset:-1".to_owned(),
    ]);
    lines.iter().map(|line| format!("{line}\r\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_the_shape_of_redis() {
        let (one, two) = ("127.0.0.1:7001".parse().unwrap(), "127.0.0.1:7002".parse().unwrap());
        let master = replication(Standing::Master { replica: Some(two) }, "abc", 42);
        assert!(master.starts_with("# Replication\r\nrole:master\r\nconnected_slaves:1\r\n"));
        assert!(
            master.contains("\r\nslave0:ip=127.0.0.1,port=7002,state=online,offset=42,lag=0\r")
        );
        assert!(master.ends_with("master_repl_offset:42\r\nsecond_repl_offset:-1\r\n"));
        let replica = replication(Standing::Replica { of: one, linked: false }, "abc", 42);
        assert!(replica.starts_with("# Replication\r\nrole:slave\r\nmaster_host:127.0.0.1\r\n"));
        assert!(replica.contains("master_port:7001\r\nmaster_link_status:down\r\n"));
    }
}
