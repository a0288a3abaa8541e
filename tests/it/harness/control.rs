//! The control socket, spoken to directly: a process for each command would be too slow for
//! thousands of them.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::harness::eventually::eventually;
use crate::harness::stagedoor::Stagedoor;

/// A component as `tree` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Component {
    pub(crate) name: String,
    pub(crate) state: String,
    pub(crate) restarts: u64,
    pub(crate) last_exit: Option<String>,
    pub(crate) arbiter: String,
}

/// One command and its reply; `None` if nobody answered it, as when whoever should was hit.
pub(crate) fn ask(socket: &Path, command: &Value) -> Option<Value> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a deadline can be set");
    stream.write_all(format!("{command}\n").as_bytes()).ok()?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).ok()?;
    serde_json::from_str(&line).ok()
}

impl Stagedoor {
    /// `status`, asked until somebody answers.
    pub(crate) fn status(&self) -> Value {
        let command = serde_json::json!({ "command": "status" });
        eventually("status is answered", || ask(&self.socket(), &command)?.get("status").cloned())
    }

    /// One of the services in it.
    pub(crate) fn service(&self, name: &str) -> Value {
        let status = self.status();
        let services = status["services"].as_array().expect("it has services");
        let named = services.iter().find(|service| service["name"] == name);
        named.unwrap_or_else(|| panic!("no service is called {name}")).clone()
    }

    /// The addresses of its targets.
    pub(crate) fn targets(&self, name: &str) -> Vec<String> {
        let service = self.service(name);
        let targets = service["targets"].as_array().expect("it has targets");
        let address = |target: &Value| target["address"].as_str().map(str::to_owned);
        targets.iter().filter_map(address).collect()
    }

    /// `tree`, asked until somebody answers, as a list.
    pub(crate) fn tree(&self) -> Vec<Component> {
        let command = serde_json::json!({ "command": "tree" });
        let tree =
            eventually("tree is answered", || ask(&self.socket(), &command)?.get("tree").cloned());
        let mut components = Vec::new();
        flatten(&tree, &mut components);
        components
    }

    /// One component of the tree.
    #[track_caller]
    pub(crate) fn component(&self, name: &str) -> Component {
        let tree = self.tree();
        let found = tree.iter().find(|component| component.name == name);
        found.unwrap_or_else(|| panic!("no {name} in {tree:#?}")).clone()
    }

    /// Asks for a restart of a component, and says what came back.
    pub(crate) fn restart(&self, component: &str) -> Option<Value> {
        let command = serde_json::json!({ "command": "restart", "component": component });
        ask(&self.socket(), &command)
    }

    /// Hits a component with a fault. `false`: it did not run just then, or nobody answered.
    #[cfg(feature = "chaos")]
    pub(crate) fn hit(&self, component: &str, fault: &str) -> bool {
        let command =
            serde_json::json!({ "command": "chaos", "component": component, "fault": fault });
        ask(&self.socket(), &command).is_some_and(|reply| reply.get("ok").is_some())
    }
}

fn flatten(tree: &Value, into: &mut Vec<Component>) {
    let text = |key: &str| tree[key].as_str().map(ToOwned::to_owned);
    into.push(Component {
        name: text("name").expect("a component has a name"),
        state: text("state").expect("and a state"),
        restarts: tree["restarts"].as_u64().expect("and a count of restarts"),
        last_exit: text("last_exit"),
        arbiter: text("arbiter").expect("and an arbiter"),
    });
    for child in tree["children"].as_array().expect("and children") {
        flatten(child, into);
    }
}
