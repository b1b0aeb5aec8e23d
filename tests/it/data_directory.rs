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
async fn a_folder_that_can_not_be_closed_is_refused_by_name() {
    let lab = Lab::open().await;
    let setup = Setup::new(&lab.url()).on_a_disk_of("1m,mode=0755,ro");
    let why = setup.refusal().await;
    let said = format!("{}: other users can enter it (mode 755)", setup.data_dir().display());
    assert!(why.contains(&said) && why.contains("choose a `storage.data_dir`"), "{why}");
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

/// A volume of somebody else's, as Kubernetes and NFS mount them, set as the data directory.
fn volume(url: &str, mode: u32) -> Setup {
    let setup = Setup::new(url);
    fs::create_dir_all(setup.data_dir()).unwrap();
    set_mode(&setup.data_dir(), mode);
    give_away(&setup.data_dir());
    setup
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_volume_of_somebody_else_it_has_a_folder_of_its_own() {
    let lab = Lab::open().await;
    for open in [0o777, 0o1777, 0o2770, 0o755] {
        let proxy = volume(&lab.url(), open).start().await;
        proxy.get("/labs").await.expect(200);
        let own = proxy.data_dir().join("alyx-proxy");
        assert_eq!((mode(&own), fs::metadata(&own).unwrap().uid()), (0o700, 0));
        let beside: Vec<_> = fs::read_dir(proxy.data_dir()).unwrap().map(|it| it.unwrap().path()).collect();
        assert_eq!(beside, std::slice::from_ref(&own), "nothing lies beside it");
        assert!(proxy.output().contains("lies in a folder of its own"), "{}", proxy.output());
        // Commands that are given the volume find the administrator's token there.
        let purged = crate::support::command::run_for(&proxy, &["purge", "--all"]);
        crate::support::command::done(&purged);
        let key = fs::read(own.join("secret.key")).unwrap();
        let proxy = proxy.restart().await;
        assert_eq!(fs::read(own.join("secret.key")).unwrap(), key, "the same after a restart");
        proxy.get("/labs").await.expect(200);
        fs::remove_dir_all(proxy.data_dir()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_version_has_put_into_such_a_volume_moves_and_is_gone_on_with() {
    let lab = Lab::open().await;
    let setup = Setup::new(&lab.url()).set("access.admin_token", "the-token-of-the-administrator");
    let proxy = setup.start().await;
    proxy.get("/labs").await.expect(200);
    let key = fs::read(proxy.data_dir().join("secret.key")).unwrap();
    let setup = proxy.setup().clone();
    let mut proxy = proxy;
    proxy.terminate().await;
    set_mode(&setup.data_dir(), 0o770);
    give_away(&setup.data_dir());
    let proxy = setup.start().await;
    let own = proxy.data_dir().join("alyx-proxy");
    assert_eq!(fs::read(own.join("secret.key")).unwrap(), key);
    assert!(!proxy.data_dir().join("upstreams").exists() && own.join("upstreams").exists());
    let stored = proxy.client().ask("GET", "/labs").header("cache-control", "only-if-cached");
    stored.send().await.expect(200);
    assert!(proxy.output().contains("has moved there"), "{}", proxy.output());
}

#[tokio::test(flavor = "multi_thread")]
async fn where_it_can_have_no_folder_of_its_own_it_says_so() {
    let lab = Lab::open().await;
    // Somebody else has planted one.
    let setup = volume(&lab.url(), 0o1777);
    let planted = setup.data_dir().join("alyx-proxy");
    fs::create_dir(&planted).unwrap();
    give_away(&planted);
    let why = setup.refusal().await;
    assert!(why.contains(&format!("{}: it is another user's (uid 65534)", planted.display())), "{why}");
    // Or a link to one.
    let setup = volume(&lab.url(), 0o1777);
    let link = setup.data_dir().join("alyx-proxy");
    symlink("/tmp", &link).unwrap();
    std::os::unix::fs::lchown(&link, Some(NOBODY), Some(NOBODY)).unwrap();
    let why = setup.refusal().await;
    assert!(why.contains("it is another user's (uid 65534)"), "{why}");
    // There is no room for one.
    let setup = volume(&lab.url(), 0o770);
    fs::write(setup.data_dir().join("alyx-proxy"), "").unwrap();
    let why = setup.refusal().await;
    assert!(why.contains("can make no folder of its own") && why.contains("storage.data_dir"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn its_files_are_its_owners_alone_and_its_memory_is_dumped_nowhere() {
    let lab = Lab::open().await;
    let proxy = Setup::new(&lab.url()).start().await;
    let about = |what: &str| fs::read_to_string(format!("/proc/{}/{what}", proxy.pid())).unwrap();
    let umask = about("status").lines().find(|line| line.starts_with("Umask:")).unwrap().to_owned();
    assert_eq!(umask.split_whitespace().nth(1), Some("0077"));
    let core =
        about("limits").lines().find(|line| line.starts_with("Max core file size")).unwrap().to_owned();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
}
