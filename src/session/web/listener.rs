//! The port on this machine to which the browser comes back. It is open for one login, and only one answer counts.

use std::{
    convert::Infallible,
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, Semaphore, mpsc, watch},
    task::JoinSet,
};
use tower::service_fn;
use url::Url;

use super::{
    page::{self, Page},
    visit::{self, DONE, START, Visit},
};
use crate::{domain::Secret, platform::Ends};

/// So many answers with a wrong state end the wait: a page that guesses is at work.
const WRONG_STATES_MAX: u32 = 5;
/// Browsers open connections ahead of need. More than these at a time are turned away.
const CONNECTIONS_MAX: usize = 16;
/// Time for the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest head of a request.
const HEAD_BYTES_MAX: usize = 32 << 10;

/// What came back from the browser.
#[derive(Debug)]
pub(super) enum Answer {
    Code(Secret),
    Denied,
    TooManyWrong,
}

/// The open port. It closes when this is dropped.
pub(super) struct Listener {
    pub(super) port: u16,
    desk: Arc<Desk>,
    answers: mpsc::Receiver<Answer>,
    page: watch::Sender<Option<Page>>,
    seen: Arc<Notify>,
    _serving: JoinSet<()>,
}

impl Listener {
    /// Opens a port that nobody else uses, for the login with this state, and this secret in the address at which a browser is started.
    pub(super) async fn open(state: &str, start: &str) -> io::Result<Self> {
        let socket = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = socket.local_addr()?.port();
        let (answer, answers) = mpsc::channel(1);
        let (page, shown) = watch::channel(None);
        let seen = Arc::new(Notify::new());
        let desk = Arc::new(Desk {
            port,
            state: state.to_owned(),
            start: start.to_owned(),
            leads_to: OnceLock::new(),
            is_started: AtomicBool::new(false),
            answer,
            is_answered: AtomicBool::new(false),
            wrong_states: AtomicU32::new(0),
            page: shown,
            is_page_served: AtomicBool::new(false),
            seen: seen.clone(),
        });
        let mut serving = JoinSet::new();
        serving.spawn(accept(socket, desk.clone()));
        Ok(Self { port, desk, answers, page, seen, _serving: serving })
    }

    /// Where a browser is started that is to go to this page. Every program of the machine sees with which address another one is started, so that has nothing of the login
    /// in it: it works once, and for this user's programs.
    pub(super) fn lead_to(&self, page: &Url) -> Option<Url> {
        let page = HeaderValue::from_str(page.as_str()).ok()?;
        let _ = self.desk.leads_to.set(page);
        Url::parse(&format!("http://127.0.0.1:{}{START}{}", self.port, self.desk.start)).ok()
    }

    /// The one answer that counts.
    pub(super) async fn answer(&mut self) -> Answer {
        match self.answers.recv().await {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }

    /// Shows the person how it ended, and waits until the browser has fetched that.
    pub(super) async fn show(self, page: Page, patience: Duration) {
        let seen = self.seen.notified();
        let _ = self.page.send(Some(page));
        let _ = tokio::time::timeout(patience, seen).await;
    }
}

/// What all connections share.
struct Desk {
    port: u16,
    state: String,
    start: String,
    leads_to: OnceLock<HeaderValue>,
    is_started: AtomicBool,
    answer: mpsc::Sender<Answer>,
    is_answered: AtomicBool,
    wrong_states: AtomicU32,
    page: watch::Receiver<Option<Page>>,
    is_page_served: AtomicBool,
    seen: Arc<Notify>,
}

async fn accept(socket: TcpListener, desk: Arc<Desk>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // Dropped with this task, and the connections with it.
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = socket.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        let Ok(place) = places.clone().try_acquire_owned() else { continue };
        let desk = desk.clone();
        connections.spawn(async move {
            serve(stream, desk).await;
            drop(place);
        });
    }
}

async fn serve(stream: TcpStream, desk: Arc<Desk>) {
    // hyper's limit begins with the first byte; a browser may never send one.
    if !matches!(tokio::time::timeout(HEAD_TIMEOUT, stream.readable()).await, Ok(Ok(()))) {
        return;
    }
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES_MAX).keep_alive(false);
    // Looked up while the other end waits for an answer: one that has gone has no owner.
    let is_own = match (stream.local_addr(), stream.peer_addr()) {
        (Ok(here), Ok(there)) => Ends::new(here, there).may_be_of_one_user().await,
        _ => false,
    };
    let seen = desk.seen.clone();
    let is_page = Arc::new(AtomicBool::new(false));
    let is_told = is_page.clone();
    let service = service_fn(move |request: Request<_>| {
        let (desk, is_page) = (desk.clone(), is_page.clone());
        async move {
            let (response, page) = if is_own { desk.receive(&request).await } else { (page::plain(StatusCode::FORBIDDEN), false) };
            is_page.fetch_or(page, Ordering::SeqCst);
            Ok::<_, Infallible>(response)
        }
    });
    let _ = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)).await;
    // Only now the last page has left.
    if is_told.load(Ordering::SeqCst) {
        seen.notify_one();
    }
}

impl Desk {
    /// The response, and whether it is the last page.
    async fn receive<B>(&self, request: &Request<B>) -> (Response<Full<Bytes>>, bool) {
        let response = match visit::read(request.method(), request.uri(), request.headers(), self.port, &self.state, &self.start) {
            Visit::Start => match self.leads_to.get() {
                Some(page) if !self.is_started.swap(true, Ordering::SeqCst) => page::onward(page.clone()),
                _ => page::plain(StatusCode::GONE),
            },
            Visit::Code(code) => self.settle(Answer::Code(code)).await,
            Visit::Denied => self.settle(Answer::Denied).await,
            Visit::WrongState => {
                if self.wrong_states.fetch_add(1, Ordering::SeqCst) + 1 == WRONG_STATES_MAX {
                    self.take(Answer::TooManyWrong);
                }
                page::plain(StatusCode::BAD_REQUEST)
            }
            Visit::Done => {
                let page = *self.page.borrow();
                match page {
                    Some(page) if !self.is_page_served.swap(true, Ordering::SeqCst) => return (page.response(), true),
                    _ => page::plain(StatusCode::NOT_FOUND),
                }
            }
            Visit::Refused(status) => page::plain(status),
        };
        (response, false)
    }

    /// The first answer is the one that counts. Whoever comes with the right state waits to see how it ends.
    async fn settle(&self, answer: Answer) -> Response<Full<Bytes>> {
        self.take(answer);
        match self.page.clone().wait_for(Option::is_some).await {
            Ok(_) => page::onward(HeaderValue::from_static(DONE)),
            Err(_) => page::plain(StatusCode::GONE),
        }
    }

    fn take(&self, answer: Answer) {
        if !self.is_answered.swap(true, Ordering::SeqCst) {
            let _ = self.answer.try_send(answer);
        }
    }
}
