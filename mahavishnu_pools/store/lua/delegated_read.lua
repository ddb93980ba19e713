-- Reply: tasks of a pool that were delegated, each followed by where it runs (JSON). ARGV: 2 pool
return call('HGETALL', k_delegated(ARGV[2]))
