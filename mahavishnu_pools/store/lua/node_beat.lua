-- An agent says that it lives and what it has. ARGV: 2 node, 3 about (JSON), 4 lifetime in ms, then pool, group (JSON or '') pairs
call('HSET', k_nodes(), ARGV[2], ARGV[3])
call('SET', k_node(ARGV[2]), '1', 'PX', ARGV[4])
for i = 5, #ARGV, 2 do
  local pool = ARGV[i]
  if ARGV[i + 1] == '' or call('EXISTS', k_pool(pool)) == 0 then
    call('HDEL', k_groups(pool), ARGV[2])
  else
    call('HSET', k_groups(pool), ARGV[2], ARGV[i + 1])
  end
end
return 1
