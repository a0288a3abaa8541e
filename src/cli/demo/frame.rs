//! The picture of one moment, as lines of a width and no more of them than there is room for.
//! Pure.

use std::time::Duration;

use crate::cli::demo::paint::{Line, Style, grouped};
use crate::cli::demo::scene::{Says, Scene, ServerScene};
use crate::cli::demo::told;

/// Writes in one moment of a full bar: what all clients together can do.
const FULL: u64 = 50;
/// What has happened in a failover: so many lines where there is room.
const HAPPENED: usize = 6;
const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// From this width on addresses are whole.
const WIDE: usize = 80;

/// Draws it.
pub fn draw(scene: &Scene, width: usize, height: usize) -> Vec<Line> {
    // What has to be there takes 15 lines; what is left is shared out, the newest first.
    let spare = height.saturating_sub(15);
    let reports = scene.reports.len().min(spare.div_ceil(2)).max(1);
    let happened = HAPPENED.min(spare.saturating_sub(reports)).max(2);
    let mut lines = title(scene, width);
    lines.push(Line::default());
    lines.extend(what_happens(scene, happened));
    lines.push(Line::default());
    lines.extend(servers(scene, width));
    lines.push(Line::default());
    lines.extend(clients(scene));
    lines.push(Line::default());
    lines.extend(last_reports(scene, width, reports));
    let log = height.saturating_sub(lines.len() + 4).min(scene.log.len()).min(3);
    if log > 0 {
        lines.push(Line::default());
        lines.extend(scene.log[scene.log.len() - log..].iter().map(|line| log_line(line)));
    }
    if lines.len() + 3 <= height {
        lines.push(Line::default());
        lines.push(look(scene, width));
    }
    lines.truncate(height);
    lines
}

fn title(scene: &Scene, width: usize) -> Vec<Line> {
    let clock = format!("{:.1} s", scene.elapsed.as_secs_f64());
    let about = match width {
        WIDE.. => format!(" · two Redis servers behind {}", scene.listen),
        _ => format!(" · {}", scene.listen),
    };
    let line = Line::of(Style::Bold, " stagedoor demo").and(Style::Dim, about);
    let room = width.saturating_sub(clock.chars().count() + 1);
    vec![line.padded(room).and(Style::Dim, clock)]
}

fn what_happens(scene: &Scene, room: usize) -> Vec<Line> {
    let mut lines = vec![Line::of(Style::Bold, format!(" {}", scene.title))];
    let hidden = scene.happened.len().saturating_sub(room);
    let newest = scene.happened.len().saturating_sub(1);
    for (index, (when, what)) in scene.happened.iter().enumerate().skip(hidden) {
        let style = if index == newest { Style::Plain } else { Style::Dim };
        let when = format!("  {:>5.2} s  ", when.as_secs_f64());
        lines.push(Line::of(Style::Dim, when).and(style, what.clone()));
    }
    // The rest of the picture stays where it is.
    lines.resize(room + 1, Line::default());
    lines
}

fn servers(scene: &Scene, width: usize) -> Vec<Line> {
    let heading = match width {
        WIDE.. => ["server", "address", "says", "stagedoor says", "writes"],
        _ => ["", "port", "says", "stagedoor", "writes"],
    };
    let rows: Vec<[(Style, String); 5]> =
        scene.servers.iter().map(|server| cells(server, width)).collect();
    let columns: Vec<usize> = (0..5)
        .map(|column| {
            let cells = rows.iter().map(|row| row[column].1.chars().count());
            // Wide enough for whatever a cell can say, so that nothing moves.
            let least = [1, 5, 7, 9, 6][column].max(heading[column].chars().count());
            cells.chain([least]).max().unwrap_or(least)
        })
        .collect();
    let gap = if width >= WIDE { "  " } else { " " };
    let left: usize = 1 + columns.iter().map(|column| column + gap.len()).sum::<usize>();
    let room = width.saturating_sub(left + 1).min(60);
    let put = |line: Line, column: usize, style: Style, text: &str| {
        let wide = columns[column];
        let text = if column == 4 { format!("{text:>wide$}") } else { format!("{text:<wide$}") };
        line.and(style, text).and(Style::Plain, gap)
    };
    let mut head = Line::of(Style::Plain, " ");
    for (column, text) in heading.iter().enumerate() {
        head = put(head, column, Style::Dim, text);
    }
    let span = format!("the last {} s", room / 4);
    let mut lines = vec![head.and(Style::Dim, if room >= 12 { span } else { String::new() })];
    for (server, cells) in scene.servers.iter().zip(&rows) {
        let mut line = Line::of(Style::Plain, " ");
        for (column, (style, text)) in cells.iter().enumerate() {
            line = put(line, column, *style, text);
        }
        lines.push(line.and(Style::Of(server.side), bars(&server.pulse, room)));
    }
    lines
}

fn cells(server: &ServerScene, width: usize) -> [(Style, String); 5] {
    let address = match width {
        WIDE.. => server.address.to_string(),
        _ => server.address.port().to_string(),
    };
    let says = match server.says {
        Says::Master => (Style::Bold, "master"),
        Says::Replica => (Style::Plain, "replica"),
        Says::Silent => (Style::Odd, "silent"),
        Says::Dead => (Style::Odd, "dead"),
    };
    let claims_in_vain = !server.leads && server.health == "up";
    let held = match (server.leads, claims_in_vain) {
        (true, _) => (Style::Good, format!("{}, leads", server.health)),
        (false, true) => (Style::Odd, format!("{}, waits", server.health)),
        (false, false) => (Style::Plain, server.health.clone()),
    };
    let of = Style::Of(server.side);
    [
        (of, server.side.to_string()),
        (Style::Plain, address),
        (says.0, says.1.to_owned()),
        held,
        (Style::Plain, grouped(server.taken)),
    ]
}

/// A bar a moment, the newest at the right.
fn bars(pulse: &[u64], room: usize) -> String {
    let shown = &pulse[pulse.len().saturating_sub(room)..];
    let bar = |count: &u64| {
        let eighths = (count * 8).div_ceil(FULL).min(8);
        BARS[usize::try_from(eighths).unwrap_or(8)]
    };
    let missing = room - shown.len();
    " ".repeat(missing).chars().chain(shown.iter().map(bar)).collect()
}

fn clients(scene: &Scene) -> Vec<Line> {
    let clients = &scene.clients;
    let acknowledged = grouped(clients.acknowledged);
    let line = Line::of(Style::Bold, format!(" {} clients", clients.count))
        .and(Style::Plain, format!("  {acknowledged} writes acknowledged"));
    let line = match clients.waiting {
        0 => line,
        waiting => {
            let verb = if waiting == 1 { "waits" } else { "wait" };
            let longest = told::seconds(clients.longest);
            line.and(Style::Odd, format!(" · {waiting} {verb} for {longest}"))
        }
    };
    let met = told::troubles(clients.troubles);
    let met = if met.is_empty() {
        "nothing to try again".to_owned()
    } else {
        format!("tried again: {met}")
    };
    vec![line, Line::of(Style::Dim, format!("            {met}"))]
}

fn last_reports(scene: &Scene, width: usize, room: usize) -> Vec<Line> {
    let Some(last) = scene.reports.last() else {
        let text = " Each failover is reported here when it is over.";
        return vec![Line::of(Style::Dim, text)];
    };
    let shown = &scene.reports[scene.reports.len().saturating_sub(room)..];
    let mut lines = told::table(shown, width);
    let verdict = told::verdict(last).join("; ");
    let marked = format!("{}: {verdict}", last.failover.number);
    let own = last.proxy_says.iter().map(|own| (format!("stagedoor: {own}"), Style::Dim));
    for (text, style) in [(marked, Style::Plain)].into_iter().chain(own) {
        let wrapped = told::wrap(&text, width.saturating_sub(4), style);
        let inset = || Line::of(Style::Plain, "  ");
        lines.extend(wrapped.into_iter().map(|line| inset().followed_by(line)));
    }
    lines
}

/// Without the date: it is today.
fn log_line(line: &str) -> Line {
    let line = line.split_once('T').map_or(line, |(_, time)| time);
    Line::of(Style::Dim, format!(" log  {line}"))
}

fn look(scene: &Scene, width: usize) -> Line {
    let status = format!(" stagedoor status --socket {}", scene.socket);
    let end = "Ctrl-C ends it";
    match width {
        WIDE.. => Line::of(Style::Dim, format!("{status}  ·  {end}")),
        _ => Line::of(Style::Dim, format!(" {end}")),
    }
}

/// How long a moment of the bars is.
pub const MOMENT: Duration = Duration::from_millis(250);
