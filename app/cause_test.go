package app

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor"
)

func causes(t *testing.T, c CauseConfig) (string, error) {
	t.Helper()
	var out bytes.Buffer
	c.Out = &out
	err := Causes(c)
	return out.String(), err
}

func TestCausesAreListedByKind(t *testing.T) {
	t.Parallel()
	all, err := causes(t, CauseConfig{Lang: "en"})
	require.NoError(t, err)
	require.Contains(t, all, "database-long-hold")
	require.Contains(t, all, "channel-charged-504")
	some, err := causes(t, CauseConfig{Lang: "zh", Kind: "database"})
	require.NoError(t, err)
	require.Contains(t, some, "会话在事务中空闲却持有锁")
	require.NotContains(t, some, "channel-")
	_, err = causes(t, CauseConfig{Lang: "en", Kind: "moon"})
	require.ErrorContains(t, err, "database")
}

func TestACauseIsShownWhole(t *testing.T) {
	t.Parallel()
	en, err := causes(t, CauseConfig{ID: "database-long-hold", Lang: "en"})
	require.NoError(t, err)
	for _, part := range []string{"pg_root_idle (most) > 1", "pg_terminate_backend", "moneta lever pull banner", "Never", "Holders"} {
		require.Contains(t, en, part)
	}
	zh, err := causes(t, CauseConfig{ID: "database-long-hold", Lang: "zh"})
	require.NoError(t, err)
	require.Contains(t, zh, "切勿")
	require.NotContains(t, zh, "Holders")
	raw, err := causes(t, CauseConfig{ID: "database-long-hold", JSON: true})
	require.NoError(t, err)
	var c doctor.Cause
	require.NoError(t, json.Unmarshal([]byte(raw), &c))
	require.Equal(t, "long-hold", c.Mechanism)
	require.NotEmpty(t, c.Repair)
}

func TestACauseThatIsNotThereNamesItsNeighbours(t *testing.T) {
	t.Parallel()
	for asked, near := range map[string]string{
		"long-hold": "database-long-hold", "database-lon": "database-long-hold", "service-poison": "service-poison-fact", "x": "moneta cause list",
	} {
		_, err := causes(t, CauseConfig{ID: asked, Lang: "en"})
		require.ErrorContains(t, err, near, asked)
		require.Less(t, strings.Count(err.Error(), ", "), nearMost)
	}
}
