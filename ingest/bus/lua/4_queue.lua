-- Give up on a pending entry: to the dead letters, out of the group. args of the entry: id, fields.
local function bury(topic, name, id, fields)
  local dead = stream_key(topic .. '-' .. name .. '-DLQ', 0)
  local kept = {}
  for i = 1, #fields, 2 do
    if fields[i] ~= 'a' then table.insert(kept, fields[i]); table.insert(kept, fields[i + 1]) end
  end
  server.call('XADD', dead, '*', unpack(kept))
  server.call('INCRBY', 'bus:bytes', fields_bytes(kept))
  server.call('XACK', stream_key(topic, 0), name, id)
  server.call('ZREM', 'bus:nacked:' .. topic .. ':' .. name, id)
end

local function available_at(fields)
  for i = 1, #fields, 2 do
    if fields[i] == 'a' then return tonumber(fields[i + 1]) end
  end
  return 0
end

-- How often a pending entry was delivered to somebody who could work on it.
local function deliveries(stream, name, id, fields)
  local pending = server.call('XPENDING', stream, name, id, id, 1)[1]
  if not pending then return 0, nil end
  -- The first time, a delayed entry was only put aside.
  return pending[4] - (available_at(fields) > 0 and 1 or 0), pending[2]
end

local function claim(stream, name, consumer, id)
  return server.call('XCLAIM', stream, name, consumer, 0, id)[1]
end

-- Entries whose delay or backoff is over.
local function take_due(topic, name, consumer, count, now, taken)
  local stream, nacked = stream_key(topic, 0), 'bus:nacked:' .. topic .. ':' .. name
  for _, id in ipairs(server.call('ZRANGEBYSCORE', nacked, '-inf', now, 'LIMIT', 0, count)) do
    server.call('ZREM', nacked, id)
    local entry = claim(stream, name, consumer, id)
    if entry then table.insert(taken, entry) end
  end
end

-- Entries of consumers that are gone, unless they wait for their time.
local function take_orphans(topic, name, consumer, count, redeliveries_max, taken)
  local stream, suffix = stream_key(topic, 0), ':' .. topic .. ':' .. name
  for _, found in ipairs(server.call('XINFO', 'CONSUMERS', stream, name)) do
    local other, pending
    for i = 1, #found, 2 do
      if found[i] == 'name' then other = found[i + 1] end
      if found[i] == 'pending' then pending = found[i + 1] end
    end
    if other ~= consumer and not server.call('ZSCORE', 'bus:members' .. suffix, other) then
      if pending == 0 then server.call('XGROUP', 'DELCONSUMER', stream, name, other) end
      for _, row in ipairs(server.call('XPENDING', stream, name, '-', '+', count, other)) do
        if #taken >= count then return end
        local entry = not server.call('ZSCORE', 'bus:nacked' .. suffix, row[1]) and claim(stream, name, consumer, row[1])
        if entry and deliveries(stream, name, entry[1], entry[2]) > redeliveries_max + 1 then
          bury(topic, name, entry[1], entry[2])
        elseif entry then
          table.insert(taken, entry)
        end
      end
    end
  end
end

-- Entries nobody has had yet; those with a delay are put aside.
local function take_new(topic, name, consumer, count, now, taken)
  local stream = stream_key(topic, 0)
  local found = server.call('XREADGROUP', 'GROUP', name, consumer, 'COUNT', count, 'STREAMS', stream, '>')
  if not found then return end
  for _, entry in ipairs(found[1][2]) do
    local due = available_at(entry[2])
    if due > now then
      server.call('ZADD', 'bus:nacked:' .. topic .. ':' .. name, due, entry[1])
    else
      if due > 0 then entry = claim(stream, name, consumer, entry[1]) end
      table.insert(taken, entry)
    end
  end
end

-- args: topic, subscription, consumer, count, lease_ms.
-- Returns the log id, the stream's last id, when the next one is due (or 0), then id, deliveries, fields of each.
local function take(keys, args)
  local topic, name, consumer, count = args[1], args[2], args[3], tonumber(args[4])
  local log_id, now, taken = server.call('HGET', 'bus:logs', topic), now_ms(), {}
  if not log_id then return server.error_reply('LOGCHANGED topic ' .. topic .. ' is gone') end
  local members = 'bus:members:' .. topic .. ':' .. name
  server.call('ZADD', members, now + tonumber(args[5]), consumer)
  server.call('ZREMRANGEBYSCORE', members, '-inf', '(' .. now)
  local redeliveries_max = cjson.decode(server.call('HGET', 'bus:topics', topic)).redeliveries_max
  take_due(topic, name, consumer, count, now, taken)
  if #taken < count then take_orphans(topic, name, consumer, count, redeliveries_max, taken) end
  if #taken < count then take_new(topic, name, consumer, count - #taken, now, taken) end
  local stream = stream_key(topic, 0)
  local last = server.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
  local due = server.call('ZRANGE', 'bus:nacked:' .. topic .. ':' .. name, 0, 0, 'WITHSCORES')
  local reply = {log_id, last and last[1] or '0-0', due[2] and math.max(1, tonumber(due[2]) - now) or 0}
  for _, entry in ipairs(taken) do
    table.insert(reply, entry[1])
    table.insert(reply, (deliveries(stream, name, entry[1], entry[2])))
    table.insert(reply, entry[2])
  end
  return reply
end

-- args: topic, subscription, consumer, lease_ms. The consumer is alive; its entries are not for others.
local function stay(keys, args)
  return server.call('ZADD', 'bus:members:' .. args[1] .. ':' .. args[2], now_ms() + tonumber(args[4]), args[3])
end

-- args: topic, subscription, id...
local function done(keys, args)
  for i = 3, #args do
    server.call('XACK', stream_key(args[1], 0), args[2], args[i])
    server.call('ZREM', 'bus:nacked:' .. args[1] .. ':' .. args[2], args[i])
  end
  return 1
end

-- args: topic, subscription, consumer, id, delay_ms. 1 when it will come again, 2 when buried, 0 when not ours.
local function nack(keys, args)
  local topic, name, id = args[1], args[2], args[4]
  local stream = stream_key(topic, 0)
  local entry = server.call('XRANGE', stream, id, id)[1]
  if not entry then return 0 end
  local count, owner = deliveries(stream, name, id, entry[2])
  if owner ~= args[3] then return 0 end
  local redeliveries_max = cjson.decode(server.call('HGET', 'bus:topics', topic)).redeliveries_max
  if count > redeliveries_max then
    bury(topic, name, id, entry[2])
    return 2
  end
  server.call('ZADD', 'bus:nacked:' .. topic .. ':' .. name, now_ms() + tonumber(args[5]), id)
  return 1
end

server.register_function{function_name = 'bus_take', callback = take, flags = {'allow-oom'}}
server.register_function{function_name = 'bus_done', callback = done, flags = {'allow-oom'}}
server.register_function{function_name = 'bus_nack', callback = nack, flags = {'allow-oom'}}
server.register_function{function_name = 'bus_stay', callback = stay, flags = {'allow-oom'}}
