//! The role matrix: every call of every contract by every kind of caller, on Tombolo and on a real etcd.

use std::collections::BTreeSet;

use anyhow::Result;
use tombolo_proto::Method;
use tombolo_rig::{
    process::Server,
    roles::{Caller, Cell, Matrix, Shape, Verdict, World, difference, expected, fill, shapes},
};

fn cell(cell: &Cell) -> String {
    format!("{} ({}) by {:?}", cell.method.path(), cell.shape.name, cell.caller)
}

/// What is wrong with a matrix in itself.
fn faults(matrix: &Matrix) -> Vec<String> {
    let mut faults = Vec::new();
    for one in matrix {
        let expected = expected(one.method, one.shape.needs, one.caller);
        if one.verdict != expected {
            faults.push(format!("{}: {:?} instead of {expected:?}", cell(one), one.verdict));
        }
        if one.leaked {
            faults.push(format!("{}: told a secret", cell(one)));
        }
        if one.changed && one.verdict != Verdict::Passed {
            faults.push(format!("{}: refused, and something is different", cell(one)));
        }
    }
    faults
}

#[test]
fn every_method_has_shapes_with_names_of_their_own() {
    for method in Method::ALL {
        let shapes = shapes(method);
        let names: BTreeSet<_> = shapes.iter().map(|shape| shape.name).collect();
        assert!(!shapes.is_empty() && names.len() == shapes.len(), "{method:?}: {names:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_by_everybody_is_let_through_or_refused_as_it_should_be() -> Result<()> {
    let mut world = World::start(Server::tombolo()).await?;
    let faults = faults(&fill(&mut world, &Caller::ALL, |_, _, _| true).await?);
    assert!(faults.is_empty(), "{} cells:\n{}", faults.len(), faults.join("\n"));
    Ok(())
}

/// A common name is worth as much as a token: no more, and a bad token beside it is still a bad token.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_with_a_certificate_is_judged_by_its_name() -> Result<()> {
    let mut world = World::start_certified(Server::tombolo()).await?;
    let faults = faults(&fill(&mut world, &Caller::CERTIFIED, |_, _, _| true).await?);
    assert!(faults.is_empty(), "{} cells:\n{}", faults.len(), faults.join("\n"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_etcd_judges_alike_but_where_that_is_meant() -> Result<()> {
    let Some(etcd) = Server::etcd_in_path() else { return Ok(()) };
    let is_harmless = |method, shape: &Shape, caller| match method {
        // A member that is not there takes a lone etcd's majority away.
        Method::ClusterMemberAdd => expected(method, shape.needs, caller) != Verdict::Passed,
        // An action that it does not know ends it.
        Method::MaintenanceAlarm => shape.name != "that nobody knows",
        _ => true,
    };
    let theirs = fill(&mut World::start(etcd).await?, &Caller::ALL, is_harmless).await?;
    let mut faults = Vec::new();
    for one in theirs.iter().filter(|one| one.verdict != Verdict::Absent) {
        let needs = difference(one.method, one.shape.name).map_or(one.shape.needs, |(_, needs)| needs);
        let expected = expected(one.method, needs, one.caller);
        if one.verdict != expected {
            faults.push(format!("{}: {:?} instead of {expected:?}", cell(one), one.verdict));
        }
    }
    assert!(faults.is_empty(), "{} cells:\n{}", faults.len(), faults.join("\n"));
    Ok(())
}

#[test]
fn a_difference_to_etcd_is_one_and_is_about_a_call_that_is_made() {
    let mut listed = 0;
    for method in Method::ALL {
        for shape in shapes(method) {
            let Some((why, needs)) = difference(method, shape.name) else { continue };
            assert_ne!(needs, shape.needs, "{method:?} ({}): {why:?}", shape.name);
            listed += 1;
        }
    }
    assert!(listed > 30, "{listed}");
}
