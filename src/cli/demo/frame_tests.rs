//! Pictures as text: wide, narrow, and at any size.

use std::time::Duration;

use crate::cli::demo::frame::draw;
use crate::cli::demo::paint::Line;
use crate::cli::demo::scene::{ClientScene, Says, Scene, ServerScene};
use crate::cli::demo::side::Side;
use crate::cli::demo::story::Kind;
use crate::cli::demo::tally::{Failover, Lost, Report, Troubles};

fn report(number: usize, kind: Kind, lost: Lost) -> Report {
    Report {
        failover: Failover {
            number,
            kind,
            old: Side::A,
            promoted: 0,
            first_write: Some(Duration::from_millis(12)),
            two_masters: Duration::from_millis(2_250),
            settled: true,
        },
        acknowledged: 1_234,
        landed: [200, 1_034],
        lost,
        troubles: Troubles { cut: 4, ..Troubles::default() },
        longest: Duration::from_millis(1_020),
        proxy_says: Some("from A to B, nobody led for 0.19ms; 4 cut, 0 held".to_owned()),
    }
}

fn scene() -> Scene {
    let server = |side, port, says, health: &str, leads| ServerScene {
        side,
        address: ([127, 0, 0, 1], port).into(),
        says,
        health: health.to_owned(),
        leads,
        taken: 1_204,
        pulse: vec![0, 6, 25, 50, 50, 0],
    };
    Scene {
        elapsed: Duration::from_millis(9_400),
        listen: "127.0.0.1:41003".parse().unwrap(),
        socket: "/tmp/stagedoor-demo-1/control.sock".to_owned(),
        title: "Failover 2 of 4: master killed".to_owned(),
        happened: vec![
            (Duration::ZERO, "A is killed: its port refuses".to_owned()),
            (Duration::from_millis(980), "B is promoted".to_owned()),
        ],
        servers: [
            server(Side::A, 41001, Says::Dead, "down", false),
            server(Side::B, 41002, Says::Master, "up", true),
        ],
        clients: ClientScene {
            count: 4,
            acknowledged: 2_408,
            waiting: 3,
            longest: Duration::from_millis(400),
            troubles: Troubles { cut: 4, ..Troubles::default() },
        },
        reports: vec![report(1, Kind::Killed, Lost { before: 61, until: 12, after: 0 })],
        log: vec!["2026-11-23T04:38:58.735Z warn  target 127.0.0.1:41002 leads".to_owned()],
    }
}

fn text(lines: &[Line], width: usize) -> String {
    lines.iter().map(|line| line.render(width, false) + "\n").collect()
}

#[test]
fn a_wide_picture_shows_it_all() {
    assert_eq!(
        text(&draw(&scene(), 100, 30), 100),
        " stagedoor demo · two Redis servers behind 127.0.0.1:41003                                    9.4 s

 Failover 2 of 4: master killed
   0.00 s  A is killed: its port refuses
   0.98 s  B is promoted





 server  address          says     stagedoor says  writes  the last 10 s
 A       127.0.0.1:41001  dead     down             1,204                                     ▁▄██
 B       127.0.0.1:41002  master   up, leads        1,204                                     ▁▄██

 4 clients  2,408 writes acknowledged · 3 wait for 0.40 s
            tried again: 4 cut off

  #  failover       from, to  first write  longest wait  tried again  two masters  lost
  1  master killed  A → B          0.01 s        1.02 s            4       2.25 s    73
  1: 61 lost: A took them before B was promoted, and nothing in front of it could know; 12 lost: A
  took them after that, before stagedoor's next check
  stagedoor: from A to B, nobody led for 0.19ms; 4 cut, 0 held

 log  04:38:58.735Z warn  target 127.0.0.1:41002 leads

 stagedoor status --socket /tmp/stagedoor-demo-1/control.sock  ·  Ctrl-C ends it
"
    );
}

#[test]
fn a_narrow_picture_leaves_out_what_matters_least() {
    assert_eq!(
        text(&draw(&scene(), 60, 20), 60),
        " stagedoor demo · 127.0.0.1:41003                     9.4 s

 Failover 2 of 4: master killed
   0.00 s  A is killed: its port refuses
   0.98 s  B is promoted



   port  says    stagedoor writes the last 6 s
 A 41001 dead    down       1,204                     ▁▄██
 B 41002 master  up, leads  1,204                     ▁▄██

 4 clients  2,408 writes acknowledged · 3 wait for 0.40 s
            tried again: 4 cut off

  #  failover       from, to  waited  2 masters  lost
  1  master killed  A → B     1.02 s     2.25 s    73
  1: 61 lost: A took them before B was promoted, and
  nothing in front of it could know; 12 lost: A took them
  after that, before stagedoor's next check
"
    );
}

#[test]
fn no_size_is_too_small_and_no_line_too_long() {
    let mut scene = scene();
    scene.reports = (1..30).map(|number| report(number, Kind::Frozen, Lost::default())).collect();
    scene.happened = vec![(Duration::ZERO, "something".to_owned()); 20];
    for width in 0..120 {
        for height in 0..40 {
            let lines = draw(&scene, width, height);
            assert!(lines.len() <= height, "{width}x{height}");
            for line in lines {
                assert!(line.render(width, false).chars().count() <= width, "{width}x{height}");
            }
        }
    }
}
