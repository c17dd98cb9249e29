package doctor

// The signals of our own plane, by what tells them. A wallet that is not ours tells
// those that it can; one that nobody tells is not evidence. The name of a signal is
// its contract: a cause names it, a collector delivers it, and neither knows the other.

// Of stations that keep work, from the money facts. They decide whether somebody is
// paged: none of them is a rate or a score.
const (
	// Overdue counts the work past its deadline, and OverdueAge is by how long the worst is.
	Overdue    Signal = "overdue"
	OverdueAge Signal = "overdue_age"
	// Orphans counts open payments with neither a timer to come nor a case.
	Orphans Signal = "orphans"
	// Standstill is how long nothing left while work waited; StandstillGaps the same in
	// mean gaps between departures.
	Standstill     Signal = "standstill"
	StandstillGaps Signal = "standstill_gaps"
	// Residence is the longest that work stayed of late before it left. Stuck is for how
	// long the oldest work could have left and did not: its age, less pauses and takeovers.
	Residence Signal = "residence"
	Stuck     Signal = "stuck"
	// LeftBehind is for how long the work of one owner has stayed, one after another, while
	// that of others which came later left; LeftBehindOdds is how many decimal digits the
	// odds have that it is his by accident.
	LeftBehind     Signal = "left_behind"
	LeftBehindOdds Signal = "left_behind_odds"
	// Imbalance is entered less left less open: anything but zero is loss or doubling.
	Imbalance Signal = "imbalance"
	// Busy is the share of the capacity in use.
	Busy Signal = "busy"
	// Silence is how long an expected beat is missing.
	Silence Signal = "silence"
	// MoneyOff counts what disagrees: violated invariants, breaks that are not timing.
	MoneyOff Signal = "money_off"
	// UnknownItems counts payments whose outcome nobody knows, UnknownValue their worth
	// in the asset's smallest unit.
	UnknownItems Signal = "unknown_items"
	UnknownValue Signal = "unknown_value"
	// Quarantined counts Facts that could not be committed even alone.
	Quarantined Signal = "quarantined"
	// Takeovers counts leaderships of the one writer: a restart takes over as well.
	Takeovers Signal = "takeovers"
	// TimerLate is by how long the latest due timer was not looked at.
	TimerLate Signal = "timer_late"
	// Paused says that work is held back on purpose; the detail says by what.
	Paused Signal = "paused"
	// Backlog of callbacks that were stored and not applied, and the age of the oldest.
	CallbackBacklog Signal = "callback_backlog"
	CallbackAge     Signal = "callback_age"
)

var stationSignals = []SignalInfo{
	{Overdue, "items", false, "work past its deadline"},
	{OverdueAge, "s", false, "by how long the worst of it is"},
	{Orphans, "items", false, "open payments with neither a timer to come nor a case"},
	{Standstill, "s", false, "how long nothing left while work waited"},
	{StandstillGaps, "gaps", false, "the same in mean gaps between departures"},
	{Residence, "s", false, "the longest that work stayed of late before it left"},
	{Stuck, "s", false, "for how long the oldest work could have left and did not: its age, less pauses and takeovers"},
	{LeftBehind, "s", false, "for how long one owner's work has stayed, one after another, while that of others which came later left"},
	{LeftBehindOdds, "digits", false, "decimal digits of the odds against that being an accident"},
	{Imbalance, "items", false, "entered less left less open"},
	{Busy, "share", false, "share of the capacity in use"},
	{Silence, "s", false, "how long an expected beat is missing"},
	{MoneyOff, "count", false, "violated invariants, and breaks that are not timing"},
	{UnknownItems, "items", false, "payments whose outcome nobody knows"},
	{UnknownValue, "minor", false, "what they are worth, in the asset's smallest unit"},
	{Quarantined, "count", true, "facts that could not be committed even alone"},
	{Takeovers, "count", true, "leaderships of the one writer"},
	{TimerLate, "s", true, "by how long the latest due timer was not looked at"},
	{Paused, "yes", false, "work is held back on purpose"},
	{CallbackBacklog, "items", true, "callbacks stored and not applied"},
	{CallbackAge, "s", true, "age of the oldest of them"},
}

// Of a process, from its metrics and from its machine.
const (
	Up         Signal = "up"         // answers on its port: 1 or 0
	Suspended  Signal = "suspended"  // the kernel says it is stopped or being traced: 1 or 0
	Uptime     Signal = "uptime"     // since its start
	Goroutines Signal = "goroutines" // how many
	SchedWait  Signal = "sched_wait" // p99 of the wait of runnable goroutines
	Throttled  Signal = "throttled"  // share of the periods in which its quota was used up
	// Starved is what the kernel says: of the time in which it could run, it waited for a
	// processor for this share.
	Starved           Signal = "starved"
	PoolBusy          Signal = "pool_busy"           // share of the connections of its pool in use
	PoolIdleHeld      Signal = "pool_held"           // connections out of the pool that run no statement
	LoopSilence       Signal = "loop_silence"        // how long a loop made no progress; the statistic names the loop
	Refused           Signal = "refused"             // share of the requests refused with 429 or 503
	RefusedToldTo     Signal = "refused_told_to"     // share refused because a lever, a limit or read-only mode says so
	RefusedNoRoom     Signal = "refused_no_room"     // share refused for want of room
	RefusedNoDatabase Signal = "refused_no_database" // share refused because the database does not answer
	ServerErrors      Signal = "server_errors"       // share of them answered with 5xx
	ClientErrors      Signal = "client_errors"       // share of them answered with 4xx
	Aborted           Signal = "aborted"             // share of them whose caller went away
	Duplicates        Signal = "duplicates"          // payments that repeat another of minutes ago under a new key
	Doubled           Signal = "doubled"             // share of the payments ordered that are such
	Repeats           Signal = "repeats"             // share of the requests that repeat a known key
	DiskFree          Signal = "disk_free"           // share of the disk that is free
	DiskFullIn        Signal = "disk_full_in"        // until it is full at the present pace
	ClockSkew         Signal = "clock_skew"          // between two clocks that should agree
	FlushTime         Signal = "flush_time"          // of one flush of a small file to the disk
	Checked           Signal = "checked"             // since the checks of the books ended a whole turn
)

var processSignals = []SignalInfo{
	{Up, "yes", false, "it answers"},
	{Suspended, "yes", true, "its machine says that it is stopped or being traced"},
	{Uptime, "s", true, "time since its start"},
	{Goroutines, "count", true, "goroutines"},
	{SchedWait, "s", true, "p99 of the wait of goroutines that could run"},
	{Throttled, "share", true, "share of the periods in which its quota of processor time was used up"},
	{Starved, "share", true, "share of the time in which it could run that it waited for a processor"},
	{PoolBusy, "share", true, "share of the connections of its pool that are out"},
	{PoolIdleHeld, "count", true, "connections that are out of the pool and run nothing"},
	{LoopSilence, "s", true, "time since a loop made progress while it had work"},
	{Refused, "share", false, "share of the requests refused with 429 or 503"},
	{RefusedToldTo, "share", false, "share of the requests refused because a lever, a limit or read-only mode says so"},
	{RefusedNoRoom, "share", false, "share of the requests refused for want of room"},
	{RefusedNoDatabase, "share", false, "share of the requests refused because the database does not answer"},
	{ServerErrors, "share", false, "share of them answered with another 5xx"},
	{ClientErrors, "share", false, "share of them answered with 4xx"},
	{Aborted, "share", false, "share of them whose caller went away"},
	{Duplicates, "1/s", false, "payments that repeat another of minutes ago under a new key"},
	{Doubled, "share", false, "share of the payments ordered that repeat another of a moment ago under a new key"},
	{Repeats, "share", false, "share of the requests that repeat a known key"},
	{DiskFree, "share", true, "share of the disk that is free"},
	{DiskFullIn, "s", true, "time until it is full at the present pace"},
	{ClockSkew, "s", true, "between two clocks that should agree"},
	{FlushTime, "s", true, "one flush of a small file to the same disk"},
	{Checked, "s", true, "time since the checks of the books ended a whole turn"},
}

// Of probes and canaries: what we do ourselves, from outside.
const (
	ProbeUp      Signal = "probe_up"
	ProbeDNS     Signal = "probe_dns"
	ProbeConnect Signal = "probe_connect"
	ProbeTLS     Signal = "probe_tls"
	ProbeFirst   Signal = "probe_first_byte"
	CertLeft     Signal = "cert_left"
	// CanaryAge is since the last canary payment of a path ended well; the statistic
	// names the path. CanaryTime is how long that one took.
	CanaryAge  Signal = "canary_age"
	CanaryTime Signal = "canary_time"
)

var probeSignals = []SignalInfo{
	{ProbeUp, "yes", false, "a harmless call from outside was answered as expected"},
	{ProbeDNS, "s", false, "its time in looking up the name"},
	{ProbeConnect, "s", false, "its time in opening the connection"},
	{ProbeTLS, "s", false, "its time in the TLS handshake"},
	{ProbeFirst, "s", false, "its time from the request to the first byte"},
	{CertLeft, "s", false, "until the certificate expires"},
	{CanaryAge, "s", false, "since the last canary payment ended well"},
	{CanaryTime, "s", false, "how long that one took"},
}

// Of a channel, from our side of it.
const (
	Timeouts     Signal = "timeouts"      // share of the calls without an answer in time
	GatewayFails Signal = "gateway_fails" // share answered with 502 or 504
	Status5xx    Signal = "status_5xx"    // share answered with another 5xx
	Status429    Signal = "status_429"    // share refused for their rate
	Status4xx    Signal = "status_4xx"    // share refused for another reason: a key, a list, a form
	Unreachable  Signal = "unreachable"   // share without a connection
	BadBodies    Signal = "bad_bodies"    // share whose answer could not be read
	Declines     Signal = "declines"      // share of the orders declined
	Unknowns     Signal = "unknowns"      // share of the orders without a clear answer
	Amplified    Signal = "amplified"     // attempts for each first attempt
	LateTruth    Signal = "late_truth"    // share of the unknowns that turned out to have succeeded
	Callbacks    Signal = "callbacks"     // callbacks that came, 1/s
	CallbackLag  Signal = "callback_lag"  // p95 from the channel's deed to its callback
	NoCallbacks  Signal = "no_callbacks"  // share of the acknowledged orders past their usual time without a callback
	BadCallbacks Signal = "bad_callbacks" // callbacks that were refused or do not verify, 1/s
	QueryBudget  Signal = "query_budget"  // share of its budget of queries that the reference asked for most has spent
	BreakerOpen  Signal = "breaker_open"  // our breaker is open
)

var channelSignals = []SignalInfo{
	{Timeouts, "share", false, "share of the calls without an answer in time"},
	{GatewayFails, "share", false, "share answered with 502 or 504"},
	{Status5xx, "share", false, "share answered with another 5xx"},
	{Status429, "share", false, "share refused for their rate"},
	{Status4xx, "share", false, "share refused for another reason"},
	{Unreachable, "share", false, "share without a connection"},
	{BadBodies, "share", false, "share whose answer could not be read"},
	{Declines, "share", false, "share of the orders declined"},
	{Unknowns, "share", false, "share of the orders without a clear answer"},
	{Amplified, "times", false, "attempts for each first attempt"},
	{LateTruth, "share", false, "share of the unknowns that turned out to have succeeded"},
	{Callbacks, "1/s", false, "callbacks that came"},
	{CallbackLag, "s", false, "p95 from the channel's deed to its callback"},
	{NoCallbacks, "share", false, "share of the acknowledged orders past their usual time without a callback"},
	{BadCallbacks, "1/s", false, "callbacks that were refused or do not verify"},
	{QueryBudget, "share", false, "share of its budget of queries that the payment asked for most has spent"},
	{BreakerOpen, "yes", false, "our breaker for it is open"},
}

// Of Postgres. Details of a reading say who: pid, since, application, query, relation.
const (
	PGConnect      Signal = "pg_connect"       // a new connection and select 1
	PGConnections  Signal = "pg_connections"   // share of max_connections in use
	PGActive       Signal = "pg_active"        // sessions that run a statement
	PGRootIdle     Signal = "pg_root_idle"     // idle time of a root blocker that is idle in a transaction
	PGRootActive   Signal = "pg_root_active"   // time that a root blocker runs its statement
	PGDDLWaiting   Signal = "pg_ddl_waiting"   // a waiting DDL with others queued behind it
	PGIdleTx       Signal = "pg_idle_tx"       // longest idle in a transaction, blocking or not
	PGLongTx       Signal = "pg_long_tx"       // longest transaction
	PGHorizon      Signal = "pg_horizon"       // transactions that the oldest snapshot holds back
	PGHorizonS     Signal = "pg_horizon_time"  // the age of that snapshot
	PGDeadTuples   Signal = "pg_dead_tuples"   // share of dead rows in the worst hot table
	PGSyncWaiters  Signal = "pg_sync_waiters"  // sessions that wait for a synchronous standby
	PGSyncMissing  Signal = "pg_sync_missing"  // synchronous standbys that are named and not there
	PGReplicaLag   Signal = "pg_replica_lag"   // replay lag of the slowest replica
	PGWalWaiters   Signal = "pg_wal_waiters"   // share of the active sessions that wait for the log to be written
	PGIOWaiters    Signal = "pg_io_waiters"    // share of them that wait for reads or writes of data
	PGFlush        Signal = "pg_flush"         // mean time of one flush of the log
	PGDeadlocks    Signal = "pg_deadlocks"     // 1/s
	PGKnots        Signal = "pg_knots"         // deadlocks that were broken in the last minute; who is in them again and again
	PGCommits      Signal = "pg_commits"       // 1/s
	PGRollbacks    Signal = "pg_rollbacks"     // share
	PGStatement    Signal = "pg_statement"     // how many times as long a statement takes as before; the worst
	PGSeqRows      Signal = "pg_seq_rows"      // rows a second read by scanning a large table whole
	PGIndexGone    Signal = "pg_index_gone"    // indexes that were there before and are not, or are invalid
	PGPlanChanged  Signal = "pg_plan_changed"  // statements whose plan is another than before
	PGWalRate      Signal = "pg_wal_rate"      // bytes a second
	PGSlotRetained Signal = "pg_slot_retained" // bytes that the worst slot holds back
	PGArchiveFails Signal = "pg_archive_fails" // failures of the archiver, 1/s
	PGWalSize      Signal = "pg_wal_size"      // bytes in pg_wal
	PGSequence     Signal = "pg_sequence"      // share used of the fullest sequence
	PGPrepared     Signal = "pg_prepared"      // age of the oldest prepared transaction
	PGReadOnly     Signal = "pg_read_only"     // it refuses writes
	PGTimeline     Signal = "pg_timeline"      // it is in another history than before
	PGNoSpace      Signal = "pg_no_space"      // it says that its disk is full
	PGCheckpoints  Signal = "pg_checkpoints"   // checkpoints forced by the log, 1/s
	PGTempBytes    Signal = "pg_temp_bytes"    // temporary files, bytes a second
)

var postgresSignals = []SignalInfo{
	{PGConnect, "s", false, "a new connection and its first answer"},
	{PGConnections, "share", true, "share of max_connections in use"},
	{PGActive, "count", true, "sessions that run a statement"},
	{PGRootIdle, "s", true, "idle time of the root of a blocking tree that is idle in a transaction"},
	{PGRootActive, "s", true, "time that the root of a blocking tree has run its statement"},
	{PGDDLWaiting, "s", true, "time that a DDL waits for its lock with others queued behind it"},
	{PGIdleTx, "s", true, "longest idle time in a transaction, blocking or not"},
	{PGLongTx, "s", true, "longest transaction"},
	{PGHorizon, "count", true, "transactions behind the oldest snapshot, slot or prepared transaction"},
	{PGHorizonS, "s", true, "age of that snapshot"},
	{PGDeadTuples, "share", true, "share of dead rows in the worst table that is always in use"},
	{PGSyncWaiters, "count", true, "sessions that wait for a synchronous standby"},
	{PGSyncMissing, "count", true, "synchronous standbys that are named and not connected"},
	{PGReplicaLag, "s", true, "replay lag of the slowest replica"},
	{PGWalWaiters, "share", true, "share of the active sessions that wait for the log to be written or flushed"},
	{PGIOWaiters, "share", true, "share of the active sessions that wait for data to be read or written"},
	{PGFlush, "s", true, "mean time of one flush of the log"},
	{PGDeadlocks, "1/s", true, "deadlocks that were broken"},
	{PGKnots, "count", true, "deadlocks of the last minute"},
	{PGCommits, "1/s", true, "transactions committed"},
	{PGRollbacks, "share", true, "share of the transactions rolled back"},
	{PGStatement, "times", true, "how many times as long a statement takes as before; the worst of those that matter"},
	{PGSeqRows, "1/s", true, "rows read by scanning large tables whole"},
	{PGIndexGone, "count", true, "indexes that were there and are gone or invalid"},
	{PGPlanChanged, "count", true, "statements whose plan is another than before"},
	{PGWalRate, "bytes/s", true, "log written"},
	{PGSlotRetained, "bytes", true, "log that the worst replication slot holds back"},
	{PGArchiveFails, "1/s", true, "failed attempts to archive the log"},
	{PGWalSize, "bytes", true, "log on the disk"},
	{PGSequence, "share", true, "share used of the fullest sequence"},
	{PGPrepared, "s", true, "age of the oldest prepared transaction"},
	{PGReadOnly, "yes", true, "it refuses writes"},
	{PGTimeline, "count", true, "changes of its history since the watch began"},
	{PGNoSpace, "yes", true, "it says that its disk is full"},
	{PGCheckpoints, "1/s", true, "checkpoints that the log forced"},
	{PGTempBytes, "bytes/s", true, "temporary files written"},
}

// Counts reports whether the signal only ever rises: its usual value is the newest one
// before the trouble, and what speaks is by how much it rose since.
func (s Signal) Counts() bool { return s == Restarts || s == Takeovers || s == PGTimeline }
