-- Finds keys that should have a lifetime and have none; of idempotency keys and batches only those that nothing refers to or that
-- are complete. ARGV: 2 lifetime in ms to give them ('' only to look), then {family, what it belongs to}…
-- Reply: {family, what}…
local reply = {}
local families = { meta = k_meta, log = k_log, affinity = k_affinity, gone = k_gone, idem = k_idem, batch = k_batch,
  mailbox = k_mailbox }
for i = 3, #ARGV, 2 do
  local family, of = ARGV[i], ARGV[i + 1]
  local key = families[family](of)
  if call('TTL', key) == -1 then
    local endless = true
    if family == 'idem' then
      endless = call('EXISTS', k_task(call('GET', key))) == 0
    elseif family == 'batch' then
      local h = call('HMGET', key, 'total', 'successful', 'failed')
      endless = tonumber(h[2] or 0) + tonumber(h[3] or 0) >= tonumber(h[1] or 0)
    end
    if endless then
      reply[#reply + 1] = { family, of }
      if ARGV[2] ~= '' then
        call('PEXPIRE', key, ARGV[2])
        if family == 'batch' then call('PEXPIRE', k_batch_tasks(of), ARGV[2]) end
      end
    end
  end
end
return reply
