package fault

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/intake"
)

const tenant = pay.TenantID(1)

// flow is one story that a payment lives, and what its rows show when nothing was
// damaged: a story that took another way would prove nothing about this one.
type flow struct {
	name string
	// fewest is how many side effects it has at least.
	fewest int
	run    func(s *story) error
	// shows is a condition over transitions t of the payments p of this story.
	shows string
	// fresh begins each run with a new process: one that has sent too much again
	// would wait for its budget.
	fresh bool
}

// story is one run of a flow.
type story struct {
	w   *world
	tag string
}

// flows are those of the torture programme, in its order.
var flows = []flow{
	{"accept", 4, acceptStory, `p.kind = 1 and t.transition = 22`, false},
	{"send", 1, func(s *story) error { return s.send("", "alice", "bob", 60) }, `p.kind = 1 and t.transition = 22`, false},
	{"payout", 6, func(s *story) error {
		_, err := s.payout("", 50, pay.Succeeded)
		return err
	}, `p.kind = 2 and t.transition = 7`, false},
	{"deposit", 3, func(s *story) error {
		_, err := s.deposit("", 70)
		return err
	}, `p.kind = 3 and t.transition = 14`, false},
	{"refund", 8, refundStory, `p.kind = 6 and t.transition = 7`, false},
	{"capture and release", 8, captureStory, `p.kind = 4 and t.transition = 26`, false},
	{"expiry", 2, expiryStory, `p.kind = 4 and t.transition = 26`, false},
	{"cancel", 2, cancelStory, `p.kind = 2 and t.transition = 11`, false},
	{"callback", 8, func(s *story) error {
		err := s.w.bank.behave(`{"reply_delay":{"probability":1,"min_ms":60,"max_ms":60},"callback_accepted":1,"callback_duplicate":1}`)
		if err != nil {
			return err
		}
		_, err = s.payout("", 51, pay.Succeeded)
		return err
	}, `p.kind = 2 and t.transition = 7`, false},
	{"query resolution", 6, func(s *story) error {
		if err := s.w.bank.behave(`{"lose_reply":1,"callback_lose":1}`); err != nil {
			return err
		}
		_, err := s.payout("", 52, pay.Succeeded)
		return err
	}, `p.kind = 2 and t.transition = 6`, false},
	{"resend", 8, resendStory, `p.kind = 2 and t.transition = 9`, true},
	{"late outcome", 6, lateStory, `p.kind = 2 and t.transition = 8`, false},
	{"statement match", 8, matchStory, `t.transition in (12, 15)`, false},
	{"compensation", 1, compensationStory, `p.kind = 13 and t.transition = 21`, false},
}

// fund opens the accounts and gives alice something to spend.
func (w *world) fund() error {
	s := &story{w, "fund"}
	for _, name := range []string{"cash", "alice", "bob"} {
		if err := s.open(name); err != nil {
			return err
		}
	}
	return s.send("", "cash", "alice", 1_000_000)
}

func (s *story) open(name string) error {
	kind := "user"
	if name == "cash" {
		kind = "house"
	}
	r, err := s.w.ask("open "+name, func(ctx context.Context, l *life, _ int) (commit.Result, error) {
		return l.intake.OpenAccount(ctx, &intake.OpenRequest{Tenant: tenant, Key: "account " + name, Asset: "CZK", Name: name, Kind: kind, House: true})
	})
	if err != nil {
		return err
	}
	id := pay.AccountID(r.Account.ID).String()
	if was := s.w.accounts[name]; was != "" && was != id {
		return fmt.Errorf("the account %s was opened twice: %s and %s", name, was, id)
	}
	s.w.accounts[name] = id
	return nil
}

// accept asks for a payment until it is answered, and then once more: the same key
// is the same payment.
func (s *story) accept(name string, r intake.Request) (pay.Payment, error) {
	r.Tenant, r.Asset, r.House, r.Remittance = tenant, "CZK", true, s.tag+name
	key := s.tag + name + r.Kind
	ask := func() (commit.Result, error) {
		return s.w.ask(key, func(ctx context.Context, l *life, try int) (commit.Result, error) {
			again := r
			again.Key = key
			if try > 0 {
				again.Key += strconv.Itoa(try)
			}
			return l.intake.Accept(ctx, &again)
		})
	}
	first, err := ask()
	if err != nil || s.w.freshKeys {
		return first.Payment, err
	}
	again, err := ask()
	if err == nil && again.Payment.ID != first.Payment.ID {
		err = fmt.Errorf("doubled: %s is %s and %s", key, first.Payment.ID, again.Payment.ID)
	}
	return first.Payment, err
}

// moves notes what the story owes the books.
func (s *story) moves(account string, amount int64) { s.w.want[account] += amount }

// leaves notes how often the bank must have moved what has this name.
func (s *story) leaves(name string, times int) { s.w.outside[s.tag+name] = times }

// until waits for a payment to be in a state.
func (s *story) until(id pay.ID, states ...pay.State) (pay.State, error) {
	var state pay.State
	for began := time.Now(); time.Since(began) < s.w.patience; pause() {
		err := s.w.db.QueryRow(s.w.ctx, `select to_state from transitions where payment = $1 order by seq desc limit 1`, int64(id)).Scan(&state)
		switch {
		case err == nil && slices.Contains(states, state):
			return state, nil
		case err == nil && state.Final():
			return state, fmt.Errorf("%s is %s, which nobody expected", id, state)
		}
	}
	return state, fmt.Errorf("stuck: %s is still %s after %s", id, state, s.w.patience)
}

func (s *story) send(name, from, to string, amount int64) error {
	p, err := s.accept(name, intake.Request{Kind: "send", From: s.w.accounts[from], To: s.w.accounts[to], Amount: strconv.FormatInt(amount, 10)})
	s.moves(from, -amount)
	s.moves(to, amount)
	if err == nil && p.State != pay.Succeeded {
		err = fmt.Errorf("a send is %s", p.State)
	}
	return err
}

func (s *story) payout(name string, amount int64, states ...pay.State) (pay.Payment, error) {
	s.moves("alice", -amount)
	s.leaves(name, 1)
	p, err := s.accept(name, intake.Request{
		Kind: "payout", From: s.w.accounts["alice"], Amount: strconv.FormatInt(amount, 10), Channel: "bank-ab", PayeeAccount: "123456",
	})
	if err != nil {
		return p, err
	}
	_, err = s.until(p.ID, states...)
	return p, err
}

func (s *story) deposit(name string, amount int64) (pay.Payment, error) {
	s.moves("alice", amount)
	s.leaves(name, 1)
	p, err := s.accept(name, intake.Request{Kind: "deposit", To: s.w.accounts["alice"], Amount: strconv.FormatInt(amount, 10), Channel: "bank-ab"})
	if err != nil {
		return p, err
	}
	err = s.w.bank.call(http.MethodPost, "/banks/ab/instructions", fmt.Sprintf(
		`{"reference":%q,"amount":"%d","asset":"CZK","from_account":"777","remittance":%q}`, pay.Reference(p.ID, 0), amount, s.tag+name), nil)
	if err != nil {
		return p, err
	}
	_, err = s.until(p.ID, pay.Succeeded)
	return p, err
}

// acceptStory opens an account, takes three payments, and refuses one for want of
// funds: the refusal is stored with its key, and stays one.
func acceptStory(s *story) error {
	poor := "poor " + s.tag
	if err := s.open(poor); err != nil {
		return err
	}
	refuse := func() error {
		_, err := s.accept(" poor", intake.Request{Kind: "send", From: s.w.accounts[poor], To: s.w.accounts["bob"], Amount: "5"})
		if fault.CodeOf(err) != fault.InsufficientFunds {
			return fmt.Errorf("who has nothing is not refused: %w", err)
		}
		return nil
	}
	if err := refuse(); err != nil {
		return err
	}
	if err := s.send(" a", "alice", poor, 11); err != nil {
		return err
	}
	if err := refuse(); err != nil {
		return err
	}
	return s.send(" b", "alice", "bob", 12)
}

func refundStory(s *story) error {
	d, err := s.deposit(" in", 90)
	if err != nil {
		return err
	}
	s.moves("alice", -40)
	s.leaves(" back", 1)
	p, err := s.accept(" back", intake.Request{Kind: "refund", Original: d.ID.String(), Amount: "40"})
	if err != nil {
		return err
	}
	_, err = s.until(p.ID, pay.Succeeded)
	return err
}

func (s *story) hold(amount int64, until time.Time) (pay.Payment, error) {
	return s.accept("", intake.Request{
		Kind: "hold", From: s.w.accounts["alice"], To: s.w.accounts["bob"], Amount: strconv.FormatInt(amount, 10), ExpiresAt: until,
	})
}

func (s *story) capture(h *pay.Payment, amount string) (pay.Payment, error) {
	key := s.tag + " capture " + amount
	r, err := s.w.ask(key, func(ctx context.Context, l *life, _ int) (commit.Result, error) {
		return l.intake.Capture(ctx, &intake.CaptureRequest{Hold: *h, Key: key, Amount: amount, House: true})
	})
	return r.Payment, err
}

func (s *story) cancel(id pay.ID) (commit.Result, error) {
	return s.w.ask("cancel "+id.String(), func(ctx context.Context, l *life, _ int) (commit.Result, error) {
		return l.intake.Cancel(ctx, id, "on a whim")
	})
}

// captureStory takes a hold in two parts and lets go of the rest; of another hold a
// part leaves through the channel.
func captureStory(s *story) error {
	h, err := s.hold(100, time.Time{})
	if err != nil {
		return err
	}
	s.moves("alice", -70)
	s.moves("bob", 70)
	for _, amount := range []string{"30", "40"} {
		if _, err := s.capture(&h, amount); err != nil {
			return err
		}
	}
	if _, err = s.cancel(h.ID); err != nil {
		return err
	}
	s.moves("alice", -20)
	s.leaves(" out", 1)
	o, err := s.accept(" out", intake.Request{
		Kind: "hold", From: s.w.accounts["alice"], Amount: "50", Channel: "bank-ab", PayeeAccount: "123456",
	})
	if err != nil {
		return err
	}
	c, err := s.capture(&o, "20")
	if err != nil {
		return err
	}
	if _, err := s.until(c.ID, pay.Succeeded); err != nil {
		return err
	}
	_, err = s.cancel(o.ID)
	return err
}

func expiryStory(s *story) error {
	h, err := s.hold(33, time.Now().Add(400*time.Millisecond))
	if fault.CodeOf(err) == fault.MalformedRequest { // its time was over before anybody had it
		return nil
	}
	if err != nil {
		return err
	}
	_, err = s.until(h.ID, pay.Expired)
	return err
}

func cancelStory(s *story) error {
	s.w.paused.Store(true)
	defer s.w.paused.Store(false)
	s.leaves("", 0)
	p, err := s.accept("", intake.Request{
		Kind: "payout", From: s.w.accounts["alice"], Amount: "54", Channel: "bank-ab", PayeeAccount: "123456",
	})
	if err != nil {
		return err
	}
	if _, err = s.cancel(p.ID); err != nil {
		return err
	}
	_, err = s.until(p.ID, pay.Cancelled)
	return err
}

// resendStory: the request is lost, the bank's not-found means nothing, and the same
// attempt goes out again under its reference.
func resendStory(s *story) error {
	if err := s.w.bank.behave(`{"lose_before":1}`); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		for began := time.Now(); time.Since(began) < patience; pause() {
			var doubted bool
			err := s.w.db.QueryRow(s.w.ctx, `select exists (select from transitions t join payments p on p.id = t.payment
			  where p.remittance = $1 and t.transition = 6)`, s.tag).Scan(&doubted)
			if err == nil && doubted {
				break
			}
		}
		done <- s.w.bank.behave("")
	}()
	_, err := s.payout("", 55, pay.Succeeded)
	if e := <-done; err == nil {
		err = e
	}
	return err
}

// lateStory: the bank declines in its reply, executes, and says so by callback. When
// the reply is lost, the truth comes first, and nothing was ever called failed.
func lateStory(s *story) error {
	if err := s.w.bank.behave(`{"reply_lies":1,"callback_delay":{"probability":1,"min_ms":150,"max_ms":150}}`); err != nil {
		return err
	}
	_, err := s.payout("", 56, pay.Failed, pay.Succeeded)
	if err != nil {
		return err
	}
	for began := time.Now(); ; pause() {
		var known bool
		err := s.w.db.QueryRow(s.w.ctx, `select exists (select from payments p where p.remittance = $1 and p.kind = 2 and (
		  exists (select from payments late where late.original = p.id and late.kind = 7)
		  or (select to_state from transitions t where t.payment = p.id order by seq desc limit 1) = 6))`, s.tag).Scan(&known)
		if err == nil && known {
			return nil
		}
		if time.Since(began) > patience {
			return fmt.Errorf("stuck: nobody heard that it was executed: %w", err)
		}
	}
}

// matchStory reconciles a payout and a deposit, damaged while it does.
func matchStory(s *story) error {
	if _, err := s.payout(" out", 57, pay.Succeeded); err != nil {
		return err
	}
	if _, err := s.deposit(" in", 58); err != nil {
		return err
	}
	var err error
	for began := time.Now(); time.Since(began) < patience; pause() {
		l := s.w.live()
		ctx, cancel := context.WithTimeout(s.w.ctx, 5*time.Second)
		release := context.AfterFunc(l.ctx, cancel)
		err = l.recon.Run(ctx)
		release()
		cancel()
		if err == nil && !l.dead.Load() {
			return nil
		}
	}
	return fmt.Errorf("stuck: not reconciled: %w", err)
}

// compensationStory pays for a fault of ours, once, in the name of an approval whose
// id is the key: what the approval does when the second person agrees.
func compensationStory(s *story) error {
	sum := sha256.Sum256([]byte(s.tag))
	to, err := pay.ParseAccountID(s.w.accounts["alice"])
	if err != nil {
		return err
	}
	s.moves("alice", 9)
	s.moves("comp:exp", -9)
	var once pay.ID
	for range 2 {
		r, err := s.w.ask(s.tag, func(ctx context.Context, l *life, _ int) (commit.Result, error) {
			return l.intake.Compensate(ctx, &intake.CompensationRequest{
				Tenant: tenant, To: to, Asset: "CZK", Amount: "9", Link: "incident " + s.tag, Key: pay.Key(sum[:16]),
			})
		})
		if err != nil {
			return err
		}
		if r.Payment.State != pay.Succeeded || once != 0 && r.Payment.ID != once {
			return fmt.Errorf("a compensation is %s, %s", r.Payment.ID, r.Payment.State)
		}
		once = r.Payment.ID
	}
	return nil
}
