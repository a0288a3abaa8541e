//! What follows from a try to send an event. Pure.

use std::time::Duration;

/// So often an event is tried.
pub const TRIES: u32 = 6;
/// Before the second try; before each further one twice as long as before the last.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// What follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Nothing: it has been delivered.
    Delivered,
    /// Another try after this.
    Again(Duration),
    /// It is given up.
    GivenUp,
}

/// How one try has ended: with an HTTP status, or why there is none.
pub type Said = Result<u16, String>;

/// What follows from the try that was the `tries`th; `chance` is from 0 to 1.
pub fn after(tries: u32, said: &Said, chance: f64) -> Next {
    let is_worth_it = match said {
        Ok(200..=299) => return Next::Delivered,
        // Trouble of its own; its time is over; it is asked too often.
        Ok(status) => matches!(status, 408 | 429 | 500..),
        Err(_) => true,
    };
    if !is_worth_it || tries >= TRIES {
        return Next::GivenUp;
    }
    let pause = FIRST_PAUSE * 2_u32.saturating_pow(tries.saturating_sub(1));
    // Several processes that are told of one failure do not come all at once.
    Next::Again(pause.mul_f64(0.75 + 0.5 * chance))
}

/// What went wrong, in words.
pub fn in_words(said: &Said) -> String {
    match said {
        Ok(status) => {
            let redirected = matches!(status, 300..=399);
            let redirect = if redirected { ", and no redirect is followed" } else { "" };
            format!("it answered with status {status}{redirect}")
        }
        Err(why) => why.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(tries: u32, said: Said, expected: &Next) {
        assert_eq!(after(tries, &said, 0.5), *expected, "{said:?} at try {tries}");
    }

    #[test]
    fn what_may_come_right_by_itself_is_tried_again_ever_later_and_then_given_up() {
        let again = |seconds| Next::Again(Duration::from_secs(seconds));
        for (tries, pause) in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16)] {
            check(tries, Err("no answer within 5s".to_owned()), &again(pause));
            for status in [500, 503, 408, 429, 599] {
                check(tries, Ok(status), &again(pause));
            }
        }
        check(6, Ok(500), &Next::GivenUp);
        check(6, Err(String::new()), &Next::GivenUp);
        let no_answer = || Err(String::new());
        assert_eq!(after(1, &no_answer(), 0.0), Next::Again(Duration::from_millis(750)));
        assert_eq!(after(1, &no_answer(), 1.0), Next::Again(Duration::from_millis(1250)));
    }

    #[test]
    fn a_receiver_that_will_have_none_of_it_is_not_asked_again() {
        for status in [100, 301, 302, 304, 400, 401, 403, 404, 410, 422] {
            check(1, Ok(status), &Next::GivenUp);
        }
        for status in [200, 201, 202, 204, 299] {
            check(1, Ok(status), &Next::Delivered);
            check(6, Ok(status), &Next::Delivered);
        }
    }

    #[test]
    fn what_went_wrong_is_said_in_words() {
        assert_eq!(in_words(&Ok(503)), "it answered with status 503");
        let redirected = "it answered with status 302, and no redirect is followed";
        assert_eq!(in_words(&Ok(302)), redirected);
        assert_eq!(in_words(&Err("refused".to_owned())), "refused");
    }
}
