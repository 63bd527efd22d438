//! Somebody who speaks QUIC and writes whatever it likes: the documented bytes, made without this crate's help.

use std::{net::SocketAddr, sync::Arc};

use quinn::{Connection, Endpoint, RecvStream, SendStream, crypto::rustls::QuicClientConfig};
use rustls::{
    DigitallySignedStruct, Error, SignatureAlgorithm, SignatureScheme,
    client::{
        AlwaysResolvesClientRawPublicKeys,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime},
    sign::{CertifiedKey, Signer, SigningKey},
};
use tombolo_net::KeyPair;

pub(crate) struct Outsider {
    pub(crate) connection: Connection,
    pub(crate) send: SendStream,
    recv: RecvStream,
    _endpoint: Endpoint,
}

impl Outsider {
    /// Connects, whoever listens; shows one key and signs with another (usually the same).
    pub(crate) async fn try_connect(
        to: SocketAddr,
        shown: &KeyPair,
        held: &KeyPair,
    ) -> Result<Self, quinn::ConnectionError> {
        let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let connection = endpoint.connect_with(config(shown, held), to, "anything").unwrap().await?;
        let (send, recv) = connection.open_bi().await?;
        Ok(Self { connection, send, recv, _endpoint: endpoint })
    }

    pub(crate) async fn connect(to: SocketAddr, key: &KeyPair) -> Self {
        Self::try_connect(to, key, key).await.unwrap()
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.send.write_all(bytes).await.unwrap();
    }

    /// Writes one frame.
    pub(crate) async fn send(&mut self, payload: &[u8]) {
        let len = u32::try_from(payload.len()).unwrap();
        self.write(&[&len.to_be_bytes()[..], payload].concat()).await;
    }

    /// Reads one frame.
    pub(crate) async fn receive(&mut self) -> Vec<u8> {
        let mut len = [0; 4];
        self.recv.read_exact(&mut len).await.unwrap();
        let mut payload = vec![0; u32::from_be_bytes(len) as usize];
        self.recv.read_exact(&mut payload).await.unwrap();
        payload
    }

    /// The code that the other side closes with.
    pub(crate) async fn closed(&self) -> u64 {
        match self.connection.closed().await {
            quinn::ConnectionError::ApplicationClosed(close) => close.error_code.into_inner(),
            other => panic!("closed by {other}"),
        }
    }
}

/// A greeting without proof: kind 1, mesh, replica, no admissions.
pub(crate) fn greeting(mesh: u128, replica: u64) -> Vec<u8> {
    [&[1][..], &mesh.to_be_bytes(), &replica.to_be_bytes(), &[0]].concat()
}

fn config(shown: &KeyPair, held: &KeyPair) -> quinn::ClientConfig {
    let key = Key { shown: shown.clone(), held: held.clone() };
    let certified = CertifiedKey::new(vec![CertificateDer::from(spki(shown))], Arc::new(key));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(Arc::new(certified))));
    config.alpn_protocols = vec![b"tombolo/1".to_vec()];
    quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).unwrap()))
}

fn spki(key: &KeyPair) -> Vec<u8> {
    let head = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    [&head[..], &key.public().0].concat()
}

#[derive(Clone, Debug)]
struct Key {
    shown: KeyPair,
    held: KeyPair,
}

impl SigningKey for Key {
    fn choose_scheme(&self, _offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        Some(Box::new(self.clone()))
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(SubjectPublicKeyInfoDer::from(spki(&self.shown)))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl Signer for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(self.held.sign(message).0.to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

/// Takes whoever answers.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
