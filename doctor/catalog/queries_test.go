package catalog_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor/catalog"
	"github.com/moneta-pay/moneta/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.VerifyTestMain(m) }

var (
	// psqlSays is what a check gives to psql; a check may also be the statement itself.
	psqlSays = regexp.MustCompile(`(?s)psql [^;|]*?-[A-Za-z]*c ("(?:[^"\\]|\\.)*"|'[^']*')`)
	// A person puts a number there.
	number = regexp.MustCompile(`\b(PID|N)\b`)
)

// statementsOf are the statements of a check, as the server gets them.
func statementsOf(run string) (out []string) {
	var texts []string
	for _, m := range psqlSays.FindAllStringSubmatch(run, -1) {
		texts = append(texts, strings.NewReplacer(`\"`, `"`, `\$`, `$`).Replace(m[1][1:len(m[1])-1]))
	}
	if first := strings.ToLower(strings.TrimSpace(run)); strings.HasPrefix(first, "select ") || strings.HasPrefix(first, "with ") {
		texts = append(texts, run)
	}
	for _, text := range texts {
		for one := range strings.SplitSeq(text, ";") {
			if one = strings.TrimSpace(one); one != "" {
				out = append(out, number.ReplaceAllString(one, "1"))
			}
		}
	}
	return out
}

// Whoever is woken at night copies a check and runs it. Each of its statements is one that
// the server takes, on the tables and views that there are.
func TestEveryStatementOfACheckRuns(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	ctx := t.Context()
	_, missing := db.Exec(ctx, `create extension if not exists pg_stat_statements`)
	asked := 0
	for _, c := range catalog.All() {
		for _, check := range c.Checks {
			statements := statementsOf(check.Run)
			require.False(t, strings.Contains(check.Run, "psql ") && strings.Contains(check.Run, "select ") && len(statements) == 0, "%s: what %s asks is not seen: %s", c.ID, check.ID, check.Run)
			for _, sql := range statements {
				if missing != nil && strings.Contains(sql, "pg_stat_statements") {
					t.Log("not asked, since this server has no pg_stat_statements: ", sql)
					continue
				}
				asked++
				if !strings.HasPrefix(strings.ToLower(sql), "show ") {
					sql = "explain " + sql
				}
				_, err := db.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
				if err != nil { // all of them at once
					t.Errorf("%s: check %s: %v", c.ID, check.ID, err)
				}
			}
		}
	}
	require.Greater(t, asked, 40)

	// What is wrong is seen.
	for _, sql := range statementsOf(`psql "$MONETA_DSN" -Atc "select last_error from facts.webhooks; selct 1"; curl x`) {
		_, err := db.Exec(ctx, "explain "+sql, pgx.QueryExecModeSimpleProtocol)
		pg := new(pgconn.PgError)
		require.ErrorAs(t, err, &pg)
		require.Contains(t, []string{"42703", "42601"}, pg.Code)
	}
}
