-- Notes in the journal that a node has fallen silent; once, until it beats again. ARGV: 2 node. Reply: 1 noted, 0 not
local about = call('HGET', k_nodes(), ARGV[2])
if not about or call('EXISTS', k_node(ARGV[2])) == 1 or string.sub(about, -12) == '"lost":true}' then return 0 end
even_when_full()
call('HSET', k_nodes(), ARGV[2], string.sub(about, 1, -2) .. ',"lost":true}')
event('node_lost', '', '', 'node', ARGV[2], 'reason', 'it has been silent for longer than node_lost_after')
return 1
