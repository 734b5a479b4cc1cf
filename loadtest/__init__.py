"""Drive the running system from outside: replay real files, simulate shoppers, load it in an open loop, report."""
