package torture

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// sendWindow is how long after its intent an attempt may begin to be written.
const sendWindow time.Duration = 5 * time.Second

// A leader is frozen while it dials the bank: the intent is committed, not a byte
// is written. Another node takes over and pays. Thawed after send_by, with its
// connection ready at last, the old leader must not write.
func TestFrozenBetweenIntentAndWire(t *testing.T) {
	together(t)
	p := newWindowPair(t)
	l := newLoad(t, p.world, "window", 8, 1, 50*time.Millisecond)
	for round := range choose(1, 5) {
		p.secondLeads() // fresh: it has no open connection to any bank
		p.thawInTime(l, round)
		p.secondLeads()
		p.thawTooLate(l, round)
	}
	prove(t, p.world, l, l.snapshot())
}

// windowPair is a pair whose second node reaches the banks only through a door.
type windowPair struct {
	*pair
	door *door
}

func newWindowPair(t *testing.T) *windowPair {
	t.Helper()
	w := newWorld(t)
	p := &windowPair{pair: &pair{world: w, listen: freePorts(t, 1)[0]}, door: newDoor(t, strings.TrimPrefix(w.banks, "http://"))}
	p.url, p.through = "http://"+p.listen, "http://"+p.door.addr
	p.startSecond()
	return p
}

// dialling orders a payout, waits for its intent, and freezes the leader, which
// cannot have reached the bank: the door is shut. Then it opens the door.
func (p *windowPair) dialling(l *load, name string) (reference string, frozen time.Time) {
	p.t.Helper()
	p.door.shut(p.t)
	ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
	defer cancel()
	payer := &client{http: newHTTP(1), nodes: []string{p.api}, key: p.keys.Tenant, attempt: attemptWithin}
	o := order{Kind: "payout", From: l.accounts[0], Channel: "bank-ab", Payee: &payee{"1"}, Amount: "4711", Asset: asset, Remittance: name}
	r := l.order(ctx, payer, o, name)
	require.NoError(p.t, r.err)
	eventually(p.t, 5*time.Second, "the intent is committed", func() (bool, string) {
		err := p.db.QueryRow(ctx, `select a.reference from attempts a join payments p on p.id = a.payment where p.remittance = $1`, name).Scan(&reference)
		return err == nil, fmt.Sprint(err)
	})
	p.second.signal(p.t, syscall.SIGSTOP)
	frozen = time.Now()
	require.Zero(p.t, p.door.orders.Load(), "something was written before the freeze")
	p.door.open()
	return reference, frozen
}

// thawInTime is the control: frozen for a moment only, the leader does write
// through the door, and the door does see it.
func (p *windowPair) thawInTime(l *load, round int) {
	p.t.Helper()
	_, frozen := p.dialling(l, fmt.Sprintf("window-in-time-%d", round))
	during(context.Background(), time.Until(frozen.Add(1100*time.Millisecond))) // the kernel dials again after 1 s
	p.second.signal(p.t, syscall.SIGCONT)
	eventually(p.t, 10*time.Second, "the order is written", func() (bool, string) { return p.door.orders.Load() > 0, "nothing" })
	eventually(p.t, time.Minute, "nothing is open", func() (bool, string) {
		var open int
		p.query(&open, `select count(*) from open_payments`)
		return open == 0, fmt.Sprint(open)
	})
	p.second.signal(p.t, syscall.SIGTERM)
	p.second.waitGone(p.t, 30*time.Second)
}

func (p *windowPair) thawTooLate(l *load, round int) {
	p.t.Helper()
	p.door.orders.Store(0)
	reference, frozen := p.dialling(l, fmt.Sprintf("window-too-late-%d", round))
	eventually(p.t, 10*time.Second, "the other node leads", func() (bool, string) { return p.leader() == p.api, p.leader() })
	during(context.Background(), time.Until(frozen.Add(sendWindow+1500*time.Millisecond)))
	p.second.signal(p.t, syscall.SIGCONT)
	thawed := time.Now()
	gone := p.second.waitGone(p.t, 20*time.Second)
	require.Zero(p.t, p.door.orders.Load(), "the thawed leader wrote an order after send_by")
	eventually(p.t, time.Minute, "the other node pays it", func() (bool, string) {
		var open int
		p.query(&open, `select count(*) from open_payments`)
		return open == 0, fmt.Sprint(open)
	})
	for _, e := range p.books() {
		require.NotEqual(p.t, reference, e.Reference, "the frozen attempt was executed")
	}
	figure(p.t, "frozen between intent and wire", "attempt %s: 0 bytes after %.1f s frozen; the process exits %s after the thaw; paid by the other after %.1f s (round %d)",
		reference, thawed.Sub(frozen).Seconds(), gone.Round(time.Millisecond), time.Since(frozen).Seconds(), round)
}

// Attempts are frozen wherever they happen to be: the leader is stopped as soon
// as an intent is seen under load. Whatever the bank executed must have begun
// before its attempt's send_by.
func TestFrozenAtRandom(t *testing.T) {
	together(t)
	p := newPair(t)
	l := newLoad(t, p.world, "random", 16, 8, 25*time.Millisecond)
	l.nodes, l.attempt = []string{p.api, p.url}, 4*time.Second
	l.choose = func(client, n int) order {
		return order{Kind: "payout", From: l.accounts[(client+n)%len(l.accounts)], Channel: "bank-" + bankCodes[(client+n)%len(bankCodes)], Payee: &payee{"1"}, Amount: "5"}
	}
	l.run()
	caught := 0
	for range choose(1, 5) {
		p.secondLeads()
		l.awaitAcks(t, 20, time.Minute)
		caught += p.freezeAtIntent()
	}
	receipts := l.stop()
	figure(t, "attempts frozen before an answer", "%d", caught)
	prove(t, p.world, l, receipts)
	p.noLateEffects()
}

// freezeAtIntent stops the leader at the sight of an intent and thaws it after
// send_by. It returns how many attempts were under way.
func (p *pair) freezeAtIntent() (caught int) {
	p.t.Helper()
	ctx := context.Background()
	const flying = `select count(*) from attempts where answered_at is null and intended_at > now() - interval '1 minute'`
	eventually(p.t, time.Minute, "an intent is seen", func() (bool, string) {
		for range 50 { // without a pause: the window is a fraction of a millisecond
			if err := p.db.QueryRow(ctx, flying).Scan(&caught); err != nil {
				return false, err.Error()
			}
			if caught > 0 {
				p.second.signal(p.t, syscall.SIGSTOP)
				return true, ""
			}
		}
		return false, "none"
	})
	began := time.Now()
	eventually(p.t, 10*time.Second, "the other node leads", func() (bool, string) { return p.leader() == p.api, p.leader() })
	during(ctx, time.Until(began.Add(sendWindow+time.Second)))
	p.second.signal(p.t, syscall.SIGCONT)
	p.second.waitGone(p.t, 20*time.Second)
	return caught
}

// noLateEffects compares every payment out with the send_by of its attempt. The
// tolerance is for the way to the bank.
func (w *world) noLateEffects() {
	w.t.Helper()
	const tolerance = time.Second
	rows, err := w.db.Query(context.Background(), `select reference, send_by from attempts`)
	require.NoError(w.t, err)
	sendBy := make(map[string]time.Time)
	for rows.Next() {
		var reference string
		var at time.Time
		require.NoError(w.t, rows.Scan(&reference, &at))
		sendBy[reference] = at
	}
	require.NoError(w.t, rows.Err())
	closest := -sendWindow
	for _, e := range w.books() {
		if e.Direction == "in" {
			continue
		}
		by, known := sendBy[e.Reference]
		require.True(w.t, known, "the bank executed %s, which no attempt intended", e.Reference)
		require.False(w.t, e.ExecutedAt.After(by.Add(tolerance)), "%s was executed %s after its send_by", e.Reference, e.ExecutedAt.Sub(by))
		closest = max(closest, e.ExecutedAt.Sub(by))
	}
	figure(w.t, "latest effect, relative to send_by", "%s", closest.Round(time.Millisecond))
}

// door is the second node's only way to the banks. Shut, it leaves new
// connections half made: its backlog is full, so that the kernel drops their
// first packets; opened, the next packet of the same dial gets through.
type door struct {
	addr   string
	banks  string
	fd     int
	fill   []net.Conn
	orders atomic.Int64 // requests to pay that were written

	mu     sync.Mutex
	closed bool
	ready  *sync.Cond
}

func newDoor(t *testing.T, banks string) *door {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	require.NoError(t, syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	require.NoError(t, syscall.Listen(fd, 0))
	name, err := syscall.Getsockname(fd)
	require.NoError(t, err)
	d := &door{fd: fd, addr: fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port), banks: banks}
	d.ready = sync.NewCond(&d.mu)
	ended := make(chan struct{})
	go func() { defer close(ended); d.serve() }()
	t.Cleanup(func() {
		d.open()
		_ = syscall.Shutdown(fd, syscall.SHUT_RDWR) // wakes accept
		<-ended
		_ = syscall.Close(fd)
	})
	return d
}

func (d *door) serve() {
	for {
		d.mu.Lock()
		for d.closed {
			d.ready.Wait()
		}
		d.mu.Unlock()
		fd, _, err := syscall.Accept4(d.fd, syscall.SOCK_CLOEXEC)
		if err != nil {
			return
		}
		f := os.NewFile(uintptr(fd), "door")
		conn, err := net.FileConn(f)
		_ = f.Close()
		if err == nil {
			go d.pass(conn)
		}
	}
}

// pass carries one connection and counts the orders in it.
func (d *door) pass(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	bank, err := net.Dial("tcp", d.banks)
	if err != nil {
		return
	}
	defer func() { _ = bank.Close() }()
	go func() {
		_, _ = io.Copy(conn, bank)
		_ = conn.Close()
	}()
	_, _ = io.Copy(bank, io.TeeReader(conn, orderCounter{d}))
}

type orderCounter struct{ d *door }

func (c orderCounter) Write(b []byte) (int, error) {
	c.d.orders.Add(int64(strings.Count(string(b), "POST /banks/")))
	return len(b), nil
}

// shut fills the backlog until a connection no longer gets through.
func (d *door) shut(t *testing.T) {
	t.Helper()
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	eventually(t, 10*time.Second, "the door is shut", func() (bool, string) {
		conn, err := net.DialTimeout("tcp", d.addr, 200*time.Millisecond)
		if err != nil {
			return true, ""
		}
		d.fill = append(d.fill, conn)
		return false, fmt.Sprintf("%d got through", len(d.fill))
	})
}

func (d *door) open() {
	for _, c := range d.fill {
		_ = c.Close()
	}
	d.fill = nil
	d.mu.Lock()
	d.closed = false
	d.mu.Unlock()
	d.ready.Broadcast()
}
