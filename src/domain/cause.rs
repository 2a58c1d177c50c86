//! Why a connection failed, in words that say what to look at: the name, the certificate, the port, or the time. Never an address: it can hold a key.

use std::{error::Error, fmt, io};

use rustls::CertificateError;

/// What kept a request from being answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The name has no address, or nobody could be asked for it.
    Dns(String),
    /// The host answers, and nothing listens on that port.
    Refused,
    /// There is no way to the host.
    NoRoute,
    /// Nothing came in time.
    TimedOut,
    /// The other side closed the connection.
    Closed,
    /// The certificate is not one to trust; how it is wrong.
    Certificate(&'static str),
    /// TLS could not be agreed on.
    Tls(String),
    /// Something else, in the words of whoever noticed it.
    Other(String),
}

impl Cause {
    /// Finds the cause in an error and what it was caused by.
    pub fn of(error: &(dyn Error + 'static)) -> Self {
        let chain: Vec<&(dyn Error + 'static)> = chain(error);
        // The innermost one that says something definite.
        if let Some(cause) = chain.iter().rev().find_map(|error| definite(*error)) {
            return match cause {
                // How a name could not be resolved comes as an error of the system like any other.
                Self::Other(reason) if is_dns(&chain) => Self::Dns(reason),
                cause => cause,
            };
        }
        let last = chain.last().map(|error| error.to_string()).unwrap_or_default();
        let last = last.strip_prefix("failed to lookup address information: ").map_or(last.clone(), str::to_owned);
        match () {
            () if is_dns(&chain) => Self::Dns(last),
            // The outermost text is about the request; it says no more than that it failed.
            () if chain.len() == 1 => Self::Other("the connection failed".to_owned()),
            () => Self::Other(last),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(reason) => write!(f, "the name could not be resolved (DNS: {reason})"),
            Self::Refused => f.write_str("connection refused, nothing listens there"),
            Self::NoRoute => f.write_str("there is no route to the host"),
            Self::TimedOut => f.write_str("it timed out"),
            Self::Closed => f.write_str("the connection was closed before an answer came"),
            Self::Certificate(reason) => write!(f, "the TLS certificate is not trusted: {reason}"),
            Self::Tls(reason) => write!(f, "TLS failed: {reason}"),
            Self::Other(reason) => f.write_str(reason),
        }
    }
}

/// An error and its causes, outermost first. An error of the system that wraps another one does not name it as its source.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> Vec<&'a (dyn Error + 'static)> {
    let mut chain = vec![error];
    let mut next = Some(error);
    while let Some(error) = next {
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref).map(|inner| inner as &(dyn Error + 'static));
        next = wrapped.or_else(|| error.source());
        chain.extend(next);
    }
    chain
}

fn is_dns(chain: &[&(dyn Error + 'static)]) -> bool {
    chain.iter().any(|error| error.to_string() == "dns error")
}

fn definite(error: &(dyn Error + 'static)) -> Option<Cause> {
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        return Some(match error {
            rustls::Error::InvalidCertificate(error) => Cause::Certificate(of_certificate(error)),
            rustls::Error::InvalidMessage(_) => {
                Cause::Tls("the other side does not use TLS; is the address http:// instead of https://?".to_owned())
            }
            error => Cause::Tls(error.to_string()),
        });
    }
    let error = error.downcast_ref::<io::Error>()?;
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Some(Cause::Refused),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Some(Cause::NoRoute),
        io::ErrorKind::TimedOut => Some(Cause::TimedOut),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionAborted => {
            Some(Cause::Closed)
        }
        // What only wraps is spoken for by what it wraps.
        _ => error.get_ref().is_none().then(|| Cause::Other(error.to_string())),
    }
}

fn of_certificate(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "it is not valid yet",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => "it is for another name",
        CertificateError::UnknownIssuer => {
            "it is signed by an authority that this system does not know (the config file can name its certificate, as ca_file under [network])"
        }
        CertificateError::Revoked => "it was revoked",
        _ => "it is not valid",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Layer(&'static str, #[source] Box<dyn Error + Send + Sync>);

    fn of(text: &'static str, inner: impl Into<Box<dyn Error + Send + Sync>>) -> String {
        Cause::of(&Layer("error sending request", Box::new(Layer(text, inner.into())))).to_string()
    }

    #[test]
    fn the_cause_is_said_once_and_in_words() {
        let io = |kind: io::ErrorKind| io::Error::from(kind);
        let tls = |error: CertificateError| io::Error::other(rustls::Error::InvalidCertificate(error));
        for (said, expected) in [
            (of("tcp connect error", io(io::ErrorKind::ConnectionRefused)), "connection refused"),
            (of("tcp connect error", io(io::ErrorKind::TimedOut)), "timed out"),
            (of("connection error", io(io::ErrorKind::ConnectionReset)), "was closed"),
            (of("dns error", io::Error::other("Name or service not known")), "(DNS: Name or service not known)"),
            (of("client error (Connect)", tls(CertificateError::UnknownIssuer)), "does not know"),
            (of("client error (Connect)", tls(CertificateError::Expired)), "has expired"),
            (of("client error", io::Error::other(rustls::Error::HandshakeNotComplete)), "TLS failed: "),
            (of("weird", "something else"), "something else"),
        ] {
            assert!(said.contains(expected) && !said.contains("error sending"), "{said}");
        }
        assert_eq!(Cause::of(&io::Error::other("x")).to_string(), "x");
    }
}
