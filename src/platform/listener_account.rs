//! Whose program listens on a port of this machine, and whether it may be trusted with what is asked there.
//!
//! The same user's may, root's, and that of a system account: one below 1000 that nobody logs in to. Accounts are looked up in `/etc/passwd` alone; one that only a name
//! service knows (LDAP, systemd's dynamic users) counts as somebody else's.

/// Whether everybody who listens on this port of the loopback is trusted. Where a system does not show whose a socket is, everybody is.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[expect(clippy::unused_async, reason = "elsewhere there is something to wait for")]
pub(crate) async fn is_of_trusted_account(_port: u16) -> bool {
    true
}

/// Whether everybody who listens on this port of the loopback is trusted; `false` where nobody does.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) async fn is_of_trusted_account(port: u16) -> bool {
    use std::os::unix::fs::MetadataExt;

    let looked = tokio::task::spawn_blocking(move || {
        let own = std::fs::metadata("/proc/self").map(|about| about.uid()).ok()?;
        let users = super::neighbour::table::listeners(super::neighbour::table::lines(), port);
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        Some(!users.is_empty() && users.into_iter().all(|user| is_trusted(user, own, &passwd)))
    });
    looked.await.ok().flatten().unwrap_or(false)
}

/// Accounts of people and their programs begin here.
#[cfg(any(target_os = "linux", target_os = "android"))]
const PEOPLE_FROM: u32 = 1_000;

#[cfg(any(target_os = "linux", target_os = "android"))]
fn is_trusted(user: u32, own: u32, passwd: &str) -> bool {
    // name:password:user:group:about:home:shell
    let shell_of = |row: &str| {
        let fields: Vec<&str> = row.split(':').collect();
        (fields.get(2)?.parse() == Ok(user)).then(|| fields.get(6).map_or("", |shell| shell.trim()).to_owned())
    };
    let mut shells = passwd.lines().filter_map(shell_of).peekable();
    // An account can have several rows; a person may log in by any of them.
    let nobody_logs_in = shells.peek().is_some() && shells.all(|shell| shell.ends_with("/nologin") || shell.ends_with("/false"));
    user == own || user == 0 || (user < PEOPLE_FROM && nobody_logs_in)
}

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
mod tests {
    use super::*;

    #[test]
    fn people_are_not_trusted_and_services_are() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nollama:x:998:998::/usr/share/ollama:/bin/false\ngames:x:5:60::/usr/games:/usr/sbin/nologin\n\
            twice:x:7:7::/:/bin/false\ntwice:x:7:7::/:/bin/sh\nempty:x:8:8::/:\nnobody:x:65534:65534::/:/usr/sbin/nologin\nann:x:1001:1001::/home/ann:/bin/false\nodd\n";
        for (user, expected) in
            [(1_000, true), (0, true), (998, true), (5, true), (7, false), (8, false), (65_534, false), (1_001, false), (997, false)]
        {
            assert_eq!(is_trusted(user, 1_000, passwd), expected, "{user}");
        }
    }

    #[tokio::test]
    async fn ones_own_listener_is_trusted_and_an_empty_port_is_not() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(is_of_trusted_account(port).await);
        drop(listener);
        assert!(!is_of_trusted_account(port).await);
    }
}
