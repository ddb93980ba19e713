-- Reads the name of this outbox, and gives it one when it has none. ARGV: 2 a random name
even_when_full()
call('SET', k_outbox_id(), ARGV[2], 'NX')
return call('GET', k_outbox_id())
