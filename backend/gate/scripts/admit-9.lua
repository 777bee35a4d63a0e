--[[
  Decides a batch of attempts for one lane: reads first, everything decided in locals, writes last.

  Redis does not roll a script back, so nothing is written before the whole batch is decided, and the
  journal is written first: a refused write (memory, disk) then leaves no trace at all.

    KEYS[1] config    hash    what the ledger wants of the lane
    KEYS[2] lane      hash    generation, seq, digest, available, held, tat, clock, fault
    KEYS[3] claims    hash    reservation -> "generation seq quantity at shopper state"
    KEYS[4] shoppers  hash    shopper -> "units reservation,reservation"
    KEYS[5] tries     hash    shopper -> ms of the last try that reached the bucket
    KEYS[6] journal   stream  one entry for every change of units, id "generation-seq"
    KEYS[7] applied   string  "generation-seq" of the last entry committed to the ledger
    KEYS[8] counts    hash    outcomes so far
    KEYS[9] series    stream  outcomes so far, once a second

    ARGV[1] generation the caller believes in
    ARGV[2] highest seq of that generation the caller was ever answered, -1 for none
    ARGV[3] the outcome LINK_INVALID as counted by the caller since its last call
    ARGV[4...] five for each attempt (none to report ARGV[3] alone): reservation, shopper, quantity, link epoch, "1" if only a replay will do

  Returns {generation, seq, now_ms, applied or "", then three for each attempt:
    outcome
    RESERVED, REPLAYED: "generation-seq"; REPEATED, THROTTLED, NOT_OPEN: ms to wait; else ""
    RESERVED, REPLAYED: ms from when on it may be told; else ""}

  The bucket is the generic cell rate algorithm (ITU-T I.371), its state the theoretical arrival time in ms.
]]
local time = redis.call('TIME')
local now_s = tonumber(time[1])
local now = now_s * 1000 + math.floor(tonumber(time[2]) / 1000)

local attempts = (#ARGV - 3) / 5
local reservations, askers = {}, {}
for i = 1, attempts do
  reservations[i] = ARGV[5 * i - 1]
  askers[i] = ARGV[5 * i]
end

local config = redis.call('HMGET', KEYS[1], 'opens_at_ms', 'closes_at_ms', 'paused', 'per_shopper_limit',
  'rate_per_s', 'burst', 'wait_budget_ms', 'repeat_window_ms', 'backlog_max', 'epochs')
local lane = redis.call('HMGET', KEYS[2], 'generation', 'seq', 'digest', 'available', 'held', 'tat', 'clock', 'fault')
local found, shopper_rows, try_rows = {}, {}, {}
if attempts > 0 then
  found = redis.call('HMGET', KEYS[3], unpack(reservations))
  shopper_rows = redis.call('HMGET', KEYS[4], unpack(askers))
  try_rows = redis.call('HMGET', KEYS[5], unpack(askers))
end
local applied = redis.call('GET', KEYS[7])
local flushed_s = tonumber(redis.call('HGET', KEYS[8], 'second') or now_s)
redis.call('XLEN', KEYS[6]) -- a stream of the wrong type must fail here, before the first write
redis.call('XLEN', KEYS[9])

local loaded = lane[1] and config[1]
local generation = tonumber(lane[1] or 0)
local seq = tonumber(lane[2] or -1)
local digest = lane[3] or ''
local available, held = tonumber(lane[4] or 0), tonumber(lane[5] or 0)
local clock, fault = tonumber(lane[7] or 0), lane[8] or ''

local believed, seen = tonumber(ARGV[1]), tonumber(ARGV[2])
local refused_all -- one outcome for every attempt of this batch that is no replay
if not loaded then
  refused_all = 'NOT_LOADED'
elseif believed > generation or (believed == generation and seen > seq) then
  refused_all = 'REGRESSED'
elseif believed < generation then
  refused_all = 'STALE_GENERATION'
end

local opens, closes, limit, period, burst, budget, window, tat, tat_bounded, accepted_epochs, undecided, backlog_max
local judged = now
if loaded then
  opens, closes, limit = tonumber(config[1]), tonumber(config[2]), tonumber(config[4])
  period, burst = 1000 / tonumber(config[5]), tonumber(config[6])
  budget, window, backlog_max = tonumber(config[7]), tonumber(config[8]), tonumber(config[9])
  judged = math.max(now, clock)
  -- A stamp from a clock that ran ahead, or of a slower rate, must not throttle anybody for longer than a full
  -- bucket takes.
  local stamp = tonumber(lane[6] or 0)
  tat = math.min(stamp, now + burst * period + budget)
  tat_bounded = tat < stamp
  accepted_epochs = {}
  for epoch, till in string.gmatch(config[10] or '', '(%d+):(%d+)') do
    accepted_epochs[epoch] = till == '0' or now < tonumber(till)
  end
  local done = applied and string.match(applied, '^' .. generation .. '%-(%d+)$')
  undecided = seq - (done and tonumber(done) or -1)
end

local live, rows, tried = {}, {}, {} -- by shopper: units, their reservations, last try
local claims, entries = {}, {}       -- new ones of this batch
local answers, counted = {generation, seq, now, applied or ''}, {}

local function answer(outcome, first, second)
  answers[#answers + 1] = outcome
  answers[#answers + 1] = first or ''
  answers[#answers + 1] = second or ''
  if outcome ~= 'STALE_GENERATION' then counted[outcome] = (counted[outcome] or 0) + 1 end -- asked again at once
end

local function replay(claim, quantity)
  local g, s, q, at = string.match(claim, '^(%d+) (%d+) (%d+) (%d+)')
  if tonumber(q) ~= quantity then return answer('KEY_REUSED') end
  answer('REPLAYED', g .. '-' .. s, at)
end

local function take(reservation, shopper, quantity, at)
  seq = seq + 1
  available = available - quantity
  held = held + quantity
  undecided = undecided + 1
  local id = string.format('%.0f-%.0f', generation, seq)
  local q, a, l = string.format('%.0f', quantity), string.format('%.0f', at), string.format('%.0f', available)
  digest = redis.sha1hex(table.concat({digest, id, 'reserve', reservation, shopper, q, a, l}, '|'))
  entries[#entries + 1] = {id, 'kind', 'reserve', 'cause', reservation, 'shopper', shopper,
    'quantity', q, 'at', a, 'left', l, 'digest', digest}
  claims[reservation] = string.format('%.0f %.0f %s %s %s live', generation, seq, q, a, shopper)
  live[shopper] = live[shopper] + quantity
  rows[shopper] = (rows[shopper] == '' and '' or rows[shopper] .. ',') .. reservation
  answer('RESERVED', id, a)
end

local function decide(i)
  local reservation, shopper, quantity = reservations[i], askers[i], tonumber(ARGV[5 * i + 1])
  local claim = claims[reservation] or found[i]
  if claim then return replay(claim, quantity) end
  if refused_all then return answer(refused_all) end
  if ARGV[5 * i + 3] == '1' then return answer('LINK_INVALID') end
  if config[3] == '1' or fault ~= '' then return answer('PAUSED') end
  if not accepted_epochs[ARGV[5 * i + 2]] then return answer('LINK_REVOKED') end
  if judged < opens then return answer('NOT_OPEN', string.format('%.0f', opens - judged)) end
  if judged >= closes then return answer('ENDED') end

  if not live[shopper] then
    local units, held_by = string.match(shopper_rows[i] or '0 ', '^(%d+) (.*)$')
    live[shopper], rows[shopper] = tonumber(units), held_by
    tried[shopper] = tonumber(try_rows[i] or -1)
  end
  if live[shopper] + quantity > limit then return answer('LIMIT_REACHED') end
  local last = tried[shopper]
  if last >= 0 and last <= now and now - last < window then -- a stamp after now counts as absent
    return answer('REPEATED', string.format('%.0f', window - (now - last)))
  end
  if available <= 0 then return answer('SOLD_OUT') end
  if available < quantity then return answer('NOT_ENOUGH') end
  if undecided >= backlog_max then return answer('BACKLOG') end

  tried[shopper] = now
  local next_tat = math.max(tat, now) + period
  local wait = math.max(0, math.ceil(next_tat - burst * period - now))
  if wait > budget or now + wait >= closes then
    return answer('THROTTLED', string.format('%.0f', math.max(wait, window)))
  end
  tat = next_tat
  take(reservation, shopper, quantity, now + wait)
end

for i = 1, attempts do decide(i) end
answers[2] = seq

-- Writes, the journal first.
for _, entry in ipairs(entries) do redis.call('XADD', KEYS[6], unpack(entry)) end
if #entries > 0 then
  local flat, seen_shoppers = {}, {}
  for reservation, claim in pairs(claims) do
    flat[#flat + 1] = reservation
    flat[#flat + 1] = claim
  end
  redis.call('HSET', KEYS[3], unpack(flat))
  for shopper, units in pairs(live) do
    seen_shoppers[#seen_shoppers + 1] = shopper
    seen_shoppers[#seen_shoppers + 1] = string.format('%.0f ', units) .. rows[shopper]
  end
  redis.call('HSET', KEYS[4], unpack(seen_shoppers))
end
local tries = {}
for shopper, at in pairs(tried) do
  if at == now then
    tries[#tries + 1] = shopper
    tries[#tries + 1] = string.format('%.0f', now)
  end
end
if #tries > 0 then redis.call('HSET', KEYS[5], unpack(tries)) end
if loaded then
  -- The highest time seen is kept to the second, and exactly where the sale opens and closes.
  local crossed = now > clock and (now - clock >= 1000 or (clock < opens and opens <= now) or (clock < closes and closes <= now))
  if #entries > 0 then
    redis.call('HSET', KEYS[2], 'seq', string.format('%.0f', seq), 'digest', digest,
      'available', string.format('%.0f', available), 'held', string.format('%.0f', held),
      'tat', string.format('%.3f', tat), 'clock', string.format('%.0f', math.max(now, clock)))
  else
    if crossed then redis.call('HSET', KEYS[2], 'clock', string.format('%.0f', now)) end
    -- Kept although nobody got through: a bound that moved along with now would never come into reach.
    if tat_bounded and #tries > 0 then redis.call('HSET', KEYS[2], 'tat', string.format('%.3f', tat)) end
  end
  if refused_all == 'REGRESSED' and fault == '' then redis.call('HSET', KEYS[2], 'fault', 'regressed') end

  local forged = tonumber(ARGV[3])
  if forged > 0 then counted.LINK_INVALID = (counted.LINK_INVALID or 0) + forged end
  if now_s > flushed_s then
    local sums = redis.call('HGETALL', KEYS[8])
    -- Bounded to two hours of seconds with traffic: a chart's data, no record of units.
    if #sums > 0 then redis.call('XADD', KEYS[9], 'MAXLEN', '~', '7200', '*', unpack(sums)) end
  end
  for outcome, n in pairs(counted) do redis.call('HINCRBY', KEYS[8], outcome, n) end
  redis.call('HSET', KEYS[8], 'second', now_s)
end
return answers
