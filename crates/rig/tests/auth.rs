//! Users, roles and logins, from outside: thousands of random calls answered as a real etcd answers them, what survives a restart and what does not,
//! and what two sites make of each other's changes.

mod auth {
    mod beside_etcd;
    mod calls;
    mod fields;
    mod signed;
    mod snapshot;
    mod two_sites;
    mod upkeep;
}
