package sandbox

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strconv"
	"sync"
)

// errJournal stops a bank whose journal can no longer be written: it would
// forget what it did.
var errJournal = errors.New("the bank's journal cannot be written")

// journal is a bank's memory: one line a record, "<crc32 hex> <json>\n", only
// ever appended to. A record counts once flush has returned; nothing that
// rests on it may be shown earlier. Flush hands it to the operating system and
// does not force it to disk: the outside world must outlive its process, not
// the machine. With no file it forgets at exit.
type journal struct {
	mu      sync.Mutex
	flushed sync.Cond
	file    *os.File // nil: memory only
	buf     []byte
	spare   []byte
	end     int64 // position after the last record appended
	written int64 // position after the last record handed over
	writing bool
	err     error
}

// openJournal opens or creates the file and hands every intact record to
// replay, in order. A torn last line, the mark of a crash, is cut off; damage
// anywhere else is an error, because later records rest on it.
func openJournal(path string, replay func(record) error) (*journal, error) {
	j := &journal{}
	j.flushed.L = &j.mu
	if path == "" {
		return j, nil
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lockFile(file); err != nil {
		return nil, errors.Join(fmt.Errorf("%s is in use by another sandbox: %w", path, err), file.Close())
	}
	good, err := readJournal(file, replay)
	if err == nil {
		err = file.Truncate(good)
	}
	if err == nil {
		_, err = file.Seek(good, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("journal %s: %w", path, err), file.Close())
	}
	j.file = file
	return j, nil
}

// readJournal returns the length of the intact part.
func readJournal(file io.Reader, replay func(record) error) (good int64, err error) {
	in := bufio.NewReaderSize(file, 256<<10)
	for number := 1; ; number++ {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return good, nil // what is left, if anything, lacks its end
		}
		if err != nil {
			return 0, err
		}
		rec, err := decodeRecord(line)
		if err != nil {
			if _, more := in.Peek(1); errors.Is(more, io.EOF) {
				return good, nil
			}
			return 0, fmt.Errorf("line %d: %w", number, err)
		}
		if err := replay(rec); err != nil {
			return 0, fmt.Errorf("line %d: %w", number, err)
		}
		good += int64(len(line))
	}
}

func decodeRecord(line []byte) (record, error) {
	var rec record
	sum, body, found := bytes.Cut(bytes.TrimSuffix(line, []byte{'\n'}), []byte{' '})
	want, err := strconv.ParseUint(string(sum), 16, 32)
	if !found || err != nil || crc32.ChecksumIEEE(body) != uint32(want) {
		return rec, errors.New("checksum does not match")
	}
	if err := json.Unmarshal(body, &rec); err != nil {
		return rec, err
	}
	return rec, nil
}

func appendRecord(buf []byte, rec record) ([]byte, error) {
	body, err := json.Marshal(rec)
	if err != nil {
		return buf, err
	}
	buf = fmt.Appendf(buf, "%08x ", crc32.ChecksumIEEE(body))
	buf = append(buf, body...)
	return append(buf, '\n'), nil
}

// append adds a record, not yet flushed.
func (j *journal) append(rec record) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file == nil || j.err != nil {
		return
	}
	before := len(j.buf)
	buf, err := appendRecord(j.buf, rec)
	if err != nil {
		j.err = fmt.Errorf("%w: %w", errJournal, err)
		return
	}
	j.buf = buf
	j.end += int64(len(buf) - before)
}

// flush returns when all records appended so far are handed over. Whoever comes
// first writes for all who wait.
func (j *journal) flush() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for target := j.end; j.written < target && j.err == nil; {
		if j.writing {
			j.flushed.Wait()
			continue
		}
		j.writing = true
		buf, end := j.buf, j.end
		j.buf = j.spare[:0]
		j.mu.Unlock()
		_, err := j.file.Write(buf)
		j.mu.Lock()
		j.spare, j.writing = buf, false
		if err != nil {
			j.err = fmt.Errorf("%w: %w", errJournal, err)
		} else {
			j.written = end
		}
		j.flushed.Broadcast()
	}
	return j.err
}

// close flushes and closes the file. Closing again does nothing.
func (j *journal) close() error {
	err := j.flush()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file == nil {
		return nil
	}
	for j.writing {
		j.flushed.Wait()
	}
	err = errors.Join(err, j.file.Close())
	if j.err == nil {
		j.err = fmt.Errorf("%w: closed", errJournal)
	}
	j.file = nil
	return err
}
