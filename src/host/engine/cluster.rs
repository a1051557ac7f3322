//! Swarm's cluster (CSI) volumes, and how a DELETE could reach one.
//!
//! Under API 1.42 and later, a manager that does not find the local volume of a DELETE removes the cluster volume of that name,
//! of that ID, or whose ID begins so. Under 1.41, which this program speaks wherever it can, it never does. Docker 29.0 to 29.2
//! accept nothing below 1.44, and any engine may be set so.

use super::ApiVersion;
use super::wire::Info;

/// The first API version that knows cluster volumes.
const SINCE: ApiVersion = ApiVersion { major: 1, minor: 42 };

/// Whether a DELETE under this version could reach one at all.
pub fn is_known_to(api: ApiVersion) -> bool {
    api >= SINCE
}

/// Why a DELETE must not be sent; none where it cannot reach a cluster volume.
///
/// To look for such a volume first would not do: the list leaves them out when the swarm's leader does not answer, and another
/// manager may make one at any time.
pub fn fall_through(api: ApiVersion, info: &Info) -> Option<String> {
    let is_outside = info.swarm.as_ref().is_some_and(super::wire::SwarmInfo::is_outside);
    (is_known_to(api) && !is_outside).then(|| {
        format!(
            "this engine is in a swarm and speaks no API before {api}, under which deleting a volume could reach a Swarm cluster \
             volume instead; use Docker 29.3 or later, or start dockerd with DOCKER_MIN_API_VERSION=1.41"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::engine::OLDEST_API;
    use crate::host::engine::wire::SwarmInfo;

    fn info(swarm: Option<(&str, Option<bool>)>) -> Info {
        Info {
            id: "e".to_owned(),
            containers: 0,
            server_version: "29.0.0".to_owned(),
            docker_root_dir: "/var/lib/docker".to_owned(),
            driver: None,
            live_restore_enabled: None,
            cdi_spec_dirs: None,
            swarm: swarm.map(|(state, control_available)| SwarmInfo {
                local_node_state: state.to_owned(),
                control_available,
            }),
            security_options: None,
            plugins: None,
        }
    }

    #[test]
    fn no_delete_reaches_a_cluster_volume() {
        let new = ApiVersion { major: 1, minor: 44 };
        let may_manage = [
            None,
            Some(("active", Some(true))),
            Some(("active", Some(false))),
            Some(("pending", None)),
            Some(("inactive", Some(true))),
        ];
        for swarm in may_manage {
            assert!(fall_through(new, &info(swarm)).is_some(), "{swarm:?}");
            assert!(fall_through(SINCE, &info(swarm)).is_some(), "{swarm:?}");
            assert_eq!(fall_through(OLDEST_API, &info(swarm)), None, "{swarm:?}");
        }
        for swarm in [Some(("inactive", Some(false))), Some(("", None))] {
            assert_eq!(fall_through(new, &info(swarm)), None, "{swarm:?}");
        }
    }
}
