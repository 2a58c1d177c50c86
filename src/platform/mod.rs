//! What only the operating system knows or does: files that nobody else reads, whose program is at the other end of a connection, what a terminal
//! does not show, and that nobody looks into this process.

mod hidden_input;
mod listener_account;
mod neighbour;
pub(crate) mod private_file;
mod process;

pub(crate) use hidden_input::Hidden;
pub(crate) use listener_account::is_of_trusted_account;
pub(crate) use neighbour::Ends;
pub(crate) use process::close_to_others;
