//! Calls of a provider's own address through the gateway: the answer is passed on as it is, whole or as it comes.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, header};
use http_body_util::BodyExt;

use super::{
    ANSWER_BYTES_MAX, Client, ClientError, Forwarded, authorise, error, limit_cost, request_id,
    transport::{Body, Exchange},
};
use crate::{
    domain::{Money, Secret},
    translate::media,
};

/// A request to a provider's own address.
#[derive(Clone, Debug)]
pub struct Forward {
    /// The verb.
    pub method: Method,
    /// The address.
    pub url: String,
    /// Headers for the provider.
    pub headers: HeaderMap,
    /// The body, which is JSON.
    pub body: Option<Bytes>,
    /// The most it may cost.
    pub max_cost: Option<Money>,
}

/// An answer that has begun.
pub struct BegunAnswer {
    status: u16,
    headers: HeaderMap,
    request_id: Option<String>,
    body: Body,
}

impl BegunAnswer {
    /// Whether it is a stream of events.
    pub fn is_stream(&self) -> bool {
        self.headers.get(header::CONTENT_TYPE).is_some_and(|kind| media::is_type(kind.as_bytes(), media::EVENT_STREAM))
    }

    /// The whole answer; each piece of it is handed over as it comes.
    ///
    /// # Errors
    /// [`ClientError`] when it breaks off, or is too long.
    pub async fn read(mut self, on_piece: &mut (dyn FnMut(&[u8]) + Send)) -> Result<Forwarded, ClientError> {
        let mut body = BytesMut::new();
        while let Some(frame) = self.body.frame().await {
            let Ok(piece) = frame?.into_data() else { continue };
            if body.len() + piece.len() > ANSWER_BYTES_MAX {
                return Err(ClientError::BadAnswer(format!("it is longer than {} MiB", ANSWER_BYTES_MAX >> 20)));
            }
            on_piece(&piece);
            body.extend_from_slice(&piece);
        }
        Ok(Forwarded { status: self.status, headers: self.headers, body: body.freeze(), request_id: self.request_id })
    }
}

impl Client {
    /// Calls a provider's own address through the gateway.
    ///
    /// # Errors
    /// [`ClientError`] when the gateway or the provider refused.
    pub async fn forward(&self, key: &Secret, asked: Forward) -> Result<Forwarded, ClientError> {
        self.begin_forward(key, asked).await?.read(&mut |_| {}).await
    }

    /// The same up to the answer's beginning.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub async fn begin_forward(&self, key: &Secret, asked: Forward) -> Result<BegunAnswer, ClientError> {
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("u", &asked.url).finish();
        let mut request = Exchange::new(asked.method, format!("/v1/forward?{query}"));
        request.headers = asked.headers;
        authorise(&mut request.headers, key)?;
        limit_cost(&mut request.headers, asked.max_cost);
        if let Some(body) = asked.body {
            request.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            request.body = body;
        }
        let response = self.transport.send(request).await?;
        let request_id = request_id(response.headers());
        let (head, body) = error::refuse(response).await?.into_parts();
        Ok(BegunAnswer { status: head.status.as_u16(), headers: head.headers, request_id, body })
    }
}
