"""The command line against servers that speak the real contracts: processes of their own, over real sockets."""
