"""One file per route: decode, call, encode."""
