//! Mail by SMTP (RFC 5321), marked as sent by a program (RFC 3834).

use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};

use super::config::{Mail, MailTls};
use super::{Messenger, TIMEOUT, Undelivered};
use crate::model::notice::Notice;
use crate::world::secrets::Secrets;

pub(super) async fn send(
    messenger: &Messenger,
    mail: &Mail,
    secrets: &Secrets,
    notice: &Notice,
    id: &str,
) -> Result<(), Undelivered> {
    let message = message(mail, notice, id).map_err(Undelivered::Mail)?;
    let mut builder =
        AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&mail.host).timeout(Some(TIMEOUT));
    let port = match mail.tls {
        MailTls::Starttls => 587,
        MailTls::Tls => 465,
        MailTls::None => 25,
    };
    builder = builder.port(mail.port.unwrap_or(port));
    if mail.tls != MailTls::None {
        let mut parameters = TlsParameters::builder(mail.host.clone());
        if let Some(path) = &mail.ca {
            let certificate = Certificate::from_pem(&messenger.read(path)?)
                .map_err(|_| Undelivered::Invalid(format!("`{}` holds no certificate", path.display())))?;
            parameters =
                parameters.certificate_store(CertificateStore::None).add_root_certificate(certificate);
        }
        let parameters = parameters.build_rustls().map_err(|error| Undelivered::Mail(words(&error)))?;
        builder = builder.tls(match mail.tls {
            MailTls::Tls => Tls::Wrapper(parameters),
            MailTls::Starttls | MailTls::None => Tls::Required(parameters),
        });
    }
    if let (Some(user), Some(name)) = (&mail.user, &mail.password) {
        let secret = secrets.get(name).await?;
        let password =
            secret.expose_str().map_err(|_| Undelivered::Unfit(name.to_string(), "it is no text"))?;
        builder = builder.credentials(Credentials::new(user.clone(), password.trim_end().to_owned()));
    }
    // The library's own limit is for connecting only: a server that goes silent would hold up every message after this one.
    match tokio::time::timeout(TIMEOUT, builder.build().send(message)).await {
        Ok(sent) => sent.map(drop).map_err(|error| Undelivered::Mail(words(&error))),
        Err(_) => {
            let text = format!("{} has not taken the message within {} s", mail.host, TIMEOUT.as_secs());
            Err(Undelivered::Mail(text))
        }
    }
}

fn message(mail: &Mail, notice: &Notice, id: &str) -> Result<Message, String> {
    let address = |text: &String| -> Result<Mailbox, String> {
        text.parse().map_err(|_| format!("`{text}` is no mail address"))
    };
    let from = address(&mail.from)?;
    // The same for each attempt: a mail that comes twice shows as one where the reader's program looks.
    let number = format!("<{id}@{}>", from.email.domain());
    let mut builder = Message::builder()
        .from(from)
        .subject(notice.subject.replace(['\r', '\n'], " "))
        .message_id(Some(number))
        .raw_header(HeaderValue::new(
            HeaderName::new_from_ascii_str("Auto-Submitted"),
            "auto-generated".to_owned(),
        ));
    for to in &mail.to {
        builder = builder.to(address(to)?);
    }
    builder
        .multipart(MultiPart::alternative_plain_html(notice.text(), notice.html()))
        .map_err(|error| words(&error))
}

fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = inner.source();
    }
    text
}
