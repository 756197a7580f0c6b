"""Real servers for the integration tests: PostgreSQL, Redis and the proxy on free ports of 127.0.0.1, ended by pid whatever happens."""
from .breakwater import Breakwater
from .ports import HOST, free_port, free_ports
from .postgres import Postgres
from .process import ROOT, HarnessError, wait_until
from .redis import Redis, RedisSentinel, RedisSet
from .redis_cluster import RedisCluster

__all__ = ["HOST", "ROOT", "Breakwater", "HarnessError", "Postgres", "Redis", "RedisCluster", "RedisSentinel", "RedisSet", "free_port", "free_ports", "wait_until"]
