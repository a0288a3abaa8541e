//! The decisions of a supervisor, in seeded random walks: everything happens to it, in any order.

use std::time::Duration;

use crate::supervise::children_world::{SLOTS, WINDOW, World, boom};
use crate::supervise::effect::Effect;
use crate::supervise::exit::Exit;
use crate::supervise::handle::ComponentName;
use crate::supervise::intensity::Intensity;
use crate::supervise::policy::{GiveUp, Policy};
use crate::supervise::slot::Loss;
use crate::supervise::view::ChildState;

/// One step of the walk: something happens, chosen by chance.
fn step(world: &mut World, number: usize) {
    let some = |world: &mut World| {
        let names: Vec<String> = world.policies.keys().map(ToString::to_string).collect();
        let mut names = names;
        names.sort();
        names.get(world.chance.usize(0..names.len().max(1))).cloned().unwrap_or_default()
    };
    let name = some(world);
    match world.chance.u8(0..100) {
        0..5 => world.wake(),
        5..40 => {
            let exit = match world.chance.u8(0..4) {
                0 => Exit::Normal,
                1 => Exit::Wedged,
                2 => Exit::ArbiterLost,
                _ => boom(),
            };
            world.fall(&name, exit);
        }
        40..60 => world.obey(),
        60..75 => {
            let time = Duration::from_millis(world.chance.u64(1..8_000));
            world.pass(time);
        }
        75..80 => {
            let slot = SLOTS[world.chance.usize(0..SLOTS.len())];
            let why = [Loss::Dead, Loss::Hung, Loss::Requested][world.chance.usize(0..3)];
            world.replace(slot, why);
        }
        80..85 => {
            world.restarts.remove(&ComponentName::from(&*name));
            world.children.restart(&ComponentName::from(&*name), world.now);
            world.perform();
        }
        85..87 => {
            world.children.stop(&ComponentName::from(&*name), world.now);
            world.perform();
        }
        87..90 => {
            let give_up =
                [GiveUp::Park, GiveUp::RestartGroup, GiveUp::Escalate][world.chance.usize(0..3)];
            let intensity = Intensity { restarts: world.chance.u32(0..5), window: WINDOW };
            let policy = Policy { give_up, intensity, ..Policy::default() };
            let slot = SLOTS[world.chance.usize(0..SLOTS.len())];
            world.add(&format!("child/{number}"), policy, slot);
        }
        90..95 => world.resume(),
        _ => {
            // The supervisor crashes over the next thing that it does.
            world.children.tick(world.now);
            match world.children.next_effect() {
                Some(kept @ (Effect::Close { .. } | Effect::Report { .. })) => {
                    world.perform_one(kept);
                }
                Some(Effect::Start { .. } | Effect::End { .. }) | None => {}
                Some(Effect::GiveUp { .. } | Effect::AllStopped) => {}
            }
            world.resume();
        }
    }
}

#[test]
fn whatever_happens_the_promises_hold_and_in_the_end_everything_runs() {
    for seed in 0..300 {
        let mut world = World::new(seed, 20);
        for number in 0..200 {
            step(&mut world, number + 1000);
        }
        // The storm is over: whoever was told to end does, arbiters come, time passes.
        for _ in 0..5 {
            world.obey();
            for slot in SLOTS {
                world.replace(slot, Loss::Dead);
            }
            world.pass(Duration::from_secs(10));
        }
        for entry in world.children.entries() {
            let view = entry.view();
            assert_eq!(view.state, ChildState::Running, "seed {seed}: {view:?}");
            assert_eq!(world.epoch_of(&view.name), Some(entry.epoch), "seed {seed}");
        }
        let running = world.children.entries().len();
        assert_eq!(world.live.len(), running, "seed {seed}: nobody runs whom nobody knows");

        world.children.stop_all(world.now);
        world.perform();
        world.obey();
        assert!(world.stopped && world.live.is_empty(), "seed {seed}");
        assert_eq!(world.closed.len(), world.policies.len(), "seed {seed}");
    }
}
