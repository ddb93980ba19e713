-- Tells tasks of the ends of those they come after, some at a time, and lists those that wait for nothing any more but a pool.
-- ARGV: 2 most, 3 result lifetime in ms, 4 who asks, 5 lifetime of its turn in ms
-- Reply: 'none' (nothing to do), 'busy' (somebody else is at it), or 'ok', 1 when there is more to tell, then {task, pool, more} of each
-- that is to get a pool
local most, ttl, who = tonumber(ARGV[2]), ARGV[3], ARGV[4]
local now = clock()
local function due() return call('ZRANGEBYSCORE', k_ready(), '-inf', stamp(now), 'LIMIT', 0, most) end
if call('LLEN', k_releasing()) == 0 and #due() == 0 then return { 'none' } end
local turn = call('GET', k_release_turn())
if turn and turn ~= who then return { 'busy' } end
even_when_full()
call('SET', k_release_turn(), who, 'PX', ARGV[5])

local HOW = { failed = 'failed', timeout = 'ran into its time limit', cancelled = 'was cancelled', refused = 'was refused', dead = 'was given up' }

-- Ends a task because of one it comes after.
local function end_child(id, parent, status, policy)
  local h = call('HMGET', k_task(id), 'pool', 'batch')
  local name = call('HGET', k_task(parent), 'name')
  local which = (name and name .. ' (' .. parent .. ')' or parent) .. ', which it comes after, ' .. (HOW[status] or 'is not known any more')
  call('HSET', k_task(id), 'ended_by', parent)
  if policy == 'skip' then return end_unrun(id, 'cancelled', 'It was skipped: ' .. which .. '.', ttl, now) end
  local text = 'It was not run: ' .. which .. ' (on_parent_failure: fail).'
  local meta = cjson.encode({ status = 'FAILURE', task_id = id, traceback = cjson.null,
    result = { exc_type = 'TaskFailed', exc_message = { text }, exc_module = 'mahavishnu_pools.errors' } })
  settle(id, h[1], { status = 'failed', outcome = cjson.encode({ status = 'failed', error = text }), meta = meta, ttl = ttl }, now)
end

local ready = 0

-- Writing an outcome is as much work as telling so many tasks.
local OUTCOME = 4

-- Tells a task of the end of one it comes after. One that has its outcome, or knows it already, is left alone.
-- Returns how much work it was.
local function tell_child(id, parent, status)
  local h = call('HMGET', k_task(id), 'status', 'p:' .. parent, 'on_parent')
  if h[1] ~= 'waiting' or h[2] ~= '' then return 1 end
  call('HSET', k_task(id), 'p:' .. parent, status)
  local left = call('HINCRBY', k_task(id), 'waits', -1)
  if status ~= 'completed' and h[3] ~= 'run' then
    end_child(id, parent, status, h[3])
    return OUTCOME
  elseif left == 0 then
    -- In the order in which they were told, and due.
    call('ZADD', k_ready(), stamp(now - 0.01 + ready * 0.000001), id)
    ready = ready + 1
  end
  return 1
end

local told = 0
while told < most do
  local entry = call('LINDEX', k_releasing(), 0)
  if not entry then break end
  local parent, status = string.match(entry, '^(%S+) (%S+)$')
  local is = parent and call('HGET', k_task(parent), 'status')
  local children = {}
  -- One that runs again (a dead one that was replayed) will end again.
  if parent and (not is or STAT[is]) then children = call('ZRANGE', k_children(parent), 0, most - told - 1) end
  for _, id in ipairs(children) do
    if told >= most then break end
    -- What is wrong with one task must not keep the others; a check finds it.
    local good, work = pcall(tell_child, id, parent, is or status)
    call('ZREM', k_children(parent), id)
    told = told + (good and work or OUTCOME)
  end
  if #children == 0 then told = told + 1 end
  if #children == 0 or call('EXISTS', k_children(parent)) == 0 then
    call('LPOP', k_releasing())
    if is and STAT[is] then call('HDEL', k_task(parent), 'children') end
  end
end

local left = call('LLEN', k_releasing())
local reply = { 'ok', left > 0 and 1 or 0 }
for _, id in ipairs(due()) do
  local h = call('HMGET', k_task(id), 'status', 'pool', 'waits')
  local more = call('HGET', k_held(id), 'more')
  if h[1] == 'waiting' and h[3] == '0' and more then
    reply[#reply + 1] = { id, h[2], more }
  else
    call('ZREM', k_ready(), id)
  end
end
return reply
