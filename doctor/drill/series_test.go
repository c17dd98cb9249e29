package drill_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor/drill"
)

// How long a busy machine takes to make the world is not the drills' time.
func TestASeriesIsBoundedFromWhenItsWorldStands(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var rows []drill.Row
		require.NoError(t, drill.Run(t.Context(), drill.Config{
			Make: func(_ context.Context, kind drill.Variant) (*drill.World, error) {
				<-time.After(time.Hour) // of the bubble
				return &drill.World{Kind: kind, API: "http://[", Close: func() {}}, nil
			},
			Seeds: []uint64{1, 2}, Rate: 20, Within: time.Minute,
			Say:  func(string, ...any) {},
			Done: func(r drill.Row) error { rows = append(rows, r); return nil },
		}, []*drill.Drill{drill.Find("long-hold"), drill.Find("control-spike")}))
		require.Len(t, rows, 2, "%v", rows)
	})
}
