#!lua name=afterclick_bus

-- What the embedded bus does in one step inside Valkey: nothing here can be seen half done.
--
-- bus:topics            hash  topic -> definition (JSON: partitions, kind, retention_ms, archived, redeliveries_max)
-- bus:logs              hash  topic -> log id
-- bus:stream:T:P        stream; `d` a pack, or `k`, `t`, `p` of one entry (tables, queues), `a` available at (queues)
-- bus:table:T           hash  key -> "id time payload"
-- bus:cursors:T:P       hash  subscription -> id of the last acknowledged message
-- bus:leases:T:S        hash  partition -> "token fence expires_ms"
-- bus:members:T:S       zset  token -> expires_ms
-- bus:nacked:T:S        zset  id -> due_ms; entries that wait in the group's pending list
-- bus:trimmed           hash  stream -> id of the last entry trimmed
-- bus:bytes             bytes now held by all streams
-- bus:fences            counter

local ENTRY_BYTES = 24
local TRIM_CHUNK = 64
local TRIM_ROUNDS = 64

local function now_ms()
  local t = server.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

local function stream_key(topic, partition) return 'bus:stream:' .. topic .. ':' .. partition end

local function split_id(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end

local function id_less(a, b)
  local a_ms, a_seq = split_id(a)
  local b_ms, b_seq = split_id(b)
  if a_ms ~= b_ms then return a_ms < b_ms end
  return a_seq < b_seq
end

local function id_after(id)
  local ms, seq = split_id(id)
  return string.format('%.0f-%.0f', ms, seq + 1)
end

local function id_before(id)
  local ms, seq = split_id(id)
  if seq > 0 then return string.format('%.0f-%.0f', ms, seq - 1) end
  return string.format('%.0f-%.0f', ms - 1, 4294967295)
end

local function fields_bytes(fields)
  local bytes = ENTRY_BYTES
  for _, field in ipairs(fields) do bytes = bytes + #field end
  return bytes
end

local function check_log(topic, log_id)
  if server.call('HGET', 'bus:logs', topic) ~= log_id then
    return server.error_reply('LOGCHANGED topic ' .. topic .. ' is not the one this process knows')
  end
  return nil
end

-- The id up to which a stream may be trimmed; nil when nothing may go, '+' when everything may.
local function trim_floor(topic, definition, partition)
  local floor = '+'
  local cursors = server.call('HGETALL', 'bus:cursors:' .. topic .. ':' .. partition)
  local archived = false
  for i = 1, #cursors, 2 do
    if cursors[i] == 'archive' then archived = true end
    if floor == '+' or id_less(cursors[i + 1], floor) then floor = cursors[i + 1] end
  end
  if definition.archived and not archived then return nil end
  if definition.kind == 'queue' then
    local key = stream_key(topic, partition)
    if server.call('EXISTS', key) == 0 then return nil end
    for _, group in ipairs(server.call('XINFO', 'GROUPS', key)) do
      local name, delivered
      for i = 1, #group, 2 do
        if group[i] == 'name' then name = group[i + 1] end
        if group[i] == 'last-delivered-id' then delivered = group[i + 1] end
      end
      local pending = server.call('XPENDING', key, name)
      if pending[1] > 0 then delivered = id_before(pending[2]) end
      if floor == '+' or id_less(delivered, floor) then floor = delivered end
    end
  end
  return floor
end

-- Trim up to TRIM_CHUNK entries at or before `floor`; returns the bytes freed.
local function trim_chunk(key, floor, bytes_wanted)
  local freed, last = 0, nil
  for _, entry in ipairs(server.call('XRANGE', key, '-', floor, 'COUNT', TRIM_CHUNK)) do
    freed = freed + fields_bytes(entry[2])
    last = entry[1]
    if freed >= bytes_wanted then break end
  end
  if last then
    server.call('XTRIM', key, 'MINID', id_after(last))
    server.call('HSET', 'bus:trimmed', key, last)
    server.call('DECRBY', 'bus:bytes', freed)
  end
  return freed
end

local function trimmable()
  local streams = {}
  local topics = server.call('HGETALL', 'bus:topics')
  for i = 1, #topics, 2 do
    local definition = cjson.decode(topics[i + 1])
    -- Kept for ever means that: its log is the store.
    if definition.retention_ms > 0 then
      for partition = 0, definition.partitions - 1 do
        local floor = trim_floor(topics[i], definition, partition)
        if floor then
          table.insert(streams, {key = stream_key(topics[i], partition), floor = floor, kept_ms = definition.retention_ms})
        end
      end
    end
  end
  return streams
end

-- The oldest entry of all that may go, goes first: what remains is the newest of everything.
local function reclaim(bytes_wanted)
  local streams = trimmable()
  local rounds = 0
  while bytes_wanted > 0 and rounds < TRIM_ROUNDS do
    rounds = rounds + 1
    local oldest, oldest_id = nil, nil
    for _, stream in ipairs(streams) do
      local first = server.call('XRANGE', stream.key, '-', stream.floor, 'COUNT', 1)[1]
      if first and (oldest == nil or id_less(first[1], oldest_id)) then oldest, oldest_id = stream, first[1] end
    end
    if oldest == nil then return end
    bytes_wanted = bytes_wanted - trim_chunk(oldest.key, oldest.floor, bytes_wanted)
  end
end

-- Room for `bytes` more under `bytes_max`, made if need be; an error when there is none.
local function make_room(bytes, bytes_max)
  local held = tonumber(server.call('GET', 'bus:bytes') or '0')
  if held + bytes <= bytes_max then return nil end
  -- A little more than needed, so that not every publish at the limit has to trim.
  reclaim(held + bytes - bytes_max + math.floor(bytes_max / 64))
  held = tonumber(server.call('GET', 'bus:bytes') or '0')
  if held + bytes <= bytes_max then return nil end
  return server.error_reply('BUSFULL the bus holds ' .. held .. ' bytes of at most ' .. bytes_max
    .. ', all of it unread or not archived')
end

-- Trim what is past its retention; bounded, so called again until it returns 0.
local function expire(keys, args)
  local now, freed = now_ms(), 0
  for _, stream in ipairs(trimmable()) do
    local floor = string.format('%.0f-0', now - stream.kept_ms)
    if stream.floor ~= '+' and id_less(stream.floor, floor) then floor = stream.floor end
    freed = freed + trim_chunk(stream.key, floor, math.huge)
  end
  return freed
end

server.register_function{function_name = 'bus_expire', callback = expire, flags = {'allow-oom'}}
server.register_function{function_name = 'bus_reclaim', callback = function(keys, args) reclaim(tonumber(args[1])) return 1 end, flags = {'allow-oom'}}
