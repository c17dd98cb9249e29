package drill

import (
	"context"
	"time"

	"github.com/moneta-pay/moneta/doctor"
)

// always is a delay in milliseconds that everybody gets.
func always(least, most int) map[string]any { return sometimes(1, least, most) }

func sometimes(share float64, least, most int) map[string]any {
	return map[string]any{"probability": share, "min_ms": least, "max_ms": most}
}

// throughBank are the orders that go through the drill's bank; what a drill breaks there
// cannot hurt others.
func moneyOut(o *Order) bool { return o.Kind == "payout" }

// The acts that keep a bad channel from hurting more, and those that make it worse:
// nothing that was sent is sent again elsewhere, and nothing is called failed.
var (
	holdChannel = []Match{
		{Do: "lever", Aim: "{channel}"},
		{Do: "lever", With: map[string]string{"aim": "{channel}"}},
		{Do: "query-unknowns", Aim: "{channel}"},
		{Do: "query-unknowns", With: map[string]string{"channel": "{channel}"}},
	}
	askChannel  = []Match{{Do: "query-unknowns"}, {Do: "replay-callbacks"}}
	worseOfBank = []Match{
		{Do: "redispatch"},
		{Do: "restart-process"},
		{Do: "takeover"},
		{Do: "terminate-session"},
		{Do: "create-index"},
		{Do: "propose-compensation"},
		{Do: "drop-slot"},
		{Do: "rebuild-projection"},
	}
)

func channelTruth(mechanisms ...string) Truth {
	t := Truth{Scope: []string{"cohort"}, Contain: holdChannel, Repair: askChannel, Harmful: worseOfBank, Outside: true}
	for _, m := range mechanisms {
		t.Pairs = append(t.Pairs, Pair{"{channel}", m})
	}
	return t
}

func channelDrills() []*Drill {
	at := func(behaviour func(s *Scene) map[string]any) func(context.Context, *Scene) (func(context.Context) error, error) {
		return func(ctx context.Context, s *Scene) (func(context.Context) error, error) {
			return s.behave(ctx, s.bank(), behaviour(s))
		}
	}
	return []*Drill{
		{
			Name: "psp-timeout", Class: "TP", World: Plain, Stall: false, Least: 0.03, Only: moneyOut,
			About: doctor.Text{EN: "A bank loses replies after it executed, is slow, and loses callbacks; its queries lag.", ZH: "银行执行后丢失应答、变慢、丢失回调,查询滞后。"},
			Inject: at(func(s *Scene) map[string]any {
				return map[string]any{
					"lose_reply": s.chance(0.45), "hold": always(2500, 4000), "callback_lose": s.chance(0.5),
					"callback_delay": always(3000, 6000), "query_lag_ms": 4000,
				}
			}),
			Truth: channelTruth("timeouts", "slow"),
		},
		{
			Name: "psp-timeout-full", Class: "TP", World: Plain, Least: 0.03, Only: moneyOut, After: time.Minute, Lasts: 3 * time.Minute, Whole: true, Alone: true,
			About: doctor.Text{EN: "The same in full: a minute of calm, three of trouble.", ZH: "同上,完整版:平稳一分钟,故障三分钟。"},
			Inject: at(func(s *Scene) map[string]any {
				return map[string]any{
					"lose_reply": s.chance(0.3), "hold": always(3000, 8000), "latency": always(6000, 8000), "callback_lose": s.chance(0.2), "query_lag_ms": 30_000,
				}
			}),
			Truth: channelTruth("timeouts", "slow"),
		},
		{
			Name: "psp-slow", Class: "TP", World: Plain, Least: 0.03, Only: moneyOut,
			About: doctor.Text{EN: "A bank answers most orders only after many seconds.", ZH: "银行对多数指令延迟多秒才应答。"},
			Inject: at(func(s *Scene) map[string]any {
				return map[string]any{"latency": sometimes(s.chance(0.7), 6000, 9000), "execute_delay": always(1000, 2000)}
			}),
			Truth: channelTruth("slow", "timeouts"),
		},
		{
			Name: "charged-504", Class: "TP", World: Plain, Least: 0.03, Only: moneyOut,
			About: doctor.Text{EN: "A bank executes, and the gateway before it answers 504 or a page of HTML.", ZH: "银行已执行,但其网关返回 504 或 HTML 页面。"},
			Inject: at(func(s *Scene) map[string]any {
				return map[string]any{
					"error_500":  map[string]any{"probability": s.chance(0.45), "executed": true, "status": 504},
					"error_html": map[string]any{"probability": s.chance(0.25), "executed": true, "status": 502},
					// The callback would tell at once: it is late too.
					"callback_delay": always(6000, 9000), "query_lag_ms": 5000,
				}
			}),
			Truth: channelTruth("charged-504"),
		},
		{
			Name: "callbacks-lost", Class: "TP", World: Plain, Least: 0.03, Only: moneyOut,
			About: doctor.Text{EN: "A bank accepts and executes, and none of its callbacks arrives.", ZH: "银行受理并执行,但回调全部未到。"},
			Inject: at(func(*Scene) map[string]any {
				return map[string]any{"callback_lose": 1, "execute_delay": always(500, 1500)}
			}),
			Truth: channelTruth("callbacks-lost", "callbacks-late"),
		},
		{
			Name: "callback-secret", Class: "TP", World: Plain, Least: 0.03, Only: moneyOut,
			About: doctor.Text{EN: "A bank signs its callbacks with a secret that nobody told us.", ZH: "银行用我方未获知的密钥签名回调。"},
			Inject: at(func(*Scene) map[string]any {
				return map[string]any{"callback_secret": "rotated-last-night-and-told-nobody", "execute_delay": always(500, 1500)}
			}),
			Truth: func() Truth {
				t := channelTruth("callbacks-lost", "credentials")
				t.Pairs = append([]Pair{{"callbacks", "signature"}}, t.Pairs...)
				return t
			}(),
		},
	}
}
