package petshop_test

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/signal/petshop"
	"github.com/moneta-pay/moneta/doctor/signal/telemetry"
)

const (
	graph = ",site,search_AWS::ECS::Fargate,lb.example_remote\n" +
		"site,0.0,1.0,1.0\nsearch_AWS::ECS::Fargate,0.0,0.0,0.0\nlb.example_remote,0.0,0.0,0.0\n"
	wide = "microservice,site,site,site,search_AWS::ECS::Fargate\nmetric,latency,requests,availability,latency\n" +
		"statistic,Average,Sum,Average,p99\nunix_timestamp,,,,\n1700000000.0,0.5,60.0,99.5,\n1700000300.0,0.7,61.0,,1.5\n"
)

func files(t *testing.T, metrics string) petshop.Files {
	t.Helper()
	dir := t.TempDir()
	f := petshop.Files{
		Metrics: filepath.Join(dir, "m.csv"), Graph: filepath.Join(dir, "g.csv"), Baseline: filepath.Join(dir, "b.csv"),
		FaultTime: time.Unix(1_700_000_300, 0), SymptomNode: "site", SymptomMetric: "availability",
	}
	for path, content := range map[string]string{f.Metrics: metrics, f.Graph: graph, f.Baseline: wide} {
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	}
	return f
}

func TestImport(t *testing.T) {
	t.Parallel()
	d, err := petshop.Import(files(t, wide))
	require.NoError(t, err)
	require.Equal(t, []doctor.Hop{{Name: "site", Kind: doctor.Service}, {Name: "search_AWS::ECS::Fargate", Kind: doctor.Service}, {Name: "lb.example_remote", Kind: doctor.Remote}}, d.Hops)
	require.Equal(t, []doctor.Call{{From: "site", To: "search_AWS::ECS::Fargate"}, {From: "site", To: "lb.example_remote"}}, d.Calls)
	require.Len(t, d.Metrics, 6, "an empty cell is no point")
	require.InDelta(t, 300, d.Incident.StepS, 0)
	dir := filepath.Join(t.TempDir(), "out")
	require.NoError(t, telemetry.Write(dir, d))
	e, err := telemetry.Read(dir)
	require.NoError(t, err)
	require.Equal(t, doctor.Symptom{Hop: "site", Signal: doctor.Errors}, e.Symptom)
	require.ErrorContains(t, telemetry.Write(dir, d), "is not empty")
}

func TestKindOf(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]doctor.Kind{
		"a_remote": doctor.Remote, "a_client": doctor.Client, "a_AWS::Lambda::Function": doctor.Service, "a_AWS::SQS::Queue": doctor.Queue,
		"a_AWS::DynamoDB::Table": doctor.Database, "x@y_Database::SQL": doctor.Database, "a_AWS::ApiGateway::Stage": doctor.Gateway,
		"SSM_AWS::SSM": doctor.Channel, "AWS::StepFunctions::StateMachine": doctor.Service, "site": doctor.Service, "my_site": doctor.Service,
	} {
		require.Equal(t, want, petshop.KindOf(name), name)
	}
}

func TestWhatIsWrongIsSaid(t *testing.T) {
	t.Parallel()
	for want, raw := range map[string]string{
		"is this a file of metrics":       graph,
		"it ends within its 4":            "microservice,site\nmetric,latency\n",
		"latency of \"site\" is \"fast\"": strings.Replace(wide, "0.7", "fast", 1),
		"\"noon\" is not a time":          strings.Replace(wide, "1700000300.0", "noon", 1),
		"m.csv:5: wrong number of fields": strings.Replace(wide, ",99.5,", ",99.5", 1),
	} {
		_, err := petshop.Import(files(t, raw))
		require.ErrorContains(t, err, want)
	}
	f := files(t, wide)
	f.SymptomNode = "nowhere"
	_, err := petshop.Import(f)
	require.ErrorContains(t, err, "neither in the graph nor in the metrics")
	f = files(t, wide)
	require.NoError(t, os.WriteFile(f.Graph, []byte(strings.Replace(graph, "1.0", "2", 1)), 0o600))
	_, err = petshop.Import(f)
	require.ErrorContains(t, err, "g.csv:2: a cell is 0 or 1")
}

func FuzzParseMetrics(f *testing.F) {
	f.Add(wide)
	f.Add(graph)
	f.Fuzz(func(t *testing.T, raw string) {
		points, err := petshop.ParseMetrics("m.csv", strings.NewReader(raw))
		if err != nil {
			require.NotEmpty(t, err.Error())
			return
		}
		for _, p := range points {
			require.False(t, math.IsNaN(p.Value))
		}
	})
}

func FuzzParseGraph(f *testing.F) {
	f.Add(graph)
	f.Add(wide)
	f.Fuzz(func(t *testing.T, raw string) {
		hops, calls, err := petshop.ParseGraph("g.csv", strings.NewReader(raw))
		if err != nil {
			return
		}
		known := map[string]bool{}
		for _, h := range hops {
			require.False(t, known[h.Name])
			known[h.Name] = true
		}
		for _, c := range calls {
			require.True(t, known[c.From] && known[c.To])
		}
	})
}
