//! What lies in the data directory is its owner's alone: others can neither read it, nor have put it there.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
    path::Path,
};

use crate::support::{Lab, Setup};

/// Somebody else on this machine.
const NOBODY: u32 = 65_534;

/// Gives a file to somebody else.
fn give_away(path: &Path) {
    chown(path, Some(NOBODY), Some(NOBODY)).expect("only root can give files away: run this test as root");
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

/// All files and folders below.
fn below(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { [vec![path.clone()], below(&path)].concat() } else { vec![path] })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_others_could_enter_is_closed_and_that_is_told() {
    let lab = Lab::open().await;
    let setup = Setup::new(&lab.url());
    fs::create_dir_all(setup.data_dir()).unwrap();
    set_mode(&setup.data_dir(), 0o755);
    let proxy = setup.start().await;
    proxy.get("/labs").await.expect(200);
    assert_eq!(mode(&proxy.data_dir()), 0o700);
    assert!(proxy.output().contains("others could enter the data directory (755)"), "{}", proxy.output());
    for path in below(&proxy.data_dir()) {
        assert_eq!(mode(&path) & 0o077, 0, "{}", path.display());
    }
    let proxy = proxy.restart().await;
    assert_eq!(proxy.output().matches("others could enter").count(), 1, "it is closed now");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_has_put_there_is_refused_by_name() {
    let lab = Lab::open().await;
    for name in ["secret.key", "admin-token", "upstreams", "lock"] {
        let setup = Setup::new(&lab.url());
        let planted = setup.data_dir().join(name);
        fs::create_dir_all(setup.data_dir()).unwrap();
        match name {
            "upstreams" => fs::create_dir(&planted).unwrap(),
            _ => fs::write(&planted, "0123456789abcdef0123456789abcdef").unwrap(),
        }
        set_mode(&planted, if name == "upstreams" { 0o700 } else { 0o600 });
        give_away(&planted);
        let why = setup.refusal().await;
        assert!(why.contains(&format!("{}: it is another user's (uid 65534)", planted.display())), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_in_the_place_of_the_lock_leads_nowhere() {
    let lab = Lab::open().await;
    let setup = Setup::new(&lab.url());
    let victim = setup.data_dir().with_extension("victim");
    fs::create_dir_all(setup.data_dir()).unwrap();
    fs::write(&victim, "precious").unwrap();
    symlink(&victim, setup.data_dir().join("lock")).unwrap();
    let why = setup.refusal().await;
    assert!(why.contains("lock"), "{why}");
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    fs::remove_file(&victim).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_somebody_else_is_none_where_everybody_may_write() {
    let lab = Lab::open().await;
    let setup = Setup::new(&lab.url());
    fs::create_dir_all(setup.data_dir()).unwrap();
    set_mode(&setup.data_dir(), 0o1777);
    give_away(&setup.data_dir());
    let why = setup.refusal().await;
    assert!(why.contains("every user of this machine may write there"), "{why}");
    assert!(below(&setup.data_dir()).is_empty(), "nothing was left there");
    // As it says: a folder below it, as in a volume that Kubernetes mounts.
    let setup = Setup::new(&lab.url());
    let volume = setup.data_dir().parent().unwrap().to_owned();
    fs::remove_dir(setup.data_dir()).unwrap();
    set_mode(&volume, 0o1777);
    give_away(&volume);
    let proxy = setup.start().await;
    proxy.get("/labs").await.expect(200);
    assert_eq!(mode(&proxy.data_dir()), 0o700);
    // A volume that is mounted for this one.
    let setup = Setup::new(&lab.url());
    fs::create_dir_all(setup.data_dir()).unwrap();
    set_mode(&setup.data_dir(), 0o770);
    give_away(&setup.data_dir());
    let proxy = setup.start().await;
    proxy.get("/labs").await.expect(200);
    assert!(proxy.output().contains("the data directory is another user's"), "{}", proxy.output());
}
