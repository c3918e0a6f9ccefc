"""What the tests of this room get."""

from cluster_fixtures import client, cluster, empty_cluster
