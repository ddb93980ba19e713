-- What a task comes after, and what comes after it: those that still wait for it, and those of its batch.
-- ARGV: 2 task, 3 most of each that are told, 4 members of its batch that are looked at
-- Reply: how many it comes after, 1 when more come after it, then {'parent' or 'child', id, status or '', name or ''}…
local id, most = ARGV[2], tonumber(ARGV[3])
local own = call('HMGET', k_task(id), 'after', 'batch')
local open, ended, children, known, more = {}, {}, {}, {}, 0

local function about(kind, one)
  local h = call('HMGET', k_task(one), 'status', 'name')
  local status = h[1] or kind == 'parent' and call('HGET', k_task(id), 'p:' .. one) or ''
  return { kind, one, status, h[2] or '' }
end

local function child(one)
  if known[one] then return end
  known[one] = true
  if #children < most then children[#children + 1] = about('child', one) else more = 1 end
end

for parent in string.gmatch(own[1] or '', '%S+') do
  local one = about('parent', parent)
  local list = STAT[one[3]] and ended or open
  list[#list + 1] = one
end
for _, one in ipairs(call('ZRANGE', k_children(id), 0, most)) do child(one) end
-- Who was told of an end is in no index any more.
for _, one in ipairs(own[2] and call('LRANGE', k_batch_tasks(own[2]), 0, ARGV[4] - 1) or {}) do
  local after = one ~= id and call('HGET', k_task(one), 'after')
  if after and string.find(' ' .. after .. ' ', ' ' .. id .. ' ', 1, true) then child(one) end
end

local reply = { #open + #ended, more }
for _, list in ipairs({ open, ended }) do
  for _, one in ipairs(list) do
    if #reply < most + 2 then reply[#reply + 1] = one end
  end
end
for _, one in ipairs(children) do reply[#reply + 1] = one end
return reply
