-- Contests: batches of which not every task is needed. The library's second part, for what the prelude does in rare cases.
-- Fields of the batch: contest (JSON: kind, needed, agree, deadline in s), votes (JSON: what was answered, to those who did), decided (when), winners
-- (ids), why (a sentence). Those with a judge (best_of) are decided by its answer, and have none of the last three, unless their time
-- was over before.

-- Asks for the end of a running task.
local function end_running(id, pool, claim, reason)
  call('HSET', k_task(id), 'cancel', reason)
  call('SADD', k_cancels(string.match(claim, '^(.*):%d+$')), id)
  ring(pool)
end

-- Makes the record of the task that follows a batch; its message waits in the batch. f is the text, decoded.
local function follow_batch(batch, text, f, client, now)
  local record = { 'status', 'queued', 'pool', f.fallback, 'type', f.type, 'created', stamp(now), 'bucket', f.bucket, 'attempts', '0', 'spec', f.spec,
    'follows', batch }
  if client then record[#record + 1] = 'client'; record[#record + 1] = client end
  if f.idem then
    record[#record + 1] = 'idem'; record[#record + 1] = f.idem
    call('SET', k_idem(f.idem), f.id)
  end
  call('HSET', k_task(f.id), unpack(record))
  call('HSET', k_batch(batch), 'then', text, 'follower', f.id)
end

-- The batch of a contest has all its tasks from the beginning: they are submitted by the script that opens it.
local function open_contest(o, now)
  call('HSET', k_batch(o.batch), 'contest', o.contest.about, 'sealed', '1')
  if o.contest.deadline then call('ZADD', k_contests(), stamp(now + o.contest.deadline), o.batch) end
  local judge = o.contest.judge
  if judge then follow_batch(o.batch, judge, cjson.decode(judge), o.client, now) end
end

-- The reply to a submit of a contest that is there already: its candidates, whatever the call brings.
local function known_contest(batch)
  local reply = { 'ok' }
  for _, id in ipairs(call('LRANGE', k_batch_tasks(batch), 0, -1)) do
    reply[#reply + 1] = { id, call('HGET', k_task(id), 'pool') or '', '0' }
  end
  return reply
end

-- What outcomes of candidates lead to. Made when one is written: scripts that write others carry one function for it.
function contests(ttl, now)
  -- A JSON value as a text that equal values share, whatever the order of their keys.
  local function plain(value)
    if type(value) == 'string' then return #value .. ':' .. value end
    if type(value) == 'number' then return string.format('%.17g', value) end
    if type(value) ~= 'table' then return tostring(value) end
    local names, parts = {}, {}
    for name in pairs(value) do names[#names + 1] = name end
    table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
    for i, name in ipairs(names) do parts[i] = plain(name) .. '=' .. plain(value[name]) end
    return '{' .. table.concat(parts, ',') .. '}'
  end

  -- What stands for an answer when answers are compared: its value, else its text without regard to case and white space. One that
  -- cannot be read agrees with none.
  local function vote_of(id, meta)
    local good, read = pcall(cjson.decode, meta)
    local answer = good and type(read) == 'table' and read.result
    if type(answer) ~= 'table' then return id end
    if answer.value ~= nil and answer.value ~= cjson.null then return redis.sha1hex(plain(answer.value)) end
    local text = type(answer.output) == 'string' and answer.output or ''
    return redis.sha1hex(string.lower(string.gsub(string.gsub(string.gsub(text, '%s+', ' '), '^ ', ''), ' $', '')))
  end

  -- Ends a candidate that is not needed any more: at once when it waits, by asking for it when it runs.
  local function lose(id, why)
    local h = call('HMGET', k_task(id), 'status', 'pool', 'claim', 'follows')
    if not h[1] or STAT[h[1]] then return end
    if h[1] == 'running' and h[3] then return end_running(id, h[2], h[3], why) end
    if h[1] == 'awaiting_approval' then decided(id, { decision = 'cancelled', reason = why }, now) end
    end_unrun(id, 'cancelled', why, ttl, now)
    -- A judge has no message before all candidates have ended.
    if h[4] then return end
    if h[1] == 'awaiting_approval' or h[1] == 'waiting' or call('EXISTS', k_pool(h[2])) == 0 then return end
    -- Its message leaves with the next claim. This script may be going through the queue it is in.
    call('SADD', k_ended(h[2]), id)
    reindex(h[2], false)
    ring(h[2])
  end

  -- Ends the candidates that are not needed any more. One that was known by its key when it joined belongs to whoever submitted it
  -- first, and goes on.
  local function lose_all(batch, why)
    for _, id in ipairs(call('LRANGE', k_batch_tasks(batch), 0, -1)) do
      if call('HGET', k_task(id), 'batch') == batch then lose(id, why) end
    end
  end

  local function named(id)
    local pool = call('HGET', k_task(id), 'pool')
    return id .. ' (pool ' .. (pool and call('HGET', k_pool(pool), 'name') or pool or 'unknown') .. ')'
  end

  local function sentence(contest, winners)
    if contest.kind == 'race' then return #winners == 0 and 'No candidate succeeded.' or named(winners[1]) .. ' won the race.' end
    local what = contest.agree and 'equal answers' or 'answers'
    if #winners == 0 then return 'There can be no ' .. contest.needed .. ' ' .. what .. ' any more.' end
    local all = {}
    for i, id in ipairs(winners) do all[i] = named(id) end
    return contest.needed .. ' ' .. what .. ' were there first: ' .. table.concat(all, ', ') .. '.'
  end

  -- Those who win now, in the order of their outcomes; none when there can be none any more; nil while that is open.
  local function winners_of(contest, votes, open)
    local most = {}
    for _, ids in pairs(votes) do
      if #ids > #most then most = ids end
    end
    if #most >= contest.needed then return most end
    return #most + open < contest.needed and {} or nil
  end

  -- Decides a contest, once, when a candidate's outcome allows it. meta: its result in Celery's form, nil when it did not succeed.
  local function step(batch, id, meta)
    local key = k_batch(batch)
    local h = call('HMGET', key, 'contest', 'decided', 'votes', 'total', 'successful', 'failed')
    local contest = cjson.decode(h[1])
    if h[2] or not contest.needed then return end
    local votes = h[3] and cjson.decode(h[3]) or {}
    if meta then
      local vote = contest.agree and vote_of(id, meta) or 'any'
      votes[vote] = votes[vote] or {}
      table.insert(votes[vote], id)
      call('HSET', key, 'votes', cjson.encode(votes))
    end
    local winners = winners_of(contest, votes, tonumber(h[4]) - tonumber(h[5]) - tonumber(h[6]))
    if not winners then return end
    local why = sentence(contest, winners)
    -- First of all: the outcomes of those that lose come through here, too.
    call('HSET', key, 'decided', stamp(now), 'winners', table.concat(winners, ' '), 'why', why)
    if contest.deadline then call('ZREM', k_contests(), batch) end
    lose_all(batch, why)
  end

  -- Decides a contest that is open when its time is over: nobody has won, and all that have not ended are ended, the judge first.
  local function expire(batch)
    local key = k_batch(batch)
    local h = call('HMGET', key, 'contest', 'decided', 'follower')
    if not h[1] or h[2] or h[3] and STAT[call('HGET', k_task(h[3]), 'status')] then return end
    local why = 'Nobody had won when its time was over (deadline: ' .. string.format('%.14g', cjson.decode(h[1]).deadline) .. ' s).'
    call('HSET', key, 'decided', stamp(now), 'winners', '', 'why', why)
    call('HDEL', key, 'then')
    if h[3] then lose(h[3], why) end
    lose_all(batch, why)
  end

  -- The outcome of a task that was ended because its contest was decided, with why; any other outcome as it is.
  local function lost(batch, id, o)
    local why = call('HGET', k_batch(batch), 'why')
    if not why or call('HGET', k_task(id), 'cancel') ~= why then return o end
    -- Added behind: of two fields of one name the last one counts. An outcome that is read and written anew here would lose digits and
    -- empty lists.
    local all = string.match(o.outcome, '^%s*({.*%S)%s*}%s*$') or '{"status":"cancelled"'
    local told = {}
    for name, value in pairs(o) do told[name] = value end
    told.outcome = all .. ',"error":' .. cjson.encode(why) .. '}'
    return told
  end

  return { step = step, lost = lost, expire = expire }
end
