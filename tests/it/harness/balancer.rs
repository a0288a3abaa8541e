//! Real load balancers, HAProxy and nginx, each with a configuration of the test's own.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::harness::eventually::eventually;

/// A running load balancer; killed when dropped.
pub(crate) struct Balancer {
    child: Child,
    _folder: tempfile::TempDir,
}

impl Balancer {
    /// HAProxy with these sections behind the defaults, listening on `port`.
    pub(crate) fn haproxy(sections: &str, port: u16) -> Self {
        let defaults = "global\n  maxconn 100\ndefaults\n  timeout connect 10s\n  timeout client 20s\n  \
                        timeout server 20s\n";
        Self::start("haproxy", &format!("{defaults}{sections}"), port, |command, file| {
            command.arg("-db").arg("-f").arg(file);
        })
    }

    /// nginx with these servers in its `stream`, listening on `port`.
    pub(crate) fn nginx(servers: &str, port: u16) -> Self {
        Self::nginx_of(&format!("stream {{\n{servers}\n}}"), port)
    }

    /// nginx as a server of HTTP, with these servers, listening on `port`.
    pub(crate) fn nginx_http(servers: &str, port: u16) -> Self {
        Self::nginx_of(&format!("http {{\naccess_log off;\n{servers}\n}}"), port)
    }

    fn nginx_of(block: &str, port: u16) -> Self {
        // Debian builds it apart.
        let module = "/usr/lib/nginx/modules/ngx_stream_module.so";
        let load = if Path::new(module).exists() {
            format!("load_module {module};")
        } else {
            String::new()
        };
        let configuration = format!(
            "{load} daemon off; master_process off; error_log stderr warn; pid nginx.pid;\n\
             events {{ worker_connections 100; }}\n{block}\n"
        );
        Self::start("nginx", &configuration, port, |command, file| {
            let folder = file.parent().expect("it is in a folder");
            command.arg("-p").arg(folder).arg("-e").arg("stderr").arg("-c").arg(file);
        })
    }

    /// Its process.
    #[allow(dead_code, reason = "only the benchmark of TLS asks")]
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    fn start(
        program: &str,
        configuration: &str,
        port: u16,
        arguments: impl FnOnce(&mut Command, &Path),
    ) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("configuration");
        std::fs::write(&file, configuration).expect("the folder can be written to");
        let mut command = Command::new(program);
        arguments(&mut command, &file);
        let child = command
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}: `make test` installs it"));
        let mut balancer = Self { child, _folder: folder };
        eventually(&format!("{program} listens"), || {
            let ended = balancer.child.try_wait().expect("a child can be awaited");
            assert!(ended.is_none(), "{program} ended: {ended:?}\n{configuration}");
            let there = TcpStream::connect(("127.0.0.1", port))
                .or_else(|_| TcpStream::connect(("::1", port)));
            there.ok()
        });
        balancer
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        // It may have ended, which has been told then.
        self.child.kill().ok();
        self.child.wait().expect("a child can be awaited");
    }
}
