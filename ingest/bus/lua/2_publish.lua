-- args: topic, definition, log id to use when the topic is new. Returns its log id and definition.
local function ensure(keys, args)
  local topic = args[1]
  local wanted = cjson.decode(args[2])
  if server.call('HSETNX', 'bus:logs', topic, args[3]) == 0 then
    -- The number of partitions is fixed when a topic is made.
    wanted.partitions = cjson.decode(server.call('HGET', 'bus:topics', topic)).partitions
  end
  server.call('HSET', 'bus:topics', topic, cjson.encode(wanted))
  return {server.call('HGET', 'bus:logs', topic), wanted.partitions}
end

-- args: topic. Its log id and number of partitions; nothing when it is not there.
local function describe(keys, args)
  local log_id = server.call('HGET', 'bus:logs', args[1])
  if not log_id then return {} end
  return {log_id, cjson.decode(server.call('HGET', 'bus:topics', args[1])).partitions}
end

-- keys: a stream per pack; args: topic, log id, bytes_max, pack... Returns an id per pack.
local function publish(keys, args)
  local bytes = 0
  for i = 1, #keys do bytes = bytes + #args[i + 3] + ENTRY_BYTES + 1 end
  local refused = check_log(args[1], args[2]) or make_room(bytes, tonumber(args[3]))
  if refused then return refused end
  local ids = {}
  for i, key in ipairs(keys) do ids[i] = server.call('XADD', key, '*', 'd', args[i + 3]) end
  server.call('INCRBY', 'bus:bytes', bytes)
  return ids
end

-- keys: the stream; args: topic, log id, bytes_max, then key, time, '1' and payload or '0' and ''. An id per entry.
local function put(keys, args)
  local bytes = 0
  for i = 4, #args, 4 do bytes = bytes + ENTRY_BYTES + 3 + #args[i] + #args[i + 1] + #args[i + 3] end
  local refused = check_log(args[1], args[2]) or make_room(bytes, tonumber(args[3]))
  if refused then return refused end
  local latest, ids, bytes_added = 'bus:table:' .. args[1], {}, 0
  for i = 4, #args, 4 do
    local fields = {'k', args[i], 't', args[i + 1]}
    if args[i + 2] == '1' then table.insert(fields, 'p'); table.insert(fields, args[i + 3]) end
    local id = server.call('XADD', keys[1], '*', unpack(fields))
    bytes_added = bytes_added + fields_bytes(fields)
    if args[i + 2] == '1' then
      server.call('HSET', latest, args[i], id .. ' ' .. args[i + 1] .. ' ' .. args[i + 3])
    else
      server.call('HDEL', latest, args[i])
    end
    table.insert(ids, id)
  end
  server.call('INCRBY', 'bus:bytes', bytes_added)
  return ids
end

-- keys: the stream; args: topic, log id, bytes_max, delay_ms, then key, time, payload. An id per entry.
local function enqueue(keys, args)
  local bytes = 0
  for i = 5, #args, 3 do bytes = bytes + ENTRY_BYTES + 20 + #args[i] + #args[i + 1] + #args[i + 2] end
  local refused = check_log(args[1], args[2]) or make_room(bytes, tonumber(args[3]))
  if refused then return refused end
  local delay_ms, ids, bytes_added = tonumber(args[4]), {}, 0
  for i = 5, #args, 3 do
    local fields = {'k', args[i], 't', args[i + 1], 'p', args[i + 2]}
    if delay_ms > 0 then table.insert(fields, 'a'); table.insert(fields, string.format('%.0f', now_ms() + delay_ms)) end
    table.insert(ids, server.call('XADD', keys[1], '*', unpack(fields)))
    bytes_added = bytes_added + fields_bytes(fields)
  end
  server.call('INCRBY', 'bus:bytes', bytes_added)
  return ids
end

server.register_function('bus_ensure', ensure)
server.register_function{function_name = 'bus_describe', callback = describe, flags = {'allow-oom', 'no-writes'}}
server.register_function('bus_publish', publish)
server.register_function('bus_put', put)
server.register_function('bus_enqueue', enqueue)
