//! What is printed as the worst time of detection is the worst: targets change at any moment of a
//! cycle, at either end of the jitter, and no other moment takes longer than the bound, and one
//! takes as long. Real runs over streams in memory, the real board, pace and pause; paused time.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{Instant, sleep, sleep_until};

use crate::config::check::{Action, Check, CheckKind, Framing, HealthSpec, Operator, Script};
use crate::config::http_request::HttpRequest;
use crate::config::model::{Balance, Service};
use crate::config::thresholds::Thresholds;
use crate::health::awake::AwakeTime;
use crate::health::board::ServiceBoard;
use crate::health::board_harness::{check_of, key, service};
use crate::health::checker::pause;
use crate::health::detection::{Bounds, TICK, Wrong, bounds};
use crate::health::effect::Finished;
use crate::health::fault::{Fault, FaultKind};
use crate::health::http_probe::run_http;
use crate::health::leader_tests::verdict;
use crate::health::probe::{Run, run_script};
use crate::health::script_harness::{compare, expect, expect_regex, reject, script, send};
use crate::health::snapshot::Health;
use crate::health::transcript::Transcript;
use crate::health::verdict::Verdict;

/// Moments of a cycle at which something happens.
const MOMENTS: u32 = 24;
/// The least that tells two moments apart.
const JUST_AFTER: Duration = Duration::from_nanos(1);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What a target does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Well,
    /// It answers what the check does not want.
    Wrong,
    /// Nobody listens.
    Refusing,
    /// Its host is gone.
    Silent,
    /// It is stopped: the system still accepts for it.
    Hung,
}

/// A target that changes at a moment.
#[derive(Debug, Clone, Copy)]
struct Target {
    before: State,
    after: State,
    at: Instant,
    answer: fn(&[u8], bool) -> &'static [u8],
}

impl Target {
    fn now(&self) -> State {
        if Instant::now() < self.at { self.before } else { self.after }
    }

    /// Its process dies, if it does.
    async fn dies(&self) {
        sleep_until(self.at).await;
        if self.after != State::Refusing {
            std::future::pending::<()>().await;
        }
    }

    async fn serve(self, mut stream: DuplexStream) {
        let mut command = [0; 1024];
        loop {
            let length = tokio::select! {
                biased;
                length = stream.read(&mut command) => length.unwrap_or(0),
                () = self.dies(), if Instant::now() < self.at => return,
            };
            let answer = match self.now() {
                State::Well => (self.answer)(&command[..length], true),
                State::Wrong => (self.answer)(&command[..length], false),
                State::Refusing => return,
                State::Silent | State::Hung => std::future::pending().await,
            };
            if length == 0 || stream.write_all(answer).await.is_err() {
                return;
            }
        }
    }

    /// One run of a check, from its first step: what a dial comes to, and then the run itself.
    async fn probed(self, check: &Check) -> Transcript {
        let time = AwakeTime::of(check.timeout);
        let failed = |kind| {
            let verdict = Verdict::Failed(Fault::unstepped(kind));
            Transcript::of_verdict(verdict, time.elapsed())
        };
        match self.now() {
            State::Refusing => return failed(FaultKind::Refused),
            State::Silent => {
                sleep_until(time.deadline()).await;
                return failed(FaultKind::TimedOut);
            }
            State::Well | State::Wrong | State::Hung => {}
        }
        let (ours, theirs) = duplex(16 * 1024);
        let server = tokio::spawn(self.serve(theirs));
        let transcript = match &check.kind {
            CheckKind::Script(script) => {
                let (target, time) = (&check.address, &time);
                let run = Run { script, target, time, connector: None, keep_open: false };
                run_script(ours, run).await.0
            }
            CheckKind::Http(request) => run_http(ours, request, &time).await,
            CheckKind::Postgres(_) => panic!("no setting has one"),
        };
        server.abort();
        transcript
    }
}

/// A check, its counts, and how its target answers.
struct Setting {
    kind: CheckKind,
    timeout: Duration,
    thresholds: Thresholds,
    led: bool,
    answer: fn(&[u8], bool) -> &'static [u8],
    speaks_resp: bool,
}

impl Setting {
    fn check(&self) -> Arc<Check> {
        let check = Check::clone(&check_of('a', 'a', Script::default()));
        Arc::new(Check { kind: self.kind.clone(), timeout: self.timeout, ..check })
    }

    fn bounds(&self) -> Bounds {
        bounds(&self.check(), &self.thresholds, self.led)
    }

    /// It ends with a reject, so that only its host's silence is noticed.
    fn takes_silence_for_consent(&self) -> bool {
        let CheckKind::Script(script) = &self.kind else { return false };
        script.steps.last().is_some_and(|step| matches!(step.action, Action::Reject(_)))
    }

    /// The time that holds for this target.
    fn wrong(&self, wrong: Wrong) -> Duration {
        wrong.unless_resp.filter(|_| !self.speaks_resp).unwrap_or(wrong.within)
    }

    /// The board of a service in which `b` is another target, that leads if one does.
    fn board(&self) -> ServiceBoard {
        let balance = if self.led { Balance::Leader } else { Balance::RoundRobin };
        let service = service("ab", balance);
        let other = service.health.as_ref().unwrap().checks[1].clone();
        let (checks, thresholds) = (vec![self.check(), other.clone()], self.thresholds.clone());
        let spec = HealthSpec { checks, thresholds, witness: None };
        let service = Service { health: Some(Arc::new(spec)), ..service };
        let mut board = ServiceBoard::new(&service, Instant::now());
        said(&mut board, &other, verdict('+'));
        board
    }

    /// From the change to what it leads to, if it comes `after` the beginning of a run, and every
    /// pause is at this end of its jitter.
    async fn takes(&self, change: (State, State), after: Duration, chance: f64) -> Duration {
        let (check, mut board) = (self.check(), self.board());
        said(&mut board, &check, verdict('+'));
        if change.0 != State::Well {
            let letter = if change.0 == State::Wrong { '-' } else { '.' };
            while health(&board) != Health::Down {
                said(&mut board, &check, verdict(letter));
            }
        }
        // What went before does not hurry anything any more.
        sleep(Duration::from_secs(60)).await;
        let (before, after_it) = change;
        let at = Instant::now() + after + JUST_AFTER;
        let target = Target { before, after: after_it, at, answer: self.answer };
        loop {
            let began = Instant::now();
            let transcript = Arc::new(target.probed(&check).await);
            let now = Instant::now();
            board.record(&Finished { check: check.clone(), transcript }, now);
            let wanted = if after_it == State::Well { Health::Up } else { Health::Down };
            let is_over = match &board.leader() {
                Some(rule) if before == State::Wrong => rule.leader() == Some(&key('a')),
                Some(_) | None => health(&board) == wanted,
            };
            if is_over && now >= at {
                return now - at;
            }
            assert!(now < at + Duration::from_secs(3_600), "{change:?} is never noticed");
            sleep(pause(board.pace(&check, now), began.elapsed(), chance)).await;
        }
    }

    /// The worst over every moment of a cycle.
    async fn worst(&self, change: (State, State)) -> Duration {
        let Thresholds { interval, down_interval, .. } = self.thresholds;
        let cycle = interval.max(down_interval).mul_f64(1.1) + self.timeout;
        let mut worst = Duration::ZERO;
        for chance in [0.0, 1.0] {
            for moment in 0..MOMENTS {
                let took = self.takes(change, cycle * moment / MOMENTS, chance).await;
                worst = worst.max(took);
            }
            // Just after a script has asked its last question.
            for millis in [50, 120, 170] {
                worst = worst.max(self.takes(change, ms(millis), chance).await);
            }
        }
        worst
    }

    /// No moment takes longer than the bound, and one takes as long, but for what timers are late.
    async fn check_bound(&self, what: &str, change: (State, State), bound: Duration) {
        let worst = self.worst(change).await;
        assert!(worst <= bound, "{what}: {worst:?} is more than {bound:?}");
        let timers = 2 * (self.thresholds.fall.max(self.thresholds.rise) + 2);
        assert!(worst + TICK * timers >= bound, "{what}: at most {worst:?}, told {bound:?}");
    }

    async fn check_all(&self, name: &str) {
        let Bounds { killed, wrong, silent, back, promoted } = self.bounds();
        let what = |what: &str| format!("{name}, {what}");
        self.check_bound(&what("killed"), (State::Well, State::Refusing), killed).await;
        self.check_bound(&what("silent"), (State::Well, State::Silent), silent).await;
        self.check_bound(&what("back"), (State::Silent, State::Well), back).await;
        let restarted = self.worst((State::Refusing, State::Well)).await;
        assert!(restarted <= back, "{name}, restarted: {restarted:?}");
        if let Some(wrong) = wrong {
            let bound = self.wrong(wrong);
            self.check_bound(&what("wrong"), (State::Well, State::Wrong), bound).await;
            if !self.takes_silence_for_consent() {
                let hung = self.worst((State::Well, State::Hung)).await;
                assert!(hung <= silent, "{name}, hung: {hung:?}");
            }
        }
        if let Some(promoted) = promoted {
            let bound = self.wrong(promoted);
            self.check_bound(&what("promoted"), (State::Wrong, State::Well), bound).await;
        }
    }
}

fn said(board: &mut ServiceBoard, check: &Arc<Check>, verdict: Verdict) {
    let transcript = Arc::new(Transcript::of_verdict(verdict, Duration::ZERO));
    board.record(&Finished { check: check.clone(), transcript }, Instant::now());
}

fn health(board: &ServiceBoard) -> Health {
    board.health().targets[&key('a')]
}

fn redis(command: &[u8], is_master: bool) -> &'static [u8] {
    match command {
        b"PING\r\n" => b"+PONG\r\n",
        _ if is_master => b"$11\r\nrole:master\r\n",
        _ => b"$10\r\nrole:slave\r\n",
    }
}

fn queue(_: &[u8], is_active: bool) -> &'static [u8] {
    if is_active { b"role active 1\n" } else { b"role standby 2\n" }
}

fn http(_: &[u8], is_primary: bool) -> &'static [u8] {
    if is_primary { b"HTTP/1.1 200 OK\r\n\r\n" } else { b"HTTP/1.1 503 No\r\n\r\n" }
}

fn asks_role() -> Vec<Action> {
    vec![send("PING\r\n"), expect("+PONG"), send("INFO replication\r\n"), expect("role:master")]
}

fn of_redis(actions: Vec<Action>) -> Setting {
    Setting {
        kind: CheckKind::Script(script(actions)),
        timeout: ms(1_000),
        thresholds: Thresholds::default(),
        led: false,
        answer: redis,
        speaks_resp: true,
    }
}

fn of_queue(actions: Vec<Action>, framing: Framing) -> Setting {
    let kind = CheckKind::Script(Script { framing, ..script(actions) });
    Setting { kind, answer: queue, speaks_resp: false, ..of_redis(Vec::new()) }
}

/// The defaults with a leader.
fn of_leader() -> Thresholds {
    let interval = ms(250);
    Thresholds { interval, down_interval: interval, fall_refused: 1, ..Thresholds::default() }
}

/// Counts of several, and a pace that a timeout outlasts.
fn patient() -> Thresholds {
    Thresholds {
        interval: ms(400),
        fast_interval: ms(150),
        down_interval: ms(2_000),
        rise: 3,
        fall: 5,
        fall_refused: 2,
        fall_rejected: 4,
    }
}

/// The script with a deadline for its last step.
fn within(mut setting: Setting, time: Duration) -> Setting {
    let CheckKind::Script(script) = &mut setting.kind else { panic!("it has a script") };
    script.steps.last_mut().unwrap().timeout = Some(time);
    setting
}

#[tokio::test(start_paused = true)]
async fn with_the_defaults() {
    of_redis(asks_role()).check_all("defaults").await;
    let leader = Setting { thresholds: of_leader(), led: true, ..of_redis(asks_role()) };
    leader.check_all("leader").await;
    // What the documentation says of it.
    let Bounds { killed, silent, .. } = leader.bounds();
    assert!(killed <= ms(280) && silent <= ms(3_500), "{killed:?} {silent:?}");
}

#[tokio::test(start_paused = true)]
async fn with_other_counts_and_paces() {
    Setting { thresholds: patient(), ..of_redis(asks_role()) }.check_all("patient").await;
    let led =
        Setting { thresholds: patient(), led: true, timeout: ms(300), ..of_redis(asks_role()) };
    led.check_all("patient, led").await;
}

#[tokio::test(start_paused = true)]
async fn with_a_script_that_waits() {
    let actions = vec![
        send("PING\r\n"),
        expect("+PONG"),
        Action::Wait(ms(120)),
        send("INFO replication\r\n"),
        Action::Wait(ms(50)),
        expect("role:master"),
        Action::Wait(ms(500)),
        send("QUIT\r\n"),
    ];
    of_redis(actions.clone()).check_all("waits").await;
    Setting { thresholds: of_leader(), led: true, ..of_redis(actions) }.check_all("led").await;
}

#[tokio::test(start_paused = true)]
async fn where_a_wrong_answer_is_only_seen_by_waiting() {
    let ask = || vec![send("ROLE\n"), expect("active")];
    of_queue(ask(), Framing::None).check_all("waited out").await;
    within(of_queue(ask(), Framing::None), ms(300)).check_all("own deadline").await;
    // It might have been RESP, and is not.
    let setting =
        Setting { thresholds: of_leader(), led: true, ..of_queue(ask(), Framing::Detect) };
    assert!(setting.bounds().wrong.unwrap().unless_resp.is_some());
    setting.check_all("no RESP").await;
}

#[tokio::test(start_paused = true)]
async fn where_a_wrong_answer_is_known_at_once() {
    let rejecting = vec![send("ROLE\n"), reject("standby"), expect("active")];
    of_queue(rejecting, Framing::None).check_all("reject").await;
    let last = vec![send("ROLE\n"), reject("standby")];
    within(of_queue(last, Framing::None), ms(200)).check_all("ends with a reject").await;
    let compared = vec![
        send("ROLE\n"),
        expect_regex(r"role \w+ (?<lag>\d+)\n"),
        compare("lag", Operator::Less, "2"),
    ];
    of_queue(compared, Framing::None).check_all("compare").await;
}

#[tokio::test(start_paused = true)]
async fn by_http_and_by_connecting() {
    let request = HttpRequest {
        method: "GET".to_owned(),
        path: "/".to_owned(),
        host: "a".to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
        expect_status: vec![(200, 200)],
    };
    let kind = CheckKind::Http(request);
    Setting { kind, answer: http, ..of_redis(Vec::new()) }.check_all("http").await;
    let connects = of_redis(Vec::new());
    assert_eq!(connects.bounds().wrong, None);
    connects.check_all("connect").await;
}
