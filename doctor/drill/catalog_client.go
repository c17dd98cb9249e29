package drill

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/moneta-pay/moneta/doctor"
)

var errNoServe = errors.New("serve does not run at this moment")

// worseOfClients: the server is well, and nothing of it is to be touched.
var worseOfClients = []Match{
	{Do: "restart-process"}, {Do: "takeover"}, {Do: "terminate-session"}, {Do: "redispatch"}, {Do: "create-index"}, {Do: "drop-slot"}, {Do: "propose-compensation"},
}

func clientDrills() []*Drill {
	return []*Drill{
		{
			Name: "retry-storm", Class: "AS", World: Plain, Least: 0.05,
			About:  doctor.Text{EN: "A bank fails a part of the orders, and clients retry in three layers without a budget.", ZH: "银行部分失败,客户端三层无预算重试。"},
			Inject: injectStorm,
			Truth: Truth{
				Pairs: []Pair{{"api", "retry-storm"}, {"api", "overload"}, {"client", "resubmitting"}}, Scope: everyone, Outside: true,
				Contain: []Match{{Do: "lever"}}, Harmful: worseOfClients,
			},
		},
		{
			Name: "client-cohort", Class: "CL", World: Plain, Least: 0.5, Only: func(o *Order) bool { return o.Version == rareVersion },
			About: doctor.Text{EN: "One version of the app is behind a slow network and orders twice.", ZH: "某一版本的应用网络缓慢且重复下单。"},
			Inject: func(_ context.Context, s *Scene) (func(context.Context) error, error) {
				s.Load.Behave(Manners{RareDelay: 2 * time.Second, RareAgain: true})
				return wellBehaved(s), nil
			},
			Truth: Truth{
				Pairs: []Pair{{"client", "cohort"}, {"client", "resubmitting"}}, Scope: []string{"cohort", "too_few"}, Outside: true, Harmful: worseOfClients,
			},
		},
		{
			Name: "scope-one-user", Class: "TP", World: Plain, Lingers: slowBy, Least: 0.5, Only: func(o *Order) bool { return o.Amount == slowMagic },
			About:  doctor.Text{EN: "One holder's payouts are executed late by their bank; everybody else is well.", ZH: "仅一位用户的付款被银行延迟执行。"},
			Inject: injectOneUser,
			Truth: Truth{
				Pairs: []Pair{{"bank-ab", ""}, {"", "unknown"}, {"", "no_fault"}}, Scope: []string{"one", "too_few", "none"}, Outside: true,
				Harmful: append([]Match{{Do: "lever"}}, worseOfClients...),
			},
		},
	}
}

func wellBehaved(s *Scene) func(context.Context) error {
	return func(context.Context) error {
		s.Load.Behave(Manners{})
		return nil
	}
}

// injectStorm has clients multiply what a slow edge cannot answer in their time.
func injectStorm(ctx context.Context, s *Scene) (func(context.Context) error, error) {
	heal, err := s.behave(ctx, s.bank(), map[string]any{"error_500": map[string]any{"probability": s.chance(0.3), "executed": false, "status": 503}})
	if err != nil {
		return nil, err
	}
	s.Load.Behave(Manners{Times: 2, Layers: 3, NoBudget: true})
	storm := newStorm(s)
	return both(storm, wellBehaved(s), heal), nil
}

// newStorm are apps that ask for a payment's state in a loop, and post it again with
// the same key at every answer that is not the end.
func newStorm(s *Scene) func(context.Context) error {
	const apps = 48
	var heals []func(context.Context) error
	for n := range apps {
		dice := rand.New(rand.NewPCG(uint64(n), s.Dice.Uint64())) //nolint:gosec // dice, not secrets
		heals = append(heals, forever(func(ctx context.Context) error {
			o := s.Load.draw(dice, 0, &Manners{})
			o.Kind, o.Channel, o.Amount = "payout", s.Values["channel"], 500
			o.Name = fmt.Sprintf("%s-storm-%d-%d", s.Load.prefix, n, dice.Uint64())
			for range 9 {
				_, err := s.Load.client.submit(ctx, o, &Manners{Layers: 1, NoBudget: true})
				if ctx.Err() != nil {
					return err
				}
			}
			return nil
		}))
	}
	return both(heals...)
}

// slowMagic is the amount that a sandbox bank executes twenty seconds late: five are
// as long as any lane may be silent, and whether that is seen is chance.
const (
	slowMagic = 1_000_000_022
	slowBy    = 20 * time.Second
)

func injectOneUser(ctx context.Context, s *Scene) (func(context.Context) error, error) {
	if err := s.World.bank(ctx, http.MethodPut, "ab", "behaviour", map[string]any{"magic_amounts": true}); err != nil {
		return nil, err
	}
	s.Load.Behave(Manners{OneHolder: 1 + s.Dice.IntN(holders-1), OneAmount: slowMagic})
	return wellBehaved(s), nil
}

func controls() []*Drill {
	return []*Drill{
		{
			Name: "control-spike", Class: "control", World: Plain,
			About: doctor.Text{EN: "Three times the load, inside the capacity. There is nothing to find.", ZH: "三倍负载,仍在容量之内。没有故障。"},
			Inject: func(_ context.Context, s *Scene) (func(context.Context) error, error) {
				s.Load.Behave(Manners{Times: 3})
				return wellBehaved(s), nil
			},
		},
		{
			Name: "control-batch", Class: "control", World: Plain,
			About:  doctor.Text{EN: "Payroll: batches of hundreds of payments. There is nothing to find.", ZH: "发薪:成批数百笔付款。没有故障。"},
			Inject: injectPayroll,
		},
		{
			Name: "control-deploy", Class: "control", World: Plain,
			About: doctor.Text{EN: "A rollout: the process is started anew, cleanly. There is nothing to find.", ZH: "发布:进程被正常重启。没有故障。"},
			Inject: func(ctx context.Context, s *Scene) (func(context.Context) error, error) {
				return func(context.Context) error { return nil }, s.World.deploy(ctx)
			},
		},
	}
}

func injectPayroll(_ context.Context, s *Scene) (func(context.Context) error, error) {
	n, dice := 0, rand.New(rand.NewPCG(s.Dice.Uint64(), 3)) //nolint:gosec // dice, not secrets
	return forever(func(ctx context.Context) error {
		n++
		var batch struct {
			Payments []newPayment `json:"payments"`
		}
		for i := range 200 {
			o := s.Load.draw(dice, 0, &Manners{})
			o.Kind = "send"
			p := o.body()
			p.Remittance, p.Key = "", fmt.Sprintf("%s-payroll-%d-%d-%d", s.Load.prefix, s.Dice.Uint32(), n, i)
			batch.Payments = append(batch.Payments, *p)
		}
		if err := s.Load.client.call(ctx, http.MethodPost, s.World.API+"/v1/payments/batch", nil, batch, nil); err != nil {
			return err
		}
		return pause(ctx, 1500*time.Millisecond)
	}), nil
}
