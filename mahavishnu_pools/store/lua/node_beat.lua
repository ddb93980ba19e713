-- An agent says that it lives and what it has. ARGV: 2 node, 3 about (JSON), 4 lifetime in ms, then pool, group (JSON or '') pairs
-- Reply: the question of a check, '' when there is none
even_when_full()
-- What a node has decides where tasks may go, so that choices made by what it had are out of date.
local function has(text) return (string.match(text, '"tags":%b[]') or '') .. (string.match(text, '"resources":%b{}') or '')
  .. (string.match(text, '"logged_out":%b{}') or '') end
if has(call('HGET', k_nodes(), ARGV[2]) or '') ~= has(ARGV[3]) then call('INCR', k_registry()) end
call('HSET', k_nodes(), ARGV[2], ARGV[3])
if not call('SET', k_node(ARGV[2]), '1', 'PX', ARGV[4], 'GET') then event('node_joined', '', '', 'node', ARGV[2]) end
local function face(text)
  if not text or text == '' then return '' end
  local group = cjson.decode(text)
  return group.status .. ' ' .. group.workers
end
local beats, now = heard('heartbeat'), clock()
for i = 5, #ARGV, 2 do
  local pool, text = ARGV[i], ARGV[i + 1]
  local before = call('HGET', k_groups(pool), ARGV[2])
  if text == '' or call('EXISTS', k_pool(pool)) == 0 then
    call('HDEL', k_groups(pool), ARGV[2])
  else
    call('HSET', k_groups(pool), ARGV[2], text)
    if beats then
      local group = cjson.decode(text)
      tell('heartbeat', pool, { node = ARGV[2], status = group.status, workers = group.workers }, now)
    end
  end
  -- Who waits for a pool to be ready or scaled looks again; routing does not depend on it, so the registry's version stays.
  if face(before) ~= face(text) then
    call('PUBLISH', k_changed(), pool)
    local group = text ~= '' and cjson.decode(text) or { status = 'gone', workers = 0 }
    event('group_status', pool, call('HGET', k_pool(pool), 'name') or '', 'node', ARGV[2], 'status', group.status, 'workers', group.workers,
      'reason', type(group.reason) == 'string' and group.reason or '')
  end
end
return call('GET', k_examine()) or ''
