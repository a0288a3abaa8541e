//! Floor 7: the one process. Knows all rooms and holds no rule.

pub mod run;

pub mod answers;
pub mod reload;
pub mod remembering;
pub mod shutdown;
pub mod signals;
pub mod tree;

pub mod apply;
pub mod changes;
pub mod closing;
pub mod house;
pub mod limits;
pub mod spread;
