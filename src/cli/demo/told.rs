//! What is told of a failover and of the whole demo: tables and sentences for people, objects for
//! machines. Pure.

use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::demo::paint::{Line, Style, grouped};
use crate::cli::demo::side::Side;
use crate::cli::demo::tally::{Lost, Report, Troubles};

/// All failovers together, and how it ended.
#[derive(Debug, Clone)]
pub struct Summary {
    /// How long it took.
    pub elapsed: Duration,
    /// Writes acknowledged.
    pub acknowledged: u64,
    /// What clients met after the last report; what is in no report.
    pub since: Troubles,
    /// The failovers.
    pub reports: Vec<Report>,
    /// So many were to be played.
    pub wanted: usize,
    /// Did it end in the middle of a failover?
    pub unfinished: bool,
    /// Why it ended early, if it broke down.
    pub broken: Option<String>,
}

/// The heading above rows of reports.
const HEADING: [&str; 8] = [
    "#",
    "failover",
    "from, to",
    "first write",
    "longest wait",
    "tried again",
    "two masters",
    "lost",
];

/// Seconds as a person reads them: `0.27 s`.
pub fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

/// A table of failovers. `first write` counts from the promotion, and only that column goes where
/// there is no room.
pub fn table(reports: &[Report], width: usize) -> Vec<Line> {
    let rows: Vec<[String; 8]> = reports.iter().map(row).collect();
    let shown: &[usize] = match width {
        88.. => &[0, 1, 2, 3, 4, 5, 6, 7],
        _ => &[0, 1, 2, 4, 6, 7],
    };
    let heading = HEADING.map(|heading| match width {
        88.. => heading.to_owned(),
        _ => {
            heading.replace("longest wait", "waited").replace("two masters", "2 masters").to_owned()
        }
    });
    let columns = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([heading[column].chars().count()]).max().unwrap_or_default()
    };
    let line = |cells: &[String; 8], style: Style, last: Style| {
        let mut line = Line::of(Style::Plain, " ");
        for column in shown {
            let (cell, width) = (&cells[*column], columns(*column));
            let cell = match column {
                ..=2 => format!(" {cell:<width$} "),
                _ => format!(" {cell:>width$} "),
            };
            line = line.and(if *column == 7 { last } else { style }, cell);
        }
        line
    };
    let head = line(&heading, Style::Dim, Style::Dim);
    let rows =
        rows.iter().zip(reports).map(|(cells, report)| line(cells, Style::Plain, style_of(report)));
    [head].into_iter().chain(rows).collect()
}

fn style_of(report: &Report) -> Style {
    match (report.is_kept(), report.lost.total()) {
        (false, _) => Style::Bad,
        (true, 0) => Style::Good,
        (true, _) => Style::Odd,
    }
}

fn row(report: &Report) -> [String; 8] {
    let failover = &report.failover;
    let contested = match failover.two_masters {
        Duration::ZERO => "none".to_owned(),
        time => seconds(time),
    };
    [
        failover.number.to_string(),
        failover.kind.name().to_owned(),
        format!("{} → {}", failover.old, failover.old.other()),
        failover.first_write.map_or("never".to_owned(), seconds),
        seconds(report.longest),
        grouped(report.troubles.retried()),
        contested,
        grouped(report.lost.total() as u64),
    ]
}

/// What became of the acknowledged writes of one failover, in a few sentences.
pub fn verdict(report: &Report) -> Vec<String> {
    let (old, new) = (report.failover.old, report.failover.old.other());
    let Lost { before, until, after } = report.lost;
    let mut said = Vec::new();
    if report.lost.total() == 0 {
        let count = grouped(report.acknowledged as u64);
        said.push(format!("nothing lost: {new} has every acknowledged write, {count} new ones"));
    }
    if before > 0 {
        said.push(format!(
            "{} lost: {old} took {} before {new} was promoted, and nothing in front of it could know",
            grouped(before as u64),
            them(before),
        ));
    }
    if until > 0 {
        said.push(format!(
            "{} lost: {old} took {} after that, before stagedoor's next check",
            grouped(until as u64),
            them(until),
        ));
    }
    if after > 0 {
        said.push(format!(
            "{} LOST: {old} took {} after {new}'s first write: this must not happen",
            grouped(after as u64),
            them(after),
        ));
    }
    if !report.failover.settled {
        said.push(format!(
            "stagedoor DID NOT COME TO REST, leading to {new} alone with nobody waiting: this must \
             not happen"
        ));
    }
    if report.troubles.given_up > 0 {
        let count = grouped(report.troubles.given_up);
        said.push(format!("{count} WRITES GIVEN UP by their clients: this must not happen"));
    }
    said
}

fn them(count: usize) -> &'static str {
    if count == 1 { "it" } else { "them" }
}

/// Troubles in words; empty for none.
pub fn troubles(troubles: Troubles) -> String {
    let Troubles { cut, refused, unreachable, given_up } = troubles;
    let counted = [
        (cut, "cut off"),
        (refused, "answered READONLY"),
        (unreachable, "not connected"),
        (given_up, "given up"),
    ];
    let shown = counted.iter().filter(|(count, _)| *count > 0);
    shown.map(|(count, what)| format!("{} {what}", grouped(*count))).collect::<Vec<_>>().join(", ")
}

// === impl Summary ===

impl Summary {
    /// Was everything as the proxy promises, as far as it was played?
    pub fn is_kept(&self) -> bool {
        self.broken.is_none()
            && self.since.given_up == 0
            && self.reports.iter().all(Report::is_kept)
    }

    fn lost(&self) -> Lost {
        self.reports.iter().fold(Lost::default(), |sum, report| Lost {
            before: sum.before + report.lost.before,
            until: sum.until + report.lost.until,
            after: sum.after + report.lost.after,
        })
    }

    fn two_masters(&self) -> Duration {
        self.reports.iter().map(|report| report.failover.two_masters).sum()
    }

    fn troubles(&self) -> Troubles {
        self.reports.iter().fold(self.since, |sum, report| sum.and(report.troubles))
    }

    /// For people.
    pub fn lines(&self, width: usize) -> Vec<Line> {
        let (played, lost) = (self.reports.len(), self.lost());
        let plural = if played == 1 { "" } else { "s" };
        let mut title = format!(
            "{played} failover{plural} in {:.1} s: {} writes acknowledged",
            self.elapsed.as_secs_f64(),
            grouped(self.acknowledged),
        );
        if played > 0 {
            title.push_str(&format!(", {} of them lost", grouped(lost.total() as u64)));
        }
        let mut lines = wrap(&title, width, Style::Bold);
        if self.unfinished {
            let text = format!(
                "Ended in the middle of failover {}: its writes were not looked at.",
                played + 1
            );
            lines.extend(wrap(&text, width, Style::Plain));
        }
        if played > 0 {
            lines.push(Line::default());
            lines.extend(table(&self.reports, width));
            lines.push(Line::default());
            let sentences = self.sentences(lost);
            lines.extend(sentences.iter().flat_map(|(style, text)| wrap(text, width, *style)));
        }
        if let Some(why) = &self.broken {
            lines.extend(why.lines().map(|line| Line::of(Style::Bad, line)));
        } else if played > 0 {
            lines.push(match self.is_kept() {
                true => Line::of(Style::Good, "Everything went as stagedoor promises."),
                false => Line::of(Style::Bad, "A PROMISE WAS BROKEN: please report it."),
            });
        }
        lines
    }

    fn sentences(&self, lost: Lost) -> Vec<(Style, String)> {
        let mut said = Vec::new();
        let Lost { before, until, after } = lost;
        if before > 0 {
            said.push((
                Style::Plain,
                format!(
                    "{} lost before the promotion: a master that was cut off from its replica took \
                 {} while nobody had been promoted. No proxy can know that; Redis can be told to \
                 stop (min-replicas-to-write).",
                    grouped(before as u64),
                    them(before),
                ),
            ));
        }
        if until > 0 {
            said.push((Style::Plain, format!(
                "{} lost between a promotion and stagedoor's next check. It checks every 250 ms.",
                grouped(until as u64),
            )));
        }
        if after > 0 {
            said.push((
                Style::Bad,
                format!("{} LOST after the new master's first write.", grouped(after as u64),),
            ));
        } else {
            let none = "None lost after the new master's first write: from there on nobody was \
                        led to the old one.";
            said.push((Style::Plain, none.to_owned()));
        }
        if self.two_masters() > Duration::ZERO {
            said.push((
                Style::Plain,
                format!(
                    "For {} both servers passed the check. What sends clients to every server that \
                 passes would have used both, and what the loser takes is gone.",
                    seconds(self.two_masters()),
                ),
            ));
        }
        let met = troubles(self.troubles());
        if !met.is_empty() {
            said.push((Style::Plain, format!("Tries of clients that had to be repeated: {met}.")));
        }
        said
    }

    /// For machines.
    pub fn json(&self) -> Value {
        json!({ "summary": {
            "failovers": self.reports.len(),
            "wanted": self.wanted,
            "elapsed_ms": millis(self.elapsed),
            "unfinished": self.unfinished,
            "acknowledged": self.acknowledged,
            "lost": lost_json(self.lost()),
            "two_masters_ms": millis(self.two_masters()),
            "tries": troubles_json(self.troubles()),
            "kept": self.is_kept(),
            "broken": self.broken,
        } })
    }
}

/// One failover for machines.
pub fn json(report: &Report) -> Value {
    let failover = &report.failover;
    let [on_a, on_b] = report.landed;
    json!({ "failover": {
        "number": failover.number,
        "kind": failover.kind.name(),
        "from": failover.old.to_string(),
        "to": failover.old.other().to_string(),
        "acknowledged": report.acknowledged,
        "landed": { Side::A.to_string(): on_a, Side::B.to_string(): on_b },
        "lost": lost_json(report.lost),
        "first_write_ms": failover.first_write.map(millis),
        "longest_wait_ms": millis(report.longest),
        "two_masters_ms": millis(failover.two_masters),
        "tries": troubles_json(report.troubles),
        "proxy_says": report.proxy_says,
        "settled": failover.settled,
        "kept": report.is_kept(),
    } })
}

fn lost_json(lost: Lost) -> Value {
    let Lost { before, until, after } = lost;
    json!({ "before_promotion": before, "until_switch": until, "after_switch": after })
}

fn troubles_json(troubles: Troubles) -> Value {
    let Troubles { cut, refused, unreachable, given_up } = troubles;
    json!({ "cut": cut, "refused": refused, "unreachable": unreachable, "given_up": given_up })
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A sentence over as many lines as it takes.
pub fn wrap(text: &str, width: usize, style: Style) -> Vec<Line> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.last_mut().expect("there is always one");
        let joined = last.chars().count() + 1 + word.chars().count();
        if last.is_empty() {
            last.push_str(word);
        } else if joined <= width {
            last.push(' ');
            last.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines.into_iter().map(|line| Line::of(style, line)).collect()
}
