package bench

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/moneta-pay/moneta/internal/lifecycle"
)

// Ledger moves money through the pay plane's committer, without HTTP. It runs in
// a process of its own, which `moneta bench-ledger` is; the load generator reaches
// it over the hop below.
type Ledger interface {
	// Open opens accounts and, where the opening says so, funds each of them as a
	// payment of its own from a house account. It returns the accounts' ids and
	// how many payments that took.
	Open(ctx context.Context, o Opening) (ids []int64, payments int64, err error)
	// Send takes the orders to the committer as one group and returns after all of
	// them are answered: nil for one that is committed and succeeded.
	Send(ctx context.Context, orders []Order) []error
	// Close gives the ledger's leadership back and waits for the end.
	Close(ctx context.Context) error
}

// Opening says which accounts to open.
type Opening struct {
	Accounts int `json:"accounts"`
	// Fund is what each account is paid at first, in minor units; 0 pays nothing.
	Fund int64 `json:"fund"`
	// Overdraft is how far below zero each account may go.
	Overdraft int64 `json:"overdraft"`
}

// Order is one send that the load generator wants. What the generator decides is
// here; what a station of the pay plane would make of it, the process under test
// makes.
type Order struct {
	Key      [16]byte
	From, To int64
	Amount   int64 // minor units
}

// LedgerPlan tells the process of the ledger what to lead and where to listen.
type LedgerPlan struct {
	DSN    string `json:"dsn"`
	Socket string `json:"socket"`
	// URL is where other nodes reach this one; empty for a node that is alone.
	URL string `json:"url,omitempty"`
	// Forwards says that another node leads: what comes over the hop goes on to it,
	// as between the nodes of one ledger.
	Forwards bool `json:"forwards,omitempty"`
}

// The hop between the load generator and the ledger is a Unix socket with frames
// of fixed size, little endian. A request is an opcode, a length, and so many
// orders of 40 bytes, or one opening in JSON; an answer to orders is a byte each,
// zero for a payment that is committed, and the text of the first error.
const (
	opSend = 's'
	opOpen = 'o'
	// orderBytes is the size of an Order on the wire.
	orderBytes = 40
	// hopOrders bounds one request; what the committer takes at once is fewer.
	hopOrders = 4_096
	// hopText bounds an error's text and an opening, hopIDs an opening's answer.
	hopText = 4_096
	hopIDs  = 10_000_000
	// hopOpenMax bounds the opening of all accounts, hopAnswerMax one answer.
	hopOpenMax   = 10 * time.Minute
	hopAnswerMax = time.Minute
)

// ServeLedger is the main of the ledger's process: args names the file of its
// LedgerPlan. It ends with ctx, after the leadership is given back.
func ServeLedger(ctx context.Context, args []string, open func(context.Context, LedgerPlan) (Ledger, error)) (err error) {
	var plan LedgerPlan
	if err := readPlan("bench-ledger", args, &plan); err != nil {
		return err
	}
	if err := os.Remove(plan.Socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("bench-ledger: %w", err)
	}
	book, err := open(ctx, plan)
	if err != nil {
		return fmt.Errorf("bench-ledger: %w", err)
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopMax/2)
		defer cancel()
		err = errors.Join(err, book.Close(end))
	}()
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", plan.Socket)
	if err != nil {
		return fmt.Errorf("bench-ledger: %w", err)
	}
	return serveHop(ctx, l, book)
}

func readPlan(command string, args []string, plan any) error {
	if len(args) != 1 {
		return fmt.Errorf("%s: it is started by bench, with the file of its plan", command)
	}
	raw, err := os.ReadFile(args[0]) //nolint:gosec // bench names the file
	if err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	if err := json.Unmarshal(raw, plan); err != nil {
		return fmt.Errorf("%s: read the plan: %w", command, err)
	}
	return nil
}

// serveHop answers connections until ctx ends. Each has a goroutine, which ends
// with its connection.
func serveHop(ctx context.Context, l net.Listener, book Ledger) error {
	var all sync.WaitGroup
	defer all.Wait()
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("bench-ledger: %w", err)
		}
		all.Go(func() {
			defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
			h := &hop{conn: conn, in: bufio.NewReaderSize(conn, 64<<10)}
			for ctx.Err() == nil && h.answer(ctx, book) == nil {
			}
			_ = conn.Close()
		})
	}
}

// hop is one connection between generator and ledger, on either side.
type hop struct {
	conn   net.Conn
	in     *bufio.Reader
	out    []byte
	orders []Order
}

func dialHop(ctx context.Context, socket string) (*hop, error) {
	d := net.Dialer{Timeout: dialMax}
	conn, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	return &hop{conn: conn, in: bufio.NewReaderSize(conn, 16<<10)}, nil
}

func (h *hop) close() { _ = h.conn.Close() }

// answer reads one request and answers it; an error ends the connection.
func (h *hop) answer(ctx context.Context, book Ledger) error {
	op, err := h.in.ReadByte()
	if err != nil {
		return err
	}
	n, err := h.count(hopOrders)
	if err != nil {
		return err
	}
	switch op {
	case opSend:
		if h.orders, err = readOrders(h.in, h.orders, n); err != nil {
			return err
		}
		h.out = appendOutcomes(h.out[:0], book.Send(ctx, h.orders))
	case opOpen:
		if err := h.answerOpening(ctx, book, n); err != nil {
			return err
		}
	default:
		return fmt.Errorf("unknown opcode %d", op)
	}
	_, err = h.conn.Write(h.out)
	return err
}

func (h *hop) answerOpening(ctx context.Context, book Ledger, n int) error {
	raw := make([]byte, n)
	if _, err := io.ReadFull(h.in, raw); err != nil {
		return err
	}
	var o Opening
	if err := json.Unmarshal(raw, &o); err != nil {
		return err
	}
	ids, payments, err := book.Open(ctx, o)
	if err != nil {
		ids = nil
	}
	h.out = binary.LittleEndian.AppendUint32(h.out[:0], uint32(len(ids)))
	for _, id := range ids {
		h.out = binary.LittleEndian.AppendUint64(h.out, uint64(id))
	}
	h.out = binary.LittleEndian.AppendUint64(h.out, uint64(payments))
	h.out = appendText(h.out, err)
	return nil
}

// count reads a length and refuses one beyond most.
func (h *hop) count(most int) (int, error) {
	var b [4]byte
	if _, err := io.ReadFull(h.in, b[:]); err != nil {
		return 0, err
	}
	if n := binary.LittleEndian.Uint32(b[:]); uint64(n) <= uint64(most) {
		return int(n), nil
	}
	return 0, fmt.Errorf("a length of the hop is beyond %d", most)
}

func (h *hop) text() (string, error) {
	n, err := h.count(hopText)
	if err != nil {
		return "", err
	}
	raw := make([]byte, n)
	_, err = io.ReadFull(h.in, raw)
	return string(raw), err
}

func appendText(b []byte, err error) []byte {
	var text string
	if err != nil {
		text = err.Error()
		text = text[:min(len(text), hopText)]
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(len(text)))
	return append(b, text...)
}

func appendOrders(b []byte, orders []Order) []byte {
	b = append(b, opSend)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(orders)))
	for i := range orders {
		o := &orders[i]
		b = append(b, o.Key[:]...)
		for _, v := range [...]int64{o.From, o.To, o.Amount} {
			b = binary.LittleEndian.AppendUint64(b, uint64(v))
		}
	}
	return b
}

// readOrders reads n orders into into, which it may reuse.
func readOrders(r io.Reader, into []Order, n int) ([]Order, error) {
	into = into[:0]
	var raw [orderBytes]byte
	for range n {
		if _, err := io.ReadFull(r, raw[:]); err != nil {
			return nil, err
		}
		at := func(i int) int64 { return int64(binary.LittleEndian.Uint64(raw[i:])) }
		into = append(into, Order{Key: [16]byte(raw[:16]), From: at(16), To: at(24), Amount: at(32)})
	}
	return into, nil
}

func appendOutcomes(b []byte, outcomes []error) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(outcomes)))
	var first error
	for _, err := range outcomes {
		v := byte(0)
		if err != nil {
			v = 1
			if first == nil {
				first = err
			}
		}
		b = append(b, v)
	}
	return appendText(b, first)
}

// send takes one group over and returns how many of it are committed, and the
// first error of the others.
func (h *hop) send(orders []Order) (done int, text string, err error) {
	h.out = appendOrders(h.out[:0], orders)
	if err := h.exchange(hopAnswerMax); err != nil {
		return 0, "", err
	}
	n, err := h.count(hopOrders)
	if err != nil || n != len(orders) {
		return 0, "", fmt.Errorf("the ledger answers %d of %d orders: %w", n, len(orders), err)
	}
	for range n {
		v, err := h.in.ReadByte()
		if err != nil {
			return 0, "", err
		}
		if v == 0 {
			done++
		}
	}
	text, err = h.text()
	return done, text, err
}

// open has the accounts opened.
func (h *hop) open(o Opening) (ids []int64, payments int64, err error) {
	raw, err := json.Marshal(o)
	if err != nil {
		return nil, 0, err
	}
	h.out = binary.LittleEndian.AppendUint32(append(h.out[:0], opOpen), uint32(len(raw)))
	h.out = append(h.out, raw...)
	if err := h.exchange(hopOpenMax); err != nil {
		return nil, 0, err
	}
	n, err := h.count(hopIDs)
	if err != nil {
		return nil, 0, err
	}
	all := make([]byte, 8*(n+1))
	if _, err := io.ReadFull(h.in, all); err != nil {
		return nil, 0, err
	}
	ids = make([]int64, n)
	for i := range ids {
		ids[i] = int64(binary.LittleEndian.Uint64(all[8*i:]))
	}
	payments = int64(binary.LittleEndian.Uint64(all[8*n:]))
	text, err := h.text()
	if err == nil && text != "" {
		err = errors.New(text)
	}
	return ids, payments, err
}

func (h *hop) exchange(within time.Duration) error {
	if err := h.conn.SetDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	_, err := h.conn.Write(h.out)
	return err
}

// reachHop dials until the ledger's process listens.
func reachHop(ctx context.Context, socket string) (*hop, error) {
	ctx, cancel := context.WithTimeout(ctx, readyMax)
	defer cancel()
	for {
		h, err := dialHop(ctx, socket)
		if err == nil {
			return h, nil
		}
		if lifecycle.Pause(ctx, poll) != nil {
			return nil, fmt.Errorf("the ledger does not listen: %w", err)
		}
	}
}
