//! Floor 7: the one process. Knows all rooms and holds no rule.

pub mod run;

pub mod answers;
pub mod certificates;
pub mod control_socket;
pub mod rediscoverer;
pub mod reload;
pub mod remembering;
pub mod service_manager;
pub mod shutdown;
pub mod signals;
pub mod tree;
pub mod upgrade;

pub mod apply;
pub mod changes;
pub mod circling;
pub mod closing;
pub mod discovering;
pub mod force;
pub mod hired;
pub mod house;
pub mod inheriting;
pub mod judging;
pub mod limits;
pub mod newcomer;
pub mod predecessor;
pub mod renewals;
pub mod spread;
pub mod standing;
