-- Reply: {batch hash}, task ids in input order from an index. ARGV: 2 batch, 3 first index, 4 last index (-1: all)
return { call('HGETALL', k_batch(ARGV[2])), call('LRANGE', k_batch_tasks(ARGV[2]), ARGV[3], ARGV[4]) }
