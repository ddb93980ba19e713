-- Reads whose messages wait at a place of a pool, a piece a call; 'ended': which tasks are said to have left one behind.
-- ARGV: 2 'queue', 'suspects', 'delayed', 'ended' or 'claims', 3 pool (of claims: lease), 4 bucket, 5 where to go on ('0' at first), 6 most
-- Reply: where to go on ('' at the end), then task id and '1' when it has a record, else '0'; the id is '' where a message
-- cannot be read
local what, owner, at, most = ARGV[2], ARGV[3], ARGV[5], tonumber(ARGV[6])
-- Messages may be large: no more than so many bytes of them are looked at in one call.
local MOST_BYTES = 1048576
local reply = { '' }

local function add(id)
  reply[#reply + 1] = id
  reply[#reply + 1] = id ~= '' and call('EXISTS', k_task(id)) == 1 and '1' or '0'
end

local function head(value) return string.match(value, '^([^\n]*)\n') or '' end

local function id_of(message)
  local good, m = pcall(cjson.decode, message)
  local id = good and type(m) == 'table' and type(m.headers) == 'table' and m.headers.id
  return type(id) == 'string' and id or ''
end

if what == 'ended' then
  local found = call('SSCAN', k_ended(owner), at, 'COUNT', most)
  for _, id in ipairs(found[2]) do add(id) end
  reply[1] = found[1] == '0' and '' or found[1]
  return reply
end

if what == 'delayed' or what == 'claims' then
  local found
  if what == 'delayed' then found = call('ZSCAN', k_delayed(owner), at, 'COUNT', most)
  else found = call('HSCAN', k_claims(owner), at, 'COUNT', most) end
  for i = 1, #found[2], 2 do add(head(what == 'delayed' and found[2][i] or found[2][i + 1])) end
  reply[1] = found[1] == '0' and '' or found[1]
  return reply
end

-- From the newest to the oldest: what is taken away meanwhile is taken from the end, so nothing is skipped.
local list = what == 'suspects' and k_suspects(owner) or bucket_key(owner, ARGV[4])
local first, bytes = tonumber(at), 0
while true do
  local some = call('LRANGE', list, first, first + 9)
  for _, value in ipairs(some) do
    bytes = bytes + #value
    add(what == 'suspects' and head(value) or id_of(value))
  end
  first = first + #some
  if #some < 10 then return reply end
  if #reply > 2 * most or bytes > MOST_BYTES then break end
end
reply[1] = tostring(first)
return reply
