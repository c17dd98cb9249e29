package tell

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/journal"
)

var began = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

var jam = doctor.Cause{
	ID: "database-long-hold", Kind: doctor.Database, Mechanism: "long-hold",
	Name:     doctor.Text{EN: "a session holds locks while idle", ZH: "会话空闲却持有锁"},
	Explains: doctor.Text{EN: "A session took locks and does nothing. 20 writers can wait.", ZH: "某会话取得锁后不再动作,可有 20 个等待者。"},
	Checks: []doctor.Ask{{
		ID: "root", Ask: doctor.Text{EN: "Is the root idle?", ZH: "根会话是否空闲?"}, Run: "select pid from pg_stat_activity;",
		Yes: doctor.Text{EN: "It is this.", ZH: "就是它。"}, No: doctor.Text{EN: "Look at the disk.", ZH: "查看磁盘。"},
	}},
	Contain: []doctor.Step{{ID: "say-so", Do: doctor.DoLever, With: map[string]string{"lever": "banner", "aim": "everything", "value": "It's slow", "for": "30m"}, Why: doctor.Text{EN: "People pay twice.", ZH: "用户会重复付款。"}}},
	Repair: []doctor.Step{
		{ID: "end-the-root", Do: doctor.DoTerminateSession, Aim: "{hop}", With: map[string]string{"pid": "{pid}", "since": "{since}"}, Why: doctor.Text{EN: "Only ending it gives the locks back.", ZH: "只有结束它才会释放锁。"}, Until: `last("pg_root_idle") < 1.0`, Within: "10s"},
		{ID: "replay", Do: doctor.DoReplayCallbacks, Why: doctor.Text{EN: "Apply what was kept.", ZH: "应用已保存的回调。"}},
	},
	Never:   []doctor.Text{{EN: "End those who wait.", ZH: "不要结束等待者。"}},
	Users:   doctor.Text{EN: "Your payment takes longer.", ZH: "您的付款比平时慢。"},
	Support: doctor.Text{EN: "Look it up by its number.", ZH: "按编号查询。"},
	HotFix: []doctor.Text{
		{EN: "Find the root: psql -c 'select 1'", ZH: "找到根会话: psql -c 'select 1'"},
		{EN: "Keep it away: alter role R set idle_in_transaction_session_timeout = '15s';", ZH: "防止再次发生: alter role R set idle_in_transaction_session_timeout = '15s';"},
	},
	Alert: doctor.Alert{Name: "MonetaDatabaseLongHold"}, Drills: []string{"long-hold"},
}

func say(lang, code string, args []string) string {
	if lang == "zh" {
		return fmt.Sprintf("%s:%v(中文)", code, args)
	}
	return ""
}

// told is what a journal with these entries tells.
func told(t *testing.T, lang string, step time.Duration, what ...any) *Source {
	t.Helper()
	s := &Source{Lang: lang, Say: say, Mechanism: func(string, string) string { return "" }, Cause: func(id string) (doctor.Cause, bool) { return jam, id == jam.ID }}
	at := began.Add(12 * time.Second)
	for i := 0; i < len(what); i += 2 {
		raw, err := json.Marshal(what[i+1])
		require.NoError(t, err)
		s.Entries = append(s.Entries, doctor.Entry{Seq: uint64(i/2 + 1), Incident: "inc_01ab", What: what[i].(string), Who: "doctor", At: at, Data: raw})
		at = at.Add(step)
	}
	s.Now = at
	in, odd := journal.Fold(s.Entries)
	require.Empty(t, odd)
	s.Incident = in[0]
	return s
}

var (
	overdue = doctor.Alarm{Rule: doctor.Progress, Hop: "dispatch", Signal: doctor.OldestAge, Page: true, Since: began, Code: "old", Args: []string{"31 s"}, Says: "the oldest work is 31 s old", Value: doctor.Figure{Value: 31, Unit: "s"}}
	blind   = doctor.Alarm{Rule: doctor.Beat, Hop: "bank-2", Signal: doctor.Silence, Since: began.Add(20 * time.Second), Says: "bank-2 is silent for 9 s"}
	line    = doctor.Line{Node: "postgres", Mechanism: "long-hold", Family: "root", Code: "sign", Says: "session 4711 has been idle for 31 s and 20 wait behind it", SaysZH: "会话 4711 空闲 31 秒,其后 20 个等待者", Query: "pg_root_idle", Value: doctor.Figure{Value: 31.4, Unit: "s", N: 10}, Baseline: doctor.Figure{Value: 0, Unit: "s", N: 30}, LikelihoodRatio: 50}
	not     = doctor.Line{Node: "serve", Mechanism: "gc", Code: "sign", Says: "0.4 % of the time is garbage", Value: doctor.Figure{Value: .004, Unit: "share", N: 10}, LikelihoodRatio: .1}
	found   = doctor.Answer{
		Verdict: doctor.CauseFound,
		Ranked: []doctor.Hypothesis{
			{Node: "postgres", Kind: doctor.Database, Mechanism: "long-hold", Cause: jam.ID, Name: &jam.Name, Posterior: .934, Explains: .97, Details: map[string]string{"pid": "4711", "since": "2026-11-22T11:59:00Z"}},
			{Node: "serve", Kind: doctor.Service, Mechanism: "gc", Posterior: .031, Explains: .1},
		},
		Scope:      doctor.Scope{Class: "everyone", Share: .98, Low: .91, High: .995, Events: 212, Code: "scope", Why: "208 of 212 payments wait", Cohorts: []doctor.CohortFinding{{Cohort: doctor.Cohort{Dimension: "bank", Value: "bank-2"}, Share: .5, RestShare: .1}}},
		Evidence:   doctor.Lines{For: []doctor.Line{line}, Against: []doctor.Line{not}},
		Confidence: doctor.Confidence{Probability: .95, Cases: 80},
	}
	first = doctor.Answer{Verdict: doctor.CauseFound, Ranked: []doctor.Hypothesis{{Node: "serve", Mechanism: "gc", Posterior: .6}}}
	lever = doctor.Done{Act: doctor.Act{ID: "a1", Cause: jam.ID, Step: "say-so", Do: doctor.DoLever, Aim: "", With: map[string]string{"lever": "banner", "aim": "everything", "value": "It is slow; by 12:40."}, By: "doctor"}, Change: doctor.Change{Reach: doctor.Instant, Items: 212, Value: "1,204.00 CZK", Before: "no banner", After: "banner until 12:40"}}
	ended = doctor.Done{Act: doctor.Act{ID: "a2", Cause: jam.ID, Step: "end-the-root", Do: doctor.DoTerminateSession, Aim: "postgres", By: "anna", Approved: []string{"anna"}}, Change: doctor.Change{Reach: doctor.Undoable, Items: 1, Before: "20 wait", After: "0 wait"}}
	fails = doctor.Done{Act: doctor.Act{ID: "a3", Do: doctor.DoTell, Aim: "partners"}, Error: "503 from 10.0.0.7"}
)

// whole is an incident with one of everything.
func whole() []any {
	return []any{
		doctor.EntryOpened,
		doctor.Opening{Alarm: overdue},
		doctor.EntryEvidence,
		doctor.EvidenceKept{File: "evidence/inc_01ab/1.json", SHA256: "ab"},
		doctor.EntryMoney,
		doctor.MoneyAtRisk{Items: 40, Value: map[string]string{"CZK": "1234500"}, OldestS: 12.5},
		doctor.EntryAnswer,
		doctor.Answer{Verdict: doctor.Unknown},
		doctor.EntryAlarm, blind,
		doctor.EntryAnswer, first,
		doctor.EntryAnswer, found,
		doctor.EntryStage,
		doctor.StageReached{Stage: doctor.Diagnosed},
		doctor.EntryTried, lever,
		doctor.EntryDone, lever,
		doctor.EntryStage,
		doctor.StageReached{Stage: doctor.Contained},
		doctor.EntryTold,
		doctor.Told{To: "holders", Text: doctor.Text{EN: "Some payments are slower; next word by 12:20.", ZH: "部分付款变慢,12:20 前更新。"}},
		doctor.EntryMoney,
		doctor.MoneyAtRisk{Items: 212, Value: map[string]string{"CZK": "120400", "EUR": "77"}, OldestS: 131},
		doctor.EntryWaits, ended,
		doctor.EntryApproved,
		doctor.Approval{ActID: "a2", Agreed: true, Reason: "seen, 1 session"},
		doctor.EntryDone, ended,
		doctor.EntryFailed, fails,
		doctor.EntrySkipped,
		doctor.Done{Act: doctor.Act{ID: "a4", Do: doctor.DoReplayCallbacks}, Error: "0 are kept"},
		doctor.EntryQuiet, overdue,
		doctor.EntryStage,
		doctor.StageReached{Stage: doctor.Repaired},
		doctor.EntryMoney,
		doctor.MoneyAtRisk{Items: 0},
		doctor.EntryNote,
		doctor.Note{Text: "the console of 7 was open *over* lunch | [again]"},
		doctor.EntryProof,
		doctor.ProofKept{File: "proof-inc_01ab.jsonl", Found: []string{"timing: 3 payments"}},
		doctor.EntryClosed,
		doctor.Closing{Breaks: []string{"timing: 3 payments"}, Owners: map[string]string{"timing: 3 payments": "finance"}},
	}
}

func papers() map[string]func(*Source) (*Doc, error) {
	return map[string]func(*Source) (*Doc, error){"post-mortem": PostMortem, "brief": Brief, "checklist": Checklist, "hotfix": HotFix, "runbook": Runbook}
}

// Every figure of a draft stands in the journal, in both forms and languages; whatever
// stage the incident is at.
func TestEveryFigureHasItsEntry(t *testing.T) {
	t.Parallel()
	all := whole()
	for _, lang := range []string{"en", "zh"} {
		for n := 2; n <= len(all); n += 2 {
			s := told(t, lang, 10*time.Second, all[:n]...)
			d, err := PostMortem(s)
			require.NoError(t, err)
			for _, draft := range [][]byte{d.Markdown(), d.HTML()} {
				wrong, figures := s.Check(draft)
				require.Empty(t, wrong, "%s, %d entries", lang, n/2)
				require.Greater(t, figures, 5)
			}
		}
	}
}

// What the draft says of the whole incident, word by word where it counts.
func TestPostMortemSays(t *testing.T) {
	t.Parallel()
	s := told(t, "en", 10*time.Second, whole()...)
	d, err := PostMortem(s)
	require.NoError(t, err)
	bare := regexp.MustCompile(`\[((?:[^\[\]\\]|\\.)*)\]\(#[^)]*\)`).ReplaceAllString(string(d.Markdown()), "$1")
	for _, want := range []string{
		"noticed 12 s later: the oldest work is 31 s old",
		"**At fault: `postgres`, a session holds locks while idle. The doctor gave it 93 %", "right 95 % of the time",
		"At worst 212 payments waited, the oldest for 2 min; together 1204.00 CZK + 0.77 EUR.",
		"| detected | 12:00:12 | 12 s |", "| diagnosed | 12:01:22 | 82 s |", "| proved | – | – |",
		"Everyone: between 91 % and 99.5 % of 212 events. 208 of 212 payments wait",
		"session 4711 has been idle for 31 s and 20 wait behind it | 31 s | 0.0 s | ×50 |",
		"The first cause that was named was another one: `serve`, `gc` (entry 6).",
		"| 12:02:42 | `terminate-session postgres` | `anna` | `anna`  | 20 wait | 0 wait | 1 | done |",
		"| 12:01:42 | `holders` | It is slow; by 12:40. |", "failed: 503 from 10.0.0.7", "not everything fits", "timing: 3 payments; owner `finance`",
		"Files of evidence kept: 1; further alarms: 1.", "`postgres` explains 97 % of what is out of the ordinary",
		"- [ ] Take back `lever banner everything`, or say why it stays (entry 10)", "Play it again as a drill (`moneta drill run long-hold`)",
		"closed at 2026-11-22 12:04:02 UTC, 4 min after it began, with the breaks listed below",
	} {
		require.Contains(t, bare, want)
	}
	require.NotContains(t, bare, "?:")
}

// The negative control: any figure that is changed, added or forged is found.
func TestCheckFindsPlantedFigures(t *testing.T) {
	t.Parallel()
	s := told(t, "en", 10*time.Second, whole()...)
	d, err := PostMortem(s)
	require.NoError(t, err)
	for form, draft := range map[string]string{"md": string(d.Markdown()), "html": string(d.HTML())} {
		body, _, _ := strings.Cut(draft, "Every figure above")
		re := mdFigure
		if form == "html" {
			re = htmlFigure
		}
		links := re.FindAllStringSubmatchIndex(body, -1)
		require.Greater(t, len(links), 60)
		for n, m := range links { // a digit of each figure that has one
			if form == "html" && n%5 != 0 {
				continue
			}
			shown := m[2:4]
			if form == "html" {
				shown = m[6:8]
			}
			i := strings.IndexAny(body[shown[0]:shown[1]], "0123456789")
			if i < 0 {
				continue
			}
			i += shown[0]
			bad := draft[:i] + string('0'+(draft[i]-'0'+1)%10) + draft[i+1:]
			wrong, _ := s.Check([]byte(bad))
			require.Len(t, wrong, 1, "%s: %s", form, body[m[0]:m[1]])
		}
	}
	md := string(d.Markdown())
	for name, bad := range map[string]string{
		"a number in a sentence":    strings.Replace(md, "All times are UTC.", "All times are UTC. 4000 people called.", 1),
		"a number in code":          strings.Replace(md, "All times are UTC.", "All times are UTC: `17 %`.", 1),
		"a number with full width":  strings.Replace(md, "All times are UTC.", "All times are UTC:17。", 1),
		"a link to another entry":   strings.Replace(md, `(#e3 "data.items as int")`, `(#e13 "data.items as int")`, 1),
		"a link to no entry":        strings.Replace(md, `(#e3 "data.items as int")`, `(#e99 "data.items as int")`, 1),
		"a link to another figure":  strings.Replace(md, `(#e3 "data.items as int")`, `(#e3 "data.oldest_s as int")`, 1),
		"a figure of a false cause": strings.Replace(md, `as cause:database-long-hold`, `as cause:database-other`, 1),
		"a changed entry":           strings.Replace(md, `"items":212`, `"items":213`, 1),
		"an entry of nobody":        md + "\n<a id=\"e77\"></a>\n\n```json\n{\"seq\":77}\n```\n",
		"the entry taken away":      strings.Replace(md, `<a id="e3"></a>`, "", 1),
	} {
		require.NotEqual(t, md, bad, name)
		wrong, _ := s.Check([]byte(bad))
		require.NotEmpty(t, wrong, name)
	}
	wrong, _ := s.Check([]byte(strings.Replace(md, "All times are UTC.", "All times are UTC; rule X2 at `bank-2` and moneta-3 are names.", 1)))
	require.Empty(t, wrong)
}

func TestPapersOfEveryStage(t *testing.T) {
	t.Parallel()
	all := whole()
	placeholder := regexp.MustCompile(`\{\d\}|%!|\?\?`)
	for name, make := range papers() {
		for _, lang := range []string{"en", "zh"} {
			for n := 2; n <= len(all); n += 2 {
				s := told(t, lang, time.Second, all[:n]...)
				d, err := make(s)
				require.NoError(t, err, "%s after %s", name, all[n-2])
				for _, out := range []string{string(d.Markdown()), string(d.HTML())} {
					require.NotRegexp(t, placeholder, out)
				}
				require.Contains(t, string(d.HTML()), "</html>")
				require.NotContains(t, string(d.HTML()), "<script")
				require.NotContains(t, string(d.HTML()), "http")
			}
		}
		_, err := make(&Source{})
		require.ErrorIs(t, err, errEmpty, name)
	}
}

func TestRunbookCanBeCarriedOut(t *testing.T) {
	t.Parallel()
	s := told(t, "en", time.Second, whole()[:20]...)
	d, err := Runbook(s)
	require.NoError(t, err)
	md := string(d.Markdown())
	for _, want := range []string{
		"moneta lever pull banner everything --value 'It'\\''s slow' --for 30m --owner me --reason 'incident inc_01ab'",
		"select pg_terminate_backend(pid) from pg_stat_activity where pid = 4711 and backend_start = '2026-11-22T11:59:00Z';",
		"Needs the approval of one person.", "at most `10s`", "Done already: entry [10]", "moneta prove --from 2026-11-22T12:00:00Z",
	} {
		require.Contains(t, md, want)
	}
	d, err = HotFix(s)
	require.NoError(t, err)
	require.Contains(t, string(d.Markdown()), "```\npsql -c 'select 1'\n```")
	d, err = Checklist(s)
	require.NoError(t, err)
	require.Contains(t, string(d.Markdown()), "- [x] People pay twice.")
	require.Contains(t, string(d.Markdown()), "- [ ] Only ending it gives the locks back.")
}

// What is answered while it is being put right is about what is left of it: the cause that
// was acted on is what the incident was about.
func TestCauseIsTheOneThatWasActedOn(t *testing.T) {
	t.Parallel()
	after := doctor.Answer{Verdict: doctor.CauseFound, Ranked: []doctor.Hypothesis{{Node: "serve", Kind: doctor.Service, Mechanism: "down", Posterior: .38}}}
	all := whole()
	late := append(append(all[:20:20], doctor.EntryAnswer, after), all[20:]...)
	a, ok := told(t, "en", time.Second, late...).Named()
	require.True(t, ok)
	require.Equal(t, "postgres", a.Ranked[0].Node)
	unacted := told(t, "en", time.Second, doctor.EntryOpened, doctor.Opening{Alarm: overdue}, doctor.EntryAnswer, found,
		doctor.EntryStage, doctor.StageReached{Stage: doctor.Repaired}, doctor.EntryAnswer, after)
	a, ok = unacted.Named()
	require.True(t, ok)
	require.Equal(t, "postgres", a.Ranked[0].Node)
}

func TestCommandOfAHotFix(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][2]string{
		"moneta lever list":                        {"", "moneta lever list"},
		"Find the root: psql -c 'select 1'":        {"Find the root:", "psql -c 'select 1'"},
		"先熔断\uff1amoneta lever list":               {"先熔断\uff1a", "moneta lever list"},
		"select 1; \uff08将 PID 换成所记的值\uff09":       {"\uff08将 PID 换成所记的值\uff09", "select 1;"},
		"Look at the page of the bank; ps is idle": {"Look at the page of the bank; ps is idle", ""},
	} {
		prose, command := splitCommand(text)
		require.Equal(t, want, [2]string{prose, command}, text)
	}
}

func TestBriefSaysWhenThereIsNews(t *testing.T) {
	t.Parallel()
	all := whole()
	open := told(t, "en", time.Second, all[:26]...)
	d, err := Brief(open)
	require.NoError(t, err)
	require.Contains(t, string(d.Markdown()), "2026-11-22 12:15:23 UTC", "a quarter of an hour after the last word to holders")
	require.NotContains(t, string(d.Markdown()), "`E1`")
	open.Now = open.Now.Add(time.Hour)
	d, err = Brief(open)
	require.NoError(t, err)
	require.Contains(t, string(d.Markdown()), "has not come")
	off := told(t, "zh", time.Second, all...)
	d, err = Brief(off)
	require.NoError(t, err)
	require.NotContains(t, string(d.Markdown()), "`E1`", "listed breaks: not every payment has its result")
	over := told(t, "zh", time.Second, append(all[:len(all)-4:len(all)-4], doctor.EntryProof, doctor.ProofKept{Clean: true}, doctor.EntryClosed, doctor.Closing{Clean: true})...)
	d, err = Brief(over)
	require.NoError(t, err)
	require.NotContains(t, string(d.Markdown()), "`B1`")
	require.Contains(t, string(d.Markdown()), "`E1`")
	require.Contains(t, string(d.Markdown()), "12:00 UTC 至 12:00 UTC 的延迟已恢复")
	for _, x := range Texts(over) {
		require.NotEmpty(t, x.Text.EN)
		require.NotEmpty(t, x.Text.ZH)
		require.NotContains(t, x.Text.EN, "{channel}")
	}
}

// A long incident is drafted well within five seconds.
func TestDraftIsQuick(t *testing.T) {
	t.Parallel()
	s := told(t, "en", time.Second, whole()...)
	base := s.Entries
	for range 3000 {
		e := base[2] // money
		e.Seq = s.Entries[len(s.Entries)-1].Seq + 1
		s.Entries = append(s.Entries, e)
	}
	start := time.Now()
	d, err := PostMortem(s)
	require.NoError(t, err)
	require.NotEmpty(t, d.Markdown())
	require.NotEmpty(t, d.HTML())
	require.Less(t, time.Since(start), 5*time.Second)
}

// Whatever people and machines wrote into the journal: the draft is whole, and checks.
func TestHostileTexts(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		note := rapid.String().Draw(r, "note")
		at := began.Add(time.Second)
		mk := func(seq uint64, what string, v any) doctor.Entry {
			raw, err := json.Marshal(v)
			require.NoError(r, err)
			return doctor.Entry{Seq: seq, At: at, Incident: "inc_1", What: what, Who: note, Data: raw}
		}
		s := &Source{Lang: "en", Now: at, Entries: []doctor.Entry{
			mk(1, doctor.EntryOpened, doctor.Opening{Alarm: doctor.Alarm{Says: note, Hop: "x", Since: began}}),
			mk(2, doctor.EntryNote, doctor.Note{Text: note}),
			mk(3, doctor.EntryTold, doctor.Told{To: "holders", Text: doctor.Text{EN: note, ZH: note}}),
		}}
		in, _ := journal.Fold(s.Entries)
		s.Incident = in[0]
		d, err := PostMortem(s)
		if strings.TrimSpace(note) == "" {
			return
		}
		require.NoError(r, err)
		wrong, _ := s.Check(d.Markdown())
		for _, w := range wrong { // a name that is a number cannot be told from a figure
			require.Contains(r, oneLine(note), w.Shown)
		}
		_, _ = s.Check(d.HTML())
	})
}
