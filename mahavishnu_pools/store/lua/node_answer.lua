-- Keeps the report of a node. ARGV: 2 node, 3 report (JSON), 4 lifetime in seconds
even_when_full()
call('SET', k_node_report(ARGV[2]), ARGV[3], 'EX', ARGV[4])
return 1
