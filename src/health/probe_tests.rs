//! Probes against peers that are slow, loud, evil or dead. All in memory, with paused time.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex,
};
use tokio::time::sleep;

use crate::config::check::{Action, Part, Script, Template};
use crate::config::names::TargetAddress;
use crate::health::awake::AwakeTime;
use crate::health::probe::{Run, run_script};
use crate::health::rank::Rank;
use crate::health::script_harness::{expect, expect_regex, script, send, the_pages_script};
use crate::health::securing::Talking;
use crate::health::transcript::Transcript;
use crate::health::verdict::{Verdict, Word};

const TIMEOUT: Duration = Duration::from_secs(1);
const MASTER: &[u8] = b"$11\r\nrole:master\r\n";

/// Runs a script over `stream`, with `TIMEOUT` from now.
async fn probe<S: Talking>(stream: S, script: &Script) -> Transcript {
    let target = TargetAddress::Ip("127.0.0.1:7001".parse().unwrap());
    let time = AwakeTime::of(TIMEOUT);
    run_script(
        stream,
        Run { script, target: &target, time: &time, connector: None, keep_open: false },
    )
    .await
    .0
}

/// Runs the page's script against a peer that does as `serve` says.
async fn against<F>(serve: impl FnOnce(DuplexStream) -> F) -> Transcript
where
    F: Future<Output = ()> + Send + 'static,
{
    let (ours, theirs) = duplex(16 * 1024);
    let server = tokio::spawn(serve(theirs));
    let transcript = probe(ours, &the_pages_script()).await;
    server.abort();
    transcript
}

fn failed(transcript: &Transcript) -> String {
    assert!(matches!(transcript.verdict, Verdict::Failed(_)), "{transcript}");
    transcript.verdict.to_string()
}

/// Reads one command and answers it.
async fn answer(stream: &mut DuplexStream, text: &[u8]) {
    let mut command = [0; 64];
    let length = stream.read(&mut command).await.unwrap();
    assert!(length > 0, "the probe left before it had its answer");
    stream.write_all(text).await.unwrap();
}

/// A stream on which the end of the stream is a reset.
struct Resetting(DuplexStream);

/// A stream that says of everything at first that it is not ready, as a system does whose news has
/// not been fetched yet.
struct Hesitant(DuplexStream, bool);

impl AsyncRead for Resetting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.0).poll_read(context, buffer) {
            Poll::Ready(Ok(())) if buffer.filled().len() == before => {
                Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
            }
            poll @ (Poll::Ready(_) | Poll::Pending) => poll,
        }
    }
}

impl AsyncRead for Hesitant {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.1 = !self.1;
        if self.1 {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

macro_rules! writes_as_its_inner_stream {
    ($($name:ty),*) => {$(
        impl AsyncWrite for $name {
            fn poll_write(
                mut self: Pin<&mut Self>,
                context: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.0).poll_write(context, bytes)
            }

            fn poll_flush(
                mut self: Pin<&mut Self>,
                context: &mut Context<'_>,
            ) -> Poll<io::Result<()>> {
                Pin::new(&mut self.0).poll_flush(context)
            }

            fn poll_shutdown(
                mut self: Pin<&mut Self>,
                context: &mut Context<'_>,
            ) -> Poll<io::Result<()>> {
                Pin::new(&mut self.0).poll_shutdown(context)
            }
        }
    )*};
}

writes_as_its_inner_stream!(Resetting, Hesitant);

impl Talking for DuplexStream {}
impl Talking for Resetting {}
impl Talking for Hesitant {}

#[tokio::test(start_paused = true)]
async fn a_master_passes_in_one_round_trip_a_question() {
    let transcript = against(|mut stream| async move {
        answer(&mut stream, b"+PONG\r\n").await;
        answer(&mut stream, MASTER).await;
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
    })
    .await;
    assert_eq!(transcript.verdict, Verdict::Passed);
    assert_eq!(transcript.took, Duration::ZERO, "it did not wait for anything");
    assert_eq!(
        transcript.to_string(),
        concat!(
            "     0.00 ms       connected\n",
            "     0.00 ms    1  send \"PING\\r\\n\"\n",
            "     0.00 ms       heard \"+PONG\\r\\n\" (7 bytes)\n",
            "     0.00 ms    2  expect \"+PONG\": met\n",
            "     0.00 ms    3  send \"info  replication\\r\\n\"\n",
            "     0.00 ms       heard \"$11\\r\\nrole:master\\r\\n\" (18 bytes)\n",
            "     0.00 ms    4  expect \"role:master\": met\n",
            "     0.00 ms  passed\n",
            "     0.00 ms    5  send \"QUIT\\r\\n\"\n",
            "     0.00 ms    6  send \"+OK\"",
        )
    );
}

#[tokio::test(start_paused = true)]
async fn a_silent_target_costs_its_timeout_and_no_more() {
    let transcript = against(|stream| async move {
        sleep(Duration::from_secs(3600)).await;
        drop(stream);
    })
    .await;
    assert_eq!(failed(&transcript), r#"step 2 expect "+PONG": not in time (heard nothing)"#);
    assert_eq!(transcript.took, TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_reads_nothing_costs_its_timeout_and_no_more() {
    let (ours, _theirs) = duplex(1);
    let transcript = probe(ours, &the_pages_script()).await;
    assert_eq!(failed(&transcript), r#"step 1 send "PING\r\n": not in time (heard nothing)"#);
    assert_eq!(transcript.took, TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_byte_a_second_is_bounded_by_the_whole_timeout() {
    let transcript = against(|mut stream| async move {
        for byte in b"+PONG\r\n".iter().cycle() {
            stream.write_all(&[*byte]).await.unwrap();
            sleep(Duration::from_millis(300)).await;
        }
    })
    .await;
    assert_eq!(failed(&transcript), r#"step 2 expect "+PONG": not in time (heard "+PON")"#);
    assert_eq!(transcript.took, TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_a_gigabyte_is_read_up_to_the_limit() {
    let (ours, mut theirs) = duplex(16 * 1024);
    let flood = tokio::spawn(async move {
        let (chunk, mut written) = (vec![b'x'; 1 << 20], 0_usize);
        while written < 1 << 30 {
            match theirs.write(&chunk).await {
                Ok(more) => written += more,
                Err(_closed) => break,
            }
        }
        written
    });
    let transcript = probe(ours, &the_pages_script()).await;
    assert!(failed(&transcript).starts_with(r#"step 2 expect "+PONG": 64 KiB came without it"#));
    assert!(flood.await.unwrap() <= 64 * 1024 + 2 * 16 * 1024, "it read on");
}

#[tokio::test(start_paused = true)]
async fn words_behind_a_megabyte_are_behind_the_limit() {
    let transcript = against(|mut stream| async move {
        stream.write_all(&vec![b'x'; 1 << 20]).await.ok();
        stream.write_all(b"+PONG").await.ok();
    })
    .await;
    assert!(failed(&transcript).contains("64 KiB came without it"));
}

#[tokio::test(start_paused = true)]
async fn two_answers_in_one_segment_are_two_answers() {
    let transcript = against(|mut stream| async move {
        answer(&mut stream, &[b"+PONG\r\n", MASTER].concat()).await;
        sleep(TIMEOUT).await;
    })
    .await;
    assert_eq!(transcript.verdict, Verdict::Passed);
}

#[tokio::test(start_paused = true)]
async fn an_answer_byte_by_byte_is_an_answer() {
    let transcript = against(|mut stream| async move {
        for byte in [b"+PONG\r\n", MASTER].concat() {
            stream.write_all(&[byte]).await.unwrap();
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert_eq!(transcript.verdict, Verdict::Passed);
}

#[tokio::test(start_paused = true)]
async fn a_close_or_a_reset_at_each_step_says_where_it_was() {
    for (answers, step) in
        [(&[][..], 2), (&[&b"+PONG\r\n"[..]], 4), (&[b"+PONG\r\n", b"$99\r\nro"], 4)]
    {
        for resets in [false, true] {
            let (ours, mut theirs) = duplex(1024);
            for text in answers {
                theirs.write_all(text).await.unwrap();
            }
            theirs.shutdown().await.unwrap();
            let script = the_pages_script();
            let transcript = if resets {
                probe(Resetting(ours), &script).await
            } else {
                probe(ours, &script).await
            };
            let text = failed(&transcript);
            assert!(text.starts_with(&format!("step {step} expect")), "{text}");
            let (expected, word) = if resets {
                ("connection reset by the target", Word::Wipe)
            } else {
                ("the target closed the connection first", Word::Silence)
            };
            assert!(text.contains(expected), "{text}");
            assert_eq!(transcript.verdict.word(), word);
            assert_eq!(transcript.took, Duration::ZERO);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_followed_by_a_reset_is_an_answer() {
    let (ours, mut theirs) = duplex(1024);
    theirs.write_all(&[b"+PONG\r\n", MASTER].concat()).await.unwrap();
    theirs.shutdown().await.unwrap();
    let transcript = probe(Resetting(ours), &the_pages_script()).await;
    assert_eq!(transcript.verdict, Verdict::Passed);
}

#[tokio::test(start_paused = true)]
async fn what_follows_the_last_expect_cannot_change_the_verdict() {
    let transcript = against(|mut stream| async move {
        answer(&mut stream, b"+PONG\r\n").await;
        answer(&mut stream, MASTER).await;
        // Gone: QUIT and +OK meet a closed socket.
    })
    .await;
    assert_eq!(transcript.verdict, Verdict::Passed);
}

#[tokio::test(start_paused = true)]
async fn a_farewell_that_nobody_reads_does_not_count_as_time() {
    let (ours, mut theirs) = duplex(8);
    theirs.write_all(b"+hello\r\n").await.unwrap();
    let script = script(vec![expect("+hello"), send("a farewell longer than the pipe")]);
    let transcript = probe(ours, &script).await;
    assert_eq!((transcript.verdict, transcript.took), (Verdict::Passed, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_we_were_late_to_read_still_counts() {
    let (ours, mut theirs) = duplex(1024);
    theirs.write_all(&[b"+PONG\r\n", MASTER].concat()).await.unwrap();
    let target = TargetAddress::Ip("127.0.0.1:7001".parse().unwrap());
    let time = AwakeTime::of(TIMEOUT);
    tokio::time::advance(TIMEOUT * 3).await;
    let run = Run {
        script: &the_pages_script(),
        target: &target,
        time: &time,
        connector: None,
        keep_open: false,
    };
    let transcript = run_script(Hesitant(ours, false), run).await.0;
    assert_eq!(transcript.verdict, Verdict::Passed, "{transcript}");
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_slept_in_the_middle_has_its_target_heard_to_the_end() {
    let transcript = against(|mut stream| async move {
        sleep(TIMEOUT / 4).await;
        tokio::time::advance(TIMEOUT * 30).await;
        answer(&mut stream, b"+PONG\r\n").await;
        sleep(TIMEOUT / 4).await;
        answer(&mut stream, MASTER).await;
    })
    .await;
    assert_eq!(transcript.verdict, Verdict::Passed, "{transcript}");
}

#[tokio::test(start_paused = true)]
async fn a_step_has_its_own_deadline_within_the_checks() {
    let (ours, _theirs) = duplex(1024);
    let mut steps = script(vec![send("x"), expect("y")]);
    steps.steps[1].timeout = Some(Duration::from_millis(50));
    let transcript = probe(ours, &steps).await;
    assert_eq!(failed(&transcript), r#"step 2 expect "y": not in time (heard nothing)"#);
    assert_eq!(transcript.took, Duration::from_millis(50));
}

#[tokio::test(start_paused = true)]
async fn a_pause_is_kept_and_bounded_by_the_timeout() {
    for (pause, passes, took) in [(300, true, 300), (5000, false, 1000)] {
        let (ours, mut theirs) = duplex(1024);
        theirs.write_all(b"y").await.unwrap();
        let pause = Duration::from_millis(pause);
        let transcript = probe(ours, &script(vec![Action::Wait(pause), expect("y")])).await;
        assert_eq!(transcript.verdict == Verdict::Passed, passes, "{transcript}");
        assert_eq!(transcript.took, Duration::from_millis(took));
    }
}

#[tokio::test(start_paused = true)]
async fn a_pass_gives_the_rank_that_is_asked_for_and_a_failure_none() {
    let ranked = async |said: &'static [u8]| {
        let (ours, mut theirs) = duplex(1024);
        let steps = vec![send("INFO\r\n"), expect_regex("at:(?<at>[^;]+);"), expect("end")];
        let parts = vec![Part::Capture("at".into())];
        let script = Script { rank: Some(Template { parts }), ..script(steps) };
        let server = tokio::spawn(async move { answer(&mut theirs, said).await });
        let transcript = probe(ours, &script).await;
        server.await.unwrap();
        transcript
    };
    let transcript = ranked(b"at:18446744073709551615;end").await;
    assert_eq!(transcript.rank, Rank::parse(b"18446744073709551615"));
    let shown = transcript.to_string();
    assert!(shown.ends_with("rank 18446744073709551615\n     0.00 ms  passed"), "{shown}");
    let transcript = ranked(b"at:a lot;end").await;
    assert_eq!((transcript.rank, &transcript.verdict), (None, &Verdict::Passed));
    assert!(transcript.to_string().contains("no rank: \"a lot\" is no whole number"));
    assert_eq!(ranked(b"at:1;nothing more").await.rank, None, "it did not pass");
}
