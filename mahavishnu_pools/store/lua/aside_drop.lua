-- Forgets records that a sink refused. ARGV: 2 sink, 3 whether it has them now (1 or 0), 4.. entries. Reply: how many there were
local gone = 0
for i = 4, #ARGV do gone = gone + call('XDEL', k_set_aside(ARGV[2]), ARGV[i]) end
if ARGV[3] == '1' and gone > 0 then call('HINCRBY', k_sink(ARGV[2]), 'delivered', gone) end
return gone
