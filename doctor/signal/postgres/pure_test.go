package postgres_test

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor/signal/postgres"
)

// silent is a server that takes connections and says nothing.
func silent(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		var all []net.Conn
		for {
			c, err := l.Accept()
			if err != nil {
				for _, c := range all {
					_ = c.Close()
				}
				return
			}
			all = append(all, c)
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}

func TestMask(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"select 1": "select ?",
		"select * from t1 where a='x''y' and b2=3.5e7": "select * from t1 where a=? and b2=?",
		"update  t\n set\tname = $1":                   "update t set name = $1",
		"select E'it\\'s' , 'z'":                       "select E? , ?",
		"select like'a\\' , 'secret'":                  "select like? , ?",
		"select $$secret$$, $a$ $$ secret $a$ x":       "select ?, ? x",
		"select 'cut off secr":                         "select ?",
		"select $q$cut off secr":                       "select ?",
		"/* user 7 */ select -- 8\n a":                 "select a",
		"select /* a /* b */ secret */ 1":              "select ?",
		`select "My Table"."col 1"`:                    `select "My Table"."col 1"`,
		"select 0x1F, 1_000, .5":                       "select ?, ?, .?",
		"select naïve, 'é'":                            "select naïve, ?",
		"":                                             "",
	} {
		require.Equal(t, want, postgres.Mask(in), in)
	}
}

func FuzzMask(f *testing.F) {
	for _, seed := range []string{"select 'a'", "$$", "E'\\", "\"", "/*/*", "--", "a$b$c", "$1$", "\xff'", "1e", "$é$x$é$"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		got := postgres.Mask(query)
		require.LessOrEqual(t, len(got), 200)
		// A literal between two that are masked never shows, whatever stands before it in
		// quotes of its own.
		require.NotContains(t, postgres.Mask("select 'card 4711-4711' , "+query), "4711-4711")
	})
}
