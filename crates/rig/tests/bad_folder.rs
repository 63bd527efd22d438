//! Data folders that must not be served: each is refused with its cause, and nothing in it changes.
//!
//! Where a damage may also be harmless (a file that is rewritten at the next start), the server may start instead; then
//! every key must be there. What must never happen is a server that runs with less than it acknowledged.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};
use tombolo_rig::{
    folder, load,
    process::{Launch, Server},
};

const KEYS: usize = 1_500;

/// A server that has acknowledged [`KEYS`] keys, killed or stopped.
async fn left_behind(launch: Launch, orderly: bool) -> Result<Server> {
    let mut server = launch.start().await?;
    load::fill(&server.connect().await?, KEYS).await?;
    // The fence follows the log within a fraction of a second.
    tokio::time::sleep(std::time::Duration::from_millis(150)).await;
    if orderly {
        server.stop()?;
    } else {
        server.kill()?;
    }
    Ok(server)
}

/// Starts it and expects a refusal with these words, which leaves every file as it was.
fn assert_refused(server: &mut Server, words: &[&str]) -> Result<()> {
    let before = folder::contents(&server.folder())?;
    let refusal = server.refusal()?;
    assert!(!refusal.status.success(), "{refusal:?}");
    for word in words {
        assert!(refusal.output.contains(word), "{word:?} is not said: {}", refusal.output);
    }
    let after = folder::contents(&server.folder())?;
    let changed: Vec<&PathBuf> = before.keys().filter(|path| before.get(*path) != after.get(*path)).collect();
    assert!(changed.is_empty(), "the refusal changed {changed:?}");
    assert_eq!(before.len(), after.len(), "the refusal added files");
    Ok(())
}

fn named(server: &Server, name: &str) -> Result<PathBuf> {
    let files = folder::files(&server.folder())?;
    files.into_iter().find(|path| path.ends_with(name)).with_context(|| format!("there is no {name}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copied_folder_is_refused() -> Result<()> {
    let mut server = left_behind(Server::tombolo(), true).await?;
    let (original, aside) = (server.folder(), server.folder().with_extension("aside"));
    fs::rename(&original, &aside)?;
    folder::copy(&aside, &original)?;
    assert_refused(&mut server, &["copy"])?;
    fs::remove_dir_all(&original)?;
    fs::rename(&aside, &original)?;
    server.restart().await?;
    load::check(&mut server.connect().await?, KEYS).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_in_use_is_refused_and_its_user_goes_on() -> Result<()> {
    let server = Server::tombolo().start().await?;
    load::fill(&server.connect().await?, KEYS).await?;
    let folder = server.folder();
    let mut second = Server::tombolo().with("--data-dir", &folder.display().to_string()).prepare()?;
    let refusal = second.refusal()?;
    assert!(!refusal.status.success(), "{refusal:?}");
    assert!(refusal.output.contains("in use"), "{}", refusal.output);
    load::check(&mut server.connect().await?, KEYS).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_format_is_refused() -> Result<()> {
    let mut server = left_behind(Server::tombolo(), true).await?;
    let manifest = named(&server, "MANIFEST")?;
    let text = fs::read_to_string(&manifest)?;
    fs::write(&manifest, text.replacen("format 5", "format 99", 1))?;
    assert_refused(&mut server, &["format 99"])?;
    // Back to what it was, it is served again.
    fs::write(&manifest, text)?;
    server.restart().await?;
    load::check(&mut server.connect().await?, KEYS).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_manifest_or_fence_is_refused() -> Result<()> {
    // Half a fence is a sound fence: its slots are written in turn so that a torn write leaves one.
    let cases: [(&str, Damage); 7] = [
        ("MANIFEST", remove),
        ("MANIFEST", cut_away),
        ("MANIFEST", folder::cut),
        ("MANIFEST", flip_everywhere),
        ("FENCE", remove),
        ("FENCE", cut_away),
        ("FENCE", flip_everywhere),
    ];
    for (name, damage) in cases {
        let mut server = left_behind(Server::tombolo(), false).await?;
        damage(&named(&server, name)?).with_context(|| name)?;
        assert_refused(&mut server, &[name])?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_lost_a_file_or_a_part_of_one_never_serves_less() -> Result<()> {
    let damages: [(&str, Damage); 3] = [("removed", remove), ("cut", folder::cut), ("flipped", folder::flip)];
    for (name, damage) in damages {
        let (mut index, mut refused) = (0, Vec::new());
        loop {
            let mut server = left_behind(Server::tombolo(), index % 2 == 0).await?;
            let engine = server.folder().join("engine");
            let files = folder::files(&engine)?;
            let Some(file) = files.get(index) else { break };
            index += 1;
            damage(file).with_context(|| format!("{name} {}", file.display()))?;
            let what = format!("{name} {}", file.strip_prefix(&engine)?.display());
            match server.restart().await {
                Err(_) => refused.push(what),
                Ok(()) => {
                    let checked = load::check(&mut server.connect().await?, KEYS).await;
                    checked.with_context(|| format!("{what}: served with less, or not at all"))?;
                }
            }
        }
        println!("{} of {index} refused: {refused:?}", refused.len());
        assert!(!refused.is_empty(), "no engine file matters when {name}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_weak_durability_is_forgiven_only_after_an_orderly_end() -> Result<()> {
    let weak = || Server::tombolo().with("--durability", "os");
    let mut orderly = left_behind(weak(), true).await?;
    orderly.restart().await?;
    load::check(&mut orderly.connect().await?, KEYS).await?;
    // The process was killed, and not the machine: all of it is there. But nobody can know that, and so it is another replica that goes on.
    let mut killed = left_behind(weak(), false).await?;
    let before = name(&killed)?;
    killed.restart().await?;
    load::check(&mut killed.connect().await?, KEYS).await?;
    assert_ne!(name(&killed)?, before);
    assert!(killed.output().contains(&before), "{}", killed.output());
    Ok(())
}

/// Under which name the folder's replica writes.
fn name(server: &Server) -> Result<String> {
    let manifest = fs::read_to_string(named(server, "MANIFEST")?)?;
    let line = manifest.lines().find_map(|line| line.strip_prefix("replica "));
    line.map(str::to_owned).context("a manifest names its replica")
}

type Damage = fn(&std::path::Path) -> Result<()>;

fn remove(file: &std::path::Path) -> Result<()> {
    Ok(fs::remove_file(file)?)
}

/// Nothing is left of the content; the file stays.
fn cut_away(file: &std::path::Path) -> Result<()> {
    Ok(fs::File::options().write(true).open(file)?.set_len(0)?)
}

fn flip_everywhere(file: &std::path::Path) -> Result<()> {
    let flipped: Vec<u8> = fs::read(file)?.into_iter().map(|byte| byte ^ 1).collect();
    Ok(fs::write(file, flipped)?)
}
