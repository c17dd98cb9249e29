package pgserver

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
)

// Setting is one server setting and why it has its value. Value carries its
// unit, as PostgreSQL prints it.
type Setting struct {
	Name, Value, Why string
}

// WriteSettings prints the settings as an aligned table.
func WriteSettings(w io.Writer, settings []Setting) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range settings {
		if _, err := fmt.Fprintf(tw, "%s\t%s\t%s\n", s.Name, s.Value, s.Why); err != nil {
			return fmt.Errorf("pgserver: print settings: %w", err)
		}
	}
	if err := tw.Flush(); err != nil {
		return fmt.Errorf("pgserver: print settings: %w", err)
	}
	return nil
}

// machine is what the settings are sized by.
type machine struct {
	memory int64 // bytes that we may use, cgroup limit included
	free   int64 // bytes free on the data disk
	cores  int
}

const (
	kib = int64(1) << 10
	mib = int64(1) << 20
	gib = int64(1) << 30
)

// measure looks at the machine; what it cannot learn it assumes small.
func measure(dataDir string) machine {
	m := machine{memory: 2 * gib, free: 16 * gib, cores: runtime.GOMAXPROCS(0)}
	if total := memTotal("/proc/meminfo"); total > 0 {
		m.memory = total
	}
	for _, path := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		raw, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		// "max" does not parse, and v1 says "unlimited" with a huge number.
		if n, err := strconv.ParseInt(strings.TrimSpace(string(raw)), 10, 64); err == nil && n > 0 && n < m.memory {
			m.memory = n
		}
	}
	var st syscall.Statfs_t
	if err := syscall.Statfs(dataDir, &st); err == nil {
		m.free = int64(st.Bavail) * int64(st.Bsize) //nolint:unconvert // the types differ by platform
	}
	return m
}

// memTotal reads MemTotal in bytes; 0 when unknown.
func memTotal(path string) int64 {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer func() { _ = f.Close() }()
	sc := bufio.NewScanner(f)
	for sc.Scan() {
		fields := strings.Fields(sc.Text())
		if len(fields) >= 2 && fields[0] == "MemTotal:" {
			n, _ := strconv.ParseInt(fields[1], 10, 64)
			return n * kib
		}
	}
	return 0
}

func clamp(v, low, high int64) int64 { return max(low, min(v, high)) }

func megabytes(v int64) string { return strconv.FormatInt(v/mib, 10) + "MB" }

// size returns the settings that depend on the machine.
func size(m machine) []Setting {
	buffers := clamp(m.memory/8, 128*mib, 4*gib)
	wal := clamp(m.free/8, 128*mib, 8*gib)
	return []Setting{
		{"shared_buffers", megabytes(buffers), "an eighth of memory: the machine is shared with the pay plane"},
		{"effective_cache_size", megabytes(max(m.memory/2, buffers)), "half of memory: what the page cache likely holds"},
		{"work_mem", megabytes(clamp(m.memory/512, 4*mib, 32*mib)), "per sort; statistics and statements, not payments, use it"},
		{"maintenance_work_mem", megabytes(clamp(m.memory/32, 64*mib, 512*mib)), "vacuum and index builds"},
		{"wal_buffers", megabytes(clamp(buffers/32, 4*mib, 64*mib)), "a whole batch fits before its commit"},
		{"max_wal_size", megabytes(wal), "an eighth of the free disk, at most 8 GB: no checkpoint storms, and crash recovery stays short"},
		{"min_wal_size", megabytes(clamp(wal/4, 64*mib, gib)), "recycled segments cost no file creation in the commit path"},
		{"max_worker_processes", strconv.Itoa(max(8, m.cores)), ""},
		{"max_parallel_workers", strconv.Itoa(max(2, m.cores)), ""},
		{"max_connections", "200", "several nodes with pools, plus the doctor"},
	}
}

// sizeSmall is for many small databases beside other work.
func sizeSmall() []Setting {
	return []Setting{
		{"shared_buffers", "128MB", "small footprint"},
		{"effective_cache_size", "512MB", ""},
		{"maintenance_work_mem", "32MB", ""},
		{"wal_buffers", "4MB", ""},
		{"max_wal_size", "1GB", ""},
		{"min_wal_size", "256MB", ""},
		{"max_connections", "300", "many test processes at once"},
	}
}

// fixed are the settings that fit every machine.
func fixed() []Setting {
	return []Setting{
		{"checkpoint_timeout", "15min", "spread checkpoints; max_wal_size is the real bound"},
		{"checkpoint_completion_target", "0.9", "spread the writes"},
		{"wal_compression", "off", "pages of random keys hardly shrink, and compressing each cost the committer 13 µs (docs/performance.md)"},
		{"autovacuum", "on", "always"},
		{"autovacuum_naptime", "15s", "small hot tables (open items) bloat within a minute"},
		{"autovacuum_vacuum_scale_factor", "0.02", "at 2 %, not 20 %: big tables are visited in small steps"},
		{"autovacuum_vacuum_insert_scale_factor", "0.05", "append-only logs get their visibility map and freezing early"},
		{"autovacuum_analyze_scale_factor", "0.02", "fresh statistics keep plans from flipping"},
		{"autovacuum_vacuum_cost_limit", "2000", "vacuum keeps up with tens of thousands of rows a second"},
		{"random_page_cost", "1.1", "solid state disks"},
		{"jit", "off", "compiling costs more than our statements run"},
		{"idle_in_transaction_session_timeout", "15s", "an idle transaction holds locks and stops vacuum"},
		{"client_connection_check_interval", "5s", "a statement whose client is gone ends"},
		{"password_encryption", "scram-sha-256", ""},
		{"wal_level", "replica", "a standby may be added without a restart"},
		{"max_wal_senders", "10", ""},
		{"max_slot_wal_keep_size", "4GB", "an archive or standby that is gone does not fill the disk"},
		{"track_io_timing", "on", "the doctor tells a slow disk from a slow query"},
		{"track_wal_io_timing", "on", "and sees the time of each flush of the log"},
		{"log_checkpoints", "on", ""},
		{"log_lock_waits", "on", "the doctor reads these"},
		{"log_autovacuum_min_duration", "10s", ""},
		{"log_min_duration_statement", "1s", "slow statements, with their time"},
		{"log_line_prefix", "%m [%p] %q%u@%d %a ", "time, pid, who, what program"},
		{"log_timezone", "UTC", ""},
		{"timezone", "UTC", ""},
		{"datestyle", "ISO, YMD", ""},
		{"default_text_search_config", "pg_catalog.english", ""},
		{"logging_collector", "on", "log to files in the folder"},
		{"log_filename", "postgres-%a.log", "one file a weekday, the last week kept"},
		{"log_file_mode", "0600", ""},
		{"log_rotation_age", "1d", ""},
		{"log_rotation_size", "0", "rotation by day alone lets the truncation below bound the disk"},
		{"log_truncate_on_rotation", "on", ""},
	}
}

// wanted returns all settings for this server, in the order they are printed.
func (s *Server) wanted() ([]Setting, error) {
	host, port, err := s.cfg.listen()
	if err != nil {
		return nil, err
	}
	all := []Setting{}
	for _, d := range durability {
		all = append(all, Setting{d.name, "on", "always: an acknowledged commit is a kept commit"})
	}
	if s.cfg.Footprint == Small {
		all = append(all, sizeSmall()...)
	} else {
		all = append(all, size(measure(s.dir.data))...)
	}
	all = append(all, fixed()...)
	all = append(all,
		Setting{"listen_addresses", host, "TCP only when asked"},
		Setting{"port", strconv.Itoa(port), "also names the socket"},
		Setting{"unix_socket_directories", s.dir.socket, "private, 0700"},
		Setting{"unix_socket_permissions", "0700", ""},
		Setting{"log_directory", s.dir.logs, ""},
	)
	return withExtra(all, s.cfg.Extra), nil
}

// withExtra overrides or appends, in a stable order.
func withExtra(all []Setting, extra map[string]string) []Setting {
	names := make([]string, 0, len(extra))
	for name := range extra {
		names = append(names, name)
	}
	sort.Strings(names)
next:
	for _, name := range names {
		for i := range all {
			if all[i].Name == name {
				all[i] = Setting{name, extra[name], "set by configuration"}
				continue next
			}
		}
		all = append(all, Setting{name, extra[name], "set by configuration"})
	}
	return all
}
