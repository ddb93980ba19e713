-- Looks at tasks that wait for others, from one place of their index to another. ARGV: 2 first, 3 last
-- Reply: how many it looked at, then of each that nobody will have go on: task, and what tells whether it has changed since
local ids = call('ZRANGE', k_waiting(), ARGV[2], ARGV[3])
local reply = { #ids }

-- Whether somebody will tell it of the end of one it comes after.
local function is_told(id, parent)
  if not call('ZSCORE', k_children(parent), id) then return false end
  local h = call('HMGET', k_task(parent), 'status', 'children')
  if h[1] and not STAT[h[1]] then return h[2] end
  if h[1] then return call('LPOS', k_releasing(), parent .. ' ' .. h[1]) end
  for status in pairs(STAT) do
    if call('LPOS', k_releasing(), parent .. ' ' .. status) then return true end
  end
  return call('LPOS', k_releasing(), parent .. ' unknown')
end

for _, id in ipairs(ids) do
  local h = call('HMGET', k_task(id), 'status', 'after', 'waits')
  local open, odd, mark = 0, call('EXISTS', k_held(id)) == 0, { h[1] or '', h[3] or '' }
  for parent in string.gmatch(h[2] or '', '%S+') do
    local ended = call('HGET', k_task(id), 'p:' .. parent)
    if ended == '' then
      open = open + 1
      odd = odd or not is_told(id, parent)
    end
    mark[#mark + 1] = ended or ''
  end
  if open ~= tonumber(h[3]) or (open == 0 and not call('ZSCORE', k_ready(), id)) then odd = true end
  if odd then reply[#reply + 1] = { id, table.concat(mark, ' ') } end
end
return reply
