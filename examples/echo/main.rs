//! The first minute: an echo server of its own, and the proxy in front of it, in one process.
//!
//! Needs nothing installed. The proxy is `stagedoor run examples/echo/echo.json`, as the binary
//! would run it; the echo server is threads of the standard library.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::ExitCode;

use stagedoor::cli::run;
use stagedoor::cli::sources::{RunArgs, SettingsArgs};

/// The target of `echo.json`.
const TARGET: &str = "127.0.0.1:7007";

const INVITATION: &str = "\
An echo server listens at 127.0.0.1:7007, and stagedoor in front of it at 127.0.0.1:7000.
Talk to it through stagedoor, from another terminal, with whichever of these you have:

    nc 127.0.0.1 7000
    socat - tcp:127.0.0.1:7000
    bash -c 'exec 3<>/dev/tcp/127.0.0.1/7000; echo hello >&3; head -n 1 <&3'

Look at it with `cargo run --quiet -- status`. Ctrl-C ends it.
";

fn main() -> ExitCode {
    let target = match TcpListener::bind(TARGET) {
        Ok(target) => target,
        Err(error) => {
            eprintln!("the echo server cannot listen on {TARGET}: {error}");
            return ExitCode::FAILURE;
        }
    };
    std::thread::spawn(move || serve(&target));
    println!("{INVITATION}");
    let settings = SettingsArgs { config: Vec::new(), set: Vec::new() };
    run::main(&RunArgs { settings, paths: vec![PathBuf::from("examples/echo/echo.json")] })
}

/// A thread a connection, as long as the process lives.
fn serve(target: &TcpListener) {
    for client in target.incoming() {
        match client {
            Ok(client) => drop(std::thread::spawn(move || echo(client))),
            Err(error) => eprintln!("the echo server cannot accept: {error}"),
        }
    }
}

/// Sends back what comes, as it comes, and ends when the client does.
fn echo(mut client: TcpStream) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        match client.read(&mut buffer)? {
            0 => return Ok(()),
            length => client.write_all(&buffer[..length])?,
        }
    }
}
