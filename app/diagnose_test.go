package app_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/app"
	"github.com/moneta-pay/moneta/doctor"
)

const petshopFiles = "../test/diagnosis/testdata/petshop/low_traffic/"

func imported(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "incident")
	var out bytes.Buffer
	require.NoError(t, app.ImportPetshop(app.ImportConfig{
		Metrics: petshopFiles + "train_issue_0.csv.gz", Graph: petshopFiles + "graph.csv.gz", Baseline: petshopFiles + "normal.csv.gz",
		FaultTime: "2023-04-18T04:11:40Z", SymptomNode: "PetSite", SymptomMetric: "latency", Dir: dir, Out: &out,
	}))
	require.Contains(t, out.String(), "moneta diagnose --telemetry "+dir)
	return dir
}

func TestDiagnoseAForeignIncident(t *testing.T) {
	t.Parallel()
	dir, saved := imported(t), filepath.Join(t.TempDir(), "evidence.json")
	var first, second, en, zh bytes.Buffer
	require.NoError(t, app.Diagnose(t.Context(), app.DiagnoseConfig{Telemetry: dir, Save: saved, JSON: true, Out: &first}))
	require.NoError(t, app.Diagnose(t.Context(), app.DiagnoseConfig{Replay: saved, JSON: true, Out: &second}))
	require.Equal(t, first.String(), second.String(), "the stored evidence gives another answer")

	var a doctor.Answer
	require.NoError(t, json.Unmarshal(first.Bytes(), &a))
	require.NotEmpty(t, a.Ranked)
	require.NotEmpty(t, a.Evidence.For)
	require.NotEmpty(t, a.NextChecks)
	require.Positive(t, a.Confidence.Cases)
	var loose map[string]any
	require.NoError(t, json.Unmarshal(first.Bytes(), &loose))
	for _, field := range []string{"ranked", "scope", "evidence", "next_checks", "confidence"} {
		require.Contains(t, loose, field)
	}

	require.NoError(t, app.Diagnose(t.Context(), app.DiagnoseConfig{Replay: saved, Out: &en}))
	require.NoError(t, app.Diagnose(t.Context(), app.DiagnoseConfig{Replay: saved, Lang: "zh", Out: &zh}))
	require.True(t, strings.HasPrefix(en.String(), "At fault: "+a.Ranked[0].Node), en.String())
	require.Contains(t, zh.String(), "故障所在")
	require.NotContains(t, zh.String(), "explains")
	require.NotContains(t, en.String()+zh.String(), "%!", "a sentence lost an argument")
}

func TestDiagnoseSaysWhatItNeeds(t *testing.T) {
	t.Parallel()
	require.ErrorContains(t, app.Diagnose(t.Context(), app.DiagnoseConfig{Database: app.Database{DataDir: t.TempDir()}}), "moneta up")
	require.ErrorContains(t, app.Diagnose(t.Context(), app.DiagnoseConfig{Telemetry: "a", Replay: "b"}), "--telemetry FOLDER")
	require.ErrorContains(t, app.Diagnose(t.Context(), app.DiagnoseConfig{Telemetry: t.TempDir()}), "incident.json: it is missing")
	spoilt := filepath.Join(t.TempDir(), "evidence.json")
	require.NoError(t, os.WriteFile(spoilt, []byte(`{"version":1}`), 0o600))
	require.ErrorContains(t, app.Diagnose(t.Context(), app.DiagnoseConfig{Replay: spoilt}), "evidence.json: the evidence cannot be used: taken_at is missing")
	require.ErrorContains(t, app.ImportPetshop(app.ImportConfig{FaultTime: "soon"}), `--fault-time: "soon" is not a time`)
}
