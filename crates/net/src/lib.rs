//! How replicas exchange records: the anti-entropy protocol as a value, and its driver over QUIC.
