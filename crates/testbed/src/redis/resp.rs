//! The few lines of the Redis protocol (RESP2) that forming and asking a cluster takes.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{
        AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _,
        BufReader,
    },
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

/// A paused server accepts connections and never answers; nothing asked here takes long.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);

/// An answer of Redis. Its text is one line per element, as `redis-cli --raw` prints it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Text(String),
    Nil,
    List(Vec<Self>),
}

impl fmt::Display for Reply {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => formatter.write_str(text),
            Self::Nil => Ok(()),
            Self::List(items) => items.iter().enumerate().try_for_each(|(index, item)| {
                let separator = if index == 0 { "" } else { "\n" };
                write!(formatter, "{separator}{item}")
            }),
        }
    }
}

/// Sends one command over a connection of its own.
pub(crate) async fn command(
    address: SocketAddr,
    tls: Option<&Arc<ClientConfig>>,
    words: &[&str],
) -> anyhow::Result<Reply> {
    let asked = async {
        let stream = TcpStream::connect(address).await?;
        let Some(tls) = tls else {
            return exchange(stream, words).await;
        };
        let connector = TlsConnector::from(Arc::clone(tls));
        exchange(connector.connect(ServerName::try_from("localhost")?, stream).await?, words).await
    };
    timeout(ANSWER_DEADLINE, asked)
        .await
        .map_err(anyhow::Error::from)
        .flatten()
        .with_context(|| format!("failed to send {} to Redis at {address}", words.join(" ")))
}

async fn exchange(stream: impl AsyncRead + AsyncWrite + Unpin, words: &[&str]) -> anyhow::Result<Reply> {
    let mut stream = BufReader::new(stream);
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    read_reply(&mut stream).await
}

async fn read_reply(stream: &mut (impl AsyncBufRead + Unpin)) -> anyhow::Result<Reply> {
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let line = line.trim_end();
    let (Some(kind), Some(rest)) = (line.get(..1), line.get(1..)) else {
        bail!("the connection was closed without an answer");
    };
    match kind {
        "+" | ":" => Ok(Reply::Text(rest.to_owned())),
        "-" => bail!("Redis answered: {rest}"),
        "$" => {
            let Ok(length) = rest.parse::<usize>() else {
                return Ok(Reply::Nil);
            };
            let mut bytes = vec![0; length + "\r\n".len()];
            stream.read_exact(&mut bytes).await?;
            bytes.truncate(length);
            Ok(Reply::Text(String::from_utf8_lossy(&bytes).into_owned()))
        }
        "*" => {
            let mut items = Vec::new();
            for _ in 0..rest.parse::<usize>().unwrap_or(0) {
                items.push(Box::pin(read_reply(stream)).await?);
            }
            Ok(Reply::List(items))
        }
        _ => bail!("not an answer of Redis: {line}"),
    }
}
