//! A command in a container, over the API server's web socket.

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::AttachParams;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;

use super::Cluster;
use crate::model::k8s::Status;
use crate::world::cancel::unless;
use crate::world::http::Fault;
use crate::world::transport::{Sink, Stream};

/// A command, exact words.
#[derive(Debug, Clone)]
pub struct Exec {
    /// Where the pod is.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The container; the pod's first, or the one that it marks as default.
    pub container: Option<String>,
    /// Program and arguments.
    pub words: Vec<String>,
    /// What it reads; `None` gives it nothing.
    pub stdin: Option<Vec<u8>>,
}

/// How a command in a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remote {
    /// With this exit code.
    Exited(i32),
    /// The API server or the container's runtime could not run it.
    Refused(Status),
}

impl Cluster {
    /// Runs a command in a container; its output goes to `sink` as it comes.
    ///
    /// A cancelled run closes the connection; the API has no way to end what runs in the container.
    pub async fn exec(
        &self,
        exec: &Exec,
        sink: &mut impl Sink,
        cancel: &CancellationToken,
    ) -> Result<Remote, Fault> {
        unless(cancel, Fault::Cancelled, self.run(exec, sink)).await
    }

    async fn run(&self, exec: &Exec, sink: &mut impl Sink) -> Result<Remote, Fault> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &exec.namespace);
        let params = AttachParams {
            container: exec.container.clone(),
            stdin: exec.stdin.is_some(),
            stdout: true,
            stderr: true,
            tty: false,
            ..AttachParams::default()
        };
        let mut attached = match pods.exec(&exec.pod, exec.words.iter().map(String::as_str), &params).await {
            Ok(attached) => attached,
            Err(kube::Error::Api(status)) => {
                return Ok(Remote::Refused(Status::of(status.reason, status.message)));
            }
            Err(error) => return Err(self.fault(&error)),
        };
        let lost = |reason: &str| Fault::Lost { reason: reason.to_owned() };
        let status = attached.take_status().ok_or_else(|| lost("no status"))?;
        let (mut out, mut err) = (
            attached.stdout().ok_or_else(|| lost("no standard output"))?,
            attached.stderr().ok_or_else(|| lost("no standard error"))?,
        );
        let stdin = attached.stdin();
        let feed = async {
            if let (Some(mut stdin), Some(bytes)) = (stdin, &exec.stdin) {
                // A command that does not read to the end closes its input; its exit code says how it went.
                let _ = stdin.write_all(bytes).await;
                let _ = stdin.shutdown().await;
            }
        };
        let pump = async {
            let (mut out_buffer, mut err_buffer) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
            let (mut out_open, mut err_open) = (true, true);
            while out_open || err_open {
                let (stream, count) = tokio::select! {
                    count = out.read(&mut out_buffer), if out_open => (Stream::Out, count),
                    count = err.read(&mut err_buffer), if err_open => (Stream::Err, count),
                };
                let count = count.map_err(|error| Fault::Lost { reason: error.to_string() })?;
                let (buffer, open) = match stream {
                    Stream::Out => (&out_buffer, &mut out_open),
                    Stream::Err => (&err_buffer, &mut err_open),
                };
                if count == 0 {
                    *open = false;
                } else if sink.take(stream, &buffer[..count]).await.is_err() {
                    return Err(lost("the run log takes no more"));
                }
            }
            Ok(())
        };
        let (pumped, ()) = tokio::join!(pump, feed);
        pumped?;
        let Some(status) = status.await else {
            return Err(lost("the connection ended before the command did"));
        };
        if status.status.as_deref() == Some("Success") {
            return Ok(Remote::Exited(0));
        }
        let causes = status.details.iter().filter_map(|details| details.causes.as_ref()).flatten();
        let code = causes
            .filter(|cause| cause.reason.as_deref() == Some("ExitCode"))
            .find_map(|cause| cause.message.as_deref()?.parse().ok());
        Ok(match code {
            Some(code) => Remote::Exited(code),
            None => Remote::Refused(Status::of(
                status.reason.unwrap_or_default(),
                status.message.unwrap_or_default(),
            )),
        })
    }
}
