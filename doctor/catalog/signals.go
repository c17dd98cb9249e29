package catalog

import (
	"slices"

	"github.com/moneta-pay/moneta/doctor"
)

// tells says at which kinds of hops a signal can be read. It holds files and collectors
// together: a sign that asks a channel for its goroutines would never be met, and would
// never say so. What only Postgres tells is at databases.
func tells(k doctor.Kind, s doctor.Signal) bool {
	i := slices.IndexFunc(told, func(t teller) bool {
		return slices.Contains(t.signals, s) && (t.kinds == nil || slices.Contains(t.kinds, k))
	})
	return i >= 0
}

// teller is a group of signals and the kinds of hops that tell them; nil is all kinds.
type teller struct {
	kinds   []doctor.Kind
	signals []doctor.Signal
}

var told = []teller{
	{nil, []doctor.Signal{
		doctor.Latency, doctor.Rate, doctor.Errors, doctor.Arrivals, doctor.Departures, doctor.Waiting,
		doctor.OldestAge, doctor.Wire, doctor.Overdue, doctor.OverdueAge, doctor.Orphans, doctor.Standstill,
		doctor.StandstillGaps, doctor.Residence, doctor.Stuck, doctor.LeftBehind, doctor.LeftBehindOdds, doctor.Imbalance, doctor.Busy, doctor.Silence, doctor.Paused, doctor.LogErrors,
		doctor.LogNew, doctor.Up,
	}},
	{[]doctor.Kind{doctor.Service, doctor.Gateway, doctor.Queue, doctor.Database, doctor.Cache, doctor.Relay, doctor.Projection, doctor.Webhook}, []doctor.Signal{
		doctor.PoolWait, doctor.GC, doctor.CPU, doctor.Memory, doctor.IOWait, doctor.Restarts, doctor.Takeovers,
		doctor.Uptime,
	}},
	{[]doctor.Kind{doctor.Service, doctor.Database, doctor.Cache, doctor.Queue}, []doctor.Signal{
		doctor.LockWaiters,
	}},
	{[]doctor.Kind{doctor.Service, doctor.Database, doctor.Projection, doctor.Queue}, []doctor.Signal{
		doctor.MoneyOff,
	}},
	{[]doctor.Kind{doctor.Channel, doctor.Queue}, []doctor.Signal{
		doctor.UnknownItems, doctor.UnknownValue,
	}},
	{[]doctor.Kind{doctor.Service, doctor.Queue}, []doctor.Signal{
		doctor.Quarantined,
	}},
	{[]doctor.Kind{doctor.Queue}, []doctor.Signal{
		doctor.TimerLate,
	}},
	{[]doctor.Kind{doctor.Relay, doctor.Queue, doctor.Channel}, []doctor.Signal{
		doctor.CallbackBacklog, doctor.CallbackAge,
	}},
	{[]doctor.Kind{doctor.Service, doctor.Gateway, doctor.Queue, doctor.Relay, doctor.Projection, doctor.Webhook}, []doctor.Signal{
		doctor.Suspended, doctor.Goroutines, doctor.SchedWait, doctor.Throttled, doctor.Starved, doctor.PoolBusy, doctor.PoolIdleHeld,
		doctor.LoopSilence,
	}},
	{[]doctor.Kind{doctor.Client, doctor.Gateway, doctor.Service}, []doctor.Signal{
		doctor.Refused, doctor.RefusedToldTo, doctor.RefusedNoRoom, doctor.RefusedNoDatabase, doctor.ServerErrors, doctor.ClientErrors, doctor.Aborted, doctor.Duplicates, doctor.Doubled, doctor.Repeats,
	}},
	{[]doctor.Kind{doctor.Service, doctor.Database}, []doctor.Signal{
		doctor.DiskFree, doctor.DiskFullIn, doctor.ClockSkew, doctor.FlushTime, doctor.Checked,
	}},
	{[]doctor.Kind{doctor.Gateway, doctor.Service, doctor.Channel}, []doctor.Signal{
		doctor.ProbeUp, doctor.ProbeDNS, doctor.ProbeConnect, doctor.ProbeTLS, doctor.ProbeFirst, doctor.CertLeft,
	}},
	{[]doctor.Kind{doctor.Client, doctor.Gateway, doctor.Service, doctor.Channel}, []doctor.Signal{
		doctor.CanaryAge, doctor.CanaryTime,
	}},
	{[]doctor.Kind{doctor.Channel}, []doctor.Signal{
		doctor.Timeouts, doctor.GatewayFails, doctor.Status5xx, doctor.Status429, doctor.Status4xx, doctor.Unreachable,
		doctor.BadBodies, doctor.Declines, doctor.Unknowns, doctor.Amplified, doctor.LateTruth, doctor.Callbacks,
		doctor.CallbackLag, doctor.NoCallbacks, doctor.BadCallbacks, doctor.QueryBudget, doctor.BreakerOpen,
	}},
	{[]doctor.Kind{doctor.Relay}, []doctor.Signal{
		doctor.Callbacks, doctor.BadCallbacks, doctor.CallbackLag,
	}},
	{[]doctor.Kind{doctor.Database}, []doctor.Signal{
		doctor.PGConnect, doctor.PGConnections, doctor.PGActive, doctor.PGRootIdle, doctor.PGRootActive, doctor.PGDDLWaiting,
		doctor.PGIdleTx, doctor.PGLongTx, doctor.PGHorizon, doctor.PGHorizonS, doctor.PGDeadTuples, doctor.PGSyncWaiters,
		doctor.PGSyncMissing, doctor.PGReplicaLag, doctor.PGWalWaiters, doctor.PGIOWaiters, doctor.PGFlush, doctor.PGDeadlocks, doctor.PGKnots,
		doctor.PGCommits, doctor.PGRollbacks, doctor.PGStatement, doctor.PGSeqRows, doctor.PGIndexGone, doctor.PGPlanChanged,
		doctor.PGWalRate, doctor.PGSlotRetained, doctor.PGArchiveFails, doctor.PGWalSize, doctor.PGSequence, doctor.PGPrepared,
		doctor.PGReadOnly, doctor.PGTimeline, doctor.PGNoSpace, doctor.PGCheckpoints, doctor.PGTempBytes,
	}},
}

// signalZH are the words of signals in Chinese; the English ones stand with them.
var signalZH = map[doctor.Signal]string{
	doctor.Latency:           "单次请求耗时(含下游)",
	doctor.Rate:              "处理的请求速率",
	doctor.Errors:            "失败占比",
	doctor.Arrivals:          "进入的工作",
	doctor.Departures:        "离开的工作",
	doctor.Waiting:           "在等的工作数",
	doctor.OldestAge:         "最老工作的年龄",
	doctor.Wire:              "调用方所见与被调方所见的时间差",
	doctor.LockWaiters:       "等锁的会话数",
	doctor.PoolWait:          "等连接或工作线程的时间",
	doctor.GC:                "垃圾回收的时间占比",
	doctor.CPU:               "处理器使用占比",
	doctor.Memory:            "内存使用占比",
	doctor.IOWait:            "等磁盘的时间占比",
	doctor.Takeovers:         "账务决策者的接任次数",
	doctor.Restarts:          "进程启动次数",
	doctor.LogErrors:         "错误级日志速率",
	doctor.LogNew:            "新样式的错误日志速率",
	doctor.Overdue:           "超过期限的工作数",
	doctor.OverdueAge:        "最迟者已超期",
	doctor.Orphans:           "既无定时也无工单的未完成支付",
	doctor.Standstill:        "有积压而无离开的时长",
	doctor.StandstillGaps:    "同上,按平均间隔计",
	doctor.Residence:         "近期工作离开前的最长停留时间",
	doctor.Stuck:             "最老的工作本可离开却未离开的时间:其年龄,扣除暂停与接管",
	doctor.LeftBehind:        "某一用户的工作逐笔滞留、而他人后到者已离开的时长",
	doctor.LeftBehindOdds:    "这并非巧合的把握(十进制位数)",
	doctor.Imbalance:         "进入减离开减在途",
	doctor.Busy:              "容量使用占比",
	doctor.Silence:           "应有的心跳已缺失",
	doctor.MoneyOff:          "不一致的账目数",
	doctor.UnknownItems:      "结果未知的支付数",
	doctor.UnknownValue:      "结果未知的金额(最小单位)",
	doctor.Quarantined:       "单独也无法提交的事实数",
	doctor.TimerLate:         "到期未处理的最长时间",
	doctor.Paused:            "有意暂停",
	doctor.CallbackBacklog:   "已存未应用的回调数",
	doctor.CallbackAge:       "其中最老者的年龄",
	doctor.Up:                "有应答",
	doctor.Suspended:         "被系统停止或跟踪",
	doctor.Uptime:            "启动至今",
	doctor.Goroutines:        "协程数",
	doctor.SchedWait:         "可运行协程等待的 p99",
	doctor.Throttled:         "处理器配额用尽的周期占比",
	doctor.Starved:           "可运行时间中等处理器的占比",
	doctor.PoolBusy:          "连接池占用占比",
	doctor.PoolIdleHeld:      "已取出而未执行语句的连接数",
	doctor.LoopSilence:       "有工作而循环无进展的时长",
	doctor.Refused:           "被 429 或 503 拒绝的占比",
	doctor.RefusedToldTo:     "因杠杆、限额或只读模式而拒绝的占比",
	doctor.RefusedNoRoom:     "因容量不足而拒绝的占比",
	doctor.RefusedNoDatabase: "因数据库无应答而拒绝的占比",
	doctor.ServerErrors:      "其他 5xx 占比",
	doctor.ClientErrors:      "4xx 占比",
	doctor.Aborted:           "调用方中途离开的占比",
	doctor.Duplicates:        "换新键重复的支付",
	doctor.Doubled:           "换新键重复刚才付款的占比",
	doctor.Repeats:           "重复已知键的请求占比",
	doctor.DiskFree:          "磁盘剩余占比",
	doctor.DiskFullIn:        "按现速写满磁盘所需时间",
	doctor.ClockSkew:         "两个时钟之差",
	doctor.Checked:           "距账簿检查上次完成一整轮",
	doctor.FlushTime:         "同一磁盘上刷写小文件的时间",
	doctor.ProbeUp:           "外部探测得到预期应答",
	doctor.ProbeDNS:          "探测的域名解析时间",
	doctor.ProbeConnect:      "探测的建立连接时间",
	doctor.ProbeTLS:          "探测的 TLS 握手时间",
	doctor.ProbeFirst:        "探测从请求到首字节的时间",
	doctor.CertLeft:          "证书剩余有效期",
	doctor.CanaryAge:         "距上次探针支付成功",
	doctor.CanaryTime:        "该次探针支付的用时",
	doctor.Timeouts:          "超时未应答的调用占比",
	doctor.GatewayFails:      "以 502 或 504 应答的占比",
	doctor.Status5xx:         "以其他 5xx 应答的占比",
	doctor.Status429:         "因频率被拒的占比",
	doctor.Status4xx:         "因其他原因被拒的占比",
	doctor.Unreachable:       "无法建立连接的占比",
	doctor.BadBodies:         "应答无法解析的占比",
	doctor.Declines:          "被拒付的订单占比",
	doctor.Unknowns:          "无明确结果的订单占比",
	doctor.Amplified:         "每次首发对应的尝试数",
	doctor.LateTruth:         "事后查明已成功的未知占比",
	doctor.Callbacks:         "收到的回调",
	doctor.CallbackLag:       "从渠道执行到其回调的 p95",
	doctor.NoCallbacks:       "已受理而逾常时未见回调的占比",
	doctor.BadCallbacks:      "被拒或验签失败的回调",
	doctor.QueryBudget:       "被询问最多的付款已用的查询配额占比",
	doctor.BreakerOpen:       "本方熔断已打开",
	doctor.PGConnect:         "新连接及首个应答的时间",
	doctor.PGConnections:     "连接数占 max_connections",
	doctor.PGActive:          "正在执行语句的会话数",
	doctor.PGRootIdle:        "阻塞树根会话在事务中空闲的时间",
	doctor.PGRootActive:      "阻塞树根会话执行语句的时间",
	doctor.PGDDLWaiting:      "DDL 等锁且后面有人排队的时间",
	doctor.PGIdleTx:          "事务中空闲的最长时间",
	doctor.PGLongTx:          "最长事务",
	doctor.PGHorizon:         "最老快照之后的事务数",
	doctor.PGHorizonS:        "该快照的年龄",
	doctor.PGDeadTuples:      "最差热表的死元组占比",
	doctor.PGSyncWaiters:     "等同步备库的会话数",
	doctor.PGSyncMissing:     "已指定而未连接的同步备库数",
	doctor.PGReplicaLag:      "最慢副本的回放延迟",
	doctor.PGWalWaiters:      "等日志写入或刷盘的活动会话占比",
	doctor.PGIOWaiters:       "等数据读写的活动会话占比",
	doctor.PGFlush:           "日志刷盘的平均时间",
	doctor.PGDeadlocks:       "被打断的死锁",
	doctor.PGKnots:           "最近一分钟的死锁",
	doctor.PGCommits:         "提交的事务",
	doctor.PGRollbacks:       "回滚的事务占比",
	doctor.PGStatement:       "最差语句相对以前的倍数",
	doctor.PGSeqRows:         "全表扫描大表读取的行",
	doctor.PGIndexGone:       "消失或失效的索引数",
	doctor.PGPlanChanged:     "执行计划变化的语句数",
	doctor.PGWalRate:         "写日志的速率",
	doctor.PGSlotRetained:    "最差复制槽扣留的日志字节",
	doctor.PGArchiveFails:    "归档失败的速率",
	doctor.PGWalSize:         "磁盘上的日志字节",
	doctor.PGSequence:        "最满序列的使用占比",
	doctor.PGPrepared:        "最老预备事务的年龄",
	doctor.PGReadOnly:        "拒绝写入",
	doctor.PGTimeline:        "历史分支变化次数",
	doctor.PGNoSpace:         "报告磁盘已满",
	doctor.PGCheckpoints:     "因日志而强制的检查点",
	doctor.PGTempBytes:       "写临时文件的速率",
}
