//! Catching panics where they happen, and turning them into text.
//!
//! Supervised panics are logged once, by the supervisor, with what was decided. The hook here only
//! keeps the default one from printing them a second time, and remembers where they happened.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    /// How many `guarded` calls are on this thread's stack.
    static GUARDED: Cell<u32> = const { Cell::new(0) };
    /// Where the last guarded panic of this thread happened.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps supervised panics off stderr; every other panic goes to the hook that was there before.
///
/// For `app`, once at start. Without it nothing is lost: a supervised panic is then also printed.
/// With `RUST_BACKTRACE` set it is printed as well, since somebody wants to see the backtrace.
pub fn install_hook() {
    let wants_backtrace = std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0");
    let previous = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        // A panic in a hook would end the process: nothing here may fail, not even on a thread
        // whose locals are gone.
        let guarded = GUARDED.try_with(Cell::get).unwrap_or(0) > 0;
        if guarded {
            let place = info.location().map(ToString::to_string);
            drop(PLACE.try_with(|cell| cell.try_borrow_mut().map(|mut cell| *cell = place)));
        }
        if !guarded || wants_backtrace {
            previous(info);
        }
    }));
}

/// Runs code that is not ours. A panic comes back as text, and nothing of it is left: its payload
/// has been dropped here, where a panic in that drop is caught as well.
pub(super) fn guarded<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    GUARDED.with(|depth| depth.set(depth.get() + 1));
    let result = catch_unwind(AssertUnwindSafe(run)).map_err(|payload| {
        let text = describe(&*payload);
        let place = PLACE.try_with(RefCell::take).ok().flatten();
        discard(payload);
        match place {
            Some(place) => format!("{text} ({place})"),
            None => text,
        }
    });
    GUARDED.with(|depth| depth.set(depth.get() - 1));
    result
}

fn describe(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic with no message".to_owned()
    }
}

fn discard(payload: Box<dyn Any + Send>) {
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        // Whoever panics with a payload that panics may do so for ever: this one is leaked.
        std::mem::forget(second);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            std::panic::panic_any(Self);
        }
    }

    #[test]
    fn a_panic_comes_back_as_its_message() {
        let text = guarded(|| panic!("the {} broke", "wheel")).unwrap_err();
        assert!(text.starts_with("the wheel broke"), "{text}");
        assert_eq!(guarded(|| 7), Ok(7));
    }

    #[test]
    fn a_payload_that_panics_when_dropped_does_no_harm() {
        let text = guarded(|| std::panic::panic_any(Bomb)).unwrap_err();
        assert!(text.starts_with("a panic with no message"), "{text}");
    }
}
