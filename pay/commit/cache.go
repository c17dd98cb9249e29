package commit

// cache keeps what was used lately in two generations: when the young one is
// full it becomes the old one, and what nobody asked for since is dropped. An
// entry survives at least limit insertions, so limit must exceed the entries
// that two batches touch: what an uncommitted batch rests on is never dropped.
type cache[K comparable, V any] struct {
	young, old map[K]V
	limit      int
}

func newCache[K comparable, V any](limit int) *cache[K, V] {
	return &cache[K, V]{young: make(map[K]V), limit: limit}
}

func (c *cache[K, V]) get(k K) (V, bool) {
	if v, ok := c.young[k]; ok {
		return v, true
	}
	v, ok := c.old[k]
	if ok {
		c.put(k, v)
	}
	return v, ok
}

func (c *cache[K, V]) put(k K, v V) {
	if len(c.young) >= c.limit {
		c.old, c.young = c.young, make(map[K]V, c.limit/4)
	}
	c.young[k] = v
}
