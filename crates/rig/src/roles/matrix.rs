//! Fills the matrix: makes every call as everybody, and looks at what it has told and changed.

use anyhow::{Context as _, Result, ensure};
use tombolo_proto::Method;

use super::{Caller, Shape, Verdict, World, shapes, world::MARK};

/// One call by one caller.
#[derive(Clone, Debug)]
pub struct Cell {
    /// What was called.
    pub method: Method,
    /// In which way.
    pub shape: Shape,
    /// By whom.
    pub caller: Caller,
    /// What became of it.
    pub verdict: Verdict,
    /// Whether somebody was sent a secret who may not read any.
    pub leaked: bool,
    /// Whether anything is different afterwards.
    pub changed: bool,
}

/// All cells, caller by caller.
pub type Matrix = Vec<Cell>;

/// Makes every call that `is_made`.
///
/// # Errors
///
/// When the server cannot be put in order again after one of them.
pub async fn fill(
    world: &mut World,
    callers: &[Caller],
    is_made: impl Fn(Method, &Shape, Caller) -> bool,
) -> Result<Matrix> {
    let mut matrix = Vec::new();
    for &caller in callers {
        world.restore_policy(caller != Caller::WithoutPolicy).await?;
        let order = world.look(None).await?;
        let mut before = order.clone();
        for method in Method::ALL {
            for shape in shapes(method).into_iter().filter(|shape| is_made(method, shape, caller)) {
                let answer = world.raw_of(caller).call(method, shape.messages.clone(), world.token(caller)).await;
                let verdict = Verdict::of(method, &answer);
                let leaked = !caller.reads() && answer.tells(MARK);
                // Only the calls of one service are known to change users and roles; that no other does is seen in the end.
                let policy = (method.service() != Method::AuthEnable.service()).then(|| before.policy.clone());
                let after = world.look(policy).await.with_context(|| format!("after {method:?} by {caller:?}"))?;
                let changed = before != after;
                before = world.restore(&order, after).await?;
                ensure!((&before.data, &before.policy) == (&order.data, &order.policy), "no order after {method:?}");
                matrix.push(Cell { method, shape, caller, verdict, leaked, changed });
            }
        }
        let policy = world.look(None).await?.policy;
        ensure!(policy == order.policy, "somebody else's call has changed users or roles: {policy}");
    }
    Ok(matrix)
}
