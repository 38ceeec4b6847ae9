"""Published networks as bundles: a file a kind, `files` reads what a user names, `bundle` writes what comes of it."""
