//! Connecting to servers that present good and bad certificates, over loopback.

use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, date_time_ymd};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::config::tls::Versions;
use crate::config::transport::{Policy, Trust};
use crate::net::connect::{Preface, connect};
use crate::net::connect_harness::{
    Asks, Identity, SOON, authority, params, policy, reach, self_signed, server, signed, trusting,
};
use crate::net::connectors::Connectors;
use crate::net::dial::{Destination, DialFault};
use crate::net::tuning::Tuning;
use crate::wire::certificate::Digest;

/// Connecting to a server with this identity succeeds, or fails in these words.
async fn check(identity: &Identity, policy: Policy, expected: Result<(), &str>) {
    let to = server(identity, Asks::Nothing, Versions::default()).await;
    match (reach(&to, policy).await, expected) {
        (Ok(mut peer), Ok(())) => {
            let mut said = [0; 2];
            peer.read_exact(&mut said).await.unwrap();
            assert_eq!(said, *b"hi");
        }
        (Err(error), Err(words)) => {
            assert_eq!(error.fault, DialFault::Handshake, "{error}");
            let expected = format!("target {to} failed the TLS handshake: {words}");
            let told = error.to_string();
            // A date is told with the clock's, which is another each time.
            let (told, clock) = told.split_once(", and the clock here says").unwrap_or((&told, ""));
            assert_eq!(told, expected);
            assert_eq!(told.contains("expired"), !clock.is_empty());
        }
        (Ok(_), Err(words)) => panic!("connected, and it was to fail: {words}"),
        (Err(error), Ok(())) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_certificate_is_believed_only_if_everything_in_it_is_right() {
    let ours = authority("ours");
    let good = params("a.test");
    check(&signed(&ours, &good), trusting(&ours), Ok(())).await;

    let mut expired = good.clone();
    expired.not_before = date_time_ymd(2020, 1, 1);
    expired.not_after = date_time_ymd(2021, 1, 1);
    let words = "its certificate expired on 2021-01-01T00:00:00Z";
    check(&signed(&ours, &expired), trusting(&ours), Err(words)).await;

    let other = signed(&ours, &params("b.test"));
    let words = "its certificate is not for a.test, but for b.test";
    check(&other, trusting(&ours), Err(words)).await;

    let mut nameless = good.clone();
    nameless.subject_alt_names.clear();
    let words = "its certificate is not for a.test: it has no names (SAN), and a common name does not \
                 count";
    check(&signed(&ours, &nameless), trusting(&ours), Err(words)).await;

    let theirs = authority("theirs");
    let words = "its certificate is signed by CN=theirs, whom nobody here trusts";
    let mut unknown = signed(&theirs, &good);
    check(&unknown, trusting(&ours), Err(words)).await;
    // Whatever else is sent along does not help.
    unknown.chain.push(ours.der().clone());
    check(&unknown, trusting(&ours), Err(words)).await;

    let forged = signed(&authority("ours"), &good);
    let words = "its certificate names CN=ours as its signer, and is not signed with the key that we \
                 know";
    check(&forged, trusting(&ours), Err(words)).await;

    let words = "its certificate is self-signed (CN=a.test), and not one that is trusted here";
    check(&self_signed(&good), trusting(&ours), Err(words)).await;

    let mut for_clients = good.clone();
    for_clients.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let words = "its certificate is not one for servers (extended key usage)";
    check(&signed(&ours, &for_clients), trusting(&ours), Err(words)).await;
}

#[tokio::test]
async fn a_pin_holds_for_the_leaf_and_on_top_of_all_else() {
    let ours = authority("ours");
    let good = signed(&ours, &params("a.test"));
    let pinned = |policy: Policy, pins: &[Digest]| Policy { pins: pins.to_vec(), ..policy };
    check(&good, pinned(trusting(&ours), &[good.pin()]), Ok(())).await;
    // Two, while keys are changed.
    check(&good, pinned(trusting(&ours), &[Digest::of(b"old"), good.pin()]), Ok(())).await;

    let unpinned = |of: &Identity| {
        format!(
            "its public key is none of those that are pinned for it: the SHA-256 of its key is {}",
            of.pin()
        )
    };
    let another = signed(&ours, &params("a.test"));
    check(&another, pinned(trusting(&ours), &[good.pin()]), Err(&unpinned(&another))).await;

    // The genuine certificate, which anybody can have, behind one's own.
    let mut evil = self_signed(&params("a.test"));
    evil.chain.push(good.chain[0].clone());
    let words = "its certificate is self-signed (CN=a.test), and not one that is trusted here";
    check(&evil, pinned(trusting(&ours), &[good.pin()]), Err(words)).await;
    check(&evil, pinned(policy(Trust::PinOnly), &[good.pin()]), Err(&unpinned(&evil))).await;
    check(&evil, pinned(policy(Trust::Anyone), &[good.pin()]), Err(&unpinned(&evil))).await;

    // The right key does not make a wrong name right.
    let other = signed(&ours, &params("b.test"));
    let words = "its certificate is not for a.test, but for b.test";
    check(&other, pinned(trusting(&ours), &[other.pin()]), Err(words)).await;
}

#[tokio::test]
async fn a_pin_alone_replaces_chain_and_name_but_not_the_dates() {
    let pinned = |of: &Identity| Policy { pins: vec![of.pin()], ..policy(Trust::PinOnly) };
    let own = self_signed(&params("b.test"));
    check(&own, pinned(&own), Ok(())).await;

    let mut expired = params("b.test");
    expired.not_before = date_time_ymd(2020, 1, 1);
    expired.not_after = date_time_ymd(2021, 1, 1);
    let expired = self_signed(&expired);
    let words = "its certificate expired on 2021-01-01T00:00:00Z";
    check(&expired, pinned(&expired), Err(words)).await;
    check(&expired, policy(Trust::Anyone), Ok(())).await;

    let mut early = params("b.test");
    early.not_before = date_time_ymd(2400, 1, 1);
    early.not_after = date_time_ymd(2401, 1, 1);
    let early = self_signed(&early);
    let to = server(&early, Asks::Nothing, Versions::default()).await;
    let error = reach(&to, pinned(&early)).await.unwrap_err().to_string();
    let words = "its certificate is not valid before 2400-01-01T00:00:00Z, and the clock here says";
    assert!(error.contains(words), "{error}");
}

#[tokio::test]
async fn an_authoritys_own_certificate_is_no_servers() {
    let mut params = params("a.test");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let own = self_signed(&params);
    let words = "the certificate that it presents is an authority's (CN=a.test, CA:TRUE), not a \
                 server's";
    let trusted = policy(Trust::Authorities(Arc::new(own.chain.clone())));
    check(&own, trusted, Err(words)).await;
    let pinned = Policy { pins: vec![own.pin()], ..policy(Trust::PinOnly) };
    check(&own, pinned, Ok(())).await;
}

#[tokio::test]
async fn a_target_is_asked_for_its_address_where_it_has_no_name() {
    let ours = authority("ours");
    let by_address = signed(&ours, &params("127.0.0.1"));
    let to = |name: &'static str| Policy {
        server_name: ServerName::try_from(name).unwrap(),
        ..trusting(&ours)
    };
    check(&by_address, to("127.0.0.1"), Ok(())).await;
    let words = "its certificate is not for 127.0.0.2, but for 127.0.0.1";
    check(&by_address, to("127.0.0.2"), Err(words)).await;
}

#[tokio::test]
async fn versions_are_kept_to() {
    let ours = authority("ours");
    let good = signed(&ours, &params("a.test"));
    let (only_12, only_13) =
        (Versions { tls12: true, tls13: false }, Versions { tls12: false, tls13: true });
    for (theirs, wanted, expected) in [
        (only_12, Versions::default(), Some("TLS 1.2")),
        (only_13, Versions::default(), Some("TLS 1.3")),
        (Versions::default(), Versions::default(), Some("TLS 1.3")),
        (Versions::default(), only_12, Some("TLS 1.2")),
        (only_12, only_13, None),
        (only_13, only_12, None),
    ] {
        let to = server(&good, Asks::Nothing, theirs).await;
        let mut policy = trusting(&ours);
        policy.manner.versions = wanted;
        match (reach(&to, policy).await, expected) {
            (Ok(peer), Some(version)) => assert_eq!(peer.agreed().unwrap().version, version),
            (Err(error), None) => {
                let error = error.to_string();
                assert!(
                    error.contains("it speaks no version of TLS that is wanted here"),
                    "{error}"
                );
            }
            (reached, _) => panic!("{theirs:?} {wanted:?}: {reached:?}"),
        }
    }
}

#[tokio::test]
async fn a_refused_certificate_of_ours_is_a_failed_connect_with_either_version() {
    let (ours, theirs) = (authority("ours"), authority("theirs"));
    let good = signed(&ours, &params("a.test"));
    let with = |identity: Option<&Identity>| Policy {
        client_certificate: identity.map(Identity::certificate),
        ..trusting(&ours)
    };
    let (right, wrong) = (signed(&theirs, &params("me")), signed(&ours, &params("me")));
    for versions in [Versions { tls12: true, tls13: false }, Versions { tls12: false, tls13: true }]
    {
        let to = server(&good, Asks::Certificate(&theirs), versions).await;
        let mut peer = reach(&to, with(Some(&right))).await.unwrap();
        // What was waited for has taken nothing away.
        let mut said = [0; 2];
        peer.read_exact(&mut said).await.unwrap();
        assert_eq!(said, *b"hi");

        let refused = reach(&to, with(Some(&wrong))).await.unwrap_err();
        assert_eq!(refused.fault, DialFault::Handshake);
        let refused = refused.to_string();
        assert!(refused.contains("it does not accept our client certificate"), "{refused}");

        let none = reach(&to, with(None)).await.unwrap_err().to_string();
        assert!(none.contains("it wants a client certificate"), "{none}");
    }
}

#[tokio::test]
async fn what_is_not_tls_or_says_nothing_is_told_apart() {
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = Destination::Ip(plain.local_addr().unwrap());
    let say = |answer: &'static [u8]| {
        let accepting = plain.accept();
        async move {
            let (mut stream, _) = accepting.await.unwrap();
            stream.read_exact(&mut [0; 16]).await.unwrap();
            stream.write_all(answer).await.unwrap();
            stream
        }
    };
    let ours = authority("ours");
    let (refused, _stream) =
        tokio::join!(reach(&to, trusting(&ours)), say(b"HTTP/1.1 400 Bad\r\n"));
    let refused = refused.unwrap_err().to_string();
    assert!(refused.ends_with("failed the TLS handshake: what it says is not TLS"), "{refused}");

    let closing = async {
        let stream = say(b"").await;
        drop(stream);
    };
    let (refused, ()) = tokio::join!(reach(&to, trusting(&ours)), closing);
    let refused = refused.unwrap_err();
    assert_eq!(refused.fault, DialFault::Handshake);
    assert!(refused.to_string().contains("the connection in the middle of it"), "{refused}");

    let connector = Connectors::default().of(&Arc::new(trusting(&ours))).unwrap();
    let short = Instant::now() + Duration::from_millis(50);
    let silent = connect(&to, Preface::default(), Some(&connector), short, &Tuning::default())
        .await
        .unwrap_err();
    assert!(
        silent.to_string().ends_with("failed the TLS handshake: it was not done in time"),
        "{silent}"
    );
}

#[tokio::test]
async fn a_policy_that_stays_resumes_and_one_that_changed_does_not() {
    let ours = authority("ours");
    let good = signed(&ours, &params("a.test"));
    let to = server(&good, Asks::Nothing, Versions::default()).await;
    let connectors = Connectors::default();
    let resumes = async |policy: Policy| {
        let policy = Arc::new(policy);
        connectors.prepare([&policy]);
        let connector = connectors.of(&policy).unwrap();
        let deadline = Instant::now() + SOON;
        let mut peer =
            connect(&to, Preface::default(), Some(&connector), deadline, &Tuning::default())
                .await
                .unwrap();
        peer.read_exact(&mut [0; 2]).await.unwrap();
        peer.agreed().unwrap().is_resumed
    };
    assert!(!resumes(trusting(&ours)).await);
    assert!(resumes(trusting(&ours)).await);
    let pinned = Policy { pins: vec![good.pin()], ..trusting(&ours) };
    assert!(!resumes(pinned).await);
    assert!(!resumes(trusting(&ours)).await);
}
