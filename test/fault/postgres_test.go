package fault

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/internal/pgtest"
)

// postgres stands between one life and the database. An interaction is what the
// frontend sends until it waits for an answer: a simple query, or extended messages
// up to their Sync. One that writes is a side effect.
type postgres struct {
	life     *life
	listener net.Listener
	server   string
	wg       sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool
	shut  bool
}

var errDamaged = errors.New("damaged on purpose")

// before returns a proxy before the database at dsn, and the way through it.
func before(l *life, dsn string) (*postgres, string, error) {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, "", err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	p := &postgres{life: l, listener: listener, server: fmt.Sprintf("%s/.s.PGSQL.%d", cfg.Host, cfg.Port), conns: map[net.Conn]bool{}}
	p.wg.Go(p.accept)
	host, port, err := net.SplitHostPort(listener.Addr().String())
	return p, fmt.Sprintf("host=%s port=%s user=%s password='%s' dbname=%s sslmode=disable", host, port, cfg.User, cfg.Password, cfg.Database), err
}

// cut ends every connection and takes no more. It does not wait.
func (p *postgres) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shut = true
	_ = p.listener.Close()
	for c := range p.conns {
		_ = c.Close()
	}
}

func (p *postgres) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shut {
		_ = c.Close()
		return false
	}
	p.conns[c] = true
	return true
}

func (p *postgres) drop(c net.Conn) {
	_ = c.Close()
	p.mu.Lock()
	delete(p.conns, c)
	p.mu.Unlock()
}

func (p *postgres) accept() {
	for {
		front, err := p.listener.Accept()
		if err != nil {
			return
		}
		back, err := net.Dial("unix", p.server)
		if err != nil {
			_ = front.Close()
			continue
		}
		if !p.keep(front) || !p.keep(back) {
			_ = front.Close()
			_ = back.Close()
			continue
		}
		s := &session{proxy: p, front: front, back: back, statements: map[string]string{}, answered: make(chan struct{}, 1)}
		p.wg.Go(func() {
			s.relay()
			_ = front.Close()
		})
		p.wg.Go(func() {
			_ = s.run()
			p.drop(front)
			p.drop(back)
		})
	}
}

// session relays one connection. Answers flow by themselves; what the frontend
// sends is held back until its interaction is complete.
type session struct {
	proxy       *postgres
	front, back net.Conn
	statements  map[string]string // by name, as prepared

	mu       sync.Mutex
	muted    bool
	asked    int // interactions sent whose end was not seen
	answered chan struct{}
}

func (s *session) run() error {
	start, err := pgtest.ReadMessage(s.front, false)
	if err != nil {
		return err
	}
	if err := s.send(start); err != nil {
		return err
	}
	var pending []byte
	for {
		m, err := pgtest.ReadMessage(s.front, true)
		if err != nil {
			return err
		}
		pending = append(pending, m...)
		switch m[0] {
		case 'Q', 'S':
			if err := s.forward(pending); err != nil {
				return err
			}
			pending = nil
		case 'X', 'p', 'H':
			if _, err := s.back.Write(pending); err != nil {
				return err
			}
			pending = nil
		}
	}
}

// send passes on what the server will answer with one "ready".
func (s *session) send(m []byte) error {
	s.mu.Lock()
	s.asked++
	s.mu.Unlock()
	_, err := s.back.Write(m)
	return err
}

func (s *session) forward(m []byte) error {
	what := s.writes(m)
	how := damage("")
	switch {
	case what != "":
		how = s.proxy.life.world.effects.next(s.proxy.life, "postgres: "+what, false)
	case s.proxy.life.dead.Load():
		how = gone
	}
	switch how {
	case "":
		return s.send(m)
	case refused:
		_, err := s.front.Write(append(pgtest.ErrorMessage("ERROR", "53200", "out of memory, on purpose"), 'Z', 0, 0, 0, 5, 'I'))
		return err
	case crashAfter, replyLost:
		s.mu.Lock()
		s.muted = true
		s.mu.Unlock()
		if s.send(m) == nil {
			s.untilAnswered()
		}
	case crashBefore, gone:
	}
	if how.crashes() {
		s.proxy.life.kill()
	}
	return errDamaged
}

// untilAnswered waits, boundedly, until the server has answered all it was sent.
func (s *session) untilAnswered() {
	late := time.NewTimer(5 * time.Second)
	defer late.Stop()
	for {
		s.mu.Lock()
		left := s.asked
		s.mu.Unlock()
		if left <= 0 {
			return
		}
		select {
		case <-s.answered:
		case <-late.C:
			return
		}
	}
}

func (s *session) relay() {
	for {
		m, err := pgtest.ReadMessage(s.back, true)
		if err != nil {
			return
		}
		s.mu.Lock()
		if !s.muted {
			_, err = s.front.Write(m)
		}
		if m[0] == 'Z' {
			s.asked--
			select {
			case s.answered <- struct{}{}:
			default:
			}
		}
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// writing is SQL that leaves something behind. Hearts beat and the longest lateness
// is noted whenever the clock says so: to count those would make the sequence another
// one every time.
var (
	writing = regexp.MustCompile(`(?i)\b(insert|update|delete|commit)\b`)
	beating = regexp.MustCompile(`update heartbeats set beat|marks\.value < excluded\.value`)
	spaces  = regexp.MustCompile(`\s+`)
)

// writes returns what an interaction writes, "" when it only reads.
func (s *session) writes(m []byte) string {
	for len(m) >= 5 {
		size := int(binary.BigEndian.Uint32(m[1:5]))
		body, kind := m[5:1+size], m[0]
		m = m[1+size:]
		var sql string
		switch kind {
		case 'Q':
			sql = text(body)
		case 'P':
			name := text(body)
			s.statements[name] = text(body[len(name)+1:])
		case 'B':
			portal := text(body)
			sql = s.statements[text(body[len(portal)+1:])]
		}
		if writing.MatchString(sql) && !beating.MatchString(sql) {
			return strings.TrimSpace(spaces.ReplaceAllString(sql, " "))
		}
	}
	return ""
}

// text is the zero-terminated string at the beginning of b.
func text(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		return string(b[:i])
	}
	return string(b)
}
