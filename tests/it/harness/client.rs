//! A plain TCP client that can half-close, reset, and say how a connection ended.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use crate::harness::pattern::pattern;

/// Longer than anything here takes, so that a hang is a failure and not a hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// How the other side ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With a FIN: everything it said has arrived.
    Cleanly,
    /// With an RST.
    Reset,
}

/// Connects to a port of the loopback.
pub(crate) fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("somebody listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a deadline can be set");
    stream.set_write_timeout(Some(PATIENCE)).expect("a deadline can be set");
    stream
}

/// The same from another address of the loopback.
pub(crate) fn connect_from(source: &str, port: u16) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("there are sockets");
    let source: Ipv4Addr = source.parse().expect("an address");
    socket.bind(&SocketAddr::from((source, 0)).into()).expect("the loopback has it");
    socket
        .connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())
        .expect("somebody listens");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("a deadline can be set");
    stream
}

/// A connection to a port that hands its writes on in pieces of one byte, each in a segment of its
/// own.
pub(crate) fn in_single_bytes(listen: u16) -> TcpStream {
    let (client, ours) = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    };
    let proxy = connect(listen);
    proxy.set_nodelay(true).unwrap();
    let (mut from, mut to) = (ours.try_clone().unwrap(), proxy.try_clone().unwrap());
    std::thread::spawn(move || {
        let mut byte = [0];
        while from.read(&mut byte).is_ok_and(|count| count > 0) {
            if to.write_all(&byte).is_err() {
                return;
            }
        }
    });
    let (mut from, mut to) = (proxy, ours);
    std::thread::spawn(move || {
        drop(std::io::copy(&mut from, &mut to));
        // It may be gone already.
        drop(to.shutdown(Shutdown::Both));
    });
    client.set_read_timeout(Some(PATIENCE)).expect("a deadline can be set");
    client
}

/// Reads to the end: what came, and how it ended.
pub(crate) fn read_to_end(stream: &mut TcpStream) -> (Vec<u8>, Ended) {
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Ok(_) => (all, Ended::Cleanly),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => (all, Ended::Reset),
        Err(error) => panic!("neither closed nor reset: {error}"),
    }
}

/// Sends `request` and reads exactly as many bytes back.
pub(crate) fn echoed(stream: &mut TcpStream, request: &[u8]) -> Vec<u8> {
    stream.write_all(request).expect("the proxy takes it");
    let mut reply = vec![0; request.len()];
    stream.read_exact(&mut reply).expect("the echo comes back");
    reply
}

/// Sends `request`, half-closes, and reads to the end.
pub(crate) fn exchange(port: u16, request: &[u8]) -> (Vec<u8>, Ended) {
    let mut stream = connect(port);
    // A proxy that refuses may have closed the connection before all of this is done.
    if stream.write_all(request).is_ok() {
        drop(stream.shutdown(Shutdown::Write));
    }
    read_to_end(&mut stream)
}

/// Closes with an RST.
pub(crate) fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("linger can be set");
    drop(stream);
}

/// Sets the receive buffer, so that a reader that does not read fills up soon.
pub(crate) fn narrow(stream: &TcpStream) {
    SockRef::from(stream).set_recv_buffer_size(4096).expect("a buffer can be set");
}

/// Sends so many bytes through an echo, in both directions at once, and gets them back whole.
pub(crate) fn check_bulk(listen: u16, length: usize) {
    let sent = pattern(length);
    let mut client = connect(listen);
    let mut reader = client.try_clone().expect("the relay lives");
    let reading = std::thread::spawn(move || read_to_end(&mut reader));
    client.write_all(&sent).expect("the relay lives");
    client.shutdown(Shutdown::Write).expect("the relay lives");
    let (received, ended) = reading.join().expect("the relay lives");
    assert!(received == sent && ended == Ended::Cleanly, "{} bytes, {ended:?}", received.len());
}
