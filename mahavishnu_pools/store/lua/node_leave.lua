-- An agent leaves for good; its pools are free for others at once. ARGV: 2 node
call('DEL', k_node(ARGV[2]), k_node_name(ARGV[2]))
if call('HDEL', k_nodes(), ARGV[2]) == 1 then event('node_left', '', '', 'node', ARGV[2]) end
for _, pool in ipairs(call('ZRANGE', k_pools(), 0, -1)) do
  call('HDEL', k_groups(pool), ARGV[2])
  changed(pool)
end
return 1
