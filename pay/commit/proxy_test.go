package commit_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/pgtest"
)

// damage is one way in which an interaction with the database goes wrong.
type damage string

const (
	// cutBefore closes the connection; the server sees nothing of it.
	cutBefore damage = "cut before the server sees it"
	// torn lets half of the bytes through, then closes the connection.
	torn damage = "cut in the middle"
	// cutAfter lets the server finish, and closes before the answer is relayed.
	cutAfter damage = "cut before the answer is read"
	// vanish forwards and closes at once: the server may still be at work.
	vanish damage = "cut while the server works"
	// refuse answers an error that passes, instead of the server.
	refuse damage = "a passing error"
	// shutdown answers that the server is going down, and closes.
	shutdown damage = "the server's farewell"
	// silence swallows the interaction and all that follow on the connection.
	silence damage = "silence"
)

// proxy stands between a node and Postgres and damages one interaction. An
// interaction is what the frontend sends until it waits for an answer: a start
// of a session, a simple query, or extended messages up to their Sync.
type proxy struct {
	listener net.Listener
	server   string
	wg       sync.WaitGroup

	mu    sync.Mutex
	at    int // the interaction to damage counts down to 1; 0 is none
	how   damage
	fired string
	conns map[net.Conn]bool
}

var errDamaged = errors.New("damaged on purpose")

// throughProxy returns a proxy and the connection string that leads through it.
func throughProxy(t testing.TB, dsn string) (*proxy, string) {
	t.Helper()
	cfg, err := pgx.ParseConfig(dsn)
	require.NoError(t, err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{listener: ln, server: fmt.Sprintf("%s/.s.PGSQL.%d", cfg.Host, cfg.Port), conns: map[net.Conn]bool{}}
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		_ = ln.Close()
		p.mu.Lock()
		for c := range p.conns {
			_ = c.Close()
		}
		p.mu.Unlock()
		p.wg.Wait()
	})
	port := ln.Addr().(*net.TCPAddr).Port //nolint:forcetypeassert // a TCP listener
	return p, fmt.Sprintf("host=127.0.0.1 port=%d user=%s password='%s' dbname=%s sslmode=disable", port, cfg.User, cfg.Password, cfg.Database)
}

// lead leads to another server from now on, and cuts what leads to the former one.
func (p *proxy) lead(t testing.TB, dsn string) {
	t.Helper()
	cfg, err := pgx.ParseConfig(dsn)
	require.NoError(t, err)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.server = fmt.Sprintf("%s/.s.PGSQL.%d", cfg.Host, cfg.Port)
	for c := range p.conns {
		_ = c.Close()
	}
}

func (p *proxy) leadsTo() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.server
}

// arm damages the nth interaction from now on.
func (p *proxy) arm(n int, how damage) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at, p.how, p.fired = n, how, ""
}

// disarm tells what was damaged, or "".
func (p *proxy) disarm() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at = 0
	return p.fired
}

func (p *proxy) next(what []byte) (damage, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.at == 0 {
		return "", false
	}
	p.at--
	if p.at > 0 {
		return "", false
	}
	p.fired = fmt.Sprintf("%s: %.60q", p.how, bytes.Trim(what, "\x00"))
	return p.how, true
}

func (p *proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		p.conns[c] = true
		p.mu.Unlock()
		p.wg.Go(func() {
			_ = p.session(c)
			_ = c.Close()
			p.mu.Lock()
			delete(p.conns, c)
			p.mu.Unlock()
		})
	}
}

// session relays one connection. The answers flow by themselves; what the
// frontend sends is held back until its interaction is complete.
func (p *proxy) session(front net.Conn) error {
	back, err := net.Dial("unix", p.leadsTo())
	if err != nil {
		return err
	}
	defer func() { _ = back.Close() }()
	relay := &answers{front: front, idle: make(chan struct{}, 64)}
	p.wg.Go(func() { relay.run(back); _ = front.Close() })
	start, err := pgtest.ReadMessage(front, false)
	if err != nil {
		return err
	}
	if err := p.forward(start, front, back, relay); err != nil {
		return err
	}
	var pending []byte
	for {
		m, err := pgtest.ReadMessage(front, true)
		if err != nil {
			return err
		}
		pending = append(pending, m...)
		switch m[0] {
		case 'Q', 'S':
			if err := p.forward(pending, front, back, relay); err != nil {
				return err
			}
			pending = nil
		case 'X', 'p', 'H':
			if _, err := back.Write(pending); err != nil {
				return err
			}
			pending = nil
		}
	}
}

func (p *proxy) forward(m []byte, front, back net.Conn, relay *answers) error {
	how, hit := p.next(m)
	if !hit {
		_, err := back.Write(m)
		return err
	}
	switch how {
	case cutBefore:
	case torn:
		_, _ = back.Write(m[:len(m)/2])
	case vanish:
		relay.mute()
		_, _ = back.Write(m)
	case cutAfter:
		relay.mute()
		_, _ = back.Write(m)
		select {
		case <-relay.idle:
		case <-time.After(5 * time.Second):
		}
	case refuse:
		_, err := front.Write(append(pgtest.ErrorMessage("ERROR", "53200", "out of memory, on purpose"), 'Z', 0, 0, 0, 5, 'I'))
		return err
	case shutdown:
		_, _ = front.Write(pgtest.ErrorMessage("FATAL", "57P01", "terminating connection due to administrator command"))
	case silence:
		_, _ = io.Copy(io.Discard, front)
	}
	return errDamaged
}

// answers relays what the server says, and notes when it waits for more.
type answers struct {
	mu    sync.Mutex
	front net.Conn
	muted bool
	idle  chan struct{}
}

func (a *answers) mute() {
	a.mu.Lock()
	a.muted = true
	a.mu.Unlock()
	for len(a.idle) > 0 {
		<-a.idle
	}
}

func (a *answers) run(back net.Conn) {
	for {
		m, err := pgtest.ReadMessage(back, true)
		if err != nil {
			return
		}
		a.mu.Lock()
		if !a.muted {
			_, err = a.front.Write(m)
		}
		a.mu.Unlock()
		if err != nil {
			return
		}
		if m[0] == 'Z' {
			select {
			case a.idle <- struct{}{}:
			default:
			}
		}
	}
}
