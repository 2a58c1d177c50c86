//! The router as one connection calls it: every request is told whose it is, and it is kept in mind whose turn it is.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{BoxError, Router, body::Body};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Request, Response, Version, header};
use http_body::{Frame, SizeHint};
use tower::Service;

use super::{
    Ends, Peer,
    lingering::Unread,
    places::{Guest, Turn},
};

/// A body of more bytes is not read to its end for the sake of the connection alone.
const READ_ANYWAY_MAX: u64 = 16 << 10;

/// The router, called by one connection.
#[derive(Clone)]
pub(super) struct Visit {
    pub(super) router: Router,
    pub(super) peer: Option<Peer>,
    /// Told of a connection on this machine.
    pub(super) ends: Option<Ends>,
    pub(super) guest: Arc<Guest>,
    pub(super) unread: Unread,
}

impl<B> Service<Request<B>> for Visit
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request<Body>>::poll_ready(&mut self.router, context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut turn = self.guest.asks();
        // Streams of HTTP/2 end one by one; a connection of HTTP/1.1 ends with a body that was not read.
        let unread = (request.version() <= Version::HTTP_11).then(|| self.unread.clone());
        let is_long = request.body().size_hint().upper().is_none_or(|bytes| bytes > READ_ANYWAY_MAX);
        let mut request = match &unread {
            Some(unread) => request.map(|body| Body::new(unread.watch(body))),
            None => request.map(Body::new),
        };
        if let Some(peer) = self.peer {
            request.extensions_mut().insert(peer);
        }
        if let Some(ends) = &self.ends {
            request.extensions_mut().insert(ends.clone());
        }
        let answered = self.router.call(request);
        Box::pin(async move {
            let mut response = answered.await?;
            if is_long && unread.is_some_and(|unread| unread.is_so()) {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            turn.is_ours(false);
            Ok(response.map(|body| Answer { body, turn }))
        })
    }
}

/// The body of an answer.
pub(super) struct Answer {
    body: Body,
    turn: Turn,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        self.turn.is_ours(polled.is_pending());
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
