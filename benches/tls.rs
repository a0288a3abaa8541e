//! What TLS costs, side by side: processor time for a handshake (full, resumed) and for a GB, of
//! stagedoor and, where they are installed, of HAProxy and nginx.
//!
//! Everybody has one thread, TLS 1.3, and an ECDSA P-256 certificate. Their turns alternate, so that
//! a drift of the machine hits all of them; the figure is the median, with the lowest and the
//! highest. Only the proxy's own time counts, which hardly depends on how fast its clients are.
//! `STAGEDOOR_RUNS` says how many rounds there are (3).

#![allow(dead_code, reason = "a harness has more than one user")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot set up has failed")]

#[path = "../tests/it/harness/mod.rs"]
mod harness;

use std::io::{Read, Write};
use std::path::PathBuf;

use rustls::version::TLS13;
use serde_json::{Value, json};

use crate::harness::balancer::Balancer;
use crate::harness::certificates;
use crate::harness::client::connect;
use crate::harness::identity::{Asks, Authority, server_config};
use crate::harness::port::free_port;
use crate::harness::stagedoor::Stagedoor;
use crate::harness::target::Target;
use crate::harness::tls::Trust;
use crate::harness::tls_target::TlsTarget;

const NAME: &str = "bench.test";
const HANDSHAKES: u32 = 1_000;
const CLIENTS: u32 = 4;
const BULK: u64 = 512 << 20;

/// A proxy that is measured.
#[derive(Debug, Clone, Copy)]
enum Proxy {
    Stagedoor,
    Haproxy,
    Nginx,
}

/// What it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scenario {
    Full,
    Resumed,
    /// Bulk from a plain target to a client inside TLS.
    Ended,
    /// Bulk from a target inside TLS to a plain client.
    Begun,
    /// Bulk with TLS on both sides.
    Both,
}

/// One that runs.
enum Running {
    Stagedoor(Stagedoor),
    Balancer(Balancer),
}

/// Those who are there in every scenario.
struct Stage {
    ours: certificates::Authority,
    theirs: Authority,
    certificate: PathBuf,
    plain: Target,
    secure: TlsTarget,
}

fn main() {
    let runs = std::env::var("STAGEDOOR_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(3);
    let stage = Stage::set();
    let mut proxies = vec![Proxy::Stagedoor];
    proxies.extend(is_there("haproxy").then_some(Proxy::Haproxy));
    proxies.extend(is_there("nginx").then_some(Proxy::Nginx));
    println!("processor time of the proxy; median of {runs}, lowest to highest");
    for (scenario, title, unit) in [
        (Scenario::Full, "handshake, full", "µs"),
        (Scenario::Resumed, "handshake, resumed", "µs"),
        (Scenario::Ended, "plain target → TLS client", "s/GB"),
        (Scenario::Begun, "TLS target → plain client", "s/GB"),
        (Scenario::Both, "TLS target → TLS client", "s/GB"),
    ] {
        let mut figures = vec![Vec::new(); proxies.len()];
        for run in 0..runs {
            let mut order: Vec<usize> = (0..proxies.len()).collect();
            if run % 2 == 1 {
                order.reverse();
            }
            for index in order {
                figures[index].push(stage.measure(proxies[index], scenario));
            }
        }
        for (proxy, mut figures) in proxies.iter().zip(figures) {
            figures.sort_by(f64::total_cmp);
            let [low, high] = [figures[0], figures[figures.len() - 1]];
            let (middle, proxy) = (figures[figures.len() / 2], format!("{proxy:?}"));
            println!("{title:<28}{proxy:<12}{middle:>9.3} {unit:<5}({low:.3} to {high:.3})");
        }
    }
}

fn is_there(program: &str) -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).any(|folder| folder.join(program).exists())
}

// === impl Scenario ===

impl Scenario {
    fn ends_tls(self) -> bool {
        self != Self::Begun
    }

    fn begins_tls(self) -> bool {
        matches!(self, Self::Begun | Self::Both)
    }
}

// === impl Running ===

impl Running {
    /// Processor time of all its threads, in seconds.
    fn spent(&self) -> f64 {
        let process = match self {
            Self::Stagedoor(stagedoor) => stagedoor.pid().as_raw_nonzero().get().unsigned_abs(),
            Self::Balancer(balancer) => balancer.id(),
        };
        let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap().flatten();
        let spent = threads.filter_map(|thread| {
            let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        });
        spent.sum::<u64>() as f64 / 1e9
    }
}

// === impl Stage ===

impl Stage {
    fn set() -> Self {
        let (ours, theirs) = (certificates::Authority::new("bench"), Authority::new());
        let certificate = ours.issue(&[NAME]).path;
        let serving = server_config(&theirs.sign(&["127.0.0.1"]), Asks::Nothing);
        Self {
            ours,
            theirs,
            certificate,
            plain: Target::new(|mut stream| give(&mut stream)),
            secure: TlsTarget::new(serving, |stream| {
                give(stream);
                stream.conn.send_close_notify();
                drop(stream.flush());
            }),
        }
    }

    /// The time that one handshake or one GB takes.
    fn measure(&self, proxy: Proxy, scenario: Scenario) -> f64 {
        let port = free_port();
        let running = match proxy {
            Proxy::Stagedoor => {
                let definition = self.definition(port, scenario);
                Running::Stagedoor(Stagedoor::run_with(&definition, &["--set", "workers=1"]))
            }
            Proxy::Haproxy => {
                Running::Balancer(Balancer::haproxy(&self.haproxy(port, scenario), port))
            }
            Proxy::Nginx => Running::Balancer(Balancer::nginx(&self.nginx(port, scenario), port)),
        };
        let trust = Trust::in_versions(&self.ours, &[&TLS13]);
        // Everything is warm, and there is a ticket.
        self.take(&trust, port, scenario, 1);
        let before = running.spent();
        let done = match scenario {
            Scenario::Full => self.handshakes(&trust.forgetful(), port),
            Scenario::Resumed => self.handshakes(&trust, port),
            Scenario::Ended | Scenario::Begun | Scenario::Both => {
                self.take(&trust, port, scenario, BULK);
                BULK as f64 / 1e9
            }
        };
        (running.spent() - before) / done
    }

    /// In millions, so that one takes microseconds.
    fn handshakes(&self, trust: &Trust, port: u16) -> f64 {
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    for _ in 0..HANDSHAKES / CLIENTS {
                        self.take(trust, port, Scenario::Full, 1);
                    }
                });
            }
        });
        f64::from(HANDSHAKES) / 1e6
    }

    /// Has the target give so many bytes.
    fn take(&self, trust: &Trust, port: u16, scenario: Scenario, count: u64) {
        let order = count.to_be_bytes();
        if scenario.ends_tls() {
            let mut tls = trust.connect(port, NAME).unwrap();
            tls.write_all(&order).unwrap();
            discard(&mut tls, count);
            tls.conn.send_close_notify();
            tls.flush().unwrap();
        } else {
            let mut plain = connect(port);
            plain.write_all(&order).unwrap();
            discard(&mut plain, count);
        }
    }

    fn target(&self, scenario: Scenario) -> String {
        if scenario.begins_tls() { self.secure.address() } else { self.plain.address() }
    }

    fn definition(&self, port: u16, scenario: Scenario) -> Value {
        let scheme = if scenario.begins_tls() { "tls" } else { "tcp" };
        let mut definition = json!({
            "name": "bench", "listen_port": port, "listen_address": "127.0.0.1",
            "proxy": {
                "target_url": format!("{scheme}://{}", self.target(scenario)),
                "transport": { "ssl_ca": self.theirs.file() },
            },
        });
        if scenario.ends_tls() {
            definition["protocol"] = json!("tls");
            definition["certificate"] = json!([self.certificate]);
        }
        definition
    }

    fn haproxy(&self, port: u16, scenario: Scenario) -> String {
        let (target, file) = (self.target(scenario), self.certificate.display());
        let ends = if scenario.ends_tls() { format!(" ssl crt {file}") } else { String::new() };
        let begins = if scenario.begins_tls() {
            format!(" ssl verify required ca-file {}", self.theirs.file().display())
        } else {
            String::new()
        };
        format!(
            "listen bench\n  mode tcp\n  bind 127.0.0.1:{port}{ends}\n  server target \
             {target}{begins}\n"
        )
    }

    fn nginx(&self, port: u16, scenario: Scenario) -> String {
        let (target, file) = (self.target(scenario), self.certificate.display());
        let (ssl, ends) = if scenario.ends_tls() {
            let words = format!(
                "ssl_certificate {file}; ssl_certificate_key {file}; ssl_protocols TLSv1.2 TLSv1.3;"
            );
            (" ssl", words)
        } else {
            ("", String::new())
        };
        let begins = if scenario.begins_tls() {
            let authority = self.theirs.file();
            format!(
                "proxy_ssl on; proxy_ssl_verify on; proxy_ssl_name 127.0.0.1; \
                 proxy_ssl_trusted_certificate {};",
                authority.display()
            )
        } else {
            String::new()
        };
        format!(
            "server {{ listen 127.0.0.1:{port}{ssl}; proxy_pass {target}; proxy_buffer_size 32k; \
             {ends} {begins} }}"
        )
    }
}

/// Gives as many bytes as the first eight ask for.
fn give(stream: &mut (impl Read + Write)) {
    let mut order = [0; 8];
    if stream.read_exact(&mut order).is_err() {
        return;
    }
    let mut left = u64::from_be_bytes(order);
    let bytes = vec![7; 256 << 10];
    while left > 0 {
        let count = left.min(bytes.len() as u64) as usize;
        if stream.write_all(&bytes[..count]).is_err() {
            return;
        }
        left -= count as u64;
    }
    drop(stream.flush());
}

fn discard(stream: &mut impl Read, count: u64) {
    let (mut left, mut room) = (count, vec![0; 256 << 10]);
    while left > 0 {
        let read = stream.read(&mut room).unwrap();
        assert!(read > 0, "the stream has ended too early");
        left -= read as u64;
    }
}
