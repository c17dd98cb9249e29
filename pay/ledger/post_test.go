package ledger_test

import (
	"fmt"
	"math"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay/ledger"
)

// reference is the ledger as a child would write it: big integers by book, the
// floors in a map, sequences counted.
type reference struct {
	balance map[ledger.BookID]*big.Int
	debits  map[ledger.BookID]int64
	credits map[ledger.BookID]int64
	floor   map[ledger.AccountID]*big.Int // absent: none
	asset   map[ledger.AccountID]money.Asset
}

var (
	lowest  = new(big.Int).Neg(new(big.Int).Lsh(big.NewInt(1), 127))
	highest = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 127), big.NewInt(1))
)

func fits(n *big.Int) bool { return n.Cmp(lowest) >= 0 && n.Cmp(highest) <= 0 }

func whole(a money.Amount) *big.Int {
	n, ok := new(big.Int).SetString(a.String(), 10)
	if !ok {
		panic("an amount that is no number")
	}
	return n
}

func (r *reference) of(b ledger.BookID) *big.Int {
	if r.balance[b] == nil {
		r.balance[b] = new(big.Int)
	}
	return r.balance[b]
}

// post predicts the code of the refusal, or moves the money.
func (r *reference) post(debit, credit ledger.BookID, amount *big.Int) fault.Code {
	if amount.Sign() <= 0 || debit == credit || r.asset[debit.Account()] != r.asset[credit.Account()] {
		return fault.Internal
	}
	after, raised := new(big.Int).Sub(r.of(debit), amount), new(big.Int).Add(r.of(credit), amount)
	if !fits(after) || !fits(raised) {
		return fault.AmountInvalid
	}
	if floor, has := r.floor[debit.Account()]; has {
		if debit.IsHeld() {
			floor = new(big.Int)
		}
		if after.Cmp(floor) < 0 {
			return fault.InsufficientFunds
		}
	}
	r.balance[debit], r.balance[credit] = after, raised
	r.debits[debit]++
	r.credits[credit]++
	return ""
}

func (r *reference) unpost(t ledger.Transfer) {
	r.balance[t.Debit] = new(big.Int).Add(r.of(t.Debit), whole(t.Amount))
	r.balance[t.Credit] = new(big.Int).Sub(r.of(t.Credit), whole(t.Amount))
	r.debits[t.Debit]--
	r.credits[t.Credit]--
}

func (r *reference) compare(t *rapid.T, books map[ledger.AccountID]*ledger.Books) {
	sums := map[money.Asset]*big.Int{}
	for id, b := range books {
		for book, have := range map[ledger.BookID]ledger.Book{id.Available(): b.Available, id.Held(): b.Held} {
			require.Equal(t, r.of(book).String(), have.Balance.String(), "balance of %d", book)
			require.Equal(t, r.debits[book], have.DebitSeq, "debits of %d", book)
			require.Equal(t, r.credits[book], have.CreditSeq, "credits of %d", book)
			if sums[b.Asset] == nil {
				sums[b.Asset] = new(big.Int)
			}
			sums[b.Asset].Add(sums[b.Asset], whole(have.Balance))
		}
		if !b.Unlimited {
			require.GreaterOrEqual(t, b.Held.Balance.Sign(), 0)
		}
	}
	for asset, sum := range sums {
		require.Zero(t, sum.Sign(), "%s sums to %s", asset, sum)
	}
}

func drawBooks(t *rapid.T) (*reference, map[ledger.AccountID]*ledger.Books, []ledger.BookID) {
	r := &reference{
		balance: map[ledger.BookID]*big.Int{}, debits: map[ledger.BookID]int64{}, credits: map[ledger.BookID]int64{},
		floor: map[ledger.AccountID]*big.Int{}, asset: map[ledger.AccountID]money.Asset{},
	}
	books := map[ledger.AccountID]*ledger.Books{}
	var ids []ledger.BookID
	n := rapid.IntRange(2, 5).Draw(t, "accounts")
	for i := range n {
		id := ledger.AccountID(2 * (i + 1))
		a := ledger.Account{ID: id, Kind: ledger.User, Asset: "CZK", Unlimited: i == 0}
		if i == n-1 && rapid.Bool().Draw(t, "foreign") {
			a.Asset = "EUR"
		}
		if !a.Unlimited {
			a.Floor = money.Int(-rapid.Int64Range(0, 3).Draw(t, "limit"))
			r.floor[id] = whole(a.Floor)
		}
		r.asset[id] = a.Asset
		books[id] = &ledger.Books{Account: a}
		ids = append(ids, id.Available(), id.Held())
	}
	return r, books, ids
}

func drawAmount(t *rapid.T) money.Amount {
	switch rapid.IntRange(0, 5).Draw(t, "size") {
	case 0:
		return money.FromParts(rapid.Int64Range(math.MaxInt64-1, math.MaxInt64).Draw(t, "hi"), rapid.Uint64().Draw(t, "lo"))
	case 1:
		return money.Int(rapid.Int64Range(-2, 0).Draw(t, "odd"))
	default:
		return money.Int(rapid.Int64Range(1, 6).Draw(t, "amount"))
	}
}

// TestPostAgainstTheReference: for any postings between any books, Post agrees
// with big integers on what it refuses and on what it moves, a refusal moves
// nothing, and taking back in reverse order restores every book.
func TestPostAgainstTheReference(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r, books, ids := drawBooks(t)
		var posted []ledger.Transfer
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "step") {
			case 0:
				id := rapid.SampledFrom(ids).Draw(t, "limited").Account()
				if b := books[id]; !b.Unlimited {
					b.Floor = money.Int(-rapid.Int64Range(0, 9).Draw(t, "limit"))
					r.floor[id] = whole(b.Floor)
				}
			case 1:
				if len(posted) > 0 {
					last := posted[len(posted)-1]
					posted = posted[:len(posted)-1]
					ledger.Unpost(books[last.Debit.Account()], books[last.Credit.Account()], &last)
					r.unpost(last)
				}
			default:
				x := ledger.Transfer{
					Debit: rapid.SampledFrom(ids).Draw(t, "debit"), Credit: rapid.SampledFrom(ids).Draw(t, "credit"), Amount: drawAmount(t),
				}
				want := r.post(x.Debit, x.Credit, whole(x.Amount))
				err := ledger.Post(books[x.Debit.Account()], books[x.Credit.Account()], &x)
				if want != "" {
					require.ErrorIs(t, err, want, fmt.Sprint(x))
					require.Zero(t, x.DebitSeq)
					break
				}
				require.NoError(t, err)
				require.Equal(t, r.of(x.Debit).String(), x.DebitBalance.String())
				require.Equal(t, r.of(x.Credit).String(), x.CreditBalance.String())
				require.Equal(t, r.debits[x.Debit], x.DebitSeq)
				require.Equal(t, r.credits[x.Credit], x.CreditSeq)
				posted = append(posted, x)
			}
			r.compare(t, books)
		}
		for i := len(posted) - 1; i >= 0; i-- {
			ledger.Unpost(books[posted[i].Debit.Account()], books[posted[i].Credit.Account()], &posted[i])
			r.unpost(posted[i])
		}
		r.compare(t, books)
		for _, b := range books {
			require.Zero(t, b.Available)
			require.Zero(t, b.Held)
		}
	})
}

func account(id ledger.AccountID, floor int64) *ledger.Books {
	return &ledger.Books{Account: ledger.Account{ID: id, Kind: ledger.User, Asset: "CZK", Floor: money.Int(floor)}}
}

func TestOverdraftEndsExactlyAtTheFloor(t *testing.T) {
	t.Parallel()
	a, b := account(2, -100), account(4, 0)
	x := ledger.Transfer{Debit: a.ID.Available(), Credit: b.ID.Available(), Amount: money.Int(100)}
	require.NoError(t, ledger.Post(a, b, &x))
	require.Equal(t, money.Int(-100), a.Available.Balance)
	one := x
	one.Amount = money.Int(1)
	err := ledger.Post(a, b, &one)
	require.ErrorIs(t, err, fault.InsufficientFunds)
	require.Equal(t, money.Int(-100), a.Available.Balance)

	// A floor taken back below what is owed forbids paying, not receiving.
	a.Floor = money.Int(0)
	require.ErrorIs(t, ledger.Post(a, b, &one), fault.InsufficientFunds)
	back := ledger.Transfer{Debit: b.ID.Available(), Credit: a.ID.Available(), Amount: money.Int(30)}
	require.NoError(t, ledger.Post(b, a, &back))
	require.Equal(t, money.Int(-70), a.Available.Balance)
}

func TestHeldNeverFallsBelowZeroWhateverTheFloor(t *testing.T) {
	t.Parallel()
	a, clearing := account(2, -1000), &ledger.Books{Account: ledger.Account{ID: 4, Kind: ledger.System, Asset: "CZK", Unlimited: true}}
	hold := ledger.Transfer{Debit: a.ID.Available(), Credit: a.ID.Held(), Amount: money.Int(50)}
	require.NoError(t, ledger.Post(a, a, &hold), "a hold stays within the account")
	require.Equal(t, money.Int(-50), a.Available.Balance)
	require.Equal(t, money.Int(50), a.Held.Balance)
	out := ledger.Transfer{Debit: a.ID.Held(), Credit: clearing.ID.Available(), Amount: money.Int(51)}
	require.ErrorIs(t, ledger.Post(a, clearing, &out), fault.InsufficientFunds)
	out.Amount = money.Int(50)
	require.NoError(t, ledger.Post(a, clearing, &out))
	require.True(t, a.Held.Balance.IsZero())
}

func TestUnpostRefusesWhatIsNotTheNewest(t *testing.T) {
	t.Parallel()
	a, b := account(2, -1000), account(4, 0)
	first := ledger.Transfer{Debit: a.ID.Available(), Credit: b.ID.Available(), Amount: money.Int(5)}
	require.NoError(t, ledger.Post(a, b, &first))
	second := ledger.Transfer{Debit: a.ID.Available(), Credit: b.ID.Available(), Amount: money.Int(7)}
	require.NoError(t, ledger.Post(a, b, &second))
	require.Panics(t, func() { ledger.Unpost(a, b, &first) })
	require.Equal(t, money.Int(-12), a.Available.Balance)
	ledger.Unpost(a, b, &second)
	ledger.Unpost(a, b, &first)
	require.Zero(t, a.Available)
	require.Zero(t, b.Available)
}

// One book that has moved on since, or whose balance would not fit, is enough.
func TestUnpostLooksAtBothBooks(t *testing.T) {
	t.Parallel()
	between := func(from, to *ledger.Books) *ledger.Transfer {
		x := &ledger.Transfer{Debit: from.ID.Available(), Credit: to.ID.Available(), Amount: money.Int(5)}
		require.NoError(t, ledger.Post(from, to, x))
		return x
	}
	for name, spoil := range map[string]func(a, b, c *ledger.Books){
		"the debited book has moved on":  func(a, _, c *ledger.Books) { between(a, c) },
		"the credited book has moved on": func(_, b, c *ledger.Books) { between(c, b) },
		"the debited would not fit":      func(a, _, _ *ledger.Books) { a.Available.Balance = money.Max },
		"the credited would not fit":     func(_, b, _ *ledger.Books) { b.Available.Balance = money.Min },
	} {
		a, b, c := account(2, -1000), account(4, -1000), account(6, -1000)
		first := between(a, b)
		spoil(a, b, c)
		wanted := [2]ledger.Books{*a, *b}
		require.Panics(t, func() { ledger.Unpost(a, b, first) }, name)
		require.Equal(t, wanted, [2]ledger.Books{*a, *b}, name)
	}
}

func TestBooksOfAnAccount(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		id := ledger.AccountID(rapid.Int64Range(1, math.MaxInt64/2).Draw(t, "n") * 2)
		require.False(t, id.Available().IsHeld())
		require.True(t, id.Held().IsHeld())
		require.Equal(t, id, id.Available().Account())
		require.Equal(t, id, id.Held().Account())
	})
	require.Equal(t, []string{"user", "house", "system", ""},
		[]string{ledger.User.String(), ledger.House.String(), ledger.System.String(), ledger.Kind(9).String()})
}

// BenchmarkPost measures one posting in memory.
func BenchmarkPost(b *testing.B) {
	from, to := &ledger.Books{Account: ledger.Account{ID: 2, Asset: "CZK", Unlimited: true}}, account(4, 0)
	b.ReportAllocs()
	for b.Loop() {
		x := ledger.Transfer{Debit: 2, Credit: 4, Amount: money.Int(1)}
		if err := ledger.Post(from, to, &x); err != nil {
			b.Fatal(err)
		}
	}
}
