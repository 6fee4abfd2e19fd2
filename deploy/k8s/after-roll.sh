#!/bin/sh
# The migrations that wait until no pod of the release before is left (docs/upgrading.md): `after-roll.sh RELEASE` makes each Job that
# migrated for the overlay's RELEASE once more, with the flag. Run again, it makes them anew: a Job that has ended keeps its name for a day.
# Needs kubectl, pointed at the cluster, and jq.
set -eu

release=${1:?usage: after-roll.sh RELEASE, as the overlay names it}
namespace=${NAMESPACE:-portico}

for service in portal billing notifier; do
    job=$(kubectl get job -n "$namespace" "$service-migrations-$release" -o json)
    kubectl delete job -n "$namespace" "$service-migrations-$release-after-roll" --ignore-not-found
    # Without the labels that are the cluster's, and the one by which Argo CD takes an object for a part of an application, and prunes it.
    printf '%s\n' "$job" | jq '
        def ours: with_entries(select(.key | test("job-name|controller-uid|kubernetes.io/instance") | not));
        .metadata = {name: (.metadata.name + "-after-roll"), namespace: .metadata.namespace, labels: (.metadata.labels | ours)}
        | .spec.template.metadata.labels |= ours
        | del(.spec.selector, .status)
        | .spec.template.spec.containers[0].args += ["--after-roll"]' | kubectl create -f -
done
