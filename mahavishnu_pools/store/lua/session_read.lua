-- ARGV: 2 name of a session. Reply: what is known of it as JSON, '' when it is not known
return call('GET', k_agent_session(ARGV[2])) or ''
