//! Whose program is at the other end of a connection on this machine.
//!
//! Every user of a machine reaches its loopback, and so does a proxy that lets the world in. Linux shows which user a socket belongs to; where a system does
//! not, everybody on the machine counts as the person who runs the program.

use std::{net::SocketAddr, sync::Arc};

use tokio::sync::OnceCell;
#[cfg(any(target_os = "linux", target_os = "android"))]
use tokio::sync::Semaphore;

/// Both ends of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Ends {
    here: SocketAddr,
    there: SocketAddr,
    /// Found out once, at the first question.
    users: Arc<OnceCell<Users>>,
}

/// Whose the two ends are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Users {
    here: Option<u32>,
    there: Option<u32>,
}

impl Ends {
    pub(crate) fn new(here: SocketAddr, there: SocketAddr) -> Self {
        Self { here, there, users: Arc::default() }
    }

    /// Whether the program at the other end runs as the same user as this one. What cannot be found out counts as no, where a system can tell at all.
    pub(crate) async fn are_of_one_user(&self) -> bool {
        let Users { here, there } = self.users().await;
        cfg!(not(any(target_os = "linux", target_os = "android"))) || (here.is_some() && here == there)
    }

    /// Whether the program at the other end may run as this user or as the system itself, as far as the system knows. Where it knows this end and not the other, the other
    /// has gone away, so as not to be seen.
    pub(crate) async fn may_be_of_one_user(&self) -> bool {
        let Users { here, there } = self.users().await;
        here.is_none() || here == there || there == Some(0)
    }

    async fn users(&self) -> Users {
        *self.users.get_or_init(|| self.look()).await
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    async fn look(&self) -> Users {
        // One after the other, line by line: the tables of a busy machine are long, and every connection needs a look.
        static ONE: Semaphore = Semaphore::const_new(1);
        let Ok(_turn) = ONE.acquire().await else { return Users::default() };
        let (here, there) = (self.here, self.there);
        let looked = tokio::task::spawn_blocking(move || table::users(table::lines(), here, there));
        looked.await.unwrap_or_default()
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    #[expect(clippy::unused_async, reason = "elsewhere there is something to wait for")]
    async fn look(&self) -> Users {
        Users::default()
    }
}

/// The kernel's table of sockets.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) mod table {
    use std::{
        fs::File,
        io::{BufRead, BufReader},
        net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    };

    use super::Users;

    struct Row {
        from: SocketAddr,
        to: SocketAddr,
        state: State,
        user: u32,
    }

    #[derive(PartialEq, Eq)]
    enum State {
        /// A connection that both ends hold open. The kernel does not know whose a socket was that has been closed.
        Open,
        /// A socket that waits for connections.
        Listening,
        Other,
    }

    /// The rows of all sockets that this process could reach.
    pub(in crate::platform) fn lines() -> impl Iterator<Item = String> {
        let files = ["/proc/self/net/tcp", "/proc/self/net/tcp6"].into_iter().filter_map(|path| File::open(path).ok());
        files.flat_map(|file| BufReader::new(file).lines().map_while(Result::ok))
    }

    /// The users whose sockets wait on a port of this machine's loopback, which sockets for all addresses do too.
    pub(in crate::platform) fn listeners(lines: impl Iterator<Item = String>, port: u16) -> Vec<u32> {
        let is_reached = |ip: IpAddr| ip.is_loopback() || ip.is_unspecified();
        let rows = lines.filter_map(|line| row(&line)).filter(|row| row.state == State::Listening);
        rows.filter(|row| row.from.port() == port && is_reached(row.from.ip())).map(|row| row.user).collect()
    }

    /// This end is found in whatever state it is; the other only while it is held open.
    pub(super) fn users(lines: impl Iterator<Item = String>, here: SocketAddr, there: SocketAddr) -> Users {
        let (here, there) = (canonical(here), canonical(there));
        let mut users = Users::default();
        for Row { from, to, state, user } in lines.filter_map(|line| row(&line)) {
            if (from, to) == (here, there) {
                users.here.get_or_insert(user);
            } else if (from, to) == (there, here) && state == State::Open {
                users.there.get_or_insert(user);
            }
            if users.here.is_some() && users.there.is_some() {
                break;
            }
        }
        users
    }

    /// `sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid …`
    fn row(line: &str) -> Option<Row> {
        let mut columns = line.split_ascii_whitespace().skip(1);
        let (from, to) = (address(columns.next()?)?, address(columns.next()?)?);
        let state = match columns.next()? {
            "01" => State::Open,
            "0A" => State::Listening,
            _ => State::Other,
        };
        Some(Row { from, to, state, user: columns.nth(3)?.parse().ok()? })
    }

    /// Words of four bytes in the order of this machine, then the port.
    fn address(text: &str) -> Option<SocketAddr> {
        let (ip, port) = text.split_once(':')?;
        let word = |at: usize| ip.get(at..at + 8).and_then(|word| u32::from_str_radix(word, 16).ok()).map(u32::to_ne_bytes);
        let ip = match ip.len() {
            8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
            32 => {
                let bytes: [u8; 16] = [word(0)?, word(8)?, word(16)?, word(24)?].concat().try_into().ok()?;
                IpAddr::V6(Ipv6Addr::from(bytes))
            }
            _ => return None,
        };
        Some(canonical(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?)))
    }

    /// An IPv4 address stays one when a socket of IPv6 holds it.
    fn canonical(address: SocketAddr) -> SocketAddr {
        SocketAddr::new(address.ip().to_canonical(), address.port())
    }

    #[cfg(all(test, target_endian = "little"))]
    mod tests {
        use super::*;

        const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0FC8 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 562 1
   1: 0100007F:0FC8 0100007F:C350 01 00000000:00000000 00:00000000 00000000  1000        0 563 1
   2: 0100007F:C350 0100007F:0FC8 01 00000000:00000000 00:00000000 00000000  1000        0 564 1
   3: 0100007F:0FC8 0100007F:C351 01 00000000:00000000 00:00000000 00000000  1000        0 565 1
   4: 0000000000000000FFFF00000100007F:C351 0000000000000000FFFF00000100007F:0FC8 01 00000000:00000000 00:00000000 00000000    33        0 566 1
   5: 0100007F:0FC8 0100007F:C352 01 00000000:00000000 00:00000000 00000000     0        0 567 1
   6: 0100007F:C352 0100007F:0FC8 06 00000000:00000000 03:00000000 00000000     0        0 0 3
   7: 00000000000000000000000001000000:0FC8 00000000000000000000000001000000:C353 01 00000000:00000000 00:00000000 00000000  1000        0 568 1
   8: 00000000000000000000000001000000:C353 00000000000000000000000001000000:0FC8 01 00000000:00000000 00:00000000 00000000  1000        0 569 1
   9: nonsense
";

        #[test]
        fn who_listens_on_a_port_is_found() {
            let listening = "   8: 00000000:2CAA 00000000:0000 0A 00000000:00000000 00:00000000 00000000   998        0 570 1
   9: 00000000000000000000000000000000:2CAA 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000  1001        0 571 1
  10: 0200000A:2CAB 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1001        0 572 1
";
            let found = |port| listeners(TABLE.lines().chain(listening.lines()).map(str::to_owned), port);
            assert_eq!(found(4040), [1000]);
            assert_eq!(found(11434), [998, 1001]);
            assert!(found(11435).is_empty() && found(50000).is_empty(), "another address, and no listener");
        }

        #[test]
        fn only_ones_own_programs_are_found() {
            for (here, there, expected) in [
                ("127.0.0.1:4040", "127.0.0.1:50000", true),
                ("[::ffff:127.0.0.1]:4040", "127.0.0.1:50000", true),
                // Another user, a connection that was closed, one that is not there, and one of IPv6.
                ("127.0.0.1:4040", "127.0.0.1:50001", false),
                ("127.0.0.1:4040", "127.0.0.1:50002", false),
                ("127.0.0.1:4040", "127.0.0.1:50009", false),
                ("[::1]:4040", "[::1]:50003", true),
            ] {
                let found = |table: &str| users(table.lines().map(str::to_owned), here.parse().unwrap(), there.parse().unwrap());
                let Users { here, there: other } = found(TABLE);
                assert_eq!(here.is_some() && here == other, expected, "{there}");
                assert_eq!(found(""), Users::default());
            }
        }
    }
}
