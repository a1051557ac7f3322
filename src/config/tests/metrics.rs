//! The table [metrics].

use std::path::PathBuf;

use super::*;

#[test]
fn metrics_are_off_until_something_is_listened_at() {
    assert_eq!(good("").metrics, None);
    let listens = |text: &str| good(&format!("[metrics]\nlisten = \"{text}\"")).metrics.unwrap();
    for text in
        ["127.0.0.1:9710", "[::1]:9710", "127.1.2.3:0", "[::ffff:127.0.0.1]:80", "http://127.0.0.1:9710"]
    {
        let address = text.trim_start_matches("http://").parse().unwrap();
        assert_eq!(listens(text), Listen::Tcp(address));
    }
    let socket = PathBuf::from("/run/volgc/metrics.sock");
    assert_eq!(listens("unix:///run/volgc/metrics.sock"), Listen::Unix(socket));
}

#[test]
fn other_machines_are_let_in_only_when_that_is_said() {
    let refused = |text: &str, port: u16| {
        let message = format!(
            "2:10: `{text}` can be reached from other machines, and there is neither encryption nor a password; write \
             `127.0.0.1:{port}`, or add `allow_non_loopback = true` if that is meant"
        );
        let listen = format!("[metrics]\nlisten = \"{text}\"");
        assert_eq!(mistakes(&listen), [message.as_str()]);
        assert_eq!(mistakes(&format!("{listen}\nallow_non_loopback = false")), [message]);
        let allowed = good(&format!("{listen}\nallow_non_loopback = true"));
        assert_eq!(allowed.metrics, Some(Listen::Tcp(text.parse().unwrap())));
    };
    refused("0.0.0.0:9710", 9710);
    refused("[::]:9710", 9710);
    refused("192.0.2.1:80", 80);
    refused("[::ffff:192.0.2.1]:80", 80);
}

#[test]
fn what_is_no_address_is_told() {
    let no_address = |text: &str| {
        format!(
            "2:10: `{text}` is no address with a port; write it in digits, as in `127.0.0.1:9710` or `[::1]:9710`, or a \
             socket, as in `unix:///run/volgc/metrics.sock`"
        )
    };
    for text in ["localhost:9710", "9710", "127.0.0.1", ":9710", "tcp://127.0.0.1:9710"] {
        assert_eq!(mistakes(&format!("[metrics]\nlisten = \"{text}\"")), [no_address(text)], "{text}");
    }
    let long = format!("unix:///{}", "x".repeat(107));
    assert!(mistakes(&format!("[metrics]\nlisten = \"{long}\""))[0].contains("107 bytes at most"));
    all_say(&[
        (
            "[metrics]\nlisten = \"unix://run/x\"",
            &[
                "2:10: `unix://run/x` has no absolute path; write three slashes, as in `unix:///run/volgc/metrics.sock`",
            ],
        ),
        ("[metrics]\nlisten = \"unix:///run/\"", &["2:10: `unix:///run/` does not name a socket"]),
        (
            "[metrics]",
            &["1:1: [metrics] without `listen` serves nothing; write `listen = \"127.0.0.1:9710\"`"],
        ),
        (
            "[metrics]\nlisten = \"0.0.0.0:1\"\nallow_non_loopback = 1",
            &["3:22: `allow_non_loopback` is an integer; write `true` or `false`, without quotes"],
        ),
        (
            "[metrics]\nlistn = \"127.0.0.1:1\"",
            &["2:1: unknown key `listn` in [metrics]; did you mean `listen`?"],
        ),
    ]);
}
