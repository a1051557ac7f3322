//! Labels that belong to the name of a volume: the tool that gave them finds what it made by them, and deletes it. Data that is
//! restored under another name goes without them, or its rescue ends with the next `docker volume prune` or `compose down --volumes`.

use std::collections::BTreeMap;

use super::volume::VolumeName;

/// What such labels begin with. An operator's own labels say what the data is, and stay with it.
const OF_THE_NAME: [&str; 8] = [
    // Docker's own (`docs.docker.com`, "Docker object labels"): Compose, which from 5.4 on deletes by label alone; stacks; the mark of
    // an anonymous volume, by which `docker volume prune` goes from 23.0 on.
    "com.docker.",
    "io.docker.",
    "org.dockerproject.",
    // podman-compose.
    "io.podman.compose.",
    // Testcontainers: its reaper deletes what has the label of a session that has ended.
    "org.testcontainers",
    // `minikube delete` (minikube `pkg/drivers/kic/oci/types.go`).
    "created_by.minikube.sigs.k8s.io",
    "name.minikube.sigs.k8s.io",
    // GitLab Runner (`clear-docker-cache`).
    "com.gitlab.gitlab-runner.",
];

/// The labels of a volume that becomes another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    /// Those that go with the data.
    pub kept: BTreeMap<String, String>,
    /// The keys of those that stay with the name.
    pub left_out: Vec<String>,
}

/// The labels of the volume `was` when its data becomes the volume `becomes`: all of them under the same name.
pub fn carried(labels: &BTreeMap<String, String>, was: &VolumeName, becomes: &VolumeName) -> Carried {
    let belongs_to_name =
        |key: &str| was != becomes && OF_THE_NAME.iter().any(|prefix| key.starts_with(prefix));
    let (left_out, kept): (BTreeMap<_, _>, BTreeMap<_, _>) =
        labels.clone().into_iter().partition(|(key, _)| belongs_to_name(key));
    Carried { kept, left_out: left_out.into_keys().collect() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail loudly")]

    use super::*;

    fn carried_as(keys: &[&str], becomes: &str) -> (Vec<String>, Vec<String>) {
        let labels = keys.iter().map(|key| ((*key).to_owned(), "x".to_owned())).collect();
        let name = |text: &str| VolumeName::new(text).unwrap();
        let Carried { kept, left_out } = carried(&labels, &name("db"), &name(becomes));
        (kept.into_keys().collect(), left_out)
    }

    #[test]
    fn what_a_tool_finds_its_volumes_by_stays_with_the_name() {
        let of_the_name = [
            "com.docker.compose.project",
            "com.docker.stack.namespace",
            "com.docker.volume.anonymous",
            "com.gitlab.gitlab-runner.type",
            "created_by.minikube.sigs.k8s.io",
            "io.podman.compose.project",
            "org.testcontainers",
            "org.testcontainers.session-id",
        ];
        let of_the_data = ["com.dockerish", "com.example.backup", "volgc.keep"];
        let all = [&of_the_name[..], &of_the_data].concat();
        assert_eq!(
            carried_as(&all, "other"),
            (of_the_data.map(str::to_owned).into(), of_the_name.map(str::to_owned).into())
        );
        let (kept, left_out) = carried_as(&all, "db");
        assert_eq!((kept.len(), left_out.len()), (all.len(), 0));
    }
}
