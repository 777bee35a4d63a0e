--[[
  Decides a batch of attempts for one lane: reads first, everything decided in locals, writes last.

  Redis does not roll a script back, so nothing is written before the whole batch is decided, and the
  journal is written first: a refused write (memory, disk) then leaves no trace at all.

    KEYS[1] config    hash    what the ledger wants of the lane
    KEYS[2] lane      hash    generation, seq, digest, available, held, tat, clock, fault
    KEYS[3] claims    hash    reservation -> "generation seq quantity at shopper state"
    KEYS[4] shoppers  hash    shopper -> "units tried reservation,reservation"; tried: ms of the last try that
                              reached the bucket, 0 for none
    KEYS[5] journal   stream  one entry for every change of units, id "generation-seq"
    KEYS[6] applied   string  "generation-seq" of the last entry committed to the ledger
    KEYS[7] counts    hash    outcomes so far
    KEYS[8] series    stream  outcomes so far, once a second

    ARGV[1] generation the caller believes in
    ARGV[2] highest seq of that generation the caller was ever answered, -1 for none
    ARGV[3] the outcome LINK_INVALID as counted by the caller since its last call
    ARGV[4...] five for each attempt (none to report ARGV[3] alone): reservation, shopper, quantity, link epoch, "1" if only a replay will do

  Returns {generation, seq, now_ms, applied or "", durability or "", then three for each attempt:
    outcome
    RESERVED, REPLAYED: "generation-seq"; REPEATED, THROTTLED, NOT_OPEN: ms to wait; else ""
    RESERVED, REPLAYED: ms from when on it may be told; else ""}

  The bucket is the generic cell rate algorithm (ITU-T I.371), its state the theoretical arrival time in ms.

  Written for speed where it costs no clarity: one row a shopper instead of two, '%d' instead of '%.0f' and of
  concatenated numbers (printf for doubles is dear), counted indexes instead of `#list` (a binary search each).
  docs/performance.md has what an attempt costs.
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
  'rate_per_s', 'burst', 'wait_budget_ms', 'repeat_window_ms', 'backlog_max', 'epochs', 'durability')
local lane = redis.call('HMGET', KEYS[2], 'generation', 'seq', 'digest', 'available', 'held', 'tat', 'clock', 'fault')
local found, shopper_rows = {}, {}
if attempts > 0 then
  found = redis.call('HMGET', KEYS[3], unpack(reservations))
  shopper_rows = redis.call('HMGET', KEYS[4], unpack(askers))
end
local applied = redis.call('GET', KEYS[6])
local flushed_s = tonumber(redis.call('HGET', KEYS[7], 'second')) -- nil: never
redis.call('XLEN', KEYS[5]) -- a stream of the wrong type must fail here, before the first write
redis.call('XLEN', KEYS[8])

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
local claims, entries, taken = {}, {}, 0 -- new ones of this batch
local sha1hex, format = redis.sha1hex, string.format
local now_text, generation_text = format('%d', now), lane[1]
local answers, answered, counted = {generation, seq, now, applied or '', config[11] or ''}, 5, {}

local function answer(outcome, first, second)
  answers[answered + 1], answers[answered + 2], answers[answered + 3] = outcome, first or '', second or ''
  answered = answered + 3 -- `#answers` is a binary search each time
  counted[outcome] = (counted[outcome] or 0) + 1
end

local function replay(claim, quantity)
  local g, s, q, at = string.match(claim, '^(%d+) (%d+) (%d+) (%d+)')
  if tonumber(q) ~= quantity then return answer('KEY_REUSED') end
  answer('REPLAYED', g .. '-' .. s, at)
end

local function take(reservation, shopper, quantity, q, at)
  seq = seq + 1
  available = available - quantity
  held = held + quantity
  undecided = undecided + 1
  local s, left, a = format('%d', seq), format('%d', available), at == now and now_text or format('%d', at)
  local id = generation_text .. '-' .. s
  digest = sha1hex(digest .. '|' .. id .. '|reserve|' .. reservation .. '|' .. shopper .. '|' .. q .. '|' .. a .. '|' .. left)
  taken = taken + 1
  entries[taken] = {id, 'kind', 'reserve', 'cause', reservation, 'shopper', shopper,
    'quantity', q, 'at', a, 'left', left, 'digest', digest}
  claims[reservation] = generation_text .. ' ' .. s .. ' ' .. q .. ' ' .. a .. ' ' .. shopper .. ' live'
  live[shopper] = live[shopper] + quantity
  local others = rows[shopper]
  rows[shopper] = others == '' and reservation or others .. ',' .. reservation
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
  if judged < opens then return answer('NOT_OPEN', format('%d', opens - judged)) end
  if judged >= closes then return answer('ENDED') end

  if not live[shopper] then
    local units, last, held_by = string.match(shopper_rows[i] or '0 0 ', '^(%d+) (%d+) (.*)$')
    live[shopper], tried[shopper], rows[shopper] = tonumber(units), tonumber(last), held_by
  end
  if live[shopper] + quantity > limit then return answer('LIMIT_REACHED') end
  local last = tried[shopper]
  if last <= now and now - last < window then -- a stamp after now counts as absent
    return answer('REPEATED', format('%d', window - (now - last)))
  end
  if available <= 0 then return answer('SOLD_OUT') end
  if available < quantity then return answer('NOT_ENOUGH') end
  if undecided >= backlog_max then return answer('BACKLOG') end

  tried[shopper] = now
  local next_tat = math.max(tat, now) + period
  local wait = math.max(0, math.ceil(next_tat - burst * period - now))
  if wait > budget or now + wait >= closes then
    return answer('THROTTLED', format('%d', math.max(wait, window)))
  end
  tat = next_tat
  take(reservation, shopper, quantity, ARGV[5 * i + 1], now + wait)
end

for i = 1, attempts do decide(i) end
answers[2] = seq

-- Writes, the journal first.
for i = 1, taken do redis.call('XADD', KEYS[5], unpack(entries[i], 1, 15)) end
local flat, n = {}, 0
for reservation, claim in pairs(claims) do
  flat[n + 1], flat[n + 2] = reservation, claim
  n = n + 2
end
if n > 0 then redis.call('HSET', KEYS[3], unpack(flat)) end
flat, n = {}, 0
for shopper, last in pairs(tried) do
  if last == now then
    flat[n + 1], flat[n + 2] = shopper, format('%d ', live[shopper]) .. now_text .. ' ' .. rows[shopper]
    n = n + 2
  end
end
if n > 0 then redis.call('HSET', KEYS[4], unpack(flat)) end
if loaded then
  -- The highest time seen is kept to the second, and exactly where the sale opens and closes.
  local crossed = now > clock and (now - clock >= 1000 or (clock < opens and opens <= now) or (clock < closes and closes <= now))
  if taken > 0 then
    redis.call('HSET', KEYS[2], 'seq', format('%d', seq), 'digest', digest,
      'available', format('%d', available), 'held', format('%d', held),
      'tat', format('%.3f', tat), 'clock', format('%d', math.max(now, clock)))
  else
    if crossed then redis.call('HSET', KEYS[2], 'clock', format('%d', now)) end
    -- Kept although nobody got through: a bound that moved along with now would never come into reach.
    if tat_bounded and n > 0 then redis.call('HSET', KEYS[2], 'tat', format('%.3f', tat)) end
  end
  if refused_all == 'REGRESSED' and fault == '' then redis.call('HSET', KEYS[2], 'fault', 'regressed') end

  local forged = tonumber(ARGV[3])
  if forged > 0 then counted.LINK_INVALID = (counted.LINK_INVALID or 0) + forged end
  if flushed_s and now_s > flushed_s then
    local sums = redis.call('HGETALL', KEYS[7])
    if #sums > 0 then
      -- Bounded to two hours of seconds with traffic: a chart's data, no record of units.
      redis.call('XADD', KEYS[8], 'MAXLEN', '~', '7200', '*', unpack(sums))
      redis.call('HSET', KEYS[7], unpack(sums))
    end
  end
  if now_s ~= flushed_s then redis.call('HSET', KEYS[7], 'second', now_s) end
  -- Between two flushes the counters stay in memory: a batch of refusals then writes nothing to the append-only
  -- file, and a restart forgets a second's counts, never a unit.
  redis.set_repl(redis.REPL_NONE)
  counted.STALE_GENERATION = nil -- asked again at once
  for outcome, count in pairs(counted) do redis.call('HINCRBY', KEYS[7], outcome, count) end
  redis.set_repl(redis.REPL_ALL)
end
return answers
