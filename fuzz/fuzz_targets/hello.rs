//! Any bytes as the hello of a TLS client, in two pieces.
#![no_main]

use std::io::Write;
use std::os::unix::net::UnixStream;

use libfuzzer_sys::fuzz_target;
use stagedoor::net::hello::read_hello;
use stagedoor::net::socket::Socket;
use tokio::runtime::{Builder, Runtime};

thread_local! {
    static RUNTIME: Runtime =
        Builder::new_current_thread().enable_all().build().expect("a runtime can be had");
}

fuzz_target!(|given: (u16, &[u8])| {
    let (cut, bytes) = given;
    let (first, rest) = bytes.split_at(usize::from(cut).min(bytes.len()));
    let (mut client, ours) = UnixStream::pair().expect("there are descriptors");
    ours.set_nonblocking(true).expect("a socket can be");
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let ours = Socket::from_accepted(ours.into()).expect("there is a runtime");
            let sending = async {
                // The reader may have had enough.
                drop(client.write_all(first));
                tokio::task::yield_now().await;
                drop(client.write_all(rest));
                drop(client);
            };
            let (hello, ()) = tokio::join!(read_hello(&ours), sending);
            if let Ok(hello) = hello {
                assert!(bytes.starts_with(&hello.bytes), "what is passed on is what was sent");
            }
        });
    });
});
