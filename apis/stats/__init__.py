"""stats.antrea.io: traffic counters and latencies."""
