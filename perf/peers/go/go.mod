module troupe/perf/peers/go

go 1.19
