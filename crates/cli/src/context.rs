//! What every command works with: a client, the time it may take, and a printer.

use std::{future::Future, time::Duration};

use tombolo_client::{Client, ClientError, ClientOptions, Endpoint};
use tonic::{Response, Status};

use crate::{
    exit::{Exit, Failure, hint},
    output::Printer,
};

/// The settings of one run.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) options: ClientOptions,
    pub(crate) timeout: Duration,
    pub(crate) printer: Printer,
}

impl Context {
    /// Waits for a call at most as long as `--command-timeout` allows, and explains its failure.
    pub(crate) async fn call<T>(&self, call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Failure> {
        match tokio::time::timeout(self.timeout, call).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(self.explain(status)),
            Err(_) => Err(self.overdue()),
        }
    }

    /// The failure that a status stands for.
    pub(crate) fn explain(&self, status: Status) -> Failure {
        match ClientError::from(status) {
            // The text names the endpoints already.
            error @ ClientError::Unreachable(_) => {
                let message = error.to_string();
                let advice = hint::for_unreachable(&message);
                Failure::new(Exit::BadConnection, message).hint(advice)
            }
            // etcdctl signs in when it connects, and counts a refusal as a connection that failed.
            error @ ClientError::NotSignedIn(_) => {
                let message = error.to_string();
                let advice = hint::for_message(&message);
                Failure::new(Exit::BadConnection, message).at(self.place()).hint(advice)
            }
            error @ ClientError::Disconnected { .. } => {
                Failure::new(Exit::BadConnection, error.to_string()).at(self.place()).hint(hint::DISCONNECTED)
            }
            error => {
                let message = error.to_string();
                let advice = hint::for_message(&message);
                Failure::new(Exit::Error, message).at(self.place()).hint(advice)
            }
        }
    }

    /// This context, but for one endpoint alone.
    pub(crate) fn only(&self, endpoint: &Endpoint) -> Result<Self, Failure> {
        let client = Client::new(vec![endpoint.clone()], self.options.clone())
            .map_err(|error| Failure::arguments(error.to_string()))?;
        Ok(Self { client, options: self.options.clone(), timeout: self.timeout, printer: self.printer.clone() })
    }

    fn overdue(&self) -> Failure {
        let message = "context deadline exceeded";
        Failure::new(Exit::Error, message).at(self.place()).hint(hint::for_message(message))
    }

    fn place(&self) -> String {
        let names: Vec<String> = self.client.endpoints().iter().map(ToString::to_string).collect();
        names.join(",")
    }
}
