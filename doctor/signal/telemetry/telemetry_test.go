package telemetry_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/diagnose"
	"github.com/moneta-pay/moneta/doctor/signal/telemetry"
)

const fault = 1_770_000_000

// folder is a small incident: files by name.
type folder map[string]string

func (f folder) write(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range f {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	return dir
}

// slowBank: ten usual points, then five of trouble at the bank, one of recovery.
func slowBank() folder {
	var m strings.Builder
	m.WriteString("time,node,metric,statistic,value\n")
	for i := -10; i < 6; i++ {
		shop, bank := .2+float64(i%3)*.005, .1+float64(i%2)*.002
		if i >= 0 && i < 5 {
			shop, bank = shop+.6, bank+.6
		}
		at := fault + 60*i
		fmt.Fprintf(&m, "%d,shop,latency,mean,%g\n%d,bank,latency,mean,%g\n%d,shop,requests,sum,%d\n%d,bank,requests,sum,%d\n",
			at, shop, at, bank, at, 600+i%4, at, 590+i%3)
	}
	return folder{
		"incident.json": fmt.Sprintf(`{"version":1,"fault_time":%d,"symptom":{"node":"shop","metric":"latency"}}`, fault),
		"graph.csv":     "caller,callee\nshop,bank\n",
		"hops.csv":      "node,kind\nbank,channel\n",
		"metrics.csv":   m.String(),
	}
}

func find(t *testing.T, e *doctor.Evidence, hop, peer string, s doctor.Signal) *doctor.Reading {
	t.Helper()
	for i := range e.Readings {
		if r := &e.Readings[i]; r.Hop == hop && r.Peer == peer && r.Signal == s {
			return r
		}
	}
	t.Fatalf("no %s of %s", s, hop)
	return nil
}

func TestAFolderBecomesEvidence(t *testing.T) {
	t.Parallel()
	e, err := telemetry.Read(slowBank().write(t))
	require.NoError(t, err)
	r := find(t, e, "bank", "", doctor.Latency)
	require.InDelta(t, .7, r.During.Value, .01)
	require.InDelta(t, .1, r.Before.Value, .01)
	require.Equal(t, 10, r.Before.N)
	require.Equal(t, 5, r.During.N, "the recovery is not part of the trouble")
	require.Equal(t, "metrics.csv: latency mean of bank", r.Source)
	require.InDelta(t, 60, r.StepS, 0, "the smallest distance of two points")
	require.InDelta(t, 10, find(t, e, "shop", "", doctor.Rate).During.Value, .1, "requests a second")
	a, err := diagnose.Diagnose(e)
	require.NoError(t, err)
	require.Equal(t, "bank", a.Ranked[0].Node)
}

func TestTheWindowIsLaidAroundTheTrouble(t *testing.T) {
	t.Parallel()
	for _, off := range []int{-240, -60, 60, 150} {
		f := slowBank()
		f["incident.json"] = fmt.Sprintf(`{"version":1,"fault_time":"%s","symptom":{"node":"shop","metric":"latency"}}`,
			time.Unix(int64(fault+off), 0).UTC().Format(time.RFC3339))
		e, err := telemetry.Read(f.write(t))
		require.NoError(t, err)
		require.InDelta(t, .7, find(t, e, "bank", "", doctor.Latency).During.Value, .02, "fault time off by %d s", off)
	}
}

func TestSpansShowTheWire(t *testing.T) {
	t.Parallel()
	f := slowBank()
	delete(f, "metrics.csv")
	var s strings.Builder
	s.WriteString("time,trace,span,parent,node,kind,duration_s,failed\n")
	for i := -600; i < 300; i += 5 {
		gap := .01 + float64(i%3)*.0005
		if i >= 0 {
			gap += .5
		}
		at := fault + i
		fmt.Fprintf(&s, "%d,t%d,a,,shop,server,%g,0\n%d,t%d,b,a,shop,client,%g,0\n%d,t%d,c,b,bank,server,0.1,0\n", at, i, .2+gap, at, i, .1+gap, at, i)
	}
	f["spans.csv"] = s.String()
	e, err := telemetry.Read(f.write(t))
	require.NoError(t, err)
	r := find(t, e, "shop", "bank", doctor.Wire)
	require.InDelta(t, .51, r.During.Value, .01)
	require.InDelta(t, .01, r.Before.Value, .005)
	require.InDelta(t, .2, find(t, e, "bank", "", doctor.Rate).During.Value, .01)
	a, err := diagnose.Diagnose(e)
	require.NoError(t, err)
	require.Equal(t, "wire", a.Ranked[0].Mechanism, "%+v", a.Ranked)
}

func TestLogsTellNewErrors(t *testing.T) {
	t.Parallel()
	f := slowBank()
	var l strings.Builder
	l.WriteString("time,node,level,message\n")
	for i := -600; i < 300; i += 30 {
		fmt.Fprintf(&l, "%d,bank,error,retry %d of order 'x%d'\n%d,shop,info,fine\n", fault+i, i, i, fault+i)
		if i >= 0 {
			fmt.Fprintf(&l, "%d,bank,ERROR,connection pool of size 10 is empty\n", fault+i)
		}
	}
	f["logs.csv"] = l.String()
	e, err := telemetry.Read(f.write(t))
	require.NoError(t, err)
	require.Zero(t, find(t, e, "bank", "", doctor.LogNew).Before.Value)
	require.Positive(t, find(t, e, "bank", "", doctor.LogNew).During.Value)
	require.Positive(t, find(t, e, "bank", "", doctor.LogErrors).Before.Value)
	require.Zero(t, find(t, e, "shop", "", doctor.LogErrors).During.Value, "a node that logs no error has none")
}

func TestMissingAndStaleStayVisible(t *testing.T) {
	t.Parallel()
	f := slowBank()
	var kept []string
	for i, line := range strings.Split(f["metrics.csv"], "\n") {
		if i > 40 && strings.Contains(line, ",bank,") {
			continue // the bank's metrics end before the fault
		}
		kept = append(kept, line)
	}
	f["metrics.csv"] = strings.Join(kept, "\n")
	e, err := telemetry.Read(f.write(t))
	require.NoError(t, err)
	require.Equal(t, doctor.Missing, find(t, e, "bank", "", doctor.Latency).Presence(e.TakenAt))
	a, err := diagnose.Diagnose(e)
	require.NoError(t, err)
	require.Positive(t, a.Confidence.Missing)
}

func TestMetricsThatSayNothingAreNamed(t *testing.T) {
	t.Parallel()
	f := slowBank()
	f["metrics.csv"] += fmt.Sprintf("%d,shop,mood,,3\n%d,shop,latency,p42,3\n", fault, fault)
	e, err := telemetry.Read(f.write(t))
	require.NoError(t, err)
	require.Equal(t, []string{`metrics that say nothing here were left out: "latency p42" (1 points) "mood" (1 points)`}, e.Notes)
}

func TestWhatIsWrongIsSaidWithItsLine(t *testing.T) {
	t.Parallel()
	incident := func(s string) func(folder) { return func(f folder) { f["incident.json"] = s } }
	point := func(s string) func(folder) {
		return func(f folder) { f["metrics.csv"] = "time,node,metric,statistic,value\n" + s }
	}
	for want, spoil := range map[string]func(folder){
		"incident.json: it is missing":                       func(f folder) { delete(f, "incident.json") },
		"graph.csv: it is missing":                           func(f folder) { delete(f, "graph.csv") },
		"metrics.csv: there are no metrics":                  func(f folder) { delete(f, "metrics.csv") },
		"incident.json: version is 3":                        incident(`{"version":3,"fault_time":1}`),
		"incident.json: fault_time is missing":               incident(`{"version":1}`),
		"are these milliseconds":                             incident(`{"version":1,"fault_time":1770000000000}`),
		"unknown field \"mood\"":                             incident(`{"version":1,"mood":2}`),
		"step_s is the seconds that a point covers":          incident(`{"version":1,"fault_time":1,"step_s":1e-300}`),
		"symptom.node is missing":                            incident(`{"version":1,"fault_time":1770000000,"symptom":{"metric":"latency"}}`),
		"the symptom's metric \"mood\" is not one of":        incident(`{"version":1,"fault_time":1770000000,"symptom":{"node":"shop","metric":"mood"}}`),
		"the symptom is at \"nowhere\"":                      incident(`{"version":1,"fault_time":1770000000,"symptom":{"node":"nowhere","metric":"latency"}}`),
		"before the fault at":                                incident(`{"version":1,"fault_time":1780000000,"symptom":{"node":"shop","metric":"latency"}}`),
		"graph.csv:1: its first line must be caller,callee":  func(f folder) { f["graph.csv"] = "from,to\na,b\n" },
		"graph.csv: it is empty":                             func(f folder) { f["graph.csv"] = "" },
		"graph.csv:3: wrong number of fields":                func(f folder) { f["graph.csv"] = "caller,callee\na,b\nc\n" },
		"hops.csv:2: \"thing\" is not a kind":                func(f folder) { f["hops.csv"] = "node,kind\nshop,thing\n" },
		"metrics.csv:2: \"n/a\" is not a value":              point("1770000000,shop,latency,mean,n/a\n"),
		"metrics.csv:2: \"NaN\" is not a value":              point("1770000000,shop,latency,mean,NaN\n"),
		"metrics.csv:2: \"noon\" is not a time":              point("noon,shop,latency,mean,1\n"),
		"metrics.csv:2: latency of \"shop\" is -1":           point("1770000000,shop,latency,mean,-1\n"),
		"availability of \"shop\" is 101":                    point("1770000000,shop,availability,mean,101\n"),
		"metrics.csv:3: \"shop\" has both requests and rate": point("1770000000,shop,requests,sum,1\n1770000000,shop,rate,,1\n"),
		"metrics.csv:2: a node's name is empty":              point("1770000000,,latency,mean,1\n"),
		"spans.csv:2: kind is server or client": func(f folder) {
			f["spans.csv"] = "time,trace,span,parent,node,kind,duration_s,failed\n1,t,a,,shop,both,1,0\n"
		},
		"logs.csv:1: its first line must be time,node,level,": func(f folder) { f["logs.csv"] = "a,b,c,d\n" },
		"cohorts.csv:2: a row is a dimension":                 func(f folder) { f["cohorts.csv"] = "dimension,value,affected,total\nregion,cz,5,2\n" },
		"metrics.csv.gz: it is damaged":                       func(f folder) { delete(f, "metrics.csv"); f["metrics.csv.gz"] = "\x1f\x8bnonsense" },
	} {
		f := slowBank()
		spoil(f)
		_, err := telemetry.Read(f.write(t))
		require.ErrorContains(t, err, want)
	}
	_, err := telemetry.Read(filepath.Join(t.TempDir(), "none"))
	require.ErrorContains(t, err, "docs/telemetry.md")
}

// FuzzRead feeds every file of a folder with anything: an error or evidence that holds,
// and a diagnosis, never a panic.
func FuzzRead(f *testing.F) {
	b := slowBank()
	f.Add(b["incident.json"], b["graph.csv"], b["metrics.csv"], "", "", "")
	f.Add(b["incident.json"], b["graph.csv"], "", "time,trace,span,parent,node,kind,duration_s,failed\n1770000000,t,a,,shop,server,1,0\n", "", "")
	f.Add(b["incident.json"], b["graph.csv"], "", "", "time,node,level,message\n1770000000,shop,error,no 5\n", "dimension,value,affected,total\nregion,cz,5,20\n")
	f.Fuzz(func(t *testing.T, incident, graph, metrics, spans, logs, cohorts string) {
		files := folder{"incident.json": incident, "graph.csv": graph, "metrics.csv": metrics}
		for name, content := range map[string]string{"spans.csv": spans, "logs.csv": logs, "cohorts.csv": cohorts} {
			if content != "" {
				files[name] = content
			}
		}
		e, err := telemetry.Read(files.write(t))
		if err != nil {
			return
		}
		require.NoError(t, e.Validate())
		_, err = diagnose.Diagnose(e)
		require.NoError(t, err)
	})
}
