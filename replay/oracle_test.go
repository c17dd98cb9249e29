package replay

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/moneta-pay/moneta/money"
)

// record makes a row from a signed amount and the balance after it.
func record(signed, balance int64) *Row {
	amount := signed
	if amount < 0 {
		amount = -amount
	}
	return &Row{Amount: money.Int(amount), Credit: signed > 0, HasBalance: true, Balance: money.Int(balance)}
}

func TestClosingOf(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rows     []*Row
		previous int64
		kind     ClosingKind
		closing  int64
	}{
		"one row":                     {[]*Row{record(5, 105)}, 0, ClosingTail, 105},
		"file order is not the order": {[]*Row{record(-30, 75), record(5, 105)}, 100, ClosingTail, 75},
		"rounded records":             {[]*Row{record(-30, 70), record(5, 110)}, 100, ClosingTail, 70},
		"nets to zero":                {[]*Row{record(-30, 100), record(30, 130)}, 100, ClosingWalk, 100},
		"nets to zero, from above":    {[]*Row{record(-30, 100), record(30, 130)}, 130, ClosingWalk, 130},
		"returns to a middle":         {[]*Row{record(50, 150), record(-50, 150), record(50, 200)}, 100, ClosingWalk, 150},
		"nets to zero, wrong start":   {[]*Row{record(-30, 100), record(30, 130)}, 555, ClosingBroken, 0},
		"does not join":               {[]*Row{record(-30, 75), record(5, 305)}, 100, ClosingBroken, 0},
		"a row without a record":      {[]*Row{record(5, 105), {Amount: money.Int(5)}}, 100, ClosingNone, 0},
	} {
		got := closingOf(c.rows, money.Int(c.previous), money.Int(15))
		require.Equal(t, Closing{c.kind, money.Int(c.closing)}, got, name)
	}
}

// Whatever order the file has, a day whose rows form one chain closes at the
// chain's end; and a record off by more than the rounding never passes unseen.
func TestClosingOfAnyOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		start := rapid.Int64Range(-1_000, 1_000).Draw(t, "start")
		moves := rapid.SliceOfN(rapid.Int64Range(-40, 40).Filter(func(v int64) bool { return v != 0 }), 1, 9).Draw(t, "moves")
		balance := start * 100
		var rows []*Row
		for _, m := range moves {
			balance += m * 100
			rows = append(rows, record(m*100, balance))
		}
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		rng.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
		got := closingOf(rows, money.Int(start*100), money.Int(15))
		require.True(t, got.Found())
		require.Equal(t, money.Int(balance), got.Balance)

		rows[rng.IntN(len(rows))].Balance = money.Int(1_000_000)
		moved := closingOf(rows, money.Int(start*100), money.Int(15))
		require.False(t, moved.Found() && moved.Balance == money.Int(balance) && len(rows) == 1)
		if len(rows) > 1 {
			require.True(t, !moved.Found() || moved.Balance == money.Int(1_000_000))
		}
	})
}

// A hostile day must cost bounded work.
func TestClosingOfManyEqualRows(t *testing.T) {
	t.Parallel()
	var rows []*Row
	for range 4_000 {
		rows = append(rows, record(1, 10), record(-1, 10), record(2, 11))
	}
	require.Equal(t, ClosingBroken, closingOf(rows, money.Int(10), money.Int(15)).Kind)
}

func TestPercentile(t *testing.T) {
	t.Parallel()
	var s samples
	require.Zero(t, s.percentile(99))
	for i := range 200 {
		s.add(time.Duration(i+1) * time.Millisecond)
	}
	require.Equal(t, "100.000", s.percentile(50).String())
	require.Equal(t, "198.000", s.percentile(99).String())
	for range 2 * samplesMax {
		s.add(time.Millisecond)
	}
	require.Len(t, s.kept, samplesMax)
	require.Equal(t, "1.000", s.percentile(50).String())
	require.Equal(t, "-0.005", Thousandths(-5).String())
}
