-- What is left of pools that do not exist. ARGV: pool ids from 2. Reply: {pool, waiting messages, leases}…
local reply = {}
for i = 2, #ARGV do
  local pool = ARGV[i]
  if call('EXISTS', k_pool(pool)) == 0 then
    local keys = { k_bell(pool), k_delayed(pool), k_suspects(pool), k_ended(pool), k_pool_leases(pool), k_groups(pool), k_recent(pool), k_binding(pool), k_figures(pool) }
    for b = 0, BUCKETS - 1 do keys[#keys + 1] = bucket_key(pool, b) end
    if call('EXISTS', unpack(keys)) > 0 then
      reply[#reply + 1] = { pool, messages_of(pool), call('SCARD', k_pool_leases(pool)) }
    end
  end
end
return reply
