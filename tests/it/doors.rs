//! What somebody at the door can make the program do, with a key and without: memory, time, connections.

mod before_key;
mod growth;
mod lengths;
mod offers;
mod places;
mod proxies;
mod services;
