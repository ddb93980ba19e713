-- Compares the load index with the truth. ARGV: 2 first pool, 3 last pool (by order of creation)
-- Reply for each that is off: {pool, what the index says ('' nothing), what is true ('' nothing), workers}
local reply = {}
for _, pool in ipairs(call('ZRANGE', k_pools(), ARGV[2], ARGV[3])) do
  local h = call('HMGET', k_pool(pool), 'status', 'workers', 'member')
  local workers, truth = math.max(1, tonumber(h[2]) or 1), ''
  if h[1] == 'running' or h[1] == 'degraded' then
    truth = (queued_of(pool) + running_of(pool)) / workers + (h[1] == 'degraded' and DEGRADED_PENALTY or 0)
    truth = string.format('%.17g', truth)
  end
  local score = h[3] and call('ZSCORE', k_load(), h[3]) or ''
  local off = (score == '') ~= (truth == '')
  if score ~= '' and truth ~= '' then off = math.abs(tonumber(score) - tonumber(truth)) > 1e-6 end
  if off then reply[#reply + 1] = { pool, score, truth, workers } end
end
return reply
