package prove

import (
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/money"
)

func TestMain(m *testing.M) { pgtest.VerifyTestMain(m) }

func TestNames(t *testing.T) {
	t.Parallel()
	require.Equal(t, "pay_0000000000001", paymentID(1))
	require.Equal(t, "M000000000000ZA12", reference(31, 12))
	rapid.Check(t, func(t *rapid.T) {
		id, n := rapid.Int64Range(1, 1<<62).Draw(t, "id"), rapid.Int64Range(0, 30_000).Draw(t, "n")
		gotID, gotN, ok := readReference(reference(id, n))
		require.True(t, ok)
		require.Equal(t, id, gotID)
		require.Equal(t, n, gotN)
	})
	for _, bad := range []string{
		"", "M", "M0000000000001A1", "M0000000000000A1", "M0000000000001A01", "M0000000000001A-1", "M000000000000iA1", "MZZZZZZZZZZZZZA1",
		"M0000000000001A99999", "N0000000000001A1", "M0000000000001B1", strings.Repeat("M", 40),
	} {
		_, _, ok := readReference(bad)
		require.Equal(t, bad == "M0000000000001A1", ok, bad)
	}
}

// Every line of the law balances whatever the amounts are, and needs what it posts.
func TestTheLawFits(t *testing.T) {
	t.Parallel()
	require.Greater(t, len(moves), 90)
	amount, charge := money.Int(100), money.Int(3)
	for m, ways := range moves {
		require.False(t, final(m.from) && m.from != m.to, "the law lets a final state change: %v", m)
		for _, legs := range ways {
			for _, x := range []int64{0, 7, 100} {
				var made []paid
				for _, l := range legs {
					n := map[term]money.Amount{principal: amount, fee: charge, both: money.Int(103), free: money.Int(x), principalFr: money.Int(100 - x)}[l.amount]
					if !n.IsZero() {
						made = append(made, paid{from: l.from, to: l.to, amount: n})
					}
				}
				cost, ok := fit(legs, amount, charge, made)
				require.True(t, ok, "%v %v with %d", m, legs, x)
				for _, l := range legs {
					if l.amount == free {
						require.Equal(t, money.Int(x), cost, "%v", m)
					}
				}
				for i := range made {
					less := append(append([]paid{}, made[:i]...), made[i+1:]...)
					more := append([]paid{}, made...)
					more[i].amount = money.Int(5000)
					turned := append([]paid{}, made...)
					turned[i].from, turned[i].to = turned[i].to, turned[i].from
					_, ok := fit(legs, amount, charge, turned)
					require.False(t, ok, "%v: turned round", m)
					if l := legAt(legs, made[i]); l.amount == free {
						continue // only the moment knew how much
					}
					_, ok = fit(legs, amount, charge, less)
					require.False(t, ok && x != 100, "%v: one posting less", m)
					_, ok = fit(legs, amount, charge, more)
					require.False(t, ok, "%v: another amount", m)
				}
				_, ok = fit(legs, amount, charge, append(made, paid{from: "from", to: "to", amount: money.Int(1)}))
				require.False(t, ok, "%v: one posting more", m)
			}
		}
	}
}

func legAt(legs []leg, p paid) leg {
	for _, l := range legs {
		if l.from == p.from && l.to == p.to {
			return l
		}
	}
	return leg{}
}

// Gaps are faults but for what histories left out: ADR 0015.
func TestGapsOfHistoriesAreAllowed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		ids   []int64
		steps bool
		step  int64
		want  int64
	}{
		"no gap":                     {[]int64{1, 2, 3}, true, 1, 0},
		"one missing":                {[]int64{1, 3, 4}, true, 1, 1},
		"the first missing":          {[]int64{2, 3}, true, 1, 1},
		"a history":                  {[]int64{1, 2, 3 + stepApart, 4 + stepApart}, true, 1, 0},
		"two histories at once":      {[]int64{1, 2 + 2*stepApart}, true, 1, 0},
		"three, and two are written": {[]int64{1, 2 + 3*stepApart}, true, 1, 1},
		"a history and one missing":  {[]int64{1, 2, 4 + stepApart}, true, 1, 1},
		"accounts":                   {[]int64{2, 4, 6 + 2*stepApart}, true, 2, 0},
		"transitions":                {[]int64{1, 2, 11, 12, 21}, false, 1, 0},
		"transitions, one more":      {[]int64{1, 2, 12}, false, 1, 1},
		"another shard":              {[]int64{1, 2, 1<<48 | 1, 1<<48 | 2}, true, 1, 0},
		"twice":                      {[]int64{1, 2, 2}, true, 1, 1},
	} {
		p := &prover{checks: map[string]*Check{}, steps: map[int64]int64{0: 2}, lost: []span{{3, 10}, {13, 20}}}
		s := p.newIDs("payment", c.step, c.steps)
		for _, id := range c.ids {
			s.next(id, "")
		}
		require.Equal(t, c.want, p.out.FaultCount, "%s: %+v", name, p.out.Findings)
	}
}

// What does not fit into memory is sorted on disk, and comes out as one list.
func TestTheSpoolSorts(t *testing.T) {
	t.Parallel()
	for _, most := range []int{1, 7, 1000} {
		s := newSpool(t.TempDir(), most)
		var want [200]int
		for range 500 {
			id := rand.Int64N(200)
			want[id]++
			require.NoError(t, s.add(entry{Payment: id, Effect: Effect{Reference: reference(id+1, 0), Amount: money.Int(id), At: time.UnixMicro(1)}}))
		}
		require.NoError(t, s.rewind())
		for id := range int64(200) {
			for range want[id] {
				e, err := s.next(id)
				require.NoError(t, err)
				require.NotNil(t, e)
				require.Equal(t, id, e.Payment)
				require.Equal(t, money.Int(id), e.Amount)
			}
			e, err := s.next(id)
			require.NoError(t, err)
			require.Nil(t, e)
		}
		s.close()
	}
}

func TestRowsAreReadWithoutTrust(t *testing.T) {
	t.Parallel()
	r := row{v: [][]byte{[]byte("-12"), []byte("12.5"), nil, []byte("9223372036854775807"), []byte("2026-11-22 07:00:00.123456+00"), []byte("infinity")}}
	require.Equal(t, int64(-12), r.int(0))
	require.Equal(t, int64(9223372036854775807), r.int(3))
	require.Zero(t, r.int(2))
	require.Equal(t, "2026-11-22T07:00:00.123456Z", stamp(r.time(4)))
	require.True(t, r.time(5).IsZero())
	require.Zero(t, r.bad)
	r.amount(1)
	require.Equal(t, 2, r.bad)
	p := &prover{checks: map[string]*Check{}}
	huge, err := money.ParseMinor(new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 127), big.NewInt(1)).String())
	require.NoError(t, err)
	require.Equal(t, huge, p.add(huge, money.Int(1)))
	require.Equal(t, int64(1), p.out.FaultCount, "a sum that does not fit is a fault, not a wrong figure")
}

// Both attempts of a failed payment have executed, one stands as its late outcome, and
// the other comes back. That it executed is told; that it came back is no money without
// an owner, whereas what comes back of the late one and is no return must be booked so.
func TestWhatComesBackOfAnotherAttemptIsNoStray(t *testing.T) {
	t.Parallel()
	at := time.Now().Add(-time.Hour)
	for back, strays := range map[int64]int{1: 0, 2: 1} {
		p := &prover{
			at: time.Now(), checks: map[string]*Check{}, rails: map[string]*rail{}, strays: map[stray]*strayCount{},
			runs: map[string]time.Time{"bank-ab": time.Now()},
		}
		x := &payment{id: 31, kind: 2, asset: "CZK", amount: money.Int(800), state: failed}
		for n := range int64(2) {
			x.attempts = append(x.attempts, attempt{n: n + 1, channel: "bank-ab", reference: reference(31, n+1)})
		}
		x.children = []child{{id: 32, kind: latePayout, asset: "CZK", link: reference(31, 2), amount: x.amount}}
		moved := func(n int64, direction string) entry {
			return entry{Payment: 31, Attempt: n, Channel: "bank-ab", Effect: Effect{
				Reference: reference(31, n), Direction: direction, Return: direction == "in", Amount: x.amount, Asset: "CZK", At: at,
			}}
		}
		p.outsideSent(x, []entry{moved(1, "out"), moved(2, "out"), moved(back, "in")})
		require.NoError(t, p.closeStrays(t.Context()))
		told := 0
		for _, f := range p.out.Findings {
			if strings.Contains(f.Detail, "more than it is booked") {
				told++
			}
		}
		require.Equal(t, strays, told, "%+v", p.out.Findings)
		require.Len(t, p.out.Findings, 2+strays, "the execution that is not booked, and that there are two: %+v", p.out.Findings)
	}
}

func FuzzFileOfBooks(f *testing.F) {
	f.Add("{\"reference\":\"x\",\"direction\":\"in\",\"amount\":\"1\",\"asset\":\"CZK\",\"executed_at\":\"2026-01-01T00:00:00Z\"}\n{\"end\":1}\n")
	f.Add("{\"end\":0}\n")
	f.Add("{\"end\":0}\n{}\n")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		n := 0
		err := readLines(t.Context(), strings.NewReader(text), func(e Effect) error {
			n++
			return e.valid()
		})
		if err == nil {
			require.Contains(t, text, "\"end\"", "a file without its end is not whole")
		}
	})
}
