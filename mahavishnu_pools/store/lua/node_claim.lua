-- An agent takes a name that no living one has, until it beats. ARGV: 2 node, 3 agent, 4 lifetime in seconds
-- Reply: 1, or 0 when another one has just taken it
local taker = call('GET', k_node_name(ARGV[2]))
if taker and taker ~= ARGV[3] then return 0 end
even_when_full()
call('SET', k_node_name(ARGV[2]), ARGV[3], 'EX', ARGV[4])
return 1
