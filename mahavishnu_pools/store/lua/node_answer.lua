-- Keeps the report of a node, unless it has answered a later question. ARGV: 2 node, 3 report (JSON), 4 lifetime in seconds
even_when_full()
local kept = call('GET', k_node_report(ARGV[2]))
if kept and cjson.decode(kept).request > cjson.decode(ARGV[3]).request then return 0 end
call('SET', k_node_report(ARGV[2]), ARGV[3], 'EX', ARGV[4])
return 1
