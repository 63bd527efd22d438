//! Random requests of every kind, by everybody, with users and roles in force now and then.
//!
//! `root` may do whatever there is. Others do what old etcds judge as new ones do: the calls that those forgot to guard are made where they only
//! look, and the difference is told from others in `normalise`.

use tombolo_proto::etcdserverpb::{
    AuthDisableRequest, AuthEnableRequest, AuthRoleAddRequest, AuthUserAddRequest, AuthUserGrantRoleRequest,
    AuthenticateRequest,
};

use super::{
    Request,
    auth::{
        AuthRequest, Sender,
        generate::{self as users, Dialect},
    },
    generate::Generator,
    lease, operator, session,
};

const ROOT: &str = "root";

/// The next request of a run.
pub(super) fn request(generator: &mut Generator, dialect: Dialect) -> Request {
    if let Some(alarm) = generator.world.alarms.last().copied()
        && generator.random.chance(15)
    {
        return operator::generate::disarm(alarm);
    }
    match generator.world.is_enabled {
        false => openly(generator, dialect),
        true => guarded(generator, dialect),
    }
}

/// While nobody has to say who it is.
fn openly(generator: &mut Generator, dialect: Dialect) -> Request {
    match generator.random.below(100) {
        // An alarm takes the place of etcd's judgement of who may do what.
        0..10 if generator.world.alarms.is_empty() => towards_users(generator),
        0..22 => match users::request(&mut generator.random, dialect, &generator.world) {
            Request::Auth(AuthRequest::Enable(_)) if !generator.world.alarms.is_empty() => any(generator, dialect),
            request => request,
        },
        _ => any(generator, dialect),
    }
}

fn guarded(generator: &mut Generator, dialect: Dialect) -> Request {
    let root = Sender::User(ROOT.to_owned());
    match generator.random.below(100) {
        0..6 => login(ROOT),
        6..12 => login(generator.random.pick(&["ann", "bob", "cat"])),
        12..48 => users::request(&mut generator.random, dialect, &generator.world),
        48..50 => Request::As(root, Box::new(Request::Auth(AuthRequest::Disable(AuthDisableRequest {})))),
        50..76 => Request::As(root, Box::new(any(generator, dialect))),
        76..88 => {
            let user = Sender::User(generator.random.pick(&["ann", "bob", "cat"]).to_owned());
            let request = match generator.random.below(10) {
                0..4 => session::generate::request(generator),
                4..8 => lease::request(generator),
                _ => Request::Operator(operator::generate::look(generator, dialect)),
            };
            Request::As(user, Box::new(request))
        }
        _ => by_nobody(generator, dialect),
    }
}

/// By somebody without a token, or with one that nobody has given.
fn by_nobody(generator: &mut Generator, dialect: Dialect) -> Request {
    let request = match generator.random.below(10) {
        0..4 => match session::generate::request(generator) {
            // A lease is granted by an old etcd to anybody, and one without keys revoked.
            Request::Grant(_) | Request::Revoke(_) => Request::Leases,
            request => request,
        },
        4..6 => Request::TimeToLive(lease::time_to_live(generator)),
        _ => Request::Operator(operator::generate::look(generator, dialect)),
    };
    match generator.random.chance(50) {
        true => request,
        false => Request::As(Sender::Stranger("aaaaaaaaaaaaaaaa.1"), Box::new(request)),
    }
}

fn any(generator: &mut Generator, dialect: Dialect) -> Request {
    match generator.random.below(10) {
        0..7 => match generator.common() {
            // Of one that only deletes a full etcd says that there is no room; here what makes room is always taken.
            Request::Txn(_) if !generator.world.alarms.is_empty() => lease::request(generator),
            request => request,
        },
        7 => operator::generate::request(generator, dialect),
        _ => session::generate::request(generator),
    }
}

/// What has to be there before users and roles can be in force, in any order.
fn towards_users(generator: &mut Generator) -> Request {
    let name = || ROOT.to_owned();
    Request::Auth(match generator.random.below(5) {
        0 => AuthRequest::UserAdd(AuthUserAddRequest { name: name(), password: "p".to_owned(), ..Default::default() }),
        1 => AuthRequest::RoleAdd(AuthRoleAddRequest { name: name() }),
        2 => AuthRequest::UserGrantRole(AuthUserGrantRoleRequest { user: name(), role: name() }),
        _ => AuthRequest::Enable(AuthEnableRequest {}),
    })
}

fn login(user: &str) -> Request {
    let login = AuthenticateRequest { name: user.to_owned(), password: "p".to_owned() };
    Request::Auth(AuthRequest::Authenticate(login))
}
