//! The commands of the control socket: one JSON object a line, one JSON object back.
//!
//! ```text
//! {"command":"restart","component":"router/0"}
//! {"ok":"restarted router/0"}
//! {"error":"no component is called `router/9`"}
//! ```

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::admin::view::{ReloadView, StatusView, TreeView, UpgradeView};

/// What a running process can be asked or told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// What it serves and how its targets are.
    Status,
    /// Its supervision tree.
    Tree,
    /// Read the configuration again.
    Reload,
    /// Start the program anew and leave the clients that come to it.
    Upgrade,
    /// Restart one component, or one arbiter with what runs on it.
    Restart {
        /// Its name in the tree.
        component: String,
    },
    /// Hit a component with a fault. Only in a binary built with the `chaos` feature.
    Chaos {
        /// Its name in the tree.
        component: String,
        /// `panic`, `wedge`, `stop`, `hang:MILLISECONDS` or `kill` (an arbiter).
        fault: String,
    },
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// It is done; a sentence about it.
    Ok(String),
    /// It cannot be done; why, and what would be right.
    Error(String),
    /// To `status`.
    Status(StatusView),
    /// To `tree`.
    Tree(TreeView),
    /// To `reload`.
    Reload(ReloadView),
    /// To `upgrade`.
    Upgrade(UpgradeView),
}

/// A command on its way to whoever carries it out.
#[derive(Debug, actix::Message)]
#[rtype(result = "()")]
pub struct Ask {
    /// What is asked.
    pub command: Command,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Reply>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_one_json_object() {
        let check = |text: &str, expected: Command| {
            assert_eq!(serde_json::from_str::<Command>(text).unwrap(), expected);
            assert_eq!(serde_json::to_string(&expected).unwrap(), text);
        };
        check(r#"{"command":"status"}"#, Command::Status);
        let restart = Command::Restart { component: "router/0".to_owned() };
        check(r#"{"command":"restart","component":"router/0"}"#, restart);
        assert!(serde_json::from_str::<Command>(r#"{"command":"halt"}"#).is_err());
    }
}
