"""What the chaos tests share: the clients of an outage and their ledger, the watcher of the health pages, bad servers."""
