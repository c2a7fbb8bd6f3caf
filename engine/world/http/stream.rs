//! Answers that come bit by bit for as long as both sides want: streams of events, and files of any size.

use std::time::Duration;

use reqwest::Response;
use tokio::time::{timeout, timeout_at};
use url::Url;

use super::{Fault, Http, Request};

/// An answer whose body is still coming.
pub struct Stream {
    response: Response,
    url: Url,
}

impl Http {
    /// Makes a request and returns as soon as the head of the answer is there; its deadline is for that.
    pub async fn open(&self, request: &Request) -> Result<Stream, Fault> {
        let builder = self.prepare(request)?;
        let response = match timeout_at(request.deadline, builder.send()).await {
            Ok(result) => result.map_err(|error| Fault::of(&error, &request.url))?,
            Err(_) => return Err(Fault::TimedOut { seconds: request.timeout.as_secs_f64() }),
        };
        Ok(Stream { response, url: request.url.clone() })
    }
}

impl Stream {
    /// Returns the status code.
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// Returns the first header of a name, where it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name).and_then(|value| value.to_str().ok())
    }

    /// Returns the next part of the body, `None` at its end; one that does not come within `patience` is lost.
    pub async fn part(&mut self, patience: Duration) -> Result<Option<Vec<u8>>, Fault> {
        match timeout(patience, self.response.chunk()).await {
            Ok(Ok(part)) => Ok(part.map(|part| part.to_vec())),
            Ok(Err(error)) => Err(Fault::of(&error, &self.url)),
            Err(_) => Err(Fault::Lost { reason: format!("nothing came for {} s", patience.as_secs()) }),
        }
    }

    /// Returns the whole body, up to a limit in bytes.
    pub async fn rest(&mut self, limit: usize, patience: Duration) -> Result<Vec<u8>, Fault> {
        let mut body = Vec::new();
        while let Some(part) = self.part(patience).await? {
            body.extend_from_slice(&part);
            if body.len() > limit {
                return Err(Fault::TooLarge { limit: limit as u64 });
            }
        }
        Ok(body)
    }
}
