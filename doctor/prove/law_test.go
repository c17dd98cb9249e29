package prove

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	statesKind = regexp.MustCompile(`(?m)^## (.*)$`)
	statesRow  = regexp.MustCompile(`(?m)^\| (\d+) \| ([^|]*) \| ([^|]*) \| ([^|]*) \| [^|]* \| ([^|]*) \|`)
	statesLeg  = regexp.MustCompile("`(\\S+) → (\\S+)` ([^;|]+)")
)

// The law is written down by hand, and docs/states.md is drawn from the table that
// runs: they must say the same, move by move and posting by posting. Neither is
// generated from the other, so that a change of one is seen here.
func TestTheLawIsTheSpecification(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../../docs/states.md")
	require.NoError(t, err)
	books := map[string]string{"from:av": "from", "from:held": "held", "to:av": "to"}
	amounts := map[string]string{
		"P": "P", "F": "F", "P+F": "P+F", "c": "c", "P−c": "P-c", "rest": "x", "stated": "x", "covered": "x", "P−covered": "P-x",
		"P if it stays here": "P", "P if it just came": "P",
	}
	number := map[string]int64{"–": none}
	for i, n := range stateNames {
		number[n] = int64(i)
	}
	said, either := map[string]bool{}, map[string]string{}
	heads := statesKind.FindAllStringSubmatchIndex(string(raw), -1)
	for i, h := range heads {
		end := len(raw)
		if i+1 < len(heads) {
			end = heads[i+1][0]
		}
		kind := int64(-1)
		for k, n := range kindNames {
			if n == strings.ToLower(strings.ReplaceAll(string(raw[h[2]:h[3]]), " ", "_")) {
				kind = int64(k)
			}
		}
		for _, row := range statesRow.FindAllStringSubmatch(string(raw[h[0]:end]), -1) {
			require.NotEqual(t, int64(-1), kind, row[0])
			var legs []string
			maybe := false
			for _, l := range statesLeg.FindAllStringSubmatch(row[5], -1) {
				amount := strings.TrimSpace(l[3])
				require.Contains(t, amounts, amount, row[0])
				maybe = maybe || strings.Contains(amount, " if ")
				legs = append(legs, name(books, l[1])+">"+name(books, l[2])+" "+amounts[amount])
			}
			for from := range strings.SplitSeq(row[2], ", ") {
				var tos []int64
				for to := range strings.SplitSeq(row[4], "; ") {
					words := strings.Fields(to)
					if words[0] == "stays" {
						tos = append(tos, number[from])
					} else {
						tos = append(tos, number[words[len(words)-1]])
					}
				}
				for _, to := range tos {
					head := fmt.Sprintf("%s T%s %s > %s: ", kindNames[kind], row[1], stateNames[number[from]], stateNames[to])
					said[head+strings.Join(legs, ", ")] = true
					if maybe { // one of the two is enough
						said[head], either[head] = true, head+strings.Join(legs, ", ")
						either[either[head]] = head
					}
				}
			}
		}
	}
	require.Greater(t, len(said), 100)
	terms := map[term]string{principal: "P", fee: "F", both: "P+F"}
	for m, ways := range moves {
		for _, way := range ways {
			var legs []string
			cost := "x"
			for _, l := range way {
				if l.from == "fee:cost" {
					cost = "c"
				}
			}
			for _, l := range way {
				amount := terms[l.amount]
				switch l.amount {
				case free:
					amount = cost
				case principalFr:
					amount = "P-" + cost
				}
				legs = append(legs, l.from+">"+l.to+" "+amount)
			}
			key := fmt.Sprintf("%s T%d %s > %s: %s", kindNames[m.kind], m.transition, stateNames[m.from], stateNames[m.to], strings.Join(legs, ", "))
			require.True(t, said[key] || either[key] != "" || m.transition == note && m.from == m.to, "the law has, and docs/states.md has not: %s", key)
			delete(said, key)
			delete(said, either[key])
		}
	}
	for key := range said {
		// A late word and a contradiction are notes on what is final: of any kind.
		if !regexp.MustCompile(`T17 (\w+) > (\w+): $`).MatchString(key) {
			t.Errorf("docs/states.md has, and the law has not: %s", key)
		}
	}
}

func name(books map[string]string, doc string) string {
	if n := books[doc]; n != "" {
		return n
	}
	return doc
}
