//! A mesh in one thread: real stores and sessions on a virtual network and clock.
