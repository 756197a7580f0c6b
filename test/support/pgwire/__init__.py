"""A small blocking PostgreSQL client that speaks the protocol by hand.

Tests use it where a driver would be too polite: sending what no driver sends, hanging up in the middle, and seeing every
message that arrives. It knows nothing of the proxy; run against a server directly it is its own first test.
"""
from .client import Client, Closed, ServerError, TimedOut
from .messages import (bind, close, copy_data, copy_done, copy_fail, describe, execute, flush, message, parse, password,
                       query, ssl_request, startup, sync, terminate)

__all__ = ["Client", "Closed", "ServerError", "TimedOut", "bind", "close", "copy_data", "copy_done", "copy_fail",
           "describe", "execute", "flush", "message", "parse", "password", "query", "ssl_request", "startup", "sync",
           "terminate"]
