-- Reads the id of this instance, and gives it one when it has none. ARGV: 2 a random id
even_when_full()
call('SET', k_instance(), ARGV[2], 'NX')
return call('GET', k_instance())
