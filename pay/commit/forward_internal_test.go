package commit

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/ledger"
)

// peer plays a leader over a real socket: it counts what it takes.
type peer struct {
	*httptest.Server
	taken atomic.Int64
}

// newPeer answers its nth request in the nth way, and all that follow in the last.
func newPeer(t *testing.T, ways ...func(w http.ResponseWriter, facts []Fact)) *peer {
	t.Helper()
	p := &peer{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var facts []Fact
		if err := json.NewDecoder(r.Body).Decode(&facts); err != nil {
			t.Error(err)
		}
		ways[min(int(p.taken.Add(1)), len(ways))-1](w, facts)
	}))
	t.Cleanup(p.Close)
	return p
}

// dies takes the Facts and is gone without an answer.
func dies(http.ResponseWriter, []Fact) { panic(http.ErrAbortHandler) }

func answers(w http.ResponseWriter, facts []Fact) {
	_ = json.NewEncoder(w).Encode(make([]wireOutcome, len(facts)))
}

func refuses(w http.ResponseWriter, _ []Fact) {
	http.Error(w, "not the leader", http.StatusMisdirectedRequest)
}

// stander is a node that stands by and is told who leads.
type stander struct {
	*Node
	t *testing.T
}

func (s *stander) sees(p *peer, id byte) {
	now := time.Now()
	s.Node.sees(&leaderSeen{id: [16]byte{id}, known: true, url: p.URL, at: now, beatAt: now})
}

// silent is another look at a leader that does not beat.
func (s *stander) silent() {
	again := *s.leader.Load()
	again.at = time.Now()
	s.Node.sees(&again)
}

func (s *stander) submit(f Fact, within time.Duration) (code chan fault.Code) {
	code = make(chan fault.Code, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), within)
		defer cancel()
		code <- fault.CodeOf(s.SubmitAll(ctx, []Fact{f})[0].Err)
	}()
	return code
}

func (s *stander) wants(code chan fault.Code, want fault.Code) {
	s.t.Helper()
	select {
	case got := <-code:
		require.Equal(s.t, want, got)
	case <-time.After(20 * time.Second):
		s.t.Fatal("no answer")
	}
}

func took(t *testing.T, p *peer, n int64) {
	t.Helper()
	require.Eventually(t, func() bool { return p.taken.Load() == n }, 10*time.Second, time.Millisecond)
}

var (
	keyed   = Fact{Payment: &pay.Fact{Kind: pay.Accept, New: &pay.Payment{Kind: pay.Send, Amount: money.Int(1)}}}
	unkeyed = Fact{Account: &ledger.AccountFact{Kind: ledger.SetFloor, ID: 2}}
)

// TestOnceMoreWhenTheLeaderDies: to the next leader, with the same Facts, and not
// to the dead one although its row still stands.
func TestOnceMoreWhenTheLeaderDies(t *testing.T) {
	t.Parallel()
	first, second := newPeer(t, dies), newPeer(t, answers)
	s := &stander{New(Config{}), t}
	s.sees(first, 1)
	code := s.submit(keyed, 10*time.Second)
	took(t, first, 1)
	for range 5 {
		s.silent()
		pause(t.Context(), watchEvery)
	}
	s.sees(second, 2)
	s.wants(code, "")
	require.EqualValues(t, 1, first.taken.Load())
	require.EqualValues(t, 1, second.taken.Load())
}

// TestOnceMoreToALivingLeader: the answer was lost, the leader beats on.
func TestOnceMoreToALivingLeader(t *testing.T) {
	t.Parallel()
	p := newPeer(t, dies, answers)
	s := &stander{New(Config{}), t}
	s.sees(p, 1)
	code := s.submit(keyed, 10*time.Second)
	took(t, p, 1)
	for len(code) == 0 {
		s.sees(p, 1)
		pause(t.Context(), time.Millisecond)
	}
	s.wants(code, "")
	require.EqualValues(t, 2, p.taken.Load())
}

// TestNeverAThirdTime, whatever beats and whoever leads.
func TestNeverAThirdTime(t *testing.T) {
	t.Parallel()
	first, second := newPeer(t, dies), newPeer(t, dies)
	s := &stander{New(Config{}), t}
	s.sees(first, 1)
	code := s.submit(keyed, 10*time.Second)
	took(t, first, 1)
	s.sees(second, 2)
	began := time.Now()
	s.wants(code, fault.CommitUnknown)
	require.Less(t, time.Since(began), 5*time.Second, "told at once, not at the deadline")
	require.EqualValues(t, 2, first.taken.Load()+second.taken.Load())
}

// TestNobodyFollows: it was sent once, and the caller is told that nobody knows.
func TestNobodyFollows(t *testing.T) {
	t.Parallel()
	p := newPeer(t, dies)
	s := &stander{New(Config{}), t}
	s.sees(p, 1)
	code := s.submit(keyed, 600*time.Millisecond)
	took(t, p, 1)
	for len(code) == 0 {
		s.silent()
		pause(t.Context(), 20*time.Millisecond)
	}
	s.wants(code, fault.CommitUnknown)
	require.EqualValues(t, 1, p.taken.Load())
}

// TestWithoutAKeyNeverTwice: a floor that may have been set is not set again.
func TestWithoutAKeyNeverTwice(t *testing.T) {
	t.Parallel()
	p := newPeer(t, dies)
	s := &stander{New(Config{}), t}
	s.sees(p, 1)
	began := time.Now()
	s.wants(s.submit(unkeyed, 10*time.Second), fault.CommitUnknown)
	require.Less(t, time.Since(began), 5*time.Second)
	require.EqualValues(t, 1, p.taken.Load())
}

// tries counts the sends that came to an end.
type tries struct {
	http.RoundTripper
	n atomic.Int64
}

func (c *tries) RoundTrip(r *http.Request) (*http.Response, error) {
	defer c.n.Add(1)
	return c.RoundTripper.RoundTrip(r)
}

func (c *tries) wait(t *testing.T, n int64) {
	t.Helper()
	require.Eventually(t, func() bool { return c.n.Load() >= n }, 30*time.Second, time.Millisecond)
}

// TestARefusalIsNoSend: who does not lead, and who is not there, took nothing.
func TestARefusalIsNoSend(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]Fact{"keyed": keyed, "unkeyed": unkeyed} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			refusing, gone, leader := newPeer(t, refuses), newPeer(t, dies), newPeer(t, answers)
			gone.Close()
			s := &stander{New(Config{}), t}
			ended := &tries{RoundTripper: s.forward.client.Transport}
			s.forward.client.Transport = ended
			s.sees(refusing, 1)
			code := s.submit(f, 40*time.Second)
			ended.wait(t, 1) // it is answered: a new leader cuts off nothing
			s.sees(gone, 2)
			ended.wait(t, 2)
			s.sees(leader, 3)
			s.wants(code, "")
			s.sees(gone, 2)
			s.wants(s.submit(f, 300*time.Millisecond), fault.NotLeader)
		})
	}
}
