--[[
  Takes units for a payment that came after its hold had ended, once by the payment: its id is the new reservation's.

  If the ended hold's own units are still on their way back, they are given back first, in the same step: the units
  are not missing because a relay is late, and the relay finds its row applied. A refusal changes nothing.

    KEYS[1] config, KEYS[2] lane, KEYS[3] claims, KEYS[4] shoppers, KEYS[5] causes, KEYS[6] journal
    ARGV[1] generation, ARGV[2] reservation, ARGV[3] shopper, ARGV[4] quantity, ARGV[5] the ended reservation,
    ARGV[6] "generation-seq" of its claim, ARGV[7] cause of its release, "" when there is none to apply

  Returns {answer, "generation-seq" of the retake or "", available}:
    DONE
    ALREADY            this payment has taken its units before
    PAUSED             a fault stops the lane; nothing is decided
    ENDED              the sale is over, by the highest time seen
    LIMIT_REACHED      the shopper has bought other units since
    NOT_ENOUGH
    NOT_LOADED, STALE_GENERATION
]]
local lane = redis.call('HMGET', KEYS[2], 'generation', 'seq', 'digest', 'available', 'held', 'allotment', 'clock', 'fault')
local config = redis.call('HMGET', KEYS[1], 'closes_at_ms', 'per_shopper_limit')
if not lane[1] or not config[1] then return {'NOT_LOADED', '', ''} end
local claim = redis.call('HGET', KEYS[3], ARGV[2])
if claim then
  local g, s = string.match(claim, '^(%d+) (%d+)')
  return {'ALREADY', g .. '-' .. s, lane[4]}
end
if lane[1] ~= ARGV[1] then return {'STALE_GENERATION', '', lane[4]} end
if (lane[8] or '') ~= '' then return {'PAUSED', '', lane[4]} end

local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
if math.max(now_ms, tonumber(lane[7] or 0)) >= tonumber(config[1]) then return {'ENDED', '', lane[4]} end

local reservation, shopper, wanted = ARGV[2], ARGV[3], tonumber(ARGV[4])
local old, old_entry, cause = ARGV[5], ARGV[6], ARGV[7]
local old_claim = redis.call('HGET', KEYS[3], old)
local told = cause == '' or redis.call('HEXISTS', KEYS[5], cause) == 1
local row = redis.call('HGET', KEYS[4], shopper) or '0 0 '
redis.call('XLEN', KEYS[6]) -- a stream of the wrong type must fail here, before the first write

local seq, digest = tonumber(lane[2]), lane[3]
local available, held, allotment = tonumber(lane[4]), tonumber(lane[5]), tonumber(lane[6])
local units, tried, list = string.match(row, '^(%d+) (%d+) (.*)$')
units = tonumber(units)
local now = string.format('%.0f', now_ms)
local entries, closed = {}, nil

local function append(kind, entry_cause, quantity)
  seq = seq + 1
  local id = string.format('%s-%.0f', lane[1], seq)
  local q, left = string.format('%.0f', quantity), string.format('%.0f', available)
  digest = redis.sha1hex(table.concat({digest, id, kind[2], entry_cause, shopper, q, now, left}, '|'))
  entries[#entries + 1] = {id, kind[1], kind[2], 'cause', entry_cause, 'shopper', shopper,
    'quantity', q, 'at', now, 'left', left, 'digest', digest}
  return id
end

local g, s, q, at, owner, state = string.match(old_claim or '', '^(%d+) (%d+) (%d+) (%d+) (%S+) (%a+)$')
if not told and state == 'live' and owner == shopper and g .. '-' .. s == old_entry
    and available + tonumber(q) <= allotment then
  available, held, units = available + tonumber(q), held - tonumber(q), math.max(0, units - tonumber(q))
  append({'kind', 'release'}, cause, tonumber(q))
  closed = string.format('%s %s %s %s %s closed', g, s, q, at, owner)
  local kept = {}
  for one in string.gmatch(list, '[^,]+') do
    if one ~= old then kept[#kept + 1] = one end
  end
  list = table.concat(kept, ',')
end

if units + wanted > tonumber(config[2]) then return {'LIMIT_REACHED', '', lane[4]} end
if available < wanted then return {'NOT_ENOUGH', '', lane[4]} end
available, held, units = available - wanted, held + wanted, units + wanted
local id = append({'kind', 'retake'}, reservation, wanted)

for _, entry in ipairs(entries) do redis.call('XADD', KEYS[6], unpack(entry)) end
if closed then
  redis.call('HSET', KEYS[5], cause, entries[1][1])
  redis.call('HSET', KEYS[3], old, closed)
end
redis.call('HSET', KEYS[3], reservation,
  string.format('%s %.0f %.0f %s %s live', lane[1], seq, wanted, now, shopper))
redis.call('HSET', KEYS[4], shopper,
  string.format('%.0f %s %s', units, tried, list == '' and reservation or list .. ',' .. reservation))
redis.call('HSET', KEYS[2], 'seq', string.format('%.0f', seq), 'digest', digest,
  'available', string.format('%.0f', available), 'held', string.format('%.0f', held))
return {'DONE', id, string.format('%.0f', available)}
