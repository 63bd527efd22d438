//! The lock and election services from outside, on Tombolo and on a real etcd: their answers side by side, one holder at a time among callers of the service and
//! real `etcdctl`s alike, and who leaves a line when.

mod locks {
    mod answers;
    mod crowd;
    mod leaving;
    mod observing;
    mod site;
}
