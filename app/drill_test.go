package app

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor/drill"
)

func TestDrillsAreChosenOrRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cfg  DrillConfig
		says string
	}{
		"none":           {DrillConfig{Rate: 60}, "name a drill"},
		"one that isn't": {DrillConfig{Rate: 60, Names: []string{"unplug"}}, `there is no drill "unplug"`},
		"both":           {DrillConfig{Rate: 60, All: true, Names: []string{"long-hold"}}, "not both"},
		"too fast":       {DrillConfig{Rate: 1000, Names: []string{"long-hold"}}, "--rate 1000"},
	} {
		require.ErrorContains(t, DrillRun(t.Context(), c.cfg), c.says, name)
	}
	all, err := (&DrillConfig{All: true}).choose()
	require.NoError(t, err)
	for _, d := range all {
		require.False(t, d.Alone, d.Name)
	}
	require.Less(t, len(all), len(drill.All()), "what takes minutes is run by name")
	quick, err := (&DrillConfig{Quick: true}).choose()
	require.NoError(t, err)
	require.True(t, quick[len(quick)-1].Control(), "a choice without a control shows nothing of false pages")
}

func TestASeriesGoesOnWhereItStopped(t *testing.T) {
	t.Parallel()
	report := filepath.Join(t.TempDir(), "drills.json")
	board := drill.NewBoard([]drill.Row{
		{Drill: "long-hold", Seed: 1, Status: drill.Scored, Points: 90},
		{Drill: "psp-slow", Seed: 1, Status: drill.Broken},
	}, "test", time.Unix(0, 0))
	require.NoError(t, board.Write(report))
	c := DrillConfig{Resume: true, Report: report}
	rows, err := c.before()
	require.NoError(t, err)
	require.True(t, done(rows, "long-hold", 1))
	require.False(t, done(rows, "long-hold", 2))
	require.False(t, done(rows, "psp-slow", 1), "what was broken is run again")

	// Everything that is asked for is there: nothing is run, and the board is shown.
	var out bytes.Buffer
	err = DrillRun(t.Context(), DrillConfig{Names: []string{"long-hold"}, Seed: 1, Rate: 60, Resume: true, Report: report, Lang: "en", Out: &out, Progress: io.Discard})
	require.NoError(t, err)
	require.Contains(t, out.String(), "1 runs scored")
	require.NoError(t, os.WriteFile(report, []byte("{}"), 0o600))
	_, err = c.before()
	require.Error(t, err, "somebody else's file is not written over")
}

func TestARedBoardIsAnExitCode(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]drill.Row{
		"harm":  {Drill: "long-hold", Status: drill.Scored, Harmful: []string{"restart-process"}},
		"page":  {Drill: "control-spike", Status: drill.Scored, Control: true, FalsePages: 1},
		"money": {Drill: "long-hold", Status: drill.Scored, Invariants: []string{"sum"}},
	} {
		b := drill.NewBoard([]drill.Row{row}, "test", time.Unix(0, 0))
		err := (&DrillConfig{Lang: "en", Out: io.Discard}).conclude(&b)
		var exit *ExitError
		require.ErrorAs(t, err, &exit, name)
		require.Equal(t, ExitMoney, exit.Code, name)
	}
}
