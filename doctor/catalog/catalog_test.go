package catalog

import (
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor"
)

func TestEmbeddedCatalogueIsWhole(t *testing.T) {
	t.Parallel()
	all, err := Load(files)
	require.NoError(t, err)
	require.True(t, slices.IsSortedFunc(all, func(a, b doctor.Cause) int { return strings.Compare(a.ID, b.ID) }))
	require.Equal(t, all, All())
}

func TestByID(t *testing.T) {
	t.Parallel()
	c, ok := ByID("database-long-hold")
	require.True(t, ok)
	require.Equal(t, doctor.Database, c.Kind)
	_, ok = ByID("database-moon")
	require.False(t, ok)
}

func TestWhatIsGivenOutIsTheCallersOwn(t *testing.T) {
	t.Parallel()
	mine, _ := ByID("database-long-hold")
	*mine.Signs[0].Above, mine.Signs[0].Where["state"], mine.Share[doctor.Slow] = 99, "x", 99
	mine.Contain[0].With["lever"], mine.Repair[0].Do, mine.Drills[0] = "x", "x", "x"
	mine.Never[0].EN, mine.HotFix[0].EN, mine.Checks[0].ID, mine.Sources[0] = "x", "x", "x", "x"
	for series := range mine.Alert.Tests[0].Series {
		mine.Alert.Tests[0].Series[series] = "x"
	}
	again, _ := ByID("database-long-hold")
	fresh, err := Load(files)
	require.NoError(t, err)
	i := slices.IndexFunc(fresh, func(c doctor.Cause) bool { return c.ID == again.ID })
	require.Equal(t, fresh[i], again)
}

func TestDrillsNameTheirCauses(t *testing.T) {
	t.Parallel()
	drills := Drills()
	i := slices.IndexFunc(drills, func(d Drill) bool { return d.Name == "long-hold" })
	require.GreaterOrEqual(t, i, 0)
	require.Contains(t, drills[i].Causes, "database-long-hold")
	require.True(t, slices.IsSortedFunc(drills, func(a, b Drill) int { return strings.Compare(a.Name, b.Name) }))
}

// Every kind of mistake is planted in a real file, and must be named with its field.
func TestPlantedMistakesAreNamed(t *testing.T) {
	t.Parallel()
	const name = "causes/database-long-hold.yaml"
	good, err := fs.ReadFile(files, name)
	require.NoError(t, err)
	_, err = Load(fstest.MapFS{name: {Data: good}})
	require.NoError(t, err, "the file to plant in is good")

	for _, tt := range []struct{ name, from, to, field string }{
		{"another id", "id: database-long-hold", "id: database-short-hold", "id"},
		{"an unknown kind", "kind: database", "kind: moon", "kind"},
		{"a mechanism that is not the id's", "mechanism: long-hold", "mechanism: hold", "mechanism"},
		{"an unknown field", "primary: work", "primry: work", "primry"},
		{"a family of physics that is none", "primary: work", "primary: luck", "primary"},
		{"an unknown class", "share: {slow:", "share: {fast:", "share"},
		{"a share above one", "slow: 0.14", "slow: 1.4", "share.slow"},
		{"an unknown signal", "- signal: pg_root_idle", "- signal: pg_root", "signs[0].signal"},
		{"a signal that nobody tells there", "- signal: pg_root_idle", "- signal: timeouts", "signs[0].signal"},
		{"a place that is none", "- signal: pg_root_idle", "- signal: pg_root_idle\n    at: moon", "signs[0].at"},
		{"a likelihood ratio too sure of itself", "yes: 50", "yes: 500", "signs[0].yes"},
		{"a likelihood ratio of zero", "no: 0.03", "no: 0", "signs[0].no"},
		{"a sign that speaks for it either way", "no: 0.03", "no: 3", "signs[0].yes"},
		{"a sign without a bound", "    above: 1\n", "", "signs[0]"},
		{"an unknown window", "    of: most\n", "    of: tomorrow\n", "signs[0].of"},
		{"a check without a command", "    run: select pid, client_addr", "    run: \"\" #", "checks[1].run"},
		{"a check that costs nothing", "cost_s: 2", "cost_s: 0", "checks[1].cost_s"},
		{"an alert without a level", "level: page", "level: loud", "alert.level"},
		{"an alert without a duration", "for: 15s", "for: soon", "alert.for"},
		{"an alert that is never tested quiet", "fires: false", "fires: true", "alert.tests"},
		{"an unknown lever", "lever: banner", "lever: bannr", "contain[0].with"},
		{"a lever without an end", "for: 30m, ", "", "contain[0].with.for"},
		{"a lever that holds too long", "for: 30m", "for: 30h", "contain[0].with"},
		{"an unknown act", "do: terminate-session", "do: kill-session", "repair[0].do"},
		{"an act without its aim", `pid: "{pid}", `, "", "repair[0].with.pid"},
		{"a condition of no form", `last(hop, "pg_root_idle") < 1.0`, "root_idle < 1", "repair[0].until"},
		{"a condition on what nobody tells", `last(hop, "pg_root_idle") < 1.0`, `last(hop, "declines") < 1.0`, "repair[0].until"},
		{"a repair that does not verify", "do: check", "do: analyze", "repair[2].do"},
		{"nobody told who", "to: operators", "to: everybody", "repair[1].with.to"},
		{"a text that is not there", "users: {en: =slow}", "users: {en: =slowly}", "users"},
		{"advice to pay again", "users: {en: =slow}", `users: {en: "Please pay again.", zh: "请稍候。"}`, "users"},
		{"a promise", "users: {en: =slow}", `users: {en: "We guarantee your money.", zh: "请稍候。"}`, "users"},
		{"no Chinese", "users: {en: =slow}", `users: {en: "It is slow."}`, "users.zh"},
		{"no drill", "drills: [long-hold]", "drills: []", "drills"},
		{"a contract item that is none", "contract: [CAU-05]", "contract: [CAU5]", "contract[0]"},
		{"two causes in a file", "drills: [long-hold]", "drills: [long-hold]\n---\nid: x", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.Contains(t, string(good), tt.from)
			bad := strings.Replace(string(good), tt.from, tt.to, 1)
			_, err := Load(fstest.MapFS{name: {Data: []byte(bad)}})
			require.ErrorContains(t, err, name)
			require.ErrorContains(t, err, tt.field)
		})
	}
}

// What a cause must have at all.
func TestACauseWithoutIsRefused(t *testing.T) {
	t.Parallel()
	const name = "causes/database-long-hold.yaml"
	whole, ok := ByID("database-long-hold")
	require.True(t, ok)
	require.Empty(t, check(name, &whole))
	for field, without := range map[string]func(*doctor.Cause){
		"signs":        func(c *doctor.Cause) { c.Signs = nil },
		"checks":       func(c *doctor.Cause) { c.Checks = nil },
		"alert.name":   func(c *doctor.Cause) { c.Alert = doctor.Alert{} },
		"contain_none": func(c *doctor.Cause) { c.Contain = nil },
		"repair":       func(c *doctor.Cause) { c.Repair = nil },
		"never":        func(c *doctor.Cause) { c.Never = nil },
		"hot_fix":      func(c *doctor.Cause) { c.HotFix = nil },
		"users":        func(c *doctor.Cause) { c.Users = doctor.Text{} },
		"support":      func(c *doctor.Cause) { c.Support = doctor.Text{} },
		"drills":       func(c *doctor.Cause) { c.Drills = nil },
		"sources":      func(c *doctor.Cause) { c.Sources = nil },
	} {
		c, _ := ByID(whole.ID)
		without(&c)
		found := check(name, &c)
		require.NotEmpty(t, found, field)
		require.True(t, slices.ContainsFunc(found, func(err error) bool { return strings.HasPrefix(err.Error(), name+": "+field) }), "%s: %v", field, found)
	}
}

func TestTwinsAreRefused(t *testing.T) {
	t.Parallel()
	one, _ := ByID("database-long-hold")
	two := clone(one)
	two.ID, two.Alert.Name = "database-twin", "Twin"
	require.Len(t, checkTogether([]doctor.Cause{one, two}), 1)
	two.Signs = two.Signs[1:]
	require.Empty(t, checkTogether([]doctor.Cause{one, two}))
}

func TestSignalsHaveChineseWordsAndATeller(t *testing.T) {
	t.Parallel()
	for _, s := range doctor.Signals() {
		require.NotEmpty(t, signalZH[s.Signal], s.Signal)
		require.True(t, slices.ContainsFunc(doctor.Kinds(), func(k doctor.Kind) bool { return tells(k, s.Signal) }), s.Signal)
	}
	require.Len(t, signalZH, len(doctor.Signals()))
}

// TestWhoComesBackIsEndedOnlyWhileItDoes: such a session is ended at once, with no cancel
// before it, so that the step is looked at again when somebody has agreed to it.
func TestWhoComesBackIsEndedOnlyWhileItDoes(t *testing.T) {
	t.Parallel()
	found := false
	for _, c := range All() {
		for _, s := range append(slices.Clone(c.Contain), c.Repair...) {
			if s.With["returns"] == "yes" {
				found = true
				require.NotEmpty(t, s.If, "%s: %s", c.ID, s.ID)
				for _, x := range c.Signs { // what tells whom it is about
					if x.Yes > 1 {
						require.NotContains(t, []doctor.Signal{doctor.PGRootActive, doctor.PGRootIdle, doctor.PGLongTx}, x.Signal, c.ID)
					}
				}
			}
		}
	}
	require.True(t, found)
}
