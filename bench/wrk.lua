-- A body of as many bytes as the argument says, and wrk's closing figures as one line of JSON. `status` counts answers
-- of 400 and above; duration is in microseconds.
function init(args)
  if args[1] then
    wrk.method = "POST"
    wrk.body = string.rep("x", tonumber(args[1]))
  end
end

function done(summary)
  local e = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "microseconds": %d, "refused": %d, "broken": %d, "resumed": null}\n',
    summary.requests, summary.duration, e.status, e.connect + e.read + e.write + e.timeout))
end
