//! Users, roles and permissions as values: who may do what, judged by what a request reads, writes and reveals.
