-- Puts the last members of a batch into another order: those that were sent in the order in which one comes after another.
-- ARGV: 2 batch, then their ids. Reply: 1, or 0 when they are not its last members
local key, count, seen = k_batch_tasks(ARGV[2]), #ARGV - 2, {}
for i = 3, #ARGV do seen[ARGV[i]] = true end
local last = call('LRANGE', key, -count, -1)
if #last ~= count then return 0 end
for _, id in ipairs(last) do
  if not seen[id] then return 0 end
  seen[id] = nil
end
local ttl = call('PTTL', key)
call('LTRIM', key, 0, -count - 1)
for first = 3, #ARGV, 1000 do call('RPUSH', key, unpack(ARGV, first, math.min(#ARGV, first + 999))) end
if ttl > 0 then call('PEXPIRE', key, ttl) end
return 1
