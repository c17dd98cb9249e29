package journal

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/moneta-pay/moneta/doctor"
)

// A line of a segment is
//
//	{"prev":"<32 hex>","hash":"<32 hex>","entry":{…}}
//
// hash is the first 16 bytes of SHA-256 over prev and the entry's bytes; prev is the
// hash of the entry before, in whichever segment that stands. A line is therefore
// judged by itself, and its place by the line before it. The first line of a segment
// has "segment" instead of "entry"; entries do not follow it but each other, so that
// an entry has the same bytes wherever a rotation falls.
const (
	hashLen = 32
	// lineMax bounds one entry as JSON: an answer with all of its lines has some 50 kB.
	lineMax = 1 << 20

	prevKey    = `{"prev":"`
	hashKey    = `","hash":"`
	entryKey   = `","entry":`
	segmentKey = `","segment":`
	formatNow  = 1
)

// genesis is the prev of the first entry.
var genesis = string(bytes.Repeat([]byte{'0'}, hashLen))

// header says where a segment begins.
type header struct {
	Version int `json:"version"`
	// First is the number of the first entry that can stand in it.
	First uint64 `json:"first"`
}

// line is one that was read and is whole.
type line struct {
	prev, hash string
	entry      *doctor.Entry
	header     *header
}

var errLine = errors.New("not a line of the journal")

func chain(prev string, body []byte) string {
	h := sha256.New()
	h.Write([]byte(prev))
	h.Write(body)
	return hex.EncodeToString(h.Sum(nil)[:hashLen/2])
}

func writeLine(prev, key string, body []byte) (text []byte, hash string) {
	hash = chain(prev, body)
	text = make([]byte, 0, len(prevKey)+len(hashKey)+len(key)+2*hashLen+len(body)+2)
	text = append(append(append(append(text, prevKey...), prev...), hashKey...), hash...)
	text = append(append(append(text, key...), body...), '}', '\n')
	return text, hash
}

// readLine judges a line without its line feed, by itself.
func readLine(b []byte) (line, error) {
	var out line
	rest, ok := bytes.CutPrefix(b, []byte(prevKey))
	if !ok || len(rest) < 2*hashLen+len(hashKey) {
		return out, errLine
	}
	out.prev, rest = string(rest[:hashLen]), rest[hashLen:]
	if rest, ok = bytes.CutPrefix(rest, []byte(hashKey)); !ok || len(rest) < hashLen {
		return out, errLine
	}
	out.hash, rest = string(rest[:hashLen]), rest[hashLen:]
	if rest, ok = bytes.CutSuffix(rest, []byte("}")); !ok {
		return out, errLine
	}
	body, isEntry := bytes.CutPrefix(rest, []byte(entryKey))
	if !isEntry {
		if body, ok = bytes.CutPrefix(rest, []byte(segmentKey)); !ok {
			return out, errLine
		}
	}
	if chain(out.prev, body) != out.hash {
		return out, errors.New("its hash is not that of its content")
	}
	if isEntry {
		out.entry = &doctor.Entry{}
		return out, json.Unmarshal(body, out.entry)
	}
	out.header = &header{}
	if err := json.Unmarshal(body, out.header); err != nil {
		return out, err
	}
	if out.header.Version != formatNow {
		return out, fmt.Errorf("it is of version %d, this program reads %d", out.header.Version, formatNow)
	}
	return out, nil
}
