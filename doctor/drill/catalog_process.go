package drill

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"syscall"
	"time"

	"github.com/moneta-pay/moneta/doctor"
)

// restarted is what helps a process that is ill.
var (
	restarted      = []Match{{Do: "restart-process"}, {Do: "takeover"}}
	worseOfProcess = []Match{
		{Do: "terminate-session"}, {Do: "cancel-statement"}, {Do: "create-index"}, {Do: "drop-slot"}, {Do: "propose-compensation"},
	}
)

func processTruth(scope []string, pairs ...Pair) Truth {
	return Truth{Pairs: pairs, Scope: scope, Contain: append([]Match{{Do: "lever"}}, restarted...), Repair: restarted, Harmful: worseOfProcess}
}

// inServe orders a fault of serve.
func inServe(name string, spec func(s *Scene) map[string]any) func(context.Context, *Scene) (func(context.Context) error, error) {
	return func(_ context.Context, s *Scene) (func(context.Context) error, error) { return s.fault(name, spec(s)) }
}

func processDrills() []*Drill {
	plain := func(*Scene) map[string]any { return map[string]any{} }
	return []*Drill{
		{
			Name: "frozen-serve", Class: "SV", World: Plain, Stall: true, Least: 0.3,
			About:  doctor.Text{EN: "The leader is frozen: it neither answers nor ends.", ZH: "主节点被冻结:既不应答也不退出。"},
			Inject: injectFrozen,
			Truth:  processTruth(everyone, Pair{"serve", "frozen"}),
		},
		{
			Name: "crash-loop", Class: "SV", World: Plain, Stall: true, Least: 0.2,
			About: doctor.Text{EN: "One kind of request ends the process, again and again.", ZH: "一类请求使进程反复崩溃。"},
			Inject: inServe("crash-loop", func(*Scene) map[string]any {
				return map[string]any{"match": `"kind":"deposit"`, "sticky": true}
			}),
			Truth: Truth{
				Pairs: []Pair{{"serve", "crash-loop"}, {"serve", "regression"}}, Scope: everyone, Outside: true,
				Contain: []Match{{Do: "lever"}}, Harmful: append([]Match{{Do: "restart-process"}}, worseOfProcess...),
			},
		},
		{
			Name: "pool-leak", Class: "SV", World: Plain, Least: 0.1,
			About:  doctor.Text{EN: "Requests forget to give their connection back.", ZH: "请求忘记归还连接。"},
			Inject: inServe("pool-leak", func(s *Scene) map[string]any { return map[string]any{"one_in": 8 + s.Dice.IntN(6)} }),
			Truth:  processTruth(everyone, Pair{"serve", "pool-leak"}),
		},
		{
			Name: "gc-thrash", Class: "SV", World: Plain, Least: 0.05,
			About: doctor.Text{EN: "The heap stands at its limit, and the collector takes the processors.", ZH: "堆达到上限,垃圾回收占满处理器。"},
			Inject: inServe("gc-thrash", func(s *Scene) map[string]any {
				// So much garbage a request, because the runtime never gives its collector more than
				// half of the processors: with less, what is left is enough for everybody.
				return map[string]any{"megabytes": 500 + s.Dice.IntN(200), "each_kb": 22_528 + s.Dice.IntN(4096), "procs": 1}
			}),
			Truth: processTruth(everyone, Pair{"serve", "gc-thrash"}, Pair{"serve", "cpu-starved"}),
		},
		{
			Name: "slow-edge", Class: "SV", World: Plain, Least: 0.05,
			About: doctor.Text{EN: "Every request burns processor time, as after a bad release.", ZH: "每个请求空耗处理器,如同一次坏发布。"},
			Inject: inServe("slow-edge", func(s *Scene) map[string]any {
				return map[string]any{"millis": (9 + s.Dice.IntN(3)) * runtime.NumCPU(), "sticky": true}
			}),
			Truth: func() Truth {
				t := processTruth(everyone, Pair{"serve", "cpu-starved"}, Pair{"serve", "regression"}, Pair{"api", "overload"})
				t.Outside = true
				return t
			}(),
		},
		{
			Name: "hung-dispatch", Class: "AS", World: Plain, Stall: true, Least: 0.3, Only: moneyOut,
			About:  doctor.Text{EN: "The loop that sends to channels stands still; the process is alive and says so.", ZH: "发送循环停住,进程仍存活并报告正常。"},
			Inject: inServe("hung-dispatch", plain),
			Truth:  processTruth([]string{"cohort", "everyone"}, Pair{"dispatch", "loop-hung"}, Pair{"timer", "timer-silent"}),
		},
		{
			Name: "silent-timer", Class: "AS", World: Plain, Stall: true, Least: 0.3, Only: moneyOut,
			About:  doctor.Text{EN: "The timer turns and wakes nobody.", ZH: "定时器空转,不唤醒任何付款。"},
			Inject: inServe("silent-timer", plain),
			Truth:  processTruth([]string{"cohort", "everyone"}, Pair{"timer", "timer-silent"}, Pair{"dispatch", "loop-hung"}),
		},
		{
			Name: "poison-callback", Class: "MQ", World: Plain, Least: 0.05, Only: moneyOut,
			About:  doctor.Text{EN: "A callback that the decoder hangs over stops those behind it.", ZH: "一条回调卡住解码器,其后的全部等待。"},
			Before: slowBanks,
			Inject: inServe("poison-callback", func(*Scene) map[string]any {
				return map[string]any{"one_in": 9, "sticky": true}
			}),
			Truth: Truth{
				Pairs: []Pair{{"callbacks", "poison-callback"}, {"callbacks", "backlog"}, {"settle", "loop-hung"}}, Scope: []string{"cohort", "everyone"},
				Contain: []Match{{Do: "park-callback"}, {Do: "lever"}, {Do: "query-unknowns"}, {Do: "restart-process"}},
				Repair:  []Match{{Do: "park-callback"}, {Do: "query-unknowns"}, {Do: "replay-callbacks"}}, Harmful: worseOfProcess, Outside: true,
			},
		},
		{
			Name: "poison-fact", Class: "MQ", World: Plain, Least: 0.03, Only: func(o *Order) bool { return o.Amount == rivetAmount },
			About:  doctor.Text{EN: "The database refuses rows of one shape, and each such payment spoils the batch that it is in.", ZH: "数据库拒绝某类行,使所在批次失败。"},
			Inject: injectPoisonFact,
			Truth: Truth{
				Pairs: []Pair{{"decider", "poison-fact"}, {"serve", "poison-fact"}}, Scope: []string{"cohort", "too_few"}, Outside: true,
				Contain: []Match{{Do: "lever"}}, Harmful: append([]Match{{Do: "restart-process"}}, worseOfProcess...),
			},
		},
	}
}

// injectFrozen stops serve; what heals it lets that same process go on, if it is
// still there.
func injectFrozen(_ context.Context, s *Scene) (func(context.Context) error, error) {
	pid := s.World.Serve()
	if pid == 0 {
		return nil, errNoServe
	}
	s.Values["pid"] = fmt.Sprint(pid)
	return func(context.Context) error {
		if s.World.Serve() == pid {
			_ = syscall.Kill(pid, syscall.SIGCONT) // it may just have ended
		}
		return nil
	}, syscall.Kill(pid, syscall.SIGSTOP)
}

// injectPoisonFact adds a rule to the table, as a hasty change of the schema would.
func injectPoisonFact(ctx context.Context, s *Scene) (func(context.Context) error, error) {
	conn, err := s.session(ctx, "migration")
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, fmt.Sprintf(`set lock_timeout = '2s'; alter table payments add constraint payments_rounding check (amount <> %d) not valid`, rivetAmount)); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		conn, err := s.session(ctx, "migration")
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close(ctx) }()
		_, err = conn.Exec(ctx, `set lock_timeout = '5s'; alter table payments drop constraint if exists payments_rounding`)
		return err
	}, nil
}

// deploy starts serve anew as a rollout does, and waits until it serves.
func (w *World) deploy(ctx context.Context) error {
	pid := w.Serve()
	if pid == 0 {
		return errNoServe
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for w.Serve() == pid || !w.ready(ctx) {
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// slowBanks execute about a second after they accept, as many do: what they tell then is
// what everybody waits for.
func slowBanks(ctx context.Context, s *Scene) (func(context.Context) error, error) {
	set := func(ctx context.Context, behaviour map[string]any) (err error) {
		for _, code := range loadBanks {
			err = errors.Join(err, s.World.bank(ctx, http.MethodPut, code, "behaviour", behaviour))
		}
		return err
	}
	return func(ctx context.Context) error { return set(ctx, map[string]any{}) }, set(ctx, map[string]any{"execute_delay": always(600, 1400)})
}
