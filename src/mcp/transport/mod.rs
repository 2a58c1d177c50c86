//! How clients connect.

pub mod stdio;
