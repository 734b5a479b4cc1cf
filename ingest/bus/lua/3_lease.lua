-- args: topic, subscription, partitions. A new subscription begins at the earliest entry.
local function join(keys, args)
  for partition = 0, tonumber(args[3]) - 1 do
    server.call('HSETNX', 'bus:cursors:' .. args[1] .. ':' .. partition, args[2], '0-0')
  end
  return 1
end

local function parse_lease(lease)
  local token, fence, expires = string.match(lease, '^(%S+) (%S+) (%S+)$')
  return token, fence, tonumber(expires)
end

-- How many partitions `token` is to hold: members in the order of their tokens, the first ones take the remainder.
local function quota(members, token, partitions)
  local live = server.call('ZRANGE', members, 0, -1)
  table.sort(live)
  for rank, member in ipairs(live) do
    if member == token then
      return math.floor(partitions / #live) + (rank <= partitions % #live and 1 or 0)
    end
  end
end

-- args: topic, subscription, token, lease_ms. Renews, gives back what is too much, takes what is free.
-- Returns the log id, then partition, fence, cursor of each partition held.
local function lease(keys, args)
  local topic, name, token, now = args[1], args[2], args[3], now_ms()
  local log_id = server.call('HGET', 'bus:logs', topic)
  if not log_id then return server.error_reply('LOGCHANGED topic ' .. topic .. ' is gone') end
  local partitions = cjson.decode(server.call('HGET', 'bus:topics', topic)).partitions
  local members, leases = 'bus:members:' .. topic .. ':' .. name, 'bus:leases:' .. topic .. ':' .. name
  local expires = string.format('%.0f', now + tonumber(args[4]))
  server.call('ZADD', members, expires, token)
  server.call('ZREMRANGEBYSCORE', members, '-inf', '(' .. now)
  local held, free, fences = {}, {}, {}
  -- Counted from the clock, so that no fence comes twice even where the data was wiped in between.
  server.call('SETNX', 'bus:fences', string.format('%.0f', now))
  for partition = 0, partitions - 1 do
    local current = server.call('HGET', leases, partition)
    local owner, fence, until_ms
    if current then owner, fence, until_ms = parse_lease(current) end
    if owner == token then
      table.insert(held, partition); fences[partition] = fence
    elseif not owner or until_ms < now then
      table.insert(free, partition)
    end
  end
  local wanted = quota(members, token, partitions)
  while #held > wanted do server.call('HDEL', leases, table.remove(held)) end
  while #held < wanted and #free > 0 do
    local partition = table.remove(free, 1)
    fences[partition] = string.format('%.0f', server.call('INCR', 'bus:fences'))
    table.insert(held, partition)
  end
  local reply = {log_id}
  for _, partition in ipairs(held) do
    server.call('HSET', leases, partition, token .. ' ' .. fences[partition] .. ' ' .. expires)
    table.insert(reply, partition)
    table.insert(reply, fences[partition])
    table.insert(reply, server.call('HGET', 'bus:cursors:' .. topic .. ':' .. partition, name) or '0-0')
  end
  return reply
end

-- args: topic, subscription, token, then partition, fence, id. Returns the partitions whose lease was lost.
local function commit(keys, args)
  local topic, name, token, lost = args[1], args[2], args[3], {}
  for i = 4, #args, 3 do
    local current = server.call('HGET', 'bus:leases:' .. topic .. ':' .. name, args[i])
    local owner, fence
    if current then owner, fence = parse_lease(current) end
    if owner ~= token or fence ~= args[i + 1] then
      table.insert(lost, tonumber(args[i]))
    else
      local cursors = 'bus:cursors:' .. topic .. ':' .. args[i]
      local cursor = server.call('HGET', cursors, name) or '0-0'
      if id_less(cursor, args[i + 2]) then server.call('HSET', cursors, name, args[i + 2]) end
    end
  end
  return lost
end

-- args: topic, subscription, token. The consumer goes: its partitions are free at once.
local function leave(keys, args)
  local leases = 'bus:leases:' .. args[1] .. ':' .. args[2]
  server.call('ZREM', 'bus:members:' .. args[1] .. ':' .. args[2], args[3])
  local all = server.call('HGETALL', leases)
  for i = 1, #all, 2 do
    if parse_lease(all[i + 1]) == args[3] then server.call('HDEL', leases, all[i]) end
  end
  return 1
end

-- args: topic, subscription. Nothing is kept for it any more.
local function forget(keys, args)
  local topic, name = args[1], args[2]
  local definition = server.call('HGET', 'bus:topics', topic)
  if not definition then return 0 end
  definition = cjson.decode(definition)
  for partition = 0, definition.partitions - 1 do
    server.call('HDEL', 'bus:cursors:' .. topic .. ':' .. partition, name)
    if definition.kind == 'queue' and server.call('EXISTS', stream_key(topic, partition)) == 1 then
      server.call('XGROUP', 'DESTROY', stream_key(topic, partition), name)
    end
  end
  local suffix = ':' .. topic .. ':' .. name
  server.call('DEL', 'bus:leases' .. suffix, 'bus:members' .. suffix, 'bus:nacked' .. suffix)
  return 1
end

server.register_function{function_name = 'bus_join', callback = join, flags = {'allow-oom'}}
server.register_function{function_name = 'bus_lease', callback = lease, flags = {'allow-oom'}}
server.register_function{function_name = 'bus_commit', callback = commit, flags = {'allow-oom'}}
server.register_function{function_name = 'bus_leave', callback = leave, flags = {'allow-oom'}}
server.register_function{function_name = 'bus_forget', callback = forget, flags = {'allow-oom'}}
