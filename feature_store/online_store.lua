#!lua name=afterclick

-- Is the store the one that the caller read, and is none of the partitions behind?
-- keys[1]: generation key, keys[2 ..]: a checkpoint key per partition. args[1]: generation, args[2]: run id.
local function changed_or_behind(keys, args, partitions, catching_up)
  if server.call('GET', keys[1]) ~= args[1] then
    return server.error_reply('CHANGED the online store was wiped or rebuilt')
  end
  if catching_up ~= '1' then
    for i = 2, partitions + 1 do
      if server.call('GETRANGE', keys[i], 0, #args[2] - 1) ~= args[2] then
        return server.error_reply('BEHIND a partition must be read again first')
      end
    end
  end
  return nil
end

-- Write many records, each only if its first 24 bytes (position and log id) are still those that were read.
-- KEYS: generation key, then a checkpoint key per partition, then the records' keys.
-- ARGV: generation, run id, how many partitions, '1' to write although a partition is still being read again,
--       then per record: the bytes read ('' for none), the new record, its time to live in ms.
-- Returns the 1-based places of those that were not written.
local function write_records(keys, args)
  local partitions = tonumber(args[3])
  local refusal = changed_or_behind(keys, args, partitions, args[4])
  if refusal then
    return refusal
  end
  local failed = {}
  local count = #keys - partitions - 1
  for i = 1, count do
    local key = keys[partitions + 1 + i]
    local at = 2 + 3 * i
    if server.call('GETRANGE', key, 0, 23) == args[at] then
      server.call('SET', key, args[at + 1], 'PX', args[at + 2])
    else
      failed[#failed + 1] = i
    end
  end
  return failed
end

-- Note how far partitions are written.
-- KEYS: generation key, a checkpoint key per partition. ARGV: generation, run id, '1' when they were read again just now,
--       then a checkpoint per partition. A wiped store must not be told that it has what was written before.
local function write_checkpoints(keys, args)
  local refusal = changed_or_behind(keys, args, #keys - 1, args[3])
  if refusal then
    return refusal
  end
  for i = 2, #keys do
    server.call('SET', keys[i], args[i + 2])
  end
  return #keys - 1
end

-- Give each id its index, for ever: the place of the id in the list; index 0 is no item.
-- KEYS: list, hash, generation key. ARGV: generation, the most items allowed, ids. Returns the indexes, 0 beyond that.
local function intern_items(keys, args)
  if server.call('GET', keys[3]) ~= args[1] then
    return server.error_reply('CHANGED the online store was wiped or rebuilt')
  end
  local length = server.call('LLEN', keys[1])
  if length == 0 then
    length = server.call('RPUSH', keys[1], '')
  end
  local most = tonumber(args[2])
  local indexes = {}
  for i = 3, #args do
    local index = server.call('HGET', keys[2], args[i])
    if index then
      indexes[i - 2] = tonumber(index)
    elseif length <= most then
      server.call('RPUSH', keys[1], args[i])
      server.call('HSET', keys[2], args[i], length)
      indexes[i - 2] = length
      length = length + 1
    else
      indexes[i - 2] = 0
    end
  end
  return indexes
end

-- Put ids back at their places; the first call of a run of this server leaves `gap` numbers out behind all known ones.
-- KEYS: list, hash, run key, generation key. ARGV: generation, run id, gap, '1' with the last ids, then index, id ...
-- Returns how many ids were put back.
local function restore_ids(keys, args)
  if server.call('GET', keys[4]) ~= args[1] then
    return server.error_reply('CHANGED the online store was wiped or rebuilt')
  end
  local length = server.call('LLEN', keys[1])
  local restored = 0
  for i = 5, #args, 2 do
    local index = tonumber(args[i])
    while length < index do
      server.call('RPUSH', keys[1], '')
      length = length + 1
    end
    if length == index then
      server.call('RPUSH', keys[1], args[i + 1])
      length = length + 1
    elseif server.call('LINDEX', keys[1], index) == '' then
      server.call('LSET', keys[1], index, args[i + 1])
    else
      index = nil
    end
    if index then
      restored = restored + server.call('HSETNX', keys[2], args[i + 1], index)
    end
  end
  if args[4] == '1' and server.call('GET', keys[3]) ~= args[2] then
    server.call('SET', keys[3], args[2])
    if length > 0 then
      for _ = 1, tonumber(args[3]) do
        server.call('RPUSH', keys[1], '')
      end
    end
  end
  return restored
end

server.register_function('afterclick_restore_ids', restore_ids)
server.register_function('afterclick_write', write_records)
server.register_function('afterclick_checkpoint', write_checkpoints)
server.register_function('afterclick_intern', intern_items)
