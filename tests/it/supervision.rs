//! Restarts on request.
