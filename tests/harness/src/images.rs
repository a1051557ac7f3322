//! The images that every private engine has, made without a registry from the machine's static busybox.
//!
//! - `bb`: busybox with its applets. Its stop signal is SIGKILL, so that stopping a container takes no ten seconds.
//! - `bbvol`: the same with `VOLUME /data`.
//! - `bbseed`: the same with the file `/seed/hello`, for the copy-up of image content into a fresh volume.
//!
//! They are loaded as one archive in the format of `docker save`: `docker import` cannot set a stop signal, and would
//! unpack the same layer three times.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

const BUSYBOX: &str = "/bin/busybox";
/// To be raised when the content of the images changes, as their archive is kept between runs.
const FORMAT: u32 = 1;
const APPLETS: &str = "sh ash cat chmod chown cp cut date dd df du echo env expr false find grep head hostname id kill \
                       ln ls mkdir mkfifo mknod mount mv nc od printf ps pwd readlink rm rmdir sed seq sleep sort \
                       stat sync tail tar test time timeout top touch tr true truncate umount uname unlink usleep \
                       wc whoami xargs yes";

/// The archive with all images, made on first use and kept in `cache`.
pub(crate) fn archive(cache: &Path) -> PathBuf {
    let busybox = fs::read(BUSYBOX).unwrap_or_else(|error| panic!("{BUSYBOX}: {error}: run tests/setup"));
    let stamp = fs::metadata(BUSYBOX)
        .and_then(|meta| meta.modified())
        .ok()
        .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
        .map_or(0, |age| age.as_secs());
    let path = cache.join(format!("images-v{FORMAT}-{}-{stamp}.tar", busybox.len()));
    if !path.is_file() {
        // Written under a name of this process, then renamed: tests run in parallel.
        let partial = cache.join(format!(".images-{}.partial", std::process::id()));
        fs::create_dir_all(cache)
            .and_then(|()| fs::write(&partial, build(&busybox)))
            .and_then(|()| fs::rename(&partial, &path))
            .unwrap_or_else(|error| panic!("cannot keep the test images in {}: {error}", cache.display()));
    }
    path
}

fn build(busybox: &[u8]) -> Vec<u8> {
    let mut base = Tar::default();
    for (dir, mode) in [
        ("bin", 0o755),
        ("dev", 0o755),
        ("etc", 0o755),
        ("proc", 0o555),
        ("sys", 0o555),
        ("root", 0o700),
        ("tmp", 0o1777),
    ] {
        base.directory(dir, mode);
    }
    base.file("bin/busybox", 0o755, busybox);
    for applet in APPLETS.split_whitespace() {
        base.symlink(&format!("bin/{applet}"), "busybox");
    }
    base.file("etc/passwd", 0o644, b"root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/tmp:/bin/sh\n");
    base.file("etc/group", 0o644, b"root:x:0:\napp:x:1000:\n");
    let base = base.finish();

    let mut seed = Tar::default();
    seed.directory("seed", 0o755);
    seed.file("seed/hello", 0o644, b"hello from the image\n");
    let seed = seed.finish();

    let base_id = format!("sha256:{}", sha256(&base));
    let seed_id = format!("sha256:{}", sha256(&seed));
    let config = |volumes: serde_json::Value, layers: &[&str]| {
        json!({
            "architecture": match std::env::consts::ARCH { "x86_64" => "amd64", "aarch64" => "arm64", other => other },
            "os": "linux",
            "created": "2024-01-01T00:00:00Z",
            "config": { "Cmd": ["sh"], "Env": ["PATH=/bin"], "StopSignal": "SIGKILL", "Volumes": volumes },
            "rootfs": { "type": "layers", "diff_ids": layers },
        })
        .to_string()
    };
    let null = serde_json::Value::Null;
    let manifest = json!([
        { "Config": "bb.json", "RepoTags": ["bb:latest"], "Layers": ["base.tar"] },
        { "Config": "bbvol.json", "RepoTags": ["bbvol:latest"], "Layers": ["base.tar"] },
        { "Config": "bbseed.json", "RepoTags": ["bbseed:latest"], "Layers": ["base.tar", "seed.tar"] },
    ]);
    let mut images = Tar::default();
    images.file("bb.json", 0o644, config(null.clone(), &[&base_id]).as_bytes());
    images.file("bbvol.json", 0o644, config(json!({ "/data": {} }), &[&base_id]).as_bytes());
    images.file("bbseed.json", 0o644, config(null, &[&base_id, &seed_id]).as_bytes());
    images.file("base.tar", 0o644, &base);
    images.file("seed.tar", 0o644, &seed);
    images.file("manifest.json", 0o644, manifest.to_string().as_bytes());
    images.finish()
}

/// The engine checks the digest of each layer that it loads.
fn sha256(bytes: &[u8]) -> String {
    let run = || -> std::io::Result<String> {
        let mut child = Command::new("sha256sum")
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(bytes)?;
        }
        let output = child.wait_with_output()?;
        Ok(String::from_utf8_lossy(&output.stdout).split_whitespace().next().unwrap_or_default().to_owned())
    };
    let digest = run().unwrap_or_else(|error| panic!("sha256sum: {error}"));
    assert_eq!(digest.len(), 64, "sha256sum answered {digest:?}");
    digest
}

/// A writer of plain ustar archives, enough for the images above.
#[derive(Default)]
struct Tar {
    bytes: Vec<u8>,
}

impl Tar {
    fn directory(&mut self, name: &str, mode: u32) {
        self.entry(&format!("{name}/"), mode, b'5', "", &[]);
    }

    fn file(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entry(name, mode, b'0', "", content);
    }

    fn symlink(&mut self, name: &str, target: &str) {
        self.entry(name, 0o777, b'2', target, &[]);
    }

    fn entry(&mut self, name: &str, mode: u32, kind: u8, link: &str, content: &[u8]) {
        assert!(name.len() < 100 && link.len() < 100, "too long for a plain header: {name}");
        let mut header = [0_u8; 512];
        let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
        put(0, name);
        put(100, &format!("{mode:07o}"));
        put(108, "0000000");
        put(116, "0000000");
        put(124, &format!("{:011o}", content.len()));
        put(136, "14544405600");
        // The checksum counts its own field as spaces.
        put(148, "        ");
        put(157, link);
        put(257, "ustar\x0000");
        header[156] = kind;
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.bytes.extend_from_slice(&header);
        self.bytes.extend_from_slice(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len() + 1024, 0);
        self.bytes
    }
}
