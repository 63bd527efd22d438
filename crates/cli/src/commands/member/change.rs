//! `member add|remove|update|promote`: who belongs to the cluster. A Tombolo mesh grows by invitation, and its servers say so.

use clap::Args;
use tombolo_proto::etcdserverpb::{
    MemberAddRequest, MemberAddResponse, MemberPromoteRequest, MemberRemoveRequest, MemberUpdateRequest,
};

use crate::{
    context::Context,
    exit::{Exit, Failure},
    notation::{integer, quote::Quoted},
    output::{Answer, Format, MemberChange},
};

#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// Name of the new member
    #[arg(value_name = "NAME")]
    args: Vec<String>,
    /// Comma separated peer URLs for the new member
    #[arg(long, default_value = "")]
    peer_urls: String,
    /// Indicates if the new member is raft learner
    #[arg(long)]
    learner: bool,
}

#[derive(Debug, Args)]
pub(crate) struct UpdateArgs {
    /// Member ID in hexadecimal
    #[arg(value_name = "MEMBER_ID")]
    args: Vec<String>,
    /// Comma separated peer URLs for the updated member
    #[arg(long, default_value = "")]
    peer_urls: String,
}

pub(super) async fn add(context: &Context, args: &AddArgs) -> Result<(), Failure> {
    let name = match args.args.as_slice() {
        [] => return Err(Failure::arguments("member name not provided")),
        [name] => name,
        several => return Err(Failure::arguments(too_many(several))),
    };
    if args.peer_urls.is_empty() {
        return Err(Failure::arguments("member peer urls not provided"));
    }
    context.printer.refuse_table_and_fields()?;
    let request = MemberAddRequest { peer_ur_ls: urls(&args.peer_urls)?, is_learner: args.learner };
    let response = context.call(context.client.cluster().member_add(request)).await?;
    let id = response.member.as_ref().map_or(0, |member| member.id);
    let cluster = response.header.unwrap_or_default().cluster_id;
    context.printer.print(&Answer::MemberChange(MemberChange {
        header: &response.header,
        added: response.member.as_ref(),
        members: &response.members,
        said: format!("Member {id:16x} added to cluster {cluster:16x}"),
    }))?;
    match context.printer.format {
        Format::Simple => context.printer.note(&environment(name, &args.peer_urls, &response)),
        Format::Json | Format::Table | Format::Fields => Ok(()),
    }
}

fn too_many(args: &[String]) -> String {
    let urls = args.iter().filter(|arg| arg.to_lowercase().starts_with("http"));
    let guesses: String = urls.map(|url| format!(", did you mean --peer-urls={url}")).collect();
    format!("too many arguments{guesses}")
}

/// What the new member is to be started with.
fn environment(name: &str, peer_urls: &str, response: &MemberAddResponse) -> String {
    let added = response.member.as_ref().map_or(0, |member| member.id);
    let mut peers = Vec::new();
    for member in &response.members {
        let known_as = if member.id == added { name } else { &member.name };
        peers.extend(member.peer_ur_ls.iter().map(|url| format!("{known_as}={url}")));
    }
    format!(
        "\nETCD_NAME={}\nETCD_INITIAL_CLUSTER={}\nETCD_INITIAL_ADVERTISE_PEER_URLS={}\nETCD_INITIAL_CLUSTER_STATE=\"existing\"",
        Quoted(name.as_bytes()),
        Quoted(peers.join(",").as_bytes()),
        Quoted(peer_urls.as_bytes()),
    )
}

pub(super) async fn remove(context: &Context, args: &[String]) -> Result<(), Failure> {
    let id = member_id(args)?;
    context.printer.refuse_table_and_fields()?;
    let response = context.call(context.client.cluster().member_remove(MemberRemoveRequest { id })).await?;
    let cluster = response.header.unwrap_or_default().cluster_id;
    context.printer.print(&Answer::MemberChange(MemberChange {
        header: &response.header,
        added: None,
        members: &response.members,
        said: format!("Member {id:16x} removed from cluster {cluster:16x}"),
    }))
}

pub(super) async fn update(context: &Context, args: &UpdateArgs) -> Result<(), Failure> {
    let id = member_id(&args.args)?;
    if args.peer_urls.is_empty() {
        return Err(Failure::arguments("member peer urls not provided"));
    }
    context.printer.refuse_table_and_fields()?;
    let request = MemberUpdateRequest { id, peer_ur_ls: urls(&args.peer_urls)? };
    let response = context.call(context.client.cluster().member_update(request)).await?;
    let cluster = response.header.unwrap_or_default().cluster_id;
    context.printer.print(&Answer::MemberChange(MemberChange {
        header: &response.header,
        added: None,
        members: &response.members,
        said: format!("Member {id:16x} updated in cluster {cluster:16x}"),
    }))
}

pub(super) async fn promote(context: &Context, args: &[String]) -> Result<(), Failure> {
    let id = member_id(args)?;
    context.printer.refuse_table_and_fields()?;
    let response = context.call(context.client.cluster().member_promote(MemberPromoteRequest { id })).await?;
    let cluster = response.header.unwrap_or_default().cluster_id;
    context.printer.print(&Answer::MemberChange(MemberChange {
        header: &response.header,
        added: None,
        members: &response.members,
        said: format!("Member {id:16x} promoted in cluster {cluster:16x}"),
    }))
}

/// The addresses of a comma list, in the order of etcd's checks and in its words.
fn urls(list: &str) -> Result<Vec<String>, Failure> {
    let wrong = |message: String| Err(Failure::new(Exit::Error, message));
    for url in list.split(',').map(str::trim) {
        let (scheme, rest) = url.split_once(':').unwrap_or_default();
        if ["unix", "unixs"].contains(&scheme) {
            continue;
        }
        if !["http", "https"].contains(&scheme) {
            return wrong(format!("URL scheme must be http, https, unix, or unixs: {url}"));
        }
        let (host, path) = match rest.trim_start_matches("//").split_once('/') {
            Some((host, _)) => (host, true),
            None => (rest.trim_start_matches("//"), false),
        };
        // An address of IPv6 has colons of its own, between brackets.
        if !host.rsplit(']').next().unwrap_or_default().contains(':') {
            return wrong(format!("URL address does not have the form \"host:port\": {url}"));
        }
        if path {
            return wrong(format!("URL must not contain a path: {url}"));
        }
    }
    Ok(list.split(',').map(str::to_owned).collect())
}

fn member_id(args: &[String]) -> Result<u64, Failure> {
    let [id] = args else { return Err(Failure::arguments("member ID is not provided")) };
    integer::parse_id(id)
        .map_err(|error| Failure::arguments(format!("bad member ID arg ({error}), expecting ID in Hex")))
}

#[cfg(test)]
mod tests {
    use tombolo_proto::etcdserverpb::Member;

    use super::*;

    #[test]
    fn urls_among_the_names_are_taken_for_a_forgotten_flag() {
        let args = ["n".to_owned(), "HTTP://a:1".to_owned()];
        assert_eq!(too_many(&args), "too many arguments, did you mean --peer-urls=HTTP://a:1");
    }

    #[test]
    fn addresses_are_checked_before_anything_is_sent() {
        for list in ["http://a:1", "https://[::1]:2,unix:///run/x", " http://a:1"] {
            assert!(urls(list).is_ok(), "{list}");
        }
        for list in ["a:1", "http://a", "http://[::1]", "http://a:1/", "http://a:1,", ""] {
            assert!(urls(list).is_err(), "{list}");
        }
    }

    #[test]
    fn a_new_member_is_told_of_all_peers() {
        let member = |id, name: &str, url: &str| Member {
            id,
            name: name.into(),
            peer_ur_ls: vec![url.into()],
            ..Default::default()
        };
        let members = vec![member(1, "a", "http://a:1"), member(2, "", "http://b:1")];
        let response = MemberAddResponse { member: Some(members[1].clone()), members, ..Default::default() };
        let expected = "\nETCD_NAME=\"b\"\nETCD_INITIAL_CLUSTER=\"a=http://a:1,b=http://b:1\"\n\
            ETCD_INITIAL_ADVERTISE_PEER_URLS=\"http://b:1\"\nETCD_INITIAL_CLUSTER_STATE=\"existing\"";
        assert_eq!(environment("b", "http://b:1", &response), expected);
    }
}
