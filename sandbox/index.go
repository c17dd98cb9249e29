package sandbox

import (
	"html/template"
	"log/slog"
	"net/http"

	"github.com/moneta-pay/moneta/money"
)

// bankStats are one bank's figures on the wire. Orders, executed, declined and
// callback states come from the books; the rest counts since the process began.
type bankStats struct {
	Received           int64 `json:"received"`
	Deduplicated       int64 `json:"deduplicated"`
	Orders             int64 `json:"orders"`
	Executed           int64 `json:"executed"`
	Waiting            int64 `json:"waiting_execution"`
	RequestsLost       int64 `json:"requests_lost"`
	RepliesLost        int64 `json:"replies_lost"`
	ErrorsBefore       int64 `json:"errors_not_executed"`
	ErrorsAfter        int64 `json:"errors_executed"`
	Queries            int64 `json:"queries"`
	NotFound           int64 `json:"queries_not_found"`
	QueryErrors        int64 `json:"query_errors"`
	CallbacksSent      int64 `json:"callbacks_sent"`
	CallbacksRepeated  int64 `json:"callbacks_duplicate"`
	CallbacksForged    int64 `json:"callbacks_forged"`
	CallbacksFailed    int64 `json:"callbacks_failed"`
	CallbacksDelivered int64 `json:"callbacks_delivered"`
	CallbacksLost      int64 `json:"callbacks_lost"`
	CallbacksGivenUp   int64 `json:"callbacks_given_up"`
	CallbacksPending   int64 `json:"callbacks_pending"`
	// Limited counts requests refused by a budget or a maintenance window, Lies
	// words that contradicted the books, Ghosts orders that nobody could see.
	Limited int64 `json:"limited"`
	Lies    int64 `json:"lies"`
	Ghosts  int64 `json:"ghosts"`
}

// bankState is one bank in GET /banks.
type bankState struct {
	Code      string                       `json:"code"`
	Stats     bankStats                    `json:"stats"`
	Balances  map[money.Asset]money.Amount `json:"balances"`
	Behaviour Behaviour                    `json:"behaviour"`
}

func (b *bank) state() (bankState, error) {
	b.mu.Lock()
	state := bankState{Code: b.code, Behaviour: *b.behaviourNow(), Balances: map[money.Asset]money.Amount{}}
	for asset, amount := range b.books.balances {
		state.Balances[asset] = amount
	}
	t := &b.tally
	state.Stats = bankStats{
		Received: t.received.Load(), Deduplicated: t.deduplicated.Load(),
		Orders: int64(len(b.books.orders)), Executed: int64(len(b.books.effects)), Waiting: int64(len(b.waiting)),
		RequestsLost: t.requestsLost.Load(), RepliesLost: t.repliesLost.Load(),
		ErrorsBefore: t.errorsBefore.Load(), ErrorsAfter: t.errorsAfter.Load(),
		Queries: t.queries.Load(), NotFound: t.notFound.Load(), QueryErrors: t.queryErrors.Load(),
		CallbacksSent: t.callbacksSent.Load(), CallbacksRepeated: t.callbacksRepeated.Load(),
		CallbacksForged: t.callbacksForged.Load(), CallbacksFailed: t.callbacksFailed.Load(),
		CallbacksDelivered: b.outbox.counts[delivered], CallbacksLost: b.outbox.counts[lost],
		CallbacksGivenUp: b.outbox.counts[givenUp], CallbacksPending: b.outbox.undelivered(),
		Limited: t.limited.Load(), Lies: t.lies.Load(), Ghosts: t.ghosts.Load(),
	}
	b.mu.Unlock()
	return state, b.journal.flush()
}

func (s *Server) states() ([]bankState, error) {
	states := make([]bankState, 0, len(s.codes))
	for _, code := range s.codes {
		state, err := s.banks[code].state()
		if err != nil {
			return nil, err
		}
		states = append(states, state)
	}
	return states, nil
}

// health is 200 while every bank can remember.
func (s *Server) health(w http.ResponseWriter, _ *http.Request) {
	for _, code := range s.codes {
		if err := s.banks[code].journal.flush(); err != nil {
			s.refuse(s.banks[code], w, err)
			return
		}
	}
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

func (s *Server) list(w http.ResponseWriter, _ *http.Request) {
	states, err := s.states()
	if err != nil {
		writeProblem(w, &problem{status: http.StatusServiceUnavailable, Code: "books_unavailable", Param: "", Detail: err.Error()})
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"banks": states})
}

func (s *Server) stats(w http.ResponseWriter, _ *http.Request) {
	states, err := s.states()
	if err != nil {
		writeProblem(w, &problem{status: http.StatusServiceUnavailable, Code: "books_unavailable", Param: "", Detail: err.Error()})
		return
	}
	banks := make(map[string]bankStats, len(states))
	for _, state := range states {
		banks[state.Code] = state.Stats
	}
	writeJSON(w, http.StatusOK, map[string]any{"banks": banks})
}

var indexPage = template.Must(template.New("index").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Sandbox banks</title>
<style>body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:64rem;padding:0 1rem;color:#1c2330}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3rem .7rem;border-bottom:1px solid #d8dce3}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}code{background:#f1f3f6;padding:0 .3em}</style></head><body>
<h1>Sandbox banks <small lang="zh">沙盒银行</small></h1>
<p>The outside world for tests and drills; no real money. Switch a bank with <code>PUT /banks/ab/behaviour</code>.<br>
<span lang="zh">用于测试与演练的外部世界,不涉及真实资金。用 <code>PUT /banks/ab/behaviour</code> 切换银行行为。</span></p>
<table><thead><tr><th>Bank 银行</th><th>Mode 模式</th><th>Dedup 去重</th><th class="n">Received 收到</th><th class="n">Executed 已执行</th>
<th class="n">Callbacks pending 待回调</th><th>Balances 余额</th><th></th></tr></thead><tbody>
{{range .Banks}}<tr><td><b>{{.Code}}</b></td><td>{{.Behaviour.Mode}}</td><td>{{.Behaviour.Dedup}}</td>
<td class="n">{{.Stats.Received}}</td><td class="n">{{.Stats.Executed}}</td><td class="n">{{.Stats.CallbacksPending}}</td>
<td>{{range $asset, $amount := .Balances}}{{$amount}} {{$asset}} {{end}}</td>
<td><a href="/banks/{{.Code}}/behaviour">behaviour</a> <a href="/banks/{{.Code}}/books">books</a> <a href="/banks/{{.Code}}/statement">statement</a></td></tr>
{{end}}</tbody></table>
<h2>Magic amounts <small lang="zh">特殊金额</small></h2><table><tbody>
{{range .Magic}}<tr><td class="n">{{.Amount}}</td><td>{{.Effect}}</td></tr>{{end}}</tbody></table>
</body></html>
`))

func (s *Server) index(w http.ResponseWriter, r *http.Request) {
	states, err := s.states()
	if err != nil {
		writeProblem(w, &problem{status: http.StatusServiceUnavailable, Code: "books_unavailable", Param: "", Detail: err.Error()})
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if err := indexPage.Execute(w, map[string]any{"Banks": states, "Magic": magicTable}); err != nil {
		s.log.DebugContext(r.Context(), "index page not written", slog.Any("error", err))
	}
}
