//! The UDP socket and how QUIC uses it: bounds sized for a mesh of sites, not for a farm of servers.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::{Arc, Weak},
    time::Duration,
};

use quinn::{
    AsyncUdpSocket, ClientConfig, Connection, Endpoint, EndpointConfig, IdleTimeout, Runtime, ServerConfig,
    TokioRuntime, TransportConfig, VarInt,
};

use crate::{KeyPair, PublicKey, StartError, tls};

/// An endpoint that dials from, and listens at, one socket, and that socket, to see when it is closed. Within a tokio runtime
/// only.
pub(crate) fn listen(address: SocketAddr, own: &KeyPair) -> Result<(Endpoint, Weak<dyn AsyncUdpSocket>), StartError> {
    let mut config = ServerConfig::with_crypto(Arc::new(tls::server_config(own)?));
    config
        .transport_config(transport(STRANGER_BYTES))
        .max_incoming(INCOMING_MAX)
        .incoming_buffer_size(INCOMING_BUFFER_BYTES)
        .incoming_buffer_size_total(INCOMING_BUFFER_BYTES * INCOMING_MAX as u64);
    let opened = UdpSocket::bind(address).and_then(|socket| {
        let socket = TokioRuntime.wrap_udp_socket(socket)?;
        let seen = Arc::downgrade(&socket);
        let runtime = Arc::new(TokioRuntime);
        let endpoint = Endpoint::new_with_abstract_socket(EndpointConfig::default(), Some(config), socket, runtime)?;
        Ok((endpoint, seen))
    });
    opened.map_err(|source| StartError::Socket { address, source })
}

/// How to dial the holder of `expected`.
pub(crate) fn dialing(own: &KeyPair, expected: PublicKey) -> Result<ClientConfig, StartError> {
    let mut config = ClientConfig::new(Arc::new(tls::client_config(own, expected)?));
    config.transport_config(transport(WINDOW_BYTES));
    Ok(config)
}

/// Takes as much from whoever connected as from one that was dialed: it has been let in.
pub(crate) fn let_in(connection: &Connection) {
    connection.set_receive_window(VarInt::from_u32(WINDOW_BYTES));
}

/// `held_bytes` is what the other end may send that nobody has read.
fn transport(held_bytes: u32) -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(WINDOW_BYTES))
        .receive_window(VarInt::from_u32(held_bytes))
        .send_window(WINDOW_BYTES.into())
        .datagram_receive_buffer_size(None)
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_MS))))
        .initial_rtt(INITIAL_RTT);
    Arc::new(config)
}

/// Connections that have begun and that nobody has looked at.
const INCOMING_MAX: usize = 64;
/// What each of those may have sent.
const INCOMING_BUFFER_BYTES: u64 = 64 * 1024;
/// One stream carries a connection's handshake and session. Later messages may ask for a second.
const STREAMS_MAX: u32 = 1;
/// Bytes under way on a connection: a session's window of records, and its vectors beside them.
const WINDOW_BYTES: u32 = 5 << 20;
/// Bytes under way from whoever connected and has not been let in: the longest message of the handshake, twice.
const STRANGER_BYTES: u32 = 128 << 10;
/// Keeps the path open through address translation, and tells a silent peer from a dead one.
const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// How long nothing may be heard: a cut link is known as one after so long.
const IDLE_MS: u32 = 5_000;
/// Taken for the round trip until it is measured: how soon a first packet that was lost, or sent into a cut link, is sent again.
const INITIAL_RTT: Duration = Duration::from_millis(100);
