-- Reads cool-downs that have not ended, and what pools have spent. ARGV: pool ids from 2
-- Reply: {worker type, JSON, …}, then per pool {today's dollars, tokens, those of its life}
local now = clock()
local all, cooling = call('HGETALL', k_cooldowns()), {}
for i = 1, #all, 2 do
  if cjson.decode(all[i + 1]).ends > now then
    cooling[#cooling + 1] = all[i]
    cooling[#cooling + 1] = all[i + 1]
  end
end
local reply, today = { cooling }, tostring(math.floor(now / 86400))
for i = 2, #ARGV do
  local spent = {}
  for _, span in ipairs({ today, 'life' }) do
    local s = call('HMGET', k_spent(ARGV[i]), span .. ' usd', span .. ' input', span .. ' output')
    spent[#spent + 1] = s[1] or '0'
    spent[#spent + 1] = string.format('%.0f', (tonumber(s[2]) or 0) + (tonumber(s[3]) or 0))
  end
  reply[#reply + 1] = spent
end
return reply
