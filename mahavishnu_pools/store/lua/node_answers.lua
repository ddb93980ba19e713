-- Reply: the reports (JSON) of all known nodes that have one
local reply = {}
for _, node in ipairs(call('HKEYS', k_nodes())) do
  local text = call('GET', k_node_report(node))
  if text then reply[#reply + 1] = text end
end
return reply
