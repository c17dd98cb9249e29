package river

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"slices"
	"sync"
	"time"
)

const (
	// Kept is how far back a map can be asked for.
	Kept = 15 * time.Minute
	// framesMax holds Kept at a map a second, and a little more.
	framesMax = 1000
	// stride thins the history of lines: a point each so many seconds.
	stride = 5 * time.Second
)

// frame is one map, packed: at three to five kB each a quarter of an hour of them takes a
// few MB.
type frame struct {
	at     time.Time
	packed []byte
	hops   map[string]spot
}

// spot is what the history of one hop needs.
type spot struct {
	waiting int64
	in, out float64
	state   State
	counted bool
}

// Keeper remembers maps. Put is called from one goroutine, all else from any.
type Keeper struct {
	mu     sync.RWMutex
	frames []frame
	newest []byte
	since  map[string]was
	state  was
	packer *gzip.Writer
}

type was struct {
	state State
	since time.Time
}

// NewKeeper returns one that remembers nothing.
func NewKeeper() *Keeper { return &Keeper{since: map[string]was{}, packer: gzip.NewWriter(io.Discard)} }

// Put takes the map of a moment, sets since when its states are so, and keeps it. It is
// packed once, however many look at it.
func (k *Keeper) Put(m *Map) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	f := frame{at: m.At, hops: make(map[string]spot, len(m.Hops))}
	for i := range m.Hops {
		h := &m.Hops[i]
		h.Since = k.sinceOf(h)
		s := spot{waiting: items(h), state: h.State, counted: h.Pile != nil}
		if h.In != nil && h.Out != nil {
			s.in, s.out = *h.In, *h.Out
		}
		f.hops[h.Name] = s
	}
	if k.state.state != m.State {
		k.state = was{m.State, m.At}
	}
	m.Since = k.state.since
	raw, err := json.Marshal(m)
	if err != nil {
		return err
	}
	f.packed = k.pack(raw)
	k.newest = raw
	k.frames = append(k.frames, f)
	first, _ := slices.BinarySearchFunc(k.frames, m.At.Add(-Kept), func(f frame, t time.Time) int { return f.at.Compare(t) })
	if first = max(first, len(k.frames)-framesMax); first > 0 {
		k.frames = slices.Delete(k.frames, 0, first)
	}
	return nil
}

// sinceOf is when the hop came into its state: at its earliest alarm, when it was last
// heard, or when it was first seen so.
func (k *Keeper) sinceOf(h *Hop) time.Time {
	w, known := k.since[h.Name]
	if !known || w.state != h.State {
		w = was{h.State, h.Since}
		for _, a := range h.Alarms {
			if h.State == Stalled && a.Page && !a.Since.IsZero() && a.Since.Before(w.since) {
				w.since = a.Since
			}
		}
		k.since[h.Name] = w
	}
	return w.since
}

// pack uses one writer again and again: a fresh one is most of a megabyte.
func (k *Keeper) pack(raw []byte) []byte {
	var b bytes.Buffer
	k.packer.Reset(&b)
	_, _ = k.packer.Write(raw) // into memory
	_ = k.packer.Close()
	return b.Bytes()
}

func unpack(packed []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

// Newest is the map of now as JSON; nil before the first. It must not be changed.
func (k *Keeper) Newest() []byte {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.newest
}

// At is the map that was so then, as JSON: the newest that is not younger. Nil: so far
// back nothing is remembered.
func (k *Keeper) At(t time.Time) ([]byte, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	i, exact := slices.BinarySearchFunc(k.frames, t, func(f frame, t time.Time) int { return f.at.Compare(t) })
	if !exact {
		i--
	}
	if i < 0 {
		return nil, nil
	}
	return unpack(k.frames[i].packed)
}

// History is the last quarter of an hour by hop, a point each five seconds.
type History struct {
	At    []time.Time        `json:"at"`
	Worst []State            `json:"worst"`
	Hops  map[string]*Course `json:"hops"`
}

// Course is one hop's; nil is a moment at which it was not counted, or not there.
type Course struct {
	Waiting []*int64   `json:"waiting"`
	In      []*float64 `json:"in_s"`
	Out     []*float64 `json:"out_s"`
	State   []State    `json:"state"`
}

// History returns what is remembered.
func (k *Keeper) History() History {
	k.mu.RLock()
	defer k.mu.RUnlock()
	out := History{At: []time.Time{}, Worst: []State{}, Hops: map[string]*Course{}}
	var last time.Time
	for i := range k.frames {
		f := &k.frames[i]
		if !last.IsZero() && f.at.Sub(last) < stride {
			continue
		}
		last = f.at
		n := len(out.At)
		out.At = append(out.At, f.at)
		var all []Hop
		for name, s := range f.hops {
			c := out.Hops[name]
			if c == nil {
				c = &Course{Waiting: make([]*int64, n), In: make([]*float64, n), Out: make([]*float64, n), State: make([]State, n)}
				out.Hops[name] = c
			}
			c.push(&s)
			all = append(all, Hop{State: s.state})
		}
		out.Worst = append(out.Worst, worst(all))
		for _, c := range out.Hops {
			if len(c.State) <= n {
				c.push(&spot{state: Unknown})
			}
		}
	}
	return out
}

func (c *Course) push(s *spot) {
	if !s.counted {
		c.Waiting, c.In, c.Out, c.State = append(c.Waiting, nil), append(c.In, nil), append(c.Out, nil), append(c.State, s.state)
		return
	}
	waiting, in, out := s.waiting, s.in, s.out
	c.Waiting, c.In, c.Out, c.State = append(c.Waiting, &waiting), append(c.In, &in), append(c.Out, &out), append(c.State, s.state)
}
