//! The supervision tree, shown and prodded: components and arbiters by the names people use.

use std::sync::Arc;

use crate::admin::view::TreeView;
use crate::app::answers::Tree;
use crate::supervise::arbiters::Slots;
#[cfg(feature = "chaos")]
use crate::supervise::chaos::{Fault, Inject};
use crate::supervise::handle::{ComponentName, Ref};
use crate::supervise::slot::SlotId;
use crate::supervise::supervisor::{Group, RestartChild, Supervisor};
use crate::supervise::view::{ChildState, ChildView};

/// The running tree.
pub struct RunningTree {
    /// Its root.
    pub root: Arc<Group>,
    /// The arbiters it runs on.
    pub slots: Arc<Slots>,
}

impl RunningTree {
    fn supervisor(&self) -> &Ref<Supervisor> {
        self.root.handle()
    }

    fn has(&self, component: &str) -> bool {
        fn any(children: &[ChildView], name: &str) -> bool {
            children.iter().any(|child| child.name.as_str() == name || any(&child.children, name))
        }
        any(&self.root.tree(), component)
    }

    /// `arbiter/data/0` → that slot.
    fn arbiter(component: &str) -> Option<SlotId> {
        component.strip_prefix("arbiter/")?.parse().ok()
    }
}

impl Tree for RunningTree {
    fn view(&self) -> TreeView {
        let mut children: Vec<TreeView> = self.root.tree().iter().map(view).collect();
        children.extend(self.slots.views().iter().map(|slot| TreeView {
            name: format!("arbiter/{}", slot.slot),
            state: "running".to_owned(),
            restarts: slot.generation.0,
            last_exit: None,
            arbiter: "a thread".to_owned(),
            children: Vec::new(),
        }));
        TreeView {
            name: self.supervisor().name().to_string(),
            state: "running".to_owned(),
            restarts: 0,
            last_exit: None,
            arbiter: SlotId::System.to_string(),
            children,
        }
    }

    fn restart(&self, component: &str) -> bool {
        if let Some(slot) = Self::arbiter(component) {
            return self.slots.restart(slot);
        }
        self.has(component) && self.supervisor().tell(RestartChild(ComponentName::from(component)))
    }

    #[cfg(feature = "chaos")]
    fn break_component(&self, component: &str, fault: &str) -> Result<(), String> {
        if let Some(slot) = Self::arbiter(component) {
            return match fault {
                "kill" if self.slots.kill(slot) => Ok(()),
                _ => Err(format!("`{component}` can only be hit with `kill`")),
            };
        }
        let millis = |text: &str| text.parse().ok().map(std::time::Duration::from_millis);
        let fault = match (fault, fault.strip_prefix("hang:").and_then(millis)) {
            ("panic", _) => Fault::Panic,
            ("wedge", _) => Fault::Wedge,
            ("stop", _) => Fault::Stop,
            (_, Some(time)) => Fault::Hang(time),
            _ => return Err(format!("`{fault}` is no fault")),
        };
        let inject = Inject { component: ComponentName::from(component), fault };
        match (self.root.break_child(&inject), self.has(component)) {
            (true, _) => Ok(()),
            (false, true) => Err(format!("`{component}` does not run just now")),
            (false, false) => Err(format!("no component is called `{component}`")),
        }
    }

    #[cfg(not(feature = "chaos"))]
    fn break_component(&self, _: &str, _: &str) -> Result<(), String> {
        Err("this binary was built without the `chaos` feature".to_owned())
    }
}

fn view(child: &ChildView) -> TreeView {
    let state = match child.state {
        ChildState::Running => "running",
        ChildState::Ending => "ending",
        ChildState::BackingOff(_) => "backing off",
        ChildState::Parked(_) => "parked",
        ChildState::Waiting => "waiting",
    };
    TreeView {
        name: child.name.to_string(),
        state: state.to_owned(),
        restarts: child.restarts,
        last_exit: child.last_exit.as_ref().map(ToString::to_string),
        arbiter: child.slot.to_string(),
        children: child.children.iter().map(view).collect(),
    }
}
