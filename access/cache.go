package access

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"sync"
	"time"

	"github.com/moneta-pay/moneta/fault"
)

const (
	// freshFor is how long a look-up is believed: the bound on how long a revoked
	// key goes on working on another node.
	freshFor = time.Second
	// cacheMax bounds the keys held; beyond it the cache starts over.
	cacheMax = 10_000
	// lookupsMax bounds the look-ups under way, so that a flood of invented keys
	// cannot take every connection to the database.
	lookupsMax = 4
)

type lookUp func(ctx context.Context, prefix string) (p Principal, hash []byte, found bool, err error)

// entry is one look-up: under way until done is closed, then immutable.
type entry struct {
	done      chan struct{}
	at        time.Time
	principal Principal
	hash      [sha256.Size]byte
	found     bool
	err       error
}

// cache holds the answers of the last second. One look-up a key is under way at
// a time; everybody else who asks for that key waits for it.
type cache struct {
	look lookUp
	now  func() time.Time
	slot chan struct{}

	mu      sync.RWMutex
	entries map[string]*entry
}

func newCache(look lookUp, now func() time.Time) *cache {
	return &cache{look: look, now: now, slot: make(chan struct{}, lookupsMax), entries: make(map[string]*entry)}
}

func (c *cache) authenticate(ctx context.Context, prefix string, hash [sha256.Size]byte) (Principal, error) {
	e := c.entry(ctx, prefix)
	select {
	case <-e.done:
	case <-ctx.Done():
		return Principal{}, fault.New(fault.Timeout, "").WithMoneyState(fault.NotMoved).WithCause(ctx.Err())
	}
	if e.err != nil { // a look-up has a deadline of its own: the caller is not late, the database is
		return Principal{}, fault.New(fault.DatabaseUnavailable, "the key cannot be looked up").WithOp("access.Authenticate").WithCause(e.err)
	}
	// An unknown prefix is compared too, with zeros, and takes as long as a known one.
	if subtle.ConstantTimeCompare(e.hash[:], hash[:]) != 1 || !e.found {
		return Principal{}, fault.New(fault.Unauthenticated, "")
	}
	return e.principal, nil
}

// entry returns a fresh look-up, one that is under way, or starts one.
func (c *cache) entry(ctx context.Context, prefix string) *entry {
	c.mu.RLock()
	e := c.entries[prefix]
	c.mu.RUnlock()
	if e != nil && c.usable(e) {
		return e
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[prefix]; e != nil && c.usable(e) {
		return e
	}
	if len(c.entries) >= cacheMax {
		clear(c.entries)
	}
	e = &entry{done: make(chan struct{}), at: c.now()}
	c.entries[prefix] = e
	// The look-up is not the caller's alone: his leaving must not fail the others.
	go c.fill(context.WithoutCancel(ctx), prefix, e)
	return e
}

// usable counts from the start of the look-up: a revocation during it may be
// missing from its answer.
func (c *cache) usable(e *entry) bool {
	select {
	case <-e.done:
		return e.err == nil && c.now().Sub(e.at) < freshFor
	default:
		return true
	}
}

func (c *cache) fill(ctx context.Context, prefix string, e *entry) {
	defer close(e.done)
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	select {
	case c.slot <- struct{}{}:
		defer func() { <-c.slot }()
	case <-ctx.Done():
		e.err = ctx.Err()
		return
	}
	var hash []byte
	e.principal, hash, e.found, e.err = c.look(ctx, prefix)
	if len(hash) != sha256.Size {
		e.found = false
	}
	copy(e.hash[:], hash)
}

// forget drops what is known of a key.
func (c *cache) forget(prefix string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.entries, prefix)
}

// forgetAll drops what is known of all keys.
func (c *cache) forgetAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.entries)
}
