//! Reads and writes database files of bbolt, the engine of etcd: enough to take a store over, and to hand one back.
