//! A port over real sockets: who gets in, with and without TLS.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail them by panicking too")]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use service_lifecycle::{Files, Listener, Tls, TlsConfig};
use testbed::certificates::{Authority, Certificate, write};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_rustls::TlsConnector;

/// A door that sends back what it gets, for ever.
async fn door(connections_max: usize, tls: Option<Tls>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut listener = Listener::new(listener, "test", connections_max, tls);
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let mut connection = listener.accept().await;
            tokio::spawn(async move {
                let mut bytes = [0; 64];
                while let Ok(length @ 1..) = connection.read(&mut bytes).await {
                    connection.write_all(&bytes[..length]).await.unwrap();
                    connection.flush().await.unwrap();
                }
            });
        }
    });
    address
}

async fn says_back(connection: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin)) -> std::io::Result<()> {
    connection.write_all(b"hello").await?;
    connection.flush().await?;
    let mut bytes = [0; 5];
    connection.read_exact(&mut bytes).await?;
    // To plain bytes a TLS door answers with an alert.
    if &bytes == b"hello" { Ok(()) } else { Err(std::io::ErrorKind::InvalidData.into()) }
}

fn client(authority: &Authority, own: Option<Certificate>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match own {
        None => builder.with_no_client_auth(),
        Some(Certificate { pem, key }) => {
            let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![certificate], key).unwrap()
        }
    };
    Arc::new(config).into()
}

/// Connects with TLS and has something sent back.
async fn enter(address: SocketAddr, client: &TlsConnector) -> std::io::Result<()> {
    let stream = TcpStream::connect(address).await?;
    let mut stream = client.connect(ServerName::try_from("localhost").unwrap(), stream).await?;
    says_back(&mut stream).await
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_and_make_room_again() {
    let address = door(2, None).await;
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        says_back(&mut stream).await.unwrap();
        open.push(stream);
    }
    let mut beyond = TcpStream::connect(address).await.unwrap();
    assert!(says_back(&mut beyond).await.is_err(), "a third connection is closed");
    drop(open.pop());
    let room = async {
        loop {
            let mut stream = TcpStream::connect(address).await.unwrap();
            if says_back(&mut stream).await.is_ok() {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(30), room).await.expect("a place becomes free when a connection ends");
}

#[tokio::test]
async fn clients_that_say_nothing_do_not_hold_up_others() {
    let address = door(10, None).await;
    let _silent = TcpStream::connect(address).await.unwrap();
    says_back(&mut TcpStream::connect(address).await.unwrap()).await.unwrap();
}

#[tokio::test]
async fn with_tls_plain_bytes_and_unknown_signers_do_not_get_in() {
    let directory = tempfile::tempdir().unwrap();
    let signer = Authority::new().unwrap();
    let (certificate, key) = signer.sign().unwrap().write(directory.path(), "door").unwrap();
    let config = TlsConfig { certificate, key, client_ca: String::new() };
    let address = door(10, Tls::open(&Files::default(), &config, &["h2"]).unwrap()).await;
    enter(address, &client(&signer, None)).await.unwrap();
    assert!(says_back(&mut TcpStream::connect(address).await.unwrap()).await.is_err());
    assert!(enter(address, &client(&Authority::new().unwrap(), None)).await.is_err());
}

#[tokio::test]
async fn a_client_that_says_too_little_is_left_with_tls_too() {
    let directory = tempfile::tempdir().unwrap();
    let signer = Authority::new().unwrap();
    let (certificate, key) = signer.sign().unwrap().write(directory.path(), "door").unwrap();
    let config = TlsConfig { certificate, key, client_ca: String::new() };
    let address = door(10, Tls::open(&Files::default(), &config, &[]).unwrap()).await;
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = client(&signer, None).connect(name, stream).await.unwrap();
    says_back(&mut stream).await.unwrap();
    // From here on time passes as soon as nothing else happens.
    tokio::time::pause();
    let left = timeout(Duration::from_secs(600), stream.read(&mut [0])).await;
    assert!(!matches!(left.expect("its connection is closed"), Ok(1..)));
}

#[tokio::test]
async fn with_mutual_tls_only_clients_with_a_signed_certificate_get_in() {
    let directory = tempfile::tempdir().unwrap();
    let (signer, of_clients) = (Authority::new().unwrap(), Authority::new().unwrap());
    let (certificate, key) = signer.sign().unwrap().write(directory.path(), "door").unwrap();
    let config = TlsConfig {
        certificate,
        key,
        client_ca: write(directory.path(), "clients.pem", &of_clients.pem()).unwrap(),
    };
    let address = door(10, Tls::open(&Files::default(), &config, &["h2"]).unwrap()).await;
    enter(address, &client(&signer, Some(of_clients.sign().unwrap()))).await.unwrap();
    assert!(enter(address, &client(&signer, None)).await.is_err());
    assert!(enter(address, &client(&signer, Some(signer.sign().unwrap()))).await.is_err());
}

#[tokio::test]
async fn a_renewed_certificate_is_used_without_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let (before, after) = (Authority::new().unwrap(), Authority::new().unwrap());
    let write_from =
        |authority: &Authority| authority.sign().unwrap().write(directory.path(), "door").unwrap();
    let (chain, key) = write_from(&before);
    let config = TlsConfig { certificate: chain, key, client_ca: String::new() };
    let files = Files::default();
    let address = door(10, Tls::open(&files, &config, &[]).unwrap()).await;
    tokio::spawn(files.follow());
    enter(address, &client(&before, None)).await.unwrap();
    write_from(&after);
    let renewed = async {
        while enter(address, &client(&after, None)).await.is_err() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(30), renewed).await.expect("the new certificate is in use");
}

#[test]
fn a_file_that_cannot_be_used_is_named_with_what_is_expected() {
    let directory = tempfile::tempdir().unwrap();
    let signer = Authority::new().unwrap();
    let (chain, key) = signer.sign().unwrap().write(directory.path(), "door").unwrap();
    let (_, other_key) = signer.sign().unwrap().write(directory.path(), "other").unwrap();
    for (certificate, key, expected) in [
        ("/nowhere.pem", key.as_str(), "/nowhere.pem: there is no such file"),
        (&key, &key, "expected at least one certificate in PEM"),
        (&chain, &chain, "expected a private key in PEM"),
        (&chain, &other_key, "with the key in"),
    ] {
        let config =
            TlsConfig { certificate: certificate.to_owned(), key: key.to_owned(), ..TlsConfig::default() };
        let error = Tls::open(&Files::default(), &config, &[]).err().unwrap().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
