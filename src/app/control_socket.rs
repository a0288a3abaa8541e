//! The control socket of the process, with whoever answers behind it.

use std::io;
use std::sync::Arc;

use crate::admin::control::{ControlArgs, ControlServer, ControlSocket};
use crate::app::answers::{Answerer, AnswererArgs};
use crate::app::predecessor::Predecessor;
use crate::config::model::Node;
use crate::supervise::child::ChildSpec;
use crate::supervise::handle::Ref;
use crate::supervise::policy::GiveUp;
use crate::supervise::slot::SlotId;
use crate::supervise::supervisor::{StartChild, Supervisor};

/// Opens the control socket, or says why this process runs without one. Whoever answers is a child
/// of `root`. What a predecessor answers at
/// is taken over from it.
pub async fn open(
    node: &Node,
    root: &Ref<Supervisor>,
    args: AnswererArgs,
    predecessor: Option<&Predecessor>,
) -> Option<Arc<ControlSocket>> {
    let path = node.control_socket.as_ref()?;
    let bound = match ControlSocket::bind(path) {
        Err(error) if predecessor.is_some() && error.kind() == io::ErrorKind::AddrInUse => {
            ControlSocket::take_over(path)
        }
        bound => bound,
    };
    let socket = match bound {
        Ok(socket) => Arc::new(socket),
        Err(error) => {
            let path = path.display();
            let why = if error.kind() == io::ErrorKind::AddrInUse {
                "another stagedoor answers there".to_owned()
            } else {
                error.to_string()
            };
            log::warn!(
                "no control socket at {path}: {why}; this process runs without one, and \
                 status, tree, reload and restart do not reach it. Give it one of its own with \
                 --set admin.socket=PATH"
            );
            return None;
        }
    };
    let intensity = args.house.intensity;
    let answers = Ref::vacant("answers");
    let control = ControlArgs { socket: Arc::clone(&socket), commands: answers.recipient() };
    let specs = [
        ChildSpec::new(&answers, SlotId::Control, move |_| Answerer::new(args.clone())),
        ChildSpec::new(&Ref::vacant("control"), SlotId::Control, move |_| {
            ControlServer::new(control.clone())
        }),
    ];
    for spec in specs {
        let spec = spec.intensity(intensity).on_give_up(GiveUp::Park);
        if !matches!(root.ask(StartChild(spec)).await, Ok(true)) {
            log::error!("the control socket could not be started");
        }
    }
    log::info!("control socket at {}", path.display());
    Some(socket)
}
