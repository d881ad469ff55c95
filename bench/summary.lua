-- wrk's closing figures as one line of JSON. `status` counts answers of 400 and above; duration is in microseconds.
function done(summary)
  local e = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "microseconds": %d, "refused": %d, "broken": %d, "resumed": null}\n',
    summary.requests, summary.duration, e.status, e.connect + e.read + e.write + e.timeout))
end
