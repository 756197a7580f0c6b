"""Random pipelines of many clients through the proxy, and the same to a twin server: each client hears the same, byte for byte.

In front of one server, and of a cluster, whose clients cannot tell it from one.
"""
from harness import HOST, Breakwater, wait_until
from trouble.redis_pipelines import SCRIPT
from trouble.redis_twin import contents, converse

RESILIENCE = {"defaults": {"resilience": {"connect_rate": {"per_second": 1000, "burst": 1000}}}}


def test_one_server(make_redis, make_proxy):
    server, twin = make_redis(appendonly="no"), make_redis(appendonly="no")
    for one in (server, twin):
        one.client().script_load(SCRIPT)
    proxy = make_proxy(Breakwater.in_front_of_redis(server, pool={"max_size": 4}).config["databases"], RESILIENCE)
    converse(proxy, twin, cluster=False)
    for database in range(16):
        assert contents([server], database) == contents([twin], database)


def test_a_cluster(make_cluster, make_redis, make_proxy):
    cluster, twin = make_cluster(), make_redis(appendonly="no")
    replica = make_redis(appendonly="no", replicaof=f"{HOST} {twin.port}", repl_diskless_sync_delay=0)  # for WAIT, as each master has one
    wait_until(lambda: replica.client().info("replication")["master_link_status"] == "up", "a replica of the twin")
    for one in (*cluster.masters(), twin):
        one.client().script_load(SCRIPT)
    proxy = make_proxy(Breakwater.in_front_of_cluster(cluster).config["databases"], RESILIENCE)
    converse(proxy, twin, cluster=True)
    assert contents(cluster.masters()) == contents([twin])
