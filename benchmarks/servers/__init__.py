"""The services that the benchmarks run against: an org and a workspace, answered from bytes made beforehand."""
